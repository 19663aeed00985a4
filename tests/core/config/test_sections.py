"""A section becomes a typed config, or the list of everything that is wrong with it."""

import enum
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from pollect.api import ConfigError, FilePath, Host, MetricFilter, Secret, SourceConfig
from pollect.config.environment import Environment, Filled, Options, fill_data
from pollect.config.sections import convert_section
from pollect.errors import InvalidConfig


class Unit(enum.Enum):
    CELSIUS = "C"
    FAHRENHEIT = "F"


class Register(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    name: str
    scale_factor: Annotated[float, Meta(gt=0)] = 1.0


class Ramp(msgspec.Struct, frozen=True, kw_only=True, tag="ramp", tag_field="kind"):
    up: int


class Flat(msgspec.Struct, frozen=True, kw_only=True, tag="flat", tag_field="kind"):
    level: int


class GaugeConfig(SourceConfig, frozen=True, kw_only=True):
    host: Annotated[str, Meta(description="Host, with port if not 80. It may be a name.")]
    port: Annotated[Annotated[int, Meta(ge=1, le=65535)], Meta(description="TCP port.")] = 80
    ratio: float | None = None
    share: Annotated[float, Meta(gt=0, le=1)] = 1.0
    password: Secret | None = None
    keys: list[Secret] = msgspec.field(default_factory=list)
    verify: bool | str = True
    url: str | list[str] = ""
    hosts: tuple[str, ...] = ()
    serials: frozenset[int] = frozenset()
    version: Literal[1, "2c", 3] = 1
    unit: Unit = Unit.CELSIUS
    registers: Annotated[list[Register], Meta(max_length=3)] = msgspec.field(default_factory=list)
    by_name: dict[str, Register] = msgspec.field(default_factory=dict)
    span: tuple[int, int] = (0, 1)
    curve: Ramp | Flat | None = None
    code: Annotated[str, Meta(pattern="^[a-z]+$")] = "a"
    anything: Any = None

    def __post_init__(self) -> None:
        if self.port == 666:
            raise ConfigError("that port is taken", key="port")
        if self.host == "nowhere":
            raise ValueError("expected a place, got nowhere")


def convert(**options: object) -> GaugeConfig:
    return convert_section(GaugeConfig, {"type": "Gauge", "host": "h", **options})


def mistakes(**options: object) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        convert_section(GaugeConfig, {"type": "Gauge", "host": "h", **options}, strict=True)
    return [str(problem) for problem in caught.value.problems]


class PlacedConfig(SourceConfig, frozen=True, kw_only=True):
    file: FilePath = ""
    files: tuple[FilePath, ...] = ()
    host: Host = ""
    text: str = ""


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"file": "a\0b"}, "file: expected a path, got text with a NUL character"),
        ({"files": ["a", "\0"]}, "files[1]: expected a path, got text with a NUL character"),
        ({"host": "a\0"}, "host: expected a host, got text with a NUL character"),
        (
            {"file": "~no-such-user/x"},
            "file: cannot tell the home directory that ~no-such-user stands for",
        ),
    ],
)
def test_what_names_no_place_is_a_mistake(options: dict[str, object], problem: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        convert_section(PlacedConfig, {"type": "Placed", **options})
    assert [str(problem) for problem in caught.value.problems] == [problem]


def test_a_text_that_is_no_path_may_begin_like_a_home_directory() -> None:
    section = {"type": "Placed", "text": "~no-such-user/x", "host": "~x", "file": "~root/x"}
    assert convert_section(PlacedConfig, section).text == "~no-such-user/x"


@pytest.mark.parametrize(
    ("options", "field", "expected"),
    [
        ({"port": "8080"}, "port", 8080),
        ({"port": 8080.0}, "port", 8080),
        ({"ratio": "1e3"}, "ratio", 1000.0),
        ({"ratio": 2}, "ratio", 2.0),
        ({"enabled": "off"}, "enabled", False),
        ({"enabled": "TRUE"}, "enabled", True),
        ({"enabled": 1}, "enabled", True),
        ({"host": 10}, "host", "10"),
        ({"labels": {"rack": 3, "ha": True}}, "labels", {"rack": "3", "ha": "true"}),
        ({"password": 815}, "password", Secret("815")),
        ({"keys": "one"}, "keys", [Secret("one")]),
        ({"hosts": "one"}, "hosts", ("one",)),
        ({"hosts": ["one", 2]}, "hosts", ("one", "2")),
        ({"serials": "7"}, "serials", frozenset({7})),
        ({"url": "http://a"}, "url", "http://a"),
        ({"url": ["http://a"]}, "url", ["http://a"]),
        ({"verify": False}, "verify", False),
        ({"verify": "/etc/ca.pem"}, "verify", "/etc/ca.pem"),
        ({"version": "1"}, "version", 1),
        ({"version": "2c"}, "version", "2c"),
        ({"unit": "F"}, "unit", Unit.FAHRENHEIT),
        ({"registers": [{"name": "a", "scaleFactor": "2"}]}, "registers",
         [Register(name="a", scale_factor=2.0)]),
        ({"byName": {"x": {"name": "a"}}}, "by_name", {"x": Register(name="a")}),
        ({"span": ["3", 4]}, "span", (3, 4)),
        ({"curve": {"kind": "flat", "level": 2}}, "curve", Flat(level=2)),
        ({"metrics": {"include": "a*"}}, "metrics", MetricFilter(include=("a*",))),
        ({"anything": {"a": [1, "b"]}}, "anything", {"a": [1, "b"]}),
    ],
)  # fmt: skip
def test_value_becomes_what_the_field_declares(
    options: dict[str, object], field: str, expected: object
) -> None:
    value = getattr(convert(**options), field)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize("option", ["port", "ratio", "password", "labels", "curve", "metrics"])
def test_option_left_empty_counts_as_not_given(option: str) -> None:
    assert convert(**{option: None}) == convert()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"host": None}, "host: required option missing (Host, with port if not 80)"),
        ({"timeout": -1}, "timeout: expected a number above 0, got -1"),
        ({"timeout": "10s"},
         "timeout: expected a number above 0, got '10s' (write the number without its unit)"),
        ({"timeout": True}, "timeout: expected a number above 0, got true"),
        ({"ratio": "nan"}, "ratio: expected a number, got 'nan'"),
        ({"ratio": float("inf")}, "ratio: expected a number, got inf"),
        ({"port": 70000}, "port: expected a whole number from 1 to 65535, got 70000"),
        ({"port": 1.5}, "port: expected a whole number from 1 to 65535, got 1.5"),
        ({"port": [80]}, "port: expected a whole number from 1 to 65535, got a list"),
        ({"enabled": "maybe"}, "enabled: expected true or false, got 'maybe'"),
        ({"host": ["a"]}, "host: expected text, got a list"),
        ({"password": ["geheim"]}, "password: expected text, got a list"),
        ({"keys": {"a": "geheim"}}, "keys: expected a list of texts, got a mapping"),
        ({"labels": ["a"]}, "labels: expected a mapping of names to texts, got a list"),
        ({"labels": {"a": {}}}, "labels.a: expected text, got a mapping"),
        ({"hosts": ["a", None]}, "hosts[1]: expected text, got nothing"),
        ({"url": {"a": 1}}, "url: expected text or a list of texts, got a mapping"),
        ({"version": "2"}, "version: expected one of 1, 3, 2c, got '2' (did you mean '2c'?)"),
        ({"unit": "K"}, "unit: expected one of C, F, got 'K'"),
        ({"registers": [{"name": "a"}, {"scaleFactor": 1}]},
         "registers[1].name: required option missing"),
        ({"registers": ["a"]}, "registers[0]: expected a mapping, got text"),
        ({"registers": {"name": "a"}}, "registers: expected a list of mappings, got a mapping"),
        ({"registers": [{"name": "a"}] * 4}, "registers: expected at most 3 in the list, got 4"),
        ({"byName": {"x": {"name": "a", "scaleFactor": 0}}},
         "byName.x.scaleFactor: expected a number above 0, got 0"),
        ({"share": 0}, "share: expected a number above 0 and at most 1, got 0"),
        ({"span": [1]}, "span: expected a list of 2 values, got a list of 1"),
        ({"curve": {"kind": "bent"}}, "curve.kind: expected one of ramp, flat, got 'bent'"),
        ({"code": "A1"}, "code: expected text like ^[a-z]+$, got 'A1'"),
        ({"code": "x" * 70 + "1"}, f"code: expected text like ^[a-z]+$, got '{'x' * 57}...'"),
        ({"port": 666}, "port: that port is taken"),
        ({"host": "nowhere"}, "expected a place, got nowhere"),
        ({"ticktime": 5}, "ticktime: unknown option (did you mean 'tickTime'?)"),
        ({"pasword": "geheim"}, "pasword: unknown option (did you mean 'password'?)"),
    ],
)  # fmt: skip
def test_mistake_is_told_in_plain_words(options: dict[str, object], message: str) -> None:
    assert mistakes(**options) == [message]


def test_option_unlike_any_other_is_answered_with_all_there_are() -> None:
    with pytest.raises(
        InvalidConfig, match=r"zzzz: unknown option \(known here: exclude, include, rename, scale\)"
    ):
        convert_section(MetricFilter, {"zzzz": 1}, strict=True)


def test_all_mistakes_of_a_section_are_found_at_once() -> None:
    found = mistakes(
        host=None,
        port="x",
        registers=[{"scaleFactor": "y"}, {"name": [], "scaleFctor": 1}],
        labels={"a": [], "b": {}},
        keep_stale=True,
    )
    assert [text.partition(":")[0] for text in found] == [
        "labels.a",
        "labels.b",
        "host",
        "port",
        "registers[0].name",
        "registers[0].scaleFactor",
        "registers[1].name",
        "registers[1].scaleFctor",
        "keep_stale",
    ]


def test_unknown_options_are_ignored_unless_strict() -> None:
    assert convert(description="upstairs") == convert()


def fill(section: dict[str, Any], tmp_path: Any, **variables: str) -> Any:
    return fill_data(section, Environment(variables, tmp_path), lambda _path, _section: ())


def test_what_a_variable_holds_is_converted_and_loses_its_mark(tmp_path: Any) -> None:
    section = {"type": "Gauge", "host": "${H}", "port": "${P}", "verify": "${V}"}
    config = convert_section(GaugeConfig, fill(section, tmp_path, H="box", P="8080", V="false"))
    assert (config.host, config.port, config.verify) == ("box", 8080, False)
    assert type(config.host) is str
    assert isinstance(fill({"h": "${H}"}, tmp_path, H="box")["h"], Filled)


def test_what_a_variable_holds_is_never_quoted(tmp_path: Any) -> None:
    section = {"type": "Gauge", "host": "h", "port": "${P}", "unit": "${P}", "anything": "${P}"}
    with pytest.raises(InvalidConfig) as caught:
        convert_section(GaugeConfig, fill(section, tmp_path, P="s3cret"))
    assert str(caught.value).splitlines() == [
        "port: expected a whole number from 1 to 65535, got what ${P} holds",
        "unit: expected one of C, F, got what ${P} holds",
    ]


def test_unset_variable_is_a_mistake_where_it_is_read(tmp_path: Any) -> None:
    section = {
        "type": "Gauge", "host": "${HOST}", "hosts": ["a", "${B}"], "anything": {"x": ["${C}"]},
        "description": "${UNREAD}",
    }  # fmt: skip
    with pytest.raises(InvalidConfig) as caught:
        convert_section(GaugeConfig, fill(section, tmp_path))
    assert str(caught.value).splitlines() == [
        "host: variable HOST is not set (set it, or write ${HOST:-default})",
        "hosts[1]: variable B is not set (set it, or write ${B:-default})",
        "anything.x[0]: variable C is not set (set it, or write ${C:-default})",
    ]


def attempt(section: dict[str, object]) -> tuple[GaugeConfig | None, Sequence[ConfigError]]:
    try:
        return convert_section(GaugeConfig, section), ()
    except InvalidConfig as error:
        return None, error.problems


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=8,
)
OPTIONS = [field.encode_name for field in msgspec.structs.fields(GaugeConfig)]


@given(st.dictionaries(st.sampled_from([*OPTIONS, "other", "name", "scaleFactor"]), ANYTHING))
def test_any_rubbish_is_a_config_or_a_list_of_mistakes(section: dict[str, object]) -> None:
    config, problems = attempt(section)
    assert (config is None) == bool(problems)
    assert all(problem.problem for problem in problems)


@given(
    st.recursive(
        st.just("geheim"),
        lambda inner: st.lists(inner, min_size=1) | st.dictionaries(st.text("ab"), inner),
        max_leaves=4,
    ),
    st.sampled_from(["password", "keys", "passwort", "hosts", "registers", "labels", "metrics"]),
)
def test_secret_is_never_quoted_wherever_it_went(value: object, option: str) -> None:
    config, problems = attempt({"type": "Gauge", "host": "h", option: value})
    assert not any("geheim" in str(problem) for problem in problems)
    if option in ("password", "keys"):
        assert "geheim" not in repr(config)


class OpenConfig(SourceConfig, frozen=True, kw_only=True):
    keep_unknown = True
    options: Mapping[str, Any] = {}


def test_keep_unknown_hands_over_every_undeclared_option(tmp_path: Any) -> None:
    section = {"type": "x.Y", "name": "n", "max": 3, "options": 1, "in": {"a": [{"b": "${B}"}]}}
    config = convert_section(OpenConfig, fill(section, tmp_path, B="c"), strict=True)
    assert config.name == "n"
    assert config.options == {"max": 3, "options": 1, "in": {"a": [{"b": "c"}]}}
    assert config.options == Options({"max": 3, "options": 1, "in": {"a": [{"b": "c"}]}})
    assert config.options != {"max": 3}
    assert "max" in config.options
    assert list(config.options) == ["max", "options", "in"]
    assert type(config.options["in"]["a"][0]["b"]) is str


def test_kept_option_with_an_unset_variable_is_a_key_error_only_when_read(tmp_path: Any) -> None:
    section = {"type": "x.Y", "a": "${A}", "b": {"c": ["${C}"]}, "d": 1}
    options = convert_section(OpenConfig, fill(section, tmp_path)).options
    assert options["d"] == 1
    with pytest.raises(KeyError) as caught:
        options["a"]
    assert str(caught.value) == "a: variable A is not set (set it, or write ${A:-default})"
    nested = options["b"]
    with pytest.raises(ConfigError, match=r"b\.c\[0\]: variable C is not set"):
        nested["c"]


def test_repr_of_kept_options_shows_no_value() -> None:
    config = convert_section(OpenConfig, {"type": "x.Y", "password": "geheim"})
    assert "geheim" not in repr(config)


class DatedConfig(SourceConfig, frozen=True, kw_only=True):
    born: complex = 0j


def test_field_of_an_unsupported_type_is_the_authors_mistake() -> None:
    with pytest.raises(InvalidConfig, match="complex cannot be the type of an option"):
        convert_section(DatedConfig, {"type": "Dated", "born": "1"})
