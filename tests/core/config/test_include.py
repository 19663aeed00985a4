"""`include:` adds files to a config, and every mistake keeps the place where it is written."""

import os
import sys
from pathlib import Path

import pytest

from pollect.config.config import Config
from pollect.config.load import load_config
from pollect.errors import InvalidConfig
from tests.core.config.fakes import GaugeConfig, Types

MAIN = """\
x-slow: &slow {tickTime: 60}
include: conf.d/*.yml
writer: {type: Listen}
executors:
  - collection: house
    sources: [{type: Gauge, host: h, <<: *slow}]
"""


def load(folder: Path, files: dict[str, str], main: str = MAIN) -> Config:
    for name, text in {"config.yml": main, **files}.items():
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return load_config(folder / "config.yml", Types(), environ={})


def hosts_of(config: Config) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for executor in config.executors:
        for source in executor.sources:
            assert isinstance(source.config, GaugeConfig)
            found.setdefault(executor.collection, []).append(source.config.host)
    return found


def mistakes(folder: Path, files: dict[str, str], main: str = MAIN) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        load(folder, files, main)
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


CELLAR = """\
executors:
  - collection: house
    sources: [{type: Gauge, name: second, host: cellar}]
"""
GARDEN = """\
executors:
  - collection: garden
    tickTime: 5
    sources: [{type: Gauge, host: pond}]
"""


def test_sources_join_the_executor_of_their_collection_and_others_are_added(tmp_path: Path) -> None:
    config = load(tmp_path, {"conf.d/1.yml": CELLAR, "conf.d/2.yml": GARDEN})
    assert hosts_of(config) == {"house": ["h", "cellar"], "garden": ["pond"]}
    assert [executor.tick_time for executor in config.executors] == [10, 5]
    assert config.executors[0].sources[0].config.tick_time == 60


def test_a_main_file_may_leave_everything_to_the_included_ones(tmp_path: Path) -> None:
    writer = "writers: [{type: Listen, port: 1}]\nwriter: {type: Listen, port: 2}\n"
    files = {"parts/a.yaml": GARDEN, "parts/b.json": '{"executors": []}', "parts/c.yml": writer}
    config = load(tmp_path, files, "include: parts\n")
    assert hosts_of(config) == {"garden": ["pond"]}
    assert [writer.config.port for writer in config.executors[0].writers] == [1, 2]  # type: ignore[attr-defined]


def test_mistakes_are_reported_with_the_file_line_and_column_they_are_in(tmp_path: Path) -> None:
    files = {
        "conf.d/1.yml": CELLAR.replace("host: cellar", "port: 0, host: c"),
        "conf.d/2.yml": GARDEN.replace("pond", "[pond]") + "    thread: 1\n",
        "conf.d/3.yml": "writers: [{type: Lisen}]\ntickTime: 3\n",
        "conf.d/4.yml": "executors: [\n",
        "conf.d/5.yml": "- a list\n",
    }
    main = MAIN.replace("host: h", "hots: h")
    found = mistakes(tmp_path, files, main)
    assert [line.partition(": ")[0] for line in found] == [
        "config.yml:6:15",
        "config.yml:6:29",
        "conf.d/1.yml:3:43",
        "conf.d/2.yml:4:29",
        "conf.d/2.yml:5:5",
        "conf.d/3.yml:1:12",
        "conf.d/3.yml:2:1",
        "conf.d/4.yml:2:1",
        "conf.d/5.yml:1:1",
    ]
    assert found[6].endswith(
        "tickTime: an included file has only executors, writers and writer "
        "(put it in the main config)"
    )


def test_a_file_that_is_not_there_is_a_mistake_and_a_pattern_without_files_is_not(
    tmp_path: Path,
) -> None:
    assert hosts_of(load(tmp_path, {})) == {"house": ["h"]}
    main = MAIN.replace("conf.d/*.yml", "[conf.d/*.yml, more.yml]")
    assert mistakes(tmp_path, {}, main) == [
        "config.yml:2:25: include[1]: no file or folder more.yml "
        "(a pattern such as conf.d/*.yml may match nothing)"
    ]


def test_the_name_of_a_file_may_hold_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = MAIN.replace("conf.d/*.yml", "${PARTS}/*.yml")
    monkeypatch.delenv("PARTS", raising=False)
    assert mistakes(tmp_path, {}, main) == [
        "config.yml:2:1: include: variable PARTS is not set (set it, or write ${PARTS:-default})"
    ]
    monkeypatch.setenv("PARTS", str(tmp_path / "parts"))
    file = tmp_path / "config.yml"
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.yml").write_text(GARDEN)
    config = load_config(file, Types(), environ={"PARTS": str(tmp_path / "parts")})
    assert hosts_of(config) == {"house": ["h"], "garden": ["pond"]}


def test_the_config_itself_and_a_file_named_twice_are_read_once(tmp_path: Path) -> None:
    main = MAIN.replace("conf.d/*.yml", '["*.yml", cellar.yml]')
    assert hosts_of(load(tmp_path, {"cellar.yml": CELLAR}, main)) == {"house": ["h", "cellar"]}


def test_spellings_of_included_files_are_kept(tmp_path: Path) -> None:
    house = CELLAR.replace("cellar", "1.10")
    assert hosts_of(load(tmp_path, {"conf.d/a.yml": house})) == {"house": ["h", "1.10"]}


def test_keys_that_begin_with_x_are_ignored_unset_variables_included(tmp_path: Path) -> None:
    config = load(tmp_path, {}, "x-any: ${UNSET_ANYWHERE}\n" + MAIN)
    assert not config.warnings
    assert "x-any" not in config.data


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("~no-such-user/x.yml", "Could not determine home directory"),
        ("conf**/x.yml", "Invalid pattern"),
        ("x" * 300 + ".yml", "File name too long"),
        ("a\\0b.yml", "no file or folder a"),
    ],
)
def test_an_entry_that_cannot_be_looked_for_is_a_mistake_at_its_place(
    tmp_path: Path, entry: str, problem: str
) -> None:
    if problem == "Invalid pattern" and sys.version_info >= (3, 13):
        pytest.skip("Python 3.13 takes ** for * there")
    (mistake,) = mistakes(tmp_path, {}, MAIN.replace("conf.d/*.yml", f'"{entry}"'))
    assert mistake.startswith("config.yml:2:1: include: ")
    assert problem in mistake


@pytest.mark.parametrize("entry", ["5", "1.5", "yes"])
def test_an_entry_that_is_not_text_is_a_mistake_at_its_place(tmp_path: Path, entry: str) -> None:
    (mistake,) = mistakes(tmp_path, {}, MAIN.replace("conf.d/*.yml", f"[conf.d/*.yml, {entry}]"))
    assert mistake.startswith("config.yml:2:25: include[1]: expected a path, got ")


def test_files_that_are_not_ours_to_look_at_are_no_part_of_a_pattern(tmp_path: Path) -> None:
    if not os.access("/proc/1/cwd", os.F_OK):
        assert load(tmp_path, {}, MAIN.replace("conf.d/*.yml", "/proc/1/cw*"))
    else:
        pytest.skip("everything of process 1 is ours to look at")
