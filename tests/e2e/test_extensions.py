"""Extensions through the real command: from the config's folder, the working folder, PYTHONPATH."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from pollect.testing.waiting import wait_until
from tests.e2e.command import POLLECT, call, scrape, start
from tests.simulators.daemons import free_port

EXAMPLES = Path(__file__).parents[2] / "examples"

#: How 1.x is started: by the script, and as the container image does it.
COMMANDS = {
    "script": (POLLECT, "run", "-c"),
    "1.x": (sys.executable, "-m", "pollect.Pollect", "-c"),
}

OLD_STYLE = """
from pollect.core.ValueSet import Value, ValueSet
from pollect.sources.Source import Source
from pollect.writers.Writer import Writer

class TideSource(Source):
    def __init__(self, data):
        super().__init__(data)
        self.values = ValueSet(['pier'])
        self.values.add(Value(data['level'], [data.get('piers')[0]], 'level'))

    def _probe(self):
        return self.values

class LineWriter(Writer):
    def write(self, data, source_ref=None):
        for found in data:
            for value in found.values:
                print('LINE', found.name, value.name, value.value, found.labels, value.label_values)
"""

CONFIG = """\
tickTime: 0.1
writers:
  - {type: extensions.Line}
executors:
  - collection: harbour
    sources:
      - type: extensions.Tide
        labels: {site: x}
        level: 2.5
        piers: ["${PIER}"]
        description: kept as it is
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_of_the_manual_are_served(tmp_path, command) -> None:
    """Unmodified, from the folder of the config, while the working directory is another."""
    port = free_port()
    shutil.copytree(EXAMPLES / "extensions", tmp_path / "config" / "extensions")
    config = (EXAMPLES / "extensions.yml").read_text().replace("8000", str(port))
    file = tmp_path / "config" / "extensions.yml"
    file.write_text(config)
    with start(file, folder=tmp_path, command=COMMANDS[command]) as daemon:
        names = ("SingleRandom", "MultiRandom_a", "MultiRandom_b")
        lines = [rf"^example_extensions_{name} \d+\.\d+" for name in names]

        def served() -> bool:
            assert daemon.process.poll() is None, daemon.output
            try:
                text = scrape(port)
            except OSError:
                return False
            return all(re.search(line, text, re.MULTILINE) for line in lines)

        wait_until(served, "the values of the examples")
        assert daemon.stop() == 0


@pytest.mark.parametrize("place", ["config", "working", "PYTHONPATH"])
def test_an_old_source_and_an_old_writer_from_each_place(tmp_path, place) -> None:
    folders = {name: tmp_path / name for name in ("config", "working", "PYTHONPATH")}
    for folder in folders.values():
        folder.mkdir()
    extensions = folders[place] / "extensions"
    extensions.mkdir()
    for name in ("TideSource", "LineWriter"):
        (extensions / f"{name}.py").write_text(OLD_STYLE)
    file = folders["config"] / "config.yml"
    file.write_text(CONFIG)
    environ = {"PYTHONPATH": str(folders["PYTHONPATH"]), "PIER": "north", "PYTHONUNBUFFERED": "1"}
    line = "LINE harbour.extensions.Tide level 2.5 ['pier', 'site'] ['north', 'x']"
    with start("run", "-c", file, folder=folders["working"], environ=environ) as daemon:
        wait_until(lambda: daemon.output.count(line) > 1, "the written values")
        assert daemon.stop() == 0
    assert set(re.findall("^LINE.*$", daemon.output, re.MULTILINE)) == {line}


def test_an_extension_that_is_nowhere_is_a_mistake_with_its_place(tmp_path) -> None:
    (tmp_path / "config.yml").write_text(CONFIG)
    done = call("check", "config.yml", folder=tmp_path, environ={"PIER": "north"})
    assert done.returncode == 3
    assert "executors[0].sources[0].type: unknown source type 'extensions.Tide'" in done.stderr
    assert str(tmp_path / "extensions" / "TideSource.py") in done.stderr
    assert "Traceback" not in done.stderr


def test_an_extension_that_fails_at_import_is_named_with_its_line(tmp_path) -> None:
    (tmp_path / "config.yml").write_text(CONFIG)
    (tmp_path / "extensions").mkdir()
    (tmp_path / "extensions" / "Tide.py").write_text("import os\nos.nonsense\n")
    (tmp_path / "extensions" / "Line.py").write_text(OLD_STYLE)
    done = call("run", "-c", "config.yml", folder=tmp_path, environ={"PIER": "north"})
    assert done.returncode == 3
    place = tmp_path / "extensions" / "Tide.py"
    assert "extensions.Tide: importing extensions.Tide failed: AttributeError" in done.stderr
    assert f"({place}:2)" in done.stderr
    assert "Traceback" not in done.stderr


NEW_STYLE = """
from typing import Annotated
from msgspec import Meta
from pollect.api import Source, SourceConfig

class GullConfig(SourceConfig, frozen=True, kw_only=True):
    pier: Annotated[str, Meta(description="Where they sit.")]

class GullSource(Source[GullConfig]):
    "Gulls on a pier."
    config_type = GullConfig
    def probe(self):
        return 3
"""


def test_plugins_know_the_extensions_of_a_config(tmp_path: Path) -> None:
    folder = tmp_path / "extensions"
    folder.mkdir()
    (folder / "Gull.py").write_text(NEW_STYLE)
    (folder / "TideSource.py").write_text(OLD_STYLE)
    config = tmp_path / "config.yml"
    config.write_text(
        "executors: [{collection: c, sources: [{type: extensions.Gull, pier: north},"
        " {type: extensions.Tide}, {type: extensions.Crab}]}]\nwriter: {type: DryRun}\n"
    )
    listed = call("plugins", "list", "-c", config).stdout
    rows = [line.split()[:4] for line in listed.splitlines()]
    assert ["extensions.Gull", "source", str(folder / "Gull.py"), "ready"] in rows
    assert ["extensions.Tide", "source", str(folder / "TideSource.py"), "ready"] in rows
    assert re.search(r"^extensions\.Crab +source +an extension +broken", listed, re.M)
    assert "extensions." not in call("plugins", "list", folder=tmp_path).stdout

    shown = call("plugins", "show", "extensions.Gull", "-c", config)
    assert shown.returncode == 0
    words = " ".join(shown.stdout.split())
    assert words.startswith(f"extensions.Gull: source of {folder / 'Gull.py'} Gulls on a pier.")
    assert "pier text required Where they sit." in words
    assert "- type: extensions.Gull pier: ..." in words
    # In the folder of the config it need not be named.
    assert call("plugins", "show", "extensions.Gull", folder=tmp_path).stdout == shown.stdout
    assert call("plugins", "show", "extensions.Tide", "-c", config).returncode == 0
    absent = call("plugins", "show", "extensions.Crab", "-c", config)
    assert absent.returncode == 3
    assert str(folder / "CrabSource.py") in absent.stderr


METERED = """
from pollect.api import Source, SourceConfig
from pollect.support.quota import Quota, shared_budget

class GullConfig(SourceConfig, frozen=True, kw_only=True):
    pass

class GullSource(Source[GullConfig]):
    config_type = GullConfig

    def open(self):
        self._budget = shared_budget(self.context, "Gulls", "north", Quota(1000, 86_400))

    def probe(self):
        self._budget.spend()
        return {"wings": 2}
"""


def test_what_is_left_of_a_quota_is_a_metric_of_the_daemon(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "extensions").mkdir()
    (tmp_path / "extensions" / "Gull.py").write_text(METERED)
    (tmp_path / "config.yml").write_text(
        "executors: [{collection: c, sources: [{type: extensions.Gull}]}]\n"
        f"tickTime: 3600\nstateDir: state\nwriter: {{type: Prometheus, port: {port}}}\n"
    )
    with start("run", "-c", "config.yml", folder=tmp_path) as daemon:
        daemon.wait_for("listening on")
        left = 'pollect_quota_remaining{account="1",service="Gulls",window="86400"} 999.0'
        wait_until(lambda: left in scrape(port).splitlines(), limit_seconds=60)
