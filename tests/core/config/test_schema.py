"""The JSON Schema accepts the configs that pollect accepts, and tells an editor what is wrong."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import msgspec
import pytest
from msgspec import Meta

from pollect.api import Secret, Source, SourceConfig
from pollect.config.reading import read_document
from pollect.config.schema import build_schema
from pollect.discovery.registry import Registry
from tests.core.config.fakes import GaugeSource, ListenWriter

HERE = Path(__file__).parent
EXAMPLES = sorted(
    file
    for pattern in ("*.yml", "*.yaml", "*.json")
    for file in (HERE.parents[2] / "examples").glob(pattern)
)

#: Mistakes of the tests in `invalid/` that only pollect itself can find.
BEYOND_A_SCHEMA = {
    "labels-that-are-none",
    "no-writer",
    "no-writer-for-one-executor",
    "options-that-do-not-fit",
    "secret-file-absent",
    "unset-variable",
    "unset-variable-as-type",
    "unset-variable-in-frame",
    "unset-variable-with-message",
    "variable-holds-no-number",
}
#: Not YAML at all.
UNREADABLE = {
    "alias-without-anchor",
    "quote-that-never-ends",
    "second-document",
    "tab-as-indentation",
    "tag-unknown",
    "variable-unquoted-in-brackets",
}
REFUSED = [
    file
    for file in sorted((HERE / "invalid").glob("*.yml"))
    if file.stem not in BEYOND_A_SCHEMA | UNREADABLE
]


class Register(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    name: Annotated[str, Meta(min_length=1, description="Name of the value.")]
    scale_factor: Annotated[Annotated[float, Meta(gt=0)], Meta(description="Factor.")] = 1.0


class Ramp(msgspec.Struct, frozen=True, tag="ramp", tag_field="kind"):
    up: int = 0


class PlcConfig(SourceConfig, frozen=True, kw_only=True):
    registers: Annotated[tuple[Register, ...], Meta(min_length=1, description="What to read.")]
    mode: Annotated[Literal[1, "fast"], Meta(description="Pace.")] = "fast"
    pin: Annotated[Secret, Meta(description="PIN.")] = Secret("geheim")
    hosts: Annotated[list[str], Meta(description="Hosts.")] = msgspec.field(default_factory=list)
    span: Annotated[tuple[int, int], Meta(description="First and last.")] = (0, 9)
    by_name: Annotated[dict[str, Register], Meta(description="More.")] = msgspec.field(
        default_factory=dict
    )
    ramp: Annotated[Ramp | None, Meta(description="How to begin.")] = None
    anything: Annotated[Any, Meta(description="Whatever.")] = None


class PlcSource(Source[PlcConfig]):
    """Registers of one controller.

    More than that stands in the manual.
    """

    config_type = PlcConfig


class OpenConfig(SourceConfig, frozen=True, kw_only=True):
    keep_unknown = True
    options: dict[str, Any] = msgspec.field(default_factory=dict)


class OpenSource(Source[OpenConfig]):
    config_type = OpenConfig


SCHEMA = build_schema(
    {"Gauge": GaugeSource, "Plc": PlcSource, "Open": OpenSource}, {"Listen": ListenWriter}
)


def errors(data: object, schema: dict[str, Any] = SCHEMA) -> list[str]:
    validator = jsonschema.Draft7Validator(schema)
    return [error.message for error in validator.iter_errors(data)]


def with_source(**options: object) -> dict[str, object]:
    return {
        "writer": {"type": "Listen"},
        "executors": [{"collection": "c", "sources": [options]}],
    }


def test_schema_is_one_by_its_own_rules() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize("file", REFUSED, ids=lambda file: file.stem)
def test_what_pollect_refuses_the_schema_refuses(file: Path) -> None:
    assert errors(read_document(file).data)


def test_exceptions_exist() -> None:
    stems = {file.stem for file in (HERE / "invalid").glob("*.yml")}
    assert stems >= BEYOND_A_SCHEMA | UNREADABLE


@pytest.mark.parametrize(
    "options",
    [
        {"type": "Gauge", "host": "h", "port": 80, "labels": {"rack": 3, "ha": True}},
        {"type": "Gauge", "host": "${HOST}", "port": "${PORT}", "enabled": "${ON}"},
        {"type": "Gauge", "host": "h", "port": "80", "enabled": "off", "password": 815},
        {"type": "Gauge", "host": "h", "lines": "1.2.3", "timeout": None},
        {"type": "Gauge", "host": "h", "metrics": {"include": "a*", "exclude": ["b", "c"]}},
        {"type": "Plc", "registers": [{"name": "a", "scaleFactor": 0.1}], "mode": "1"},
        {"type": "Plc", "registers": [{"name": "${N}"}], "span": [1, 2], "anything": [{}]},
        {"type": "Plc", "registers": [{"name": "a"}], "byName": {"x": {"name": "b"}}},
        {"type": "Plc", "registers": [{"name": "a"}], "ramp": {"kind": "ramp", "up": 3}},
        {"type": "Open", "whatever": [1]},
        {"type": "extensions.Own", "max": 100},
        {"type": "${KIND}", "host": "h"},
    ],
)
def test_what_pollect_accepts_the_schema_accepts(options: dict[str, object]) -> None:
    assert errors(with_source(**options)) == []


@pytest.mark.parametrize(
    "options",
    [
        {"type": "Plc", "registers": []},
        {"type": "Plc", "registers": [{"name": ""}]},
        {"type": "Plc", "registers": [{"name": "a", "scaleFactor": 0}]},
        {"type": "Plc", "registers": [{"name": "a", "scalefactor": 1}]},
        {"type": "Plc", "registers": [{"name": "a"}], "mode": "slow"},
        {"type": "Plc", "registers": [{"name": "a"}], "span": [1]},
        {"type": "Plc", "registers": [{"name": "a"}], "hosts": [["a"]]},
        {"type": "Plc", "registers": [{"name": "a"}], "byName": {"x": {}}},
        {"type": "Plc", "registers": [{"name": "a"}], "ramp": {"kind": "jump"}},
        {"type": "Listen"},
    ],
)
def test_mistake_in_a_section_is_found(options: dict[str, object]) -> None:
    assert errors(with_source(**options))


def test_editor_learns_descriptions_defaults_and_ranges() -> None:
    gauge = SCHEMA["definitions"]["source.Gauge"]
    assert gauge["description"] == "A gauge."
    port = gauge["properties"]["port"]
    assert (port["description"], port["default"]) == ("TCP port.", 80)
    assert port["anyOf"][0] == {"type": "integer", "minimum": 1, "maximum": 65535}
    assert gauge["required"] == ["type", "host"]
    assert SCHEMA["properties"]["tickTime"]["default"] == 10.0
    plc = SCHEMA["definitions"]["source.Plc"]
    assert plc["description"] == "Registers of one controller."
    assert plc["properties"]["span"]["default"] == [0, 9]


def test_schema_shows_no_secret() -> None:
    pin = SCHEMA["definitions"]["source.Plc"]["properties"]["pin"]
    assert pin["writeOnly"] is True
    assert "geheim" not in json.dumps(SCHEMA)


def installed_schema() -> dict[str, Any]:
    registry = Registry()
    return build_schema(
        {word: registry.source_type(word) for word in registry.sources},
        {word: registry.writer_type(word) for word in registry.writers},
    )


def test_schema_of_everything_installed_is_one_by_its_own_rules() -> None:
    schema = installed_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    assert "source.Dummy" in schema["definitions"]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_example_fits_the_schema(file: Path) -> None:
    assert errors(read_document(file).data, installed_schema()) == []
