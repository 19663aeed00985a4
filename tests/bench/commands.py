"""How long short commands take, as a user feels them."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.daemons import old_pollect
from tests.bench.table import OLD, OURS, Row

RUNS = 9


def duration(*command: str) -> float:
    """Return the median duration of a command in seconds."""
    durations = []
    for _ in range(RUNS):
        began = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        durations.append(time.perf_counter() - began)
    return statistics.median(durations)


def run() -> list[Row]:
    """Measure `--version` and `plugins list`."""
    pollect = str(Path(sys.executable).with_name("pollect"))
    version: dict[str, float | None] = {OURS: duration(pollect, "--version")}
    python = old_pollect()
    if python:
        version[OLD] = duration(str(python.with_name("pollect")), "--version")
    listing: dict[str, float | None] = {OURS: duration(pollect, "plugins", "list")}
    return [
        Row("pollect --version", "s", version, goal=0.12),
        Row("pollect plugins list", "s", listing, goal=0.25),
    ]
