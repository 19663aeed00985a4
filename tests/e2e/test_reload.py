"""No config and no plugin in it ends or blocks the daemon that is to take it up."""

import os
import signal
import time
from pathlib import Path

import pytest

from pollect.testing.waiting import wait_until
from tests.e2e.command import LIMIT_SECONDS, PROMPT_SECONDS, Daemon, scrape, start
from tests.simulators.daemons import free_port
from tests.simulators.mosquitto import Broker, listening, running

CONFIG = """\
tickTime: 0.2
executors:
  - collection: house
    sources:
      - {{type: Dummy, value: {value}}}
{sources}writers:
  - {{type: Prometheus, bind: 127.0.0.1, port: {port}}}
{writers}"""
REFUSED = "the config was not reloaded, the old one goes on"

EXTENSIONS = {
    "Exit": "import sys\nclass Exit(Source):\n    def __init__(self, *a):\n        sys.exit(3)\n",
    "AtImport": "class Odd(BaseException): ...\nraise Odd('no')\n",
    "Options": (
        "class Config(SourceConfig, frozen=True):\n    def __post_init__(self):\n"
        "        raise SystemExit(4)\nclass Options(Source):\n    config_type = Config\n"
    ),
    "Hang": "import time\nclass Hang(Source):\n    def __init__(self, *a):\n"
    "        time.sleep(3600)\n",
    "HangAtImport": "import threading\nthreading.Event().wait()\n",
    "Closed": (
        "class Closed(Writer):\n    in_process = True\n    def open(self):\n"
        "        raise ValueError('no such place')\n    def write(self, batches): ...\n"
    ),
    "Moves": (
        "import os, tempfile\nclass Moves(Source):\n    def __init__(self, config, context):\n"
        "        super().__init__(config, context)\n"
        "        with tempfile.TemporaryDirectory() as folder:\n            os.chdir(folder)\n"
        "    def probe(self):\n        return 1.0\nos.chdir('/')\n"
    ),
    "Slow": (
        "import pathlib, time\nclass Slow(Source):\n    def probe(self):\n        return 1.0\n"
        "    def close(self):\n        time.sleep(1)\n        pathlib.Path('closed').touch()\n"
    ),
}


def write_extensions(folder: Path) -> None:
    (folder / "extensions").mkdir(exist_ok=True)
    for name, text in EXTENSIONS.items():
        imports = "from pollect.api import Source, SourceConfig, Writer\n"
        (folder / "extensions" / f"{name}.py").write_text(imports + text)


def write_config(
    folder: Path, port: int, *, value: str = "1", source: str = "", writer: str = ""
) -> Path:
    file = folder / "config.yml"
    sources = f"      - {source}\n" if source else ""
    writers = f"  - {writer}\n" if writer else ""
    file.write_text(CONFIG.format(value=value, port=port, sources=sources, writers=writers))
    return file


def assert_goes_on_and_stops(daemon: Daemon, port: int) -> None:
    assert "house_Dummy 1.0\n" in scrape(port)
    began = time.monotonic()
    assert daemon.stop() == 0
    assert time.monotonic() - began < PROMPT_SECONDS


@pytest.mark.parametrize(
    ("section", "mistake"),
    [
        (
            {"value": '"${file:/dev/zero}"'},
            ":5:23: executors[0].sources[0].value: "
            "cannot read /dev/zero: expected a file, got a device",
        ),
        (
            {"value": '"${file:pipe}"'},
            ":5:23: executors[0].sources[0].value: cannot read pipe: expected a file, got a pipe",
        ),
        (
            {"source": "{type: extensions.Exit}"},
            ":6:9: executors[0].sources[1]: extensions.Exit fails to start: SystemExit: 3",
        ),
        (
            {"source": "{type: extensions.AtImport}"},
            ":6:10: executors[0].sources[1].type: "
            "extensions.AtImport: importing extensions.AtImport failed: Odd: no",
        ),
        (
            {"source": "{type: extensions.Options}"},
            ":6:9: executors[0].sources[1]: fails to check its options: SystemExit: 4",
        ),
        ({"writer": "{type: extensions.Closed}"}, "extensions.Closed"),
    ],
    ids=["device", "pipe", "exit", "import", "options", "open"],
)
def test_config_that_cannot_be_used_leaves_the_old_one_running(
    tmp_path: Path, section: dict[str, str], mistake: str
) -> None:
    port = free_port()
    os.mkfifo(tmp_path / "pipe")
    write_extensions(tmp_path)
    write_config(tmp_path, port)
    with start("run", folder=tmp_path) as daemon:
        daemon.wait_for("listening on")
        write_config(tmp_path, port, **section)
        daemon.send(signal.SIGHUP)
        daemon.wait_for(mistake, after=REFUSED)
        daemon.wait_for("config.yml", after=REFUSED)
        assert_goes_on_and_stops(daemon, port)


def test_a_plugin_that_changes_the_working_directory_is_in_no_reload_s_way(tmp_path: Path) -> None:
    port = free_port()
    write_extensions(tmp_path)
    write_config(tmp_path, port, source="{type: extensions.Moves}")
    with start("run", folder=tmp_path) as daemon:
        daemon.wait_for("listening on")
        write_config(tmp_path, port, value="2", source="{type: extensions.Moves}")
        daemon.send(signal.SIGHUP)
        daemon.wait_for("reloaded: ")
        wait_until(lambda: "house_Dummy 2" in scrape(port))
        write_config(tmp_path, port, value="[]", source="{type: extensions.Moves}")
        daemon.send(signal.SIGHUP)
        daemon.wait_for(f"{tmp_path / 'config.yml'}:")
        assert daemon.stop() == 0


@pytest.mark.parametrize("kind", ["anchors", "50 MB", "nested"])
def test_config_that_fills_the_memory_leaves_the_old_one_running(tmp_path: Path, kind: str) -> None:
    port = free_port()
    file = write_config(tmp_path, port)
    nine = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
    )
    texts = {
        "anchors": nine,
        "50 MB": "      # nothing but words\n" * 2_000_000,
        "nested": "a: " + "[" * 100_000,
    }
    problems = {
        "anchors": "stands for more than 1,000,000 values",
        "50 MB": "it is larger than 8 MB",
        "nested": "is nested too deeply",
    }
    with start("run", folder=tmp_path) as daemon:
        daemon.wait_for("listening on")
        file.write_text(file.read_text() + texts[kind])
        daemon.send(signal.SIGHUP)
        daemon.wait_for(problems[kind])
        assert_goes_on_and_stops(daemon, port)


@pytest.mark.parametrize("extension", ["Hang", "HangAtImport"])
def test_signal_to_stop_is_obeyed_while_a_reload_hangs(tmp_path: Path, extension: str) -> None:
    port = free_port()
    write_extensions(tmp_path)
    write_config(tmp_path, port)
    with start("run", folder=tmp_path) as daemon:
        daemon.wait_for("listening on")
        announce_import(tmp_path, extension)
        write_config(tmp_path, port, source=f"{{type: extensions.{extension}}}")
        daemon.send(signal.SIGHUP)
        daemon.wait_for("at it")
        for _ in range(300):
            daemon.send(signal.SIGHUP)
        assert_goes_on_and_stops(daemon, port)


def announce_import(folder: Path, extension: str) -> None:
    """Let an extension print `at it` when it is imported."""
    module = folder / "extensions" / f"{extension}.py"
    module.write_text(f"print('at it', flush=True)\n{module.read_text()}")


def test_one_record_for_each_mistake(tmp_path: Path) -> None:
    port = free_port()
    write_config(tmp_path, port)
    with start("run", "--log-format", "json", folder=tmp_path) as daemon:
        daemon.wait_for("listening on")
        write_config(tmp_path, port, source="{type: Dumy}", writer="{type: Promtheus}")
        daemon.send(signal.SIGHUP)
        daemon.wait_for("Promtheus")
        lines = [line for line in daemon.output.splitlines() if '"level": "error"' in line]
        assert [("Dumy" in line, "Promtheus" in line) for line in lines] == [
            (False, False),
            (True, False),
            (False, True),
        ]
        assert daemon.stop() == 0


@pytest.mark.parametrize("extension", ["Hang", "HangAtImport"])
def test_signal_to_stop_is_obeyed_while_a_start_hangs(tmp_path: Path, extension: str) -> None:
    write_extensions(tmp_path)
    source = f"{{type: extensions.{extension}}}"
    write_config(tmp_path, free_port(), source=source)
    announce_import(tmp_path, extension)
    with start("run", folder=tmp_path) as daemon:
        daemon.wait_for("at it")
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < PROMPT_SECONDS
    assert "stopped while it started" in daemon.output


def test_entities_of_home_assistant_stay_while_a_removed_source_closes_slowly(
    tmp_path: Path,
) -> None:
    port = free_port()
    write_extensions(tmp_path)
    with running(Broker(tmp_path)) as broker, listening(broker.port) as listener:
        mqtt = f"{{type: Mqtt, port: {broker.port}, hassAutodiscovery: true}}"
        write_config(tmp_path, port, source="{type: extensions.Slow}", writer=mqtt)

        def entities() -> dict[str, str]:
            found = listener.latest().items()
            return {topic: text for topic, text in found if topic.startswith("homeassistant/")}

        with start("run", folder=tmp_path) as daemon:
            wait_until(lambda: len(entities()) == 2, "both", limit_seconds=LIMIT_SECONDS)
            stays, goes = sorted(entities(), key=lambda topic: "Slow" in entities()[topic])
            assert "Dummy" in entities()[stays]
            before = len(listener.messages)
            write_config(tmp_path, port, writer=mqtt)
            daemon.send(signal.SIGHUP)
            wait_until((tmp_path / "closed").exists, "the slow end", limit_seconds=LIMIT_SECONDS)
            listener.wait_for(goes, "")
            listener.catch_up()
            seen = [(topic, payload) for _, _, topic, payload in listener.messages[before:]]
            assert daemon.stop() == 0
    assert (stays, "") not in seen, "it would be gone from Home Assistant, with all it is used in"
    unavailable = [topic for topic, text in seen if topic.endswith("status") and text != "online"]
    assert [topic for topic in unavailable if "slow" not in topic.lower()] == []
