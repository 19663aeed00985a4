from pathlib import Path
from typing import Any

import pytest
import yaml

from pollect.api import ConfigError, Roots, Suggestion
from pollect.cli.init import PRINT, find_suggestions, format_config, write_config
from pollect.discovery.registry import Registry
from tests.tools.distributions import write_distribution

PLUGIN = """
from pollect.api import Source, SourceSpec, Suggestion, hookimpl

@hookimpl
def pollect_sources():
    return [SourceSpec("Tide", "tide:TideSource", extra="sea"), SourceSpec("Wave", "tide:Wave")]

@hookimpl
def pollect_suggestions(roots):
    return [
        Suggestion("source", {"type": "Wave", "host": str(roots.proc)}, "The waves."),
        Suggestion("source", {"type": "Tide"}, "The tide."),
    ]
"""


def source(comment: str = "What it shows.", caveat: str = "", **section: Any) -> Suggestion:
    return Suggestion("source", section, comment, caveat)


def test_config_is_what_was_suggested() -> None:
    disks: dict[str, Any] = {
        "type": "IO",
        "exclude": ["loop*", "ram*"],
        "labels": {"a": "yes", "b": 1},
    }
    config = yaml.safe_load(
        format_config([PRINT, source(**disks), source(type="Process", procRegex="a: [b]# 'c'")])
    )
    assert config["writers"] == [{"type": "DryRun"}]
    assert config["executors"] == [
        {
            "collection": "pollect",
            "sources": [disks, {"type": "Process", "procRegex": "a: [b]# 'c'"}],
        }
    ]


def test_what_cannot_run_is_a_comment_that_runs_once_its_marks_are_taken_away() -> None:
    text = format_config(
        [PRINT, source(type="Cpu"), source(type="Zfs", arc=True, caveat="no zpool")]
    )
    assert "# Not used yet: no zpool." in text
    assert [item["type"] for item in yaml.safe_load(text)["executors"][0]["sources"]] == ["Cpu"]
    whole = text.replace("      # - type", "      - type").replace("      #   arc", "        arc")
    sources = yaml.safe_load(whole)["executors"][0]["sources"]
    assert sources == [{"type": "Cpu"}, {"type": "Zfs", "arc": True}]


def test_comments_are_wrapped() -> None:
    text = format_config([PRINT, source(comment="word " * 100, type="Cpu")])
    assert max(map(len, text.splitlines())) <= 96


def test_plugins_are_asked_with_the_hosts_roots_and_judged(site: Path) -> None:
    write_distribution(
        site,
        "pollect-tide",
        modules={"tide.py": PLUGIN},
        plugin="tide",
        extras={"sea": ["no-such-sea>=1"]},
    )
    found = list(find_suggestions(Registry(), Roots(proc=Path("/host/proc"))))
    wave = next(item for item in found if item.section["type"] == "Wave")
    assert wave.section["host"] == "/host/proc"
    assert not wave.caveat
    tide = next(item for item in found if item.section["type"] == "Tide")
    assert "pollect-tide[sea]" in tide.caveat


@pytest.mark.parametrize(
    "returned", ["1 / 0", "[Suggestion('source', {'type': 'NoSuch'}, 'Nothing.')]"]
)
def test_plugin_that_suggests_rubbish_is_left_out_and_named(
    site: Path, caplog: pytest.LogCaptureFixture, returned: str
) -> None:
    code = f"""
from pollect.api import Suggestion, hookimpl

@hookimpl
def pollect_suggestions():
    return {returned}
"""
    write_distribution(site, "pollect-odd", modules={"odd.py": code}, plugin="odd")
    assert any(item.kind == "writer" for item in find_suggestions(Registry(), Roots()))
    assert "pollect-odd suggests nothing" in caplog.text


def test_existing_file_is_kept_unless_forced(tmp_path: Path) -> None:
    file = tmp_path / "config.yml"
    file.write_text("mine")
    with pytest.raises(ConfigError, match="is there already") as caught:
        write_config(file, "new", force=False)
    assert "--force" in caught.value.hint
    assert file.read_text() == "mine"
    write_config(file, "new", force=True)
    assert file.read_text() == "new"


def test_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot write .*No such file or directory"):
        write_config(tmp_path / "absent" / "config.yml", "new", force=False)
