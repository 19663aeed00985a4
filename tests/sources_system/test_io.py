import os
import shutil
from pathlib import Path

import psutil
import pytest

from pollect.api import Roots
from pollect.testing import FakeClock, build_source
from pollect_sources_system.io import IOSource
from tests.sources_system.node_exporter import NodeExporter
from tests.sources_system.readings import read

SECTOR_BYTES = 512
RATES = ("reads_sec", "writes_sec", "read_bytes_sec", "write_bytes_sec")


def open_source(proc: Path, clock: FakeClock | None = None, **section: object) -> IOSource:
    source = build_source(section, IOSource, roots=Roots(proc=proc), clock=clock or FakeClock())
    source.open()
    return source  # type: ignore[return-value]


def write_disk(proc: Path, *fields: int, name: str = "sda") -> None:
    """Let the kernel show one disk: reads, merged, sectors, ms; the same for writes; io, ms, ms."""
    (proc / "diskstats").write_text(f"   8 0 {name} {' '.join(map(str, fields))}\n")


def test_recorded_machine_has_its_totals(recorded_proc: Path) -> None:
    found = read(open_source(recorded_proc, includeTotal=True, include=["sda", "nvme0n1"]))
    assert found["total_read_count", "sda"] == 25354637
    assert found["total_read_bytes", "sda"] == 513713216512
    assert {label for _, label in found} == {"sda", "nvme0n1"}


def test_first_probe_gives_nothing_and_the_second_the_rates(tmp_path: Path) -> None:
    clock = FakeClock()
    source = open_source(tmp_path, clock)
    write_disk(tmp_path, 100, 0, 1000, 50, 200, 0, 2000, 60, 0, 100, 110)
    assert read(source) == {}
    clock.advance(2)
    write_disk(tmp_path, 110, 0, 1100, 90, 240, 0, 2200, 100, 0, 600, 610)
    assert read(source) == {
        ("reads_sec", "sda"): 5.0,
        ("writes_sec", "sda"): 20.0,
        ("read_bytes_sec", "sda"): 50.0 * SECTOR_BYTES,
        ("write_bytes_sec", "sda"): 100.0 * SECTOR_BYTES,
    }


def test_latency_is_reported_on_request(tmp_path: Path) -> None:
    clock = FakeClock()
    source = open_source(tmp_path, clock, latency=True)
    write_disk(tmp_path, 100, 0, 1000, 50, 200, 0, 2000, 60, 0, 100, 110)
    read(source)
    clock.advance(2)
    write_disk(tmp_path, 110, 0, 1100, 90, 200, 0, 2000, 60, 0, 600, 610)
    found = read(source)
    assert found["busy_percent", "sda"] == 25.0
    assert found["read_latency_ms", "sda"] == 4.0
    assert ("write_latency_ms", "sda") not in found, "there was no write"


def test_busy_time_beyond_the_interval_is_at_most_all_of_it(tmp_path: Path) -> None:
    clock = FakeClock()
    source = open_source(tmp_path, clock, latency=True)
    write_disk(tmp_path, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    read(source)
    clock.advance(1)
    write_disk(tmp_path, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1004, 1004)
    assert read(source)["busy_percent", "sda"] == 100.0


def test_host_without_disks_reports_nothing(tmp_path: Path) -> None:
    (tmp_path / "diskstats").write_text("")
    assert read(open_source(tmp_path)) == {}


@pytest.mark.integration
def test_totals_agree_with_node_exporter(node_exporter: NodeExporter) -> None:
    disk = next((name for name in psutil.disk_io_counters(perdisk=True)), None)
    if disk is None:
        pytest.skip("this host has no block device")
    pairs = {
        "total_read_count": "node_disk_reads_completed_total",
        "total_write_count": "node_disk_writes_completed_total",
        "total_read_bytes": "node_disk_read_bytes_total",
        "total_write_bytes": "node_disk_written_bytes_total",
    }
    busiest = max(
        (labels for name, labels in node_exporter.scrape() if name == pairs["total_write_bytes"]),
        key=lambda labels: node_exporter.value(pairs["total_write_bytes"], **dict(labels)),
    )
    disk = dict(busiest)["device"]
    source = open_source(Path("/proc"), include=[disk], includeTotal=True)
    before = {name: node_exporter.value(theirs, device=disk) for name, theirs in pairs.items()}
    found = read(source)
    for name, theirs in pairs.items():
        after = node_exporter.value(theirs, device=disk)
        assert before[name] <= found[name, disk.replace(".", "_")] <= after, name


def test_written_file_shows_up_in_the_rates(tmp_path: Path) -> None:
    if os.major(tmp_path.stat().st_dev) == 0:
        pytest.skip("the temporary folder is on no block device")
    size = 4 * 2**20
    clock = FakeClock()
    source = open_source(Path("/proc"), clock)
    read(source)
    file = tmp_path / "data"
    with file.open("wb") as stream:
        stream.write(os.urandom(size))
        stream.flush()
        os.fsync(stream.fileno())
    clock.advance(1)
    found = read(source)
    shutil.rmtree(tmp_path, ignore_errors=True)
    written = [value for (name, _), value in found.items() if name == "write_bytes_sec"]
    if not written or not Path("/proc/diskstats").read_text():
        pytest.skip("this host has no block device")
    assert max(written) >= size


@pytest.mark.parametrize(
    "line", ["   8 16 sdb 1 2", "garbage", "   8 16 sdb a b c d e f g h i j k"]
)
def test_line_that_makes_no_sense_costs_only_itself(tmp_path: Path, line: str) -> None:
    write_disk(tmp_path, *range(1, 12))
    file = tmp_path / "diskstats"
    file.write_text(f"{line}\n{file.read_text()}")
    source = open_source(tmp_path, includeTotal=True)
    assert read(source)["total_read_count", "sda"] == 1
    assert source.troubles.texts() == (
        f"block devices: cannot make sense of the line {line.strip()!r}",
    )


def test_partition_of_an_old_kernel_has_four_columns(tmp_path: Path) -> None:
    write_disk(tmp_path, 3, 8, 5, 16, name="sda1")
    found = read(open_source(tmp_path, includeTotal=True))
    assert found["total_read_bytes", "sda1"] == 8 * 512
    assert found["total_write_count", "sda1"] == 5


def test_devices_that_would_share_a_label_are_told_apart(tmp_path: Path) -> None:
    write_disk(tmp_path, *[1] * 11, name="a.b")
    text = (tmp_path / "diskstats").read_text()
    write_disk(tmp_path, *[2] * 11, name="a_b")
    (tmp_path / "diskstats").write_text(text + (tmp_path / "diskstats").read_text())
    found = read(open_source(tmp_path, includeTotal=True))
    assert found["total_read_count", "a.b"] == 1
    assert found["total_read_count", "a_b"] == 2
