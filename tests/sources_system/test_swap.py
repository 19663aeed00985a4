import os
from pathlib import Path

import pytest

from pollect.api import Roots
from pollect.testing import FakeClock, build_source
from pollect_sources_system.swap import SwapSource
from tests.sources_system.node_exporter import NodeExporter
from tests.sources_system.readings import read

PAGE = os.sysconf("SC_PAGE_SIZE")


def open_source(clock: FakeClock, proc: Path = Path("/proc")) -> SwapSource:
    source = build_source({}, SwapSource, roots=Roots(proc=proc), clock=clock)
    source.open()
    return source  # type: ignore[return-value]


def write_swap(proc: Path, pages_in: int, pages_out: int) -> None:
    (proc / "meminfo").write_text("SwapTotal: 2000 kB\nSwapFree: 1500 kB\n")
    (proc / "vmstat").write_text(f"nr_free_pages 1\npswpin {pages_in}\npswpout {pages_out}\n")


def test_space_and_traffic_are_reported_in_bytes(tmp_path: Path) -> None:
    clock = FakeClock()
    source = open_source(clock, tmp_path)
    write_swap(tmp_path, 10, 20)
    assert read(source) == {
        ("bytes", "total"): 2000 * 1024,
        ("bytes", "used"): 500 * 1024,
        ("bytes", "free"): 1500 * 1024,
        ("in_bytes_total",): 10 * PAGE,
        ("out_bytes_total",): 20 * PAGE,
    }
    clock.advance(2)
    write_swap(tmp_path, 14, 20)
    found = read(source)
    assert found["in_bytes_per_second",] == 2 * PAGE
    assert found["out_bytes_per_second",] == 0


@pytest.mark.integration
def test_this_host_agrees_with_node_exporter(node_exporter: NodeExporter) -> None:
    found = read(open_source(FakeClock()))
    assert found["bytes", "total"] == node_exporter.value("node_memory_SwapTotal_bytes")
    free = node_exporter.value("node_memory_SwapFree_bytes")
    assert found["bytes", "free"] == pytest.approx(free, abs=64 * 2**20)
    moved_in = node_exporter.value("node_vmstat_pswpin") * PAGE
    assert found["in_bytes_total",] == pytest.approx(moved_in, abs=64 * 2**20)
    moved_out = node_exporter.value("node_vmstat_pswpout") * PAGE
    assert found["out_bytes_total",] == pytest.approx(moved_out, abs=64 * 2**20)
