"""1.x and pollect on one config: every series of 1.x is there, with equal names and labels."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.beside_1x import check_that_none_is_missing, collect_until, needs_1x, old_pollect
from tests.simulators.daemons import free_port

pytestmark = [pytest.mark.integration, needs_1x()]

CONFIG = """\
tickTime: 1
writer:
  type: Prometheus
  port: {port}
executors:
  - collection: pollect
    sources:
      - type: LoadAvg
        description: a key that is not used
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

#: What takes two probes of 1.x, one of each source that has such.
RATES_OF_1X = (
    "other_one_Interface_recv_bytes_sec",
    "pollect_Process_the_test_process_load_percent",
)


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


def test_every_series_of_1x_exists_with_equal_names_and_labels(
    tmp_path: Path, marked_process: str
) -> None:
    old_port, new_port = free_port(), free_port()
    old_file, new_file = tmp_path / "old.yml", tmp_path / "new.yml"
    old_file.write_text(CONFIG.format(port=old_port, marker=marked_process))
    new_file.write_text(CONFIG.format(port=new_port, marker=marked_process))

    with old_pollect(old_file):
        expected = collect_until(
            old_port,
            lambda found: {name for name, _ in found} >= set(RATES_OF_1X),
        )

    names = {name for name, _ in expected}
    for part in ("pollect_LoadAvg", "pollect_MemoryUsage_main", "pollect_DiskUsage"):
        assert part in names
    assert names >= set(RATES_OF_1X)
    assert "python_info" in names
    check_that_none_is_missing(new_file, new_port, expected)
