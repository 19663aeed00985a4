"""1.x and pollect on one config: every series of 1.x is there, with equal names and labels."""

import contextlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pollect.testing.waiting import wait_until
from tests.e2e.command import LIMIT_SECONDS, scrape, start
from tests.simulators.daemons import free_port

#: For some ticks of one second, on a busy machine.
ENOUGH_SECONDS = 10.0
OLD_PYTHON = Path(".bench/1x/bin/python").absolute()

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not OLD_PYTHON.exists(), reason="pollect 1.x is not in .bench/1x; `make test` puts it there"
    ),
]

CONFIG = """\
tickTime: 1
writer:
  type: Prometheus
  port: {port}
executors:
  - collection: pollect
    sources:
      - type: LoadAvg
        description: a key that nobody reads
      - type: MemoryUsage
        name: main
        labels: {{site: "${{HOME}}", rack: r1}}
      - type: DiskUsage
        disks: ["/", "/tmp"]
      - type: Process
        name: the-test.process
        procRegex: "{marker}"
        labels: {{b: two, a: one}}
  - collection: other.one
    tickTime: 1
    sources:
      - type: Interface
        includeTotal: true
        exclude: [no-such-card]
      - type: IO
      - type: LoadAvg
        name: second
"""

LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
Series = set[tuple[str, tuple[tuple[str, str], ...]]]


def series_of(port: int) -> Series:
    """Return the series as they are written; parsers append `_total` to the names of counters."""
    lines = [line for line in scrape(port).splitlines() if not line.startswith("#")]
    series = (line.rpartition(" ")[0].partition("{") for line in lines)
    return {(name, tuple(sorted(LABEL.findall(labels)))) for name, _, labels in series}


@pytest.fixture
def marked_process() -> Iterator[str]:
    """A process with an unmistakable command line."""
    marker = "the process that both of them watch"
    code = "import sys; sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, marker], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    yield marker
    process.communicate()


def collect_until(port: int, complete: Callable[[Series], bool]) -> Series:
    """Scrape until `complete` or for some seconds; a rate takes two probes."""
    latest: Series = set()

    def scraped() -> bool:
        nonlocal latest
        with contextlib.suppress(OSError):
            latest = series_of(port)
        return complete(latest)

    with contextlib.suppress(AssertionError):
        wait_until(scraped, limit_seconds=ENOUGH_SECONDS)
    return latest


def test_every_series_of_1x_exists_with_equal_names_and_labels(
    tmp_path: Path, marked_process: str
) -> None:
    old_port, new_port = free_port(), free_port()
    old_file, new_file = tmp_path / "old.yml", tmp_path / "new.yml"
    old_file.write_text(CONFIG.format(port=old_port, marker=marked_process))
    new_file.write_text(CONFIG.format(port=new_port, marker=marked_process))

    old = subprocess.Popen(
        [OLD_PYTHON, "-m", "pollect.Pollect", "--config", old_file],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        expected = collect_until(
            old_port,
            lambda found: any(name == "other_one_Interface_recv_bytes_sec" for name, _ in found),
        )
    finally:
        old.terminate()
        old.wait(LIMIT_SECONDS)

    names = {name for name, _ in expected}
    for part in ("pollect_LoadAvg", "pollect_MemoryUsage_main", "pollect_DiskUsage"):
        assert part in names
    assert "pollect_Process_the_test_process_load_percent" in names
    assert "python_info" in names

    with start("run", "-c", new_file, folder=tmp_path):
        found = collect_until(new_port, expected.issubset)
    assert expected - found == set()
