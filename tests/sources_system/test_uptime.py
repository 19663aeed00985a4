import time
from pathlib import Path

import pytest

from pollect.api import BadResponse, Roots, TargetUnavailable
from pollect.testing import FakeClock, build_source
from pollect_sources_system.uptime import UptimeSource, parse_uptime
from tests.sources_system.node_exporter import NodeExporter
from tests.sources_system.readings import read


def open_source(proc: Path = Path("/proc")) -> UptimeSource:
    source = build_source({}, UptimeSource, roots=Roots(proc=proc), clock=FakeClock())
    source.open()
    return source  # type: ignore[return-value]


def test_uptime_is_the_time_since_the_boot() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    found = read(open_source())["seconds",]
    assert before - 0.01 <= found <= time.clock_gettime(time.CLOCK_BOOTTIME)


@pytest.mark.integration
def test_boot_time_agrees_with_node_exporter(node_exporter: NodeExporter) -> None:
    theirs = node_exporter.value("node_boot_time_seconds")
    assert read(open_source())["boot_time_seconds",] == pytest.approx(theirs, abs=1)


def test_host_without_the_file_counts_from_its_boot_time(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("btime 1699999000\n")
    assert read(open_source(tmp_path)) == {
        ("seconds",): 1000.0,
        ("boot_time_seconds",): 1699999000.0,
    }


def test_host_that_tells_nothing_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(TargetUnavailable, match="cannot read the boot time"):
        read(open_source(tmp_path))


@pytest.mark.parametrize("text", ["", "soon"])
def test_rubbish_is_a_bad_response(text: str) -> None:
    with pytest.raises(BadResponse, match="expected seconds of uptime"):
        parse_uptime(text)
