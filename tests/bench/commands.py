"""How long short commands take, as a user feels them."""

import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.daemons import old_pollect
from tests.bench.process import POLL_SECONDS, Daemon, daemon, free_port
from tests.bench.table import OLD, OURS, Row

RUNS = 9
RUNS_OF_MANY = 3
#: Sources of a large config; the Http checks of it are never due while it is measured.
MANY = 2000
#: Seconds between two scrapes during a reload: without a pause they would take half of the time.
LOOK_SECONDS = 0.05


def duration(*command: str, runs: int = RUNS) -> float:
    """Return the median duration of a command in seconds."""
    durations = []
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        durations.append(time.perf_counter() - began)
    return statistics.median(durations)


def run() -> list[Row]:
    """Measure `--version` and `plugins list`, and how long many sources take."""
    pollect = str(Path(sys.executable).with_name("pollect"))
    version: dict[str, float | None] = {OURS: duration(pollect, "--version")}
    python = old_pollect()
    if python:
        version[OLD] = duration(str(python.with_name("pollect")), "--version")
    listing: dict[str, float | None] = {OURS: duration(pollect, "plugins", "list")}
    return [
        Row("pollect --version", "s", version, goal=0.08),
        Row("pollect plugins list", "s", listing, goal=0.2),
        *_many_sources(pollect),
    ]


def _many_sources(pollect: str) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yml"
        config.write_text(large_config("Http, url: http://127.0.0.1:9/", 0))
        checked = duration(pollect, "check", str(config), runs=RUNS_OF_MANY)
        starts, reloads = [], []
        for _ in range(RUNS_OF_MANY):
            port = free_port()
            config.write_text(large_config("Dummy, value: 1", port))
            with daemon([pollect, "run", "-c", str(config)], port) as running:
                starts.append(running.first_answer_seconds)
                reloads.append(removal(running, config))
    return [
        Row(f"pollect check, {MANY} sources", "s", {OURS: checked}, goal=1.0),
        Row(
            f"start to first answer, {MANY} sources",
            "s",
            {OURS: statistics.median(starts)},
            goal=1.5,
        ),
        Row(
            f"one source removed from {MANY} at a reload",
            "s",
            {OURS: statistics.median(reloads)},
            goal=0.5,
        ),
    ]


def removal(running: Daemon, config: Path) -> float:
    """Take the last source out of the config; return the seconds until no scrape shows it."""
    lines = config.read_text().splitlines(keepends=True)
    name = f"n{MANY - 1}".encode()
    while name not in running.get():
        time.sleep(POLL_SECONDS)
    config.write_text("".join(lines[:-1]))
    began = time.monotonic()
    running.process.send_signal(signal.SIGHUP)
    while name in running.get():
        time.sleep(LOOK_SECONDS)
    return time.monotonic() - began


def large_config(source: str, port: int) -> str:
    """Return a config of many sources of one type; `source` is the type and its options."""
    sources = "".join(f"      - {{type: {source}, name: n{number}}}\n" for number in range(MANY))
    return (
        f"tickTime: 60\nwriters:\n  - {{type: Prometheus, bind: 127.0.0.1, port: {port}}}\n"
        f"executors:\n  - collection: many\n    sources:\n{sources}"
    )
