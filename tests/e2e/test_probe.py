"""`pollect probe`: one look at a source."""

import json
import re
from pathlib import Path

import pytest

from tests.e2e.command import call
from tests.tools.distributions import write_distribution

CONFIG = """\
labels: {site: here}
writers: [{type: NotInstalledHere, port: 80}]
executors:
  - collection: house
    sources:
      - {type: Dummy, name: first, value: 1}
      - {type: Dummy, name: second, fail: out of order}
"""

PLUGIN = """
import time
from pollect.api import Metric, NoData, Source, TargetUnavailable, hookimpl

class SecondSource(Source):
    "Has a rate, from its second probe on."
    metrics = (Metric("rate", unit="bytes_per_second"),)
    probes = 0
    def probe(self):
        self.probes += 1
        if self.probes == 1:
            raise NoData("a rate needs two probes")
        return {"rate": self.probes}

class AsyncSource(Source):
    "Lives on an event loop."
    async def open(self):
        self.opened = 5
    async def probe(self):
        return self.opened

class BuggySource(Source):
    "Has a programming error."
    def probe(self):
        return {}["gone"]

class TroubledSource(Source):
    "Reads two discs, one of which does not answer."
    def probe(self):
        with self.troubles.part("sdb"):
            raise TargetUnavailable("input/output error")
        return 7

class HangSource(Source):
    "Never returns."
    def probe(self):
        time.sleep(3600)

@hookimpl
def pollect_sources():
    return [SecondSource, AsyncSource, BuggySource, TroubledSource, HangSource]
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    site = tmp_path / "site"
    write_distribution(site, "pollect-odd", modules={"odd.py": PLUGIN}, plugin="odd")
    return {"PYTHONPATH": str(site)}


def test_table_has_name_labels_and_a_value_that_people_can_read() -> None:
    done = call("probe", "Dummy", "value=290574123008", "labels.room=attic")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["NAME", "LABELS", "VALUE"],
        ["pollect_Dummy", "room=attic", "291", "G"],
    ]
    table = call("probe", "MemoryUsage").stdout
    assert re.search(r"pollect_MemoryUsage +type=total +[\d.]+ [GM]iB$", table, re.MULTILINE)
    (total,) = (
        sample["value"]
        for sample in json.loads(call("probe", "MemoryUsage", "--json").stdout)[0]["samples"]
        if sample["labels"] == {"type": "total"}
    )
    assert total > 1e6


def test_json_has_everything_that_is_known() -> None:
    done = call("probe", "--json", "Dummy", "name=x", "values={a: 1.5, b: 2}", "metrics.include=a")
    (found,) = json.loads(done.stdout)
    assert found.pop("duration_seconds") >= 0
    assert found == {
        "collection": "pollect",
        "type": "Dummy",
        "name": "x",
        "outcome": "ok",
        "error": None,
        "troubles": [],
        "samples": [
            {
                "name": "pollect_Dummy_x_a",
                "labels": {},
                "value": 1.5,
                "unit": None,
                "kind": "gauge",
                "help": "A value of the config.",
            }
        ],
    }


def test_source_that_fails_says_why_and_exits_with_1() -> None:
    done = call("probe", "Dummy", "fail=out of order")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "pollect/Dummy: failed: out of order\n"


def test_text_on_the_command_line_stays_as_it_is_written() -> None:
    words = ("value=1", "labels.room=007", "labels.open=yes")
    (found,) = json.loads(call("probe", "--json", "Dummy", *words).stdout)
    assert found["samples"][0]["labels"] == {"room": "007", "open": "yes"}


def test_config_is_probed_whole_or_by_source_and_without_its_writers(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text(CONFIG)
    whole = call("probe", "-c", "config", folder=tmp_path)
    assert whole.returncode == 1
    assert whole.stderr == "house/Dummy/second: failed: out of order\n"
    assert whole.stdout.splitlines()[1].split() == ["house_Dummy_first", "site=here", "1"]
    for word in ("first", "Dummy/first", "house/Dummy/first"):
        assert call("probe", "-c", "config", word, folder=tmp_path).returncode == 0
    unknown = call("probe", "-c", "config", "third", folder=tmp_path)
    assert unknown.returncode == 2
    assert unknown.stderr == (
        "config.yml: no source 'third' (there are: house/Dummy/first, house/Dummy/second)\n"
    )


def test_source_with_nothing_to_say_yet_is_probed_a_second_time(environ: dict[str, str]) -> None:
    done = call("probe", "Second", environ=environ)
    assert done.returncode == 0
    assert done.stdout.splitlines()[1].split() == ["pollect_Second_rate", "2", "B/s"]


def test_wait_asks_for_the_second_probe(environ: dict[str, str]) -> None:
    done = call("probe", "--wait", "0.1", "Second", environ=environ)
    assert done.stdout.splitlines()[1].split()[1] == "2"


def test_source_on_an_event_loop_is_probed_too(environ: dict[str, str]) -> None:
    done = call("probe", "Async", environ=environ)
    assert done.stdout.splitlines()[1].split() == ["pollect_Async", "5"]


def test_bug_in_a_source_is_one_line(environ: dict[str, str]) -> None:
    done = call("probe", "Buggy", environ=environ)
    assert (done.returncode, done.stderr) == (1, "pollect/Buggy: bug: KeyError: 'gone'\n")


def test_source_that_never_returns_is_given_up(environ: dict[str, str]) -> None:
    done = call("probe", "Hang", "timeout=0.2", environ=environ)
    assert done.returncode == 1
    assert done.stderr == "pollect/Hang: timed out: did not return within 0.2 seconds\n"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("Dummy", "valeu=1"), 2, "valeu: unknown option (did you mean 'value'?)\n"),
        (("Dummy", "count=x"), 2, "count: expected a whole number"),
        (("Dumy",), 3, "type: unknown source type 'Dumy' (did you mean 'Dummy'?)\n"),
        (("Dummy", "value"), 2, "expected KEY=VALUE behind the type, got 'value'"),
        (("Dummy", "labels=x", "labels.a=1"), 2, "'labels' is given with and without options"),
        ((), 2, "name a TYPE to probe, or a config with -c FILE"),
    ],
)
def test_mistake_on_the_command_line_is_named(
    words: tuple[str, ...], code: int, message: str
) -> None:
    done = call("probe", *words)
    assert done.returncode == code
    assert message in done.stderr


def test_mistake_that_only_the_source_finds_is_named_by_its_option() -> None:
    done = call("probe", "Process", "procRegex=[")
    assert done.returncode == 2
    assert done.stderr.startswith("procRegex: '[' is not a regular expression")


def test_a_source_in_trouble_shows_its_values_and_what_is_wrong(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    done = call("probe", "Troubled", environ=environ)
    assert done.returncode == 1
    assert "pollect_Troubled" in done.stdout
    assert done.stderr.splitlines()[-1] == "pollect/Troubled: troubled: sdb: input/output error"
    done = call("probe", "--json", "Troubled", environ=environ)
    assert done.returncode == 1
    (found,) = json.loads(done.stdout)
    assert (found["outcome"], found["error"]) == ("troubled", None)
    assert found["troubles"] == ["sdb: input/output error"]
    assert [sample["value"] for sample in found["samples"]] == [7]
    config = tmp_path / "config.yml"
    config.write_text(
        "executors: [{collection: c, sources: [{type: Troubled}]}]\nwriter: {type: InMemory}\n"
    )
    assert call("run", "--once", folder=tmp_path, environ=environ).returncode == 1
