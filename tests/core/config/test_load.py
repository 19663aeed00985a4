"""A config file is read whole: defaults and fallbacks as in 1.x, every mistake at its place."""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pollect.api import Metric, Secret, Source
from pollect.config.config import Config, ExecutorSection
from pollect.config.load import load_config
from pollect.config.reading import find_config
from pollect.errors import ConfigError, InvalidConfig, PluginLoadError, UnknownPlugin
from pollect.plugin import Roots
from tests.core.config.fakes import GaugeConfig, GaugeSource, ListenConfig, ListenWriter, Types

SECRETS = ("geheim", "s3cret")
VARIABLES = {"HOST": "box", "PORT": "8080", "PASSWORD": "s3cret", "if": "9", "KIND": "Gauge"}

INVALID = sorted((Path(__file__).parent / "invalid").glob("*.yml"))

MINIMAL = """\
writer: {type: Listen}
executors:
  - collection: c
    sources: [{type: Gauge, host: h}]
"""


def load(tmp_path: Path, text: str, name: str = "config.yml", **more: str) -> Config:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return load_config(file, Types(), environ={**VARIABLES, **more})


def the_executor(config: Config) -> ExecutorSection:
    (executor,) = config.executors
    return executor


def described(problems: tuple[ConfigError, ...]) -> list[str]:
    return [str(problem).removeprefix(f"{file_of(problem).parent}/") for problem in problems]


def file_of(problem: ConfigError) -> Path:
    assert problem.file
    return problem.file


@pytest.mark.parametrize("file", INVALID, ids=lambda file: file.stem)
def test_mistake_is_told_with_its_place(file: Path) -> None:
    """Beside every file stands its complete message."""
    with pytest.raises(InvalidConfig) as caught:
        load_config(file, Types(), environ=VARIABLES)
    message = "".join(f"{line}\n" for line in described(caught.value.problems))
    assert message == file.with_suffix(".txt").read_text(encoding="utf-8")
    assert not any(secret in message for secret in SECRETS)


WORDS = st.sampled_from(
    ["executors", "sources", "writers", "writer", "collection", "type", "Gauge", "Listen", "Broken",
     "host", "label", "labels", "lines", "enabled", "tickTime", "metrics", "include", "${if}",
     "${UNSET}", "${PORT}", "-1", "no"]
)  # fmt: skip
RUBBISH = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 5) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=20,
)


@given(RUBBISH)
@example(
    {"writer": {"type": "Listen"}, "executors": [{"sources": [{"type": "Gauge", "label": []}]}]}
)
def test_any_rubbish_is_a_config_or_a_list_of_mistakes(data: object) -> None:
    problems: Sequence[ConfigError] = ()
    with tempfile.TemporaryDirectory() as folder:
        try:
            config: Config | None = load(Path(folder), json.dumps(data), "config.json")
        except InvalidConfig as error:
            config, problems = None, error.problems
    assert config.executors if config else problems
    assert all(problem.line and problem.column for problem in problems)


def test_each_invalid_config_has_its_message() -> None:
    messages = {file.stem for file in (Path(__file__).parent / "invalid").glob("*.txt")}
    assert messages == {file.stem for file in INVALID}


@pytest.mark.parametrize(
    ("first", "second"), [("1a", "2a"), ("__b", "_b"), ("a b", "a\tb"), ("ä", "ö")]
)
def test_labels_that_become_one_in_prometheus_are_reported(
    tmp_path: Path, first: str, second: str
) -> None:
    labels = json.dumps({first: "x", second: "y"})
    config = load(tmp_path, MINIMAL.replace("host: h", f"host: h, labels: {labels}"))
    (warning,) = config.warnings
    assert warning.problem == f"the label {second!r} is hidden by the label {first!r}"


@pytest.mark.parametrize(
    ("collection", "source", "place"),
    [
        ("caf\ud800", {"host": "h"}, ".collection"),
        ("c", {"host": "h", "name": "caf\udce9"}, ".sources[0].name"),
        ("c", {"host": "caf\ud83d"}, ".sources[0].host"),
        ("c", {"host": "h", "labels": {"room": "caf\udce9"}}, ".sources[0].labels.room"),
    ],
)
def test_half_a_surrogate_pair_is_refused_at_its_place(
    tmp_path: Path, collection: str, source: dict[str, object], place: str
) -> None:
    executor = {"collection": collection, "sources": [{"type": "Gauge", **source}]}
    text = json.dumps({"writer": {"type": "Listen"}, "executors": [executor]})
    with pytest.raises(InvalidConfig) as caught:
        load(tmp_path, text, "config.json")
    (problem,) = caught.value.problems
    assert (problem.key, problem.problem) == (f"executors[0]{place}", "is not valid Unicode")


@pytest.mark.parametrize(
    ("collection", "source", "place", "longest"),
    [
        ("c" * 9999, {}, ".collection", "1,024"),
        ("c", {"name": "n" * 9999}, ".sources[0].name", "1,024"),
        ("c", {"labels": {"l" * 9999: "x"}}, ".sources[0].labels", "1,024"),
        ("c", {"labels": {"room": "x" * 9999}}, ".sources[0].labels.room", "4,096"),
    ],
)
def test_a_name_or_label_without_end_is_refused_at_its_place(
    tmp_path: Path, collection: str, source: dict[str, object], place: str, longest: str
) -> None:
    section = {"type": "Gauge", "host": "h", **source}
    executor = {"collection": collection, "sources": [section]}
    text = json.dumps({"writer": {"type": "Listen"}, "executors": [executor]})
    with pytest.raises(InvalidConfig) as caught:
        load(tmp_path, text, "config.json")
    (problem,) = caught.value.problems
    expected = f"expected at most {longest} characters, got 9,999"
    assert (problem.key, problem.problem) == (f"executors[0]{place}", expected)


def test_one_wrong_option_of_the_frame_hides_no_other_mistake(tmp_path: Path) -> None:
    text = """\
tickTime: fast
labels: {"": x}
writer: {type: Listen}
executors:
  - collection: ""
    labels: {"a b": x, "a-b": y}
    sources: [{type: Gauge, host: h, labels: {" ": z}}]
"""
    with pytest.raises(InvalidConfig) as caught:
        load(tmp_path, text)
    assert [error.key for error in caught.value.problems] == [
        "tickTime",
        "labels",
        "executors[0].collection",
        "executors[0].labels",
        "executors[0].sources[0].labels",
    ]


def test_bytes_of_a_variable_may_name_a_file_but_no_series(tmp_path: Path) -> None:
    """A mount point need not be UTF-8; what is part of the name of a series must be."""
    text = MINIMAL.replace("host: h", 'host: "/media/${DISK}", name: "${DISK}"')
    with pytest.raises(InvalidConfig) as caught:
        load(tmp_path, text, DISK="caf\udce9")
    assert [error.key for error in caught.value.problems] == ["executors[0].sources[0].name"]


@pytest.mark.parametrize("name", ["config.yml", "config.yaml", "config.json", "config"])
def test_both_formats_give_the_same_config(tmp_path: Path, name: str) -> None:
    yaml = MINIMAL if name != "config.json" else (
        '{\t"writer": {"type": "Listen"},\n"executors": [{"collection": "c",\n'
        '\t"sources": [{"type": "Gauge", "host": "h"}]}]}'
    )  # fmt: skip
    config = load(tmp_path, yaml, name)
    executor = the_executor(config)
    assert executor.collection == "c"
    assert executor.sources[0].config == GaugeConfig(type="Gauge", host="h")
    assert executor.sources[0].source_type is GaugeSource
    assert executor.sources[0].path == "executors[0].sources[0]"
    assert executor.writers[0].config == ListenConfig(type="Listen")
    assert executor.writers[0].writer_type is ListenWriter
    assert executor.writers[0].path == "writer"
    assert config.warnings == ()


def test_defaults_of_the_frame_are_those_of_1x(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL)
    executor = the_executor(config)
    assert (config.tick_time, executor.tick_time, executor.threads) == (10.0, 10.0, 5)
    assert (config.labels, executor.labels) == ({}, {})
    assert (config.self_metrics, config.keep_stale, config.shutdown_timeout) == (True, False, 10.0)


def test_numbers_and_booleans_may_come_from_variables(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        "tickTime: ${T}\nthreads: ${N}\nselfMetrics: ${S}\nlabels: {on: yes, ha: true, n: 1.10}\n"
        "writer: {type: Listen, port: '${PORT}'}\n"
        "executors:\n  - {collection: '${C}', sources: [{type: '${KIND}', host: '${HOST}'}]}\n",
        T="0.5",
        N="3",
        S="false",
        C="home",
    )
    executor = the_executor(config)
    assert (config.tick_time, executor.threads, config.self_metrics) == (0.5, 3, False)
    assert config.labels == {"on": "yes", "ha": "true", "n": "1.10"}
    assert executor.collection == "home"
    assert executor.writers[0].config == ListenConfig(type="Listen", port=8080)
    assert executor.sources[0].config == GaugeConfig(type="Gauge", host="box")
    assert config.data["executors"][0]["sources"][0]["host"] == "box"


@pytest.mark.parametrize(
    ("own", "everywhere", "seconds"),
    [("", "7", 7.0), ("0", "7", 7.0), ("-1", "7", 7.0), ("0.5", "7", 0.5), ("", "", 10.0),
     ("0", "0", 10.0), ("3", "-1", 3.0)],
)  # fmt: skip
def test_tick_time_of_zero_or_less_falls_back(
    tmp_path: Path, own: str, everywhere: str, seconds: float
) -> None:
    text = MINIMAL.replace("collection: c", f"collection: c\n    tickTime: {own}")
    config = load(tmp_path, f"tickTime: {everywhere}\n{text}")
    assert the_executor(config).tick_time == seconds
    doubtful = everywhere in ("0", "-1")
    assert described(config.warnings) == (
        ["config.yml:1:1: tickTime: is not above 0 (10 is used)"] if doubtful else []
    )


def test_writers_of_an_executor_replace_the_global_ones(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """\
writers: [{type: Listen, port: 1}, {type: Listen, port: 2}]
writer: {type: Listen, port: 3}
executors:
  - {collection: a, sources: [{type: Gauge, host: h}]}
  - {collection: b, sources: [{type: Gauge, host: h}], writer: {type: Listen, port: 4}}
  - {collection: c, sources: [{type: Gauge, host: h}], writers: [{type: Listen, port: 5}]}
  - {collection: d, sources: [{type: Gauge, host: h}], writers: []}
""",
    )
    ports = [
        [
            writer.config.port
            for writer in executor.writers
            if isinstance(writer.config, ListenConfig)
        ]
        for executor in config.executors
    ]
    assert ports == [[1, 2, 3], [4], [5], [1, 2, 3]]
    assert config.executors[0].writers[0] is config.executors[3].writers[0]
    assert config.executors[1].writers[0].path == "executors[1].writer"


def test_what_run_only_mentions_does_not_stop_it(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """\
writer: {type: Listen, type: Listen}
threds: 3
executors:
  - collection: c
    sources:
      - {type: Gauge, host: h, description: "costs ${UNSET}"}
      - {type: Gauge, host: i}
      - {type: Gauge, host: i, enabled: false}
      - {type: Broken, enabled: "no"}
      - {type: Gauge, host: i, name: other}
  - {collection: d, sources: []}
""",
    )
    assert described(config.warnings) == [
        "config.yml:1:24: writer.type: is defined twice, first in line 1 (the last one counts)",
        "config.yml:2:1: threds: unknown option (did you mean 'threads'?)",
        "config.yml:6:32: executors[0].sources[0].description: unknown option "
        "(known here: details, dropLabels, enabled, exclusive, fleet, host, keepStale, label, "
        "labels, lines, maxSeries, metrics, name, password, port, renameLabels, tickTime, timeout, "
        "type, user)",
        "config.yml:6:32: executors[0].sources[0].description: variable UNSET is not set "
        "(set it, or write ${UNSET:-default})",
        "config.yml:7:9: executors[0].sources[1]: has the same collection, type and name as "
        "executors[0].sources[0] (their values overwrite each other; give one another name)",
        "config.yml:9:10: executors[0].sources[3].type: "
        "Broken: cannot load broken:BrokenSource: ImportError: no",
        "config.yml:11:21: executors[1].sources: expected at least one source, got an empty list",
    ]
    assert [source.config.name for source in config.executors[0].sources] == [
        None, None, None, "other",
    ]  # fmt: skip


def test_address_of_the_schema_is_for_editors_and_no_mistake(tmp_path: Path) -> None:
    text = '{"$schema": "pollect.schema.json", "writer": {"type": "Listen"}, "executors": ['
    text += '{"collection": "c", "sources": [{"type": "Gauge", "host": "h"}]}]}'
    assert load(tmp_path, text, "config.json").warnings == ()


def test_placeholder_of_a_source_is_not_taken_from_the_environment(tmp_path: Path) -> None:
    text = MINIMAL.replace(
        "host: h", "host: '${HOST}', label: if, lines: ['1.${if}', '$${if}', '${PORT}']"
    )
    config = the_executor(load(tmp_path, text)).sources[0].config
    assert isinstance(config, GaugeConfig)
    assert config.lines == ("1.${if}", "${if}", "8080")
    assert config.host == "box"


def test_secret_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    text = MINIMAL.replace("type: Listen", "type: Listen, token: '${file:token}'")
    config = load(tmp_path, text.replace("host: h", "host: h, user: u, password: geheim"))
    executor = the_executor(config)
    assert executor.writers[0].config == ListenConfig(type="Listen", token=Secret("s3cret"))
    assert not any(secret in repr(config) for secret in SECRETS)


def test_problem_of_a_plugin_carries_its_cause(tmp_path: Path) -> None:
    text = MINIMAL.replace("[{type", "[{type: Gauges}, {type: Broken}, {type")
    with pytest.raises(InvalidConfig) as caught:
        load(tmp_path, text)
    causes = [type(problem.__cause__) for problem in caught.value.problems]
    assert causes == [UnknownPlugin, PluginLoadError]


STATE = {
    "unset": ({"XDG_STATE_HOME": "/s"}, "", "/s/pollect"),
    "systemd": ({"STATE_DIRECTORY": "/var/lib/pollect:/var/lib/x"}, "", "/var/lib/pollect"),
    "absolute": ({"STATE_DIRECTORY": "/s"}, "stateDir: /var/x\n", "/var/x"),
    "relative": ({}, "stateDir: state\n", "{config}/state"),
}


@pytest.mark.parametrize("case", STATE)
def test_state_folder(tmp_path: Path, case: str) -> None:
    environ, option, expected = STATE[case]
    config = load(tmp_path, option + MINIMAL, **environ)
    assert config.state_dir == Path(expected.format(config=tmp_path))


def test_state_folder_is_that_of_the_user_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load(tmp_path, MINIMAL).state_dir == tmp_path / ".local/state/pollect"


HOST = Roots(
    proc=Path("/host/proc"), sys=Path("/host/sys"), dev=Path("/host/dev"), rootfs=Path("/host")
)
ROOTS = {
    "unset": ({}, "", Roots()),
    "environment": ({"POLLECT_ROOT": "/host"}, "", HOST),
    "config": ({}, "roots: {rootfs: /host}\n", HOST),
    "each": (
        {"POLLECT_ROOT": "/elsewhere"},
        "roots: {proc: /host/proc, sys: /host/sys, dev: /host/dev, rootfs: /host}\n",
        HOST,
    ),
    "one": ({}, "roots: {proc: /host/proc}\n", Roots(proc=Path("/host/proc"))),
}


@pytest.mark.parametrize("case", ROOTS)
def test_roots_of_the_host(tmp_path: Path, case: str) -> None:
    environ, option, expected = ROOTS[case]
    assert load(tmp_path, option + MINIMAL, **environ).roots == expected


def test_place_of_a_path_of_the_host() -> None:
    assert HOST.place("/mnt/data") == Path("/host/mnt/data")
    assert HOST.place("/") == Path("/host")
    assert Roots().place("/mnt/data") == Path("/mnt/data")


@pytest.mark.parametrize(
    ("files", "name", "found"),
    [
        (["config.yml", "config.json"], "config", "config.yml"),
        (["config.yaml", "config.json"], "config", "config.yaml"),
        (["config.json"], "config", "config.json"),
        (["config", "config.yml"], "config", "config"),
        (["home.v2.yaml"], "home.v2", "home.v2.yaml"),
        (["home.yaml"], "home.yaml", "home.yaml"),
    ],
)
def test_suffix_may_be_left_out(tmp_path: Path, files: list[str], name: str, found: str) -> None:
    for file in files:
        (tmp_path / file).touch()
    assert find_config(str(tmp_path / name)) == tmp_path / found


def test_folder_is_no_config(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config.json").touch()
    assert find_config(str(tmp_path / "config")) == tmp_path / "config.json"
    (tmp_path / "other.yml").mkdir()
    with pytest.raises(ConfigError, match=r"other\.yml: is a directory, expected a file$"):
        find_config(str(tmp_path / "other.yml"))


def test_config_may_come_through_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert find_config(str(pipe)) == pipe


def test_name_that_no_file_system_takes_is_described() -> None:
    with pytest.raises(ConfigError, match=r"x: cannot be read: File name too long$"):
        find_config("x" * 300)


def test_absent_config_is_told_with_all_names_tried() -> None:
    with pytest.raises(ConfigError) as caught:
        find_config("absent")
    assert str(caught.value) == (
        "no config file, tried absent, absent.yml, absent.yaml, absent.json"
    )
    with pytest.raises(ConfigError, match=r"no config file, tried absent\.yml$"):
        find_config("absent.yml")


def test_config_is_loaded_from_the_variables_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAUGE_HOST", "of the process")
    file = tmp_path / "c.yml"
    file.write_text(MINIMAL.replace("host: h", "host: '${GAUGE_HOST}'"))
    config = the_executor(load_config(file, Types())).sources[0].config
    assert isinstance(config, GaugeConfig)
    assert config.host == "of the process"


def test_data_is_that_of_the_file(tmp_path: Path) -> None:
    data: Mapping[str, object] = load(tmp_path, MINIMAL).data
    assert data["writer"] == {"type": "Listen"}


def test_label_that_another_one_hides_is_reported_once_with_its_place(tmp_path: Path) -> None:
    class LoadSource(GaugeSource):
        metrics = (Metric("load", labels=("time",)),)

    class LoadTypes(Types):
        def source_type(self, word: str) -> type[Source[Any]]:
            return LoadSource

    file = tmp_path / "config.yml"
    file.write_text(
        """\
labels: {time: now, site: here}
writer: {type: Listen}
executors:
  - collection: c
    labels: {"a b": x, "a-b": y}
    sources:
      - {type: Gauge, host: h, name: one, labels: {site: there}}
      - {type: Gauge, host: h, name: two}
""",
        encoding="utf-8",
    )
    config = load_config(file, LoadTypes(), environ=VARIABLES)
    assert described(config.warnings) == [
        "config.yml:1:1: labels: the label 'time' is hidden by the source's own label 'time' "
        "(give it another name)",
        "config.yml:5:5: executors[0].labels: the label 'a-b' is hidden by the label 'a b' "
        "(give it another name)",
    ]


@pytest.mark.parametrize("name", ["", ".", "/"])
def test_a_name_that_is_only_a_folder_is_said_to_be_one(name: str) -> None:
    with pytest.raises(ConfigError, match="is a directory, expected a file"):
        find_config(name)


@pytest.mark.parametrize("digits", ["0x" + "f" * 50_000, "9" * 5_000, "0b" + "1" * 50_000])
def test_an_integer_that_python_will_not_show_is_no_number(tmp_path: Path, digits: str) -> None:
    with pytest.raises(InvalidConfig, match="tickTime: expected a number"):
        load(tmp_path, f"tickTime: {digits}\n{MINIMAL}")


def test_json_with_an_integer_that_python_will_not_read_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="contains a number with too many digits"):
        load(tmp_path, '{"tickTime": %s}' % ("9" * 5_000), "config.json")


@pytest.mark.parametrize(
    "text",
    ["executors: %s", "%s: 1", "tickTime: %s", "tickTime: 1", "writer: {type: %s}", "writer: %s"],
)
def test_a_message_never_repeats_megabytes_of_the_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load(tmp_path, text.replace("%s", "x" * 1_000_000))
    assert len(str(caught.value)) < 10_000
