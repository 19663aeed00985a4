"""An inventory of 10,000 targets: start, memory, and what one change of it costs."""

import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.process import Daemon, daemon, free_port
from tests.bench.table import OURS, Row

TARGETS = 10_000
PROBED_LIMIT_SECONDS = 120.0
CONFIG = """\
tickTime: 30
writer: {{type: Prometheus, port: {port}, bind: 127.0.0.1}}
executors:
  - collection: bench
    threads: 20
    sources: [{{type: TcpTime, timeout: 1, targets: {{file: targets.json}}}}]
"""
_SHOWN = re.compile(rb"^bench_TcpTime_success\{", re.MULTILINE)


def write_targets(folder: Path, first: str = "127.0.0.1:9") -> None:
    """Write an inventory of closed ports, ten to an entry."""
    addresses = [first, *(f"127.{n // 65025 + 1}.{n // 255 % 255}.{n % 255 + 1}:9"
                          for n in range(1, TARGETS))]  # fmt: skip
    groups = [
        {"targets": addresses[n : n + 10], "labels": {"rack": f"r{n // 10}", "site": "home"}}
        for n in range(0, TARGETS, 10)
    ]
    new = folder / "new"
    new.write_text(json.dumps(groups))
    os.replace(new, folder / "targets.json")


def run() -> list[Row]:
    """Measure one daemon from its start to an inventory with one other target."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        write_targets(folder)
        (folder / "config.yml").write_text(CONFIG.format(port=port))
        pollect = str(Path(sys.executable).with_name("pollect"))
        command = [pollect, "run", "-c", str(folder / "config.yml")]
        with daemon(command, port, path="/-/healthy") as running:
            start, cpu, memory = (
                running.first_answer_seconds, running.cpu_seconds(), running.resident_mb(),
            )  # fmt: skip
            running.path = "/metrics"
            wait_for(running, _SHOWN, TARGETS)
            probed = running.resident_mb()
            time.sleep(5)
            before, began = running.cpu_seconds(), time.monotonic()
            write_targets(folder, "127.0.0.2:9")
            while b'target="127.0.0.2:9"' not in running.get():
                time.sleep(0.5)
            change, seconds = running.cpu_seconds() - before, time.monotonic() - began
    label = f"{TARGETS:,} targets"
    return [
        Row(f"from start to the first answer, {label}", "s", {OURS: start}, goal=2.0),
        Row("CPU until then", "s", {OURS: cpu}),
        Row("resident memory then", "MB", {OURS: memory}, goal=150.0),
        Row("resident memory when all were probed and scraped", "MB", {OURS: probed}, goal=150.0),
        Row("until one changed target is shown", "s", {OURS: seconds}),
        Row("CPU meanwhile, probes and scrapes included", "s", {OURS: change}),
    ]


def wait_for(running: Daemon, pattern: re.Pattern[bytes], count: int) -> None:
    """Wait until a scrape has so many lines that match."""
    ends = time.monotonic() + PROBED_LIMIT_SECONDS
    while len(pattern.findall(running.get())) < count:
        if time.monotonic() > ends:
            raise RuntimeError("not all targets were probed in time")
        time.sleep(1)
