from pathlib import Path

import pytest

from pollect.api import BadResponse, NoData, Roots, TargetUnavailable
from pollect.testing import build_source
from pollect_sources_system.pressure import PressureSource, parse_pressure
from tests.sources_system.node_exporter import NodeExporter
from tests.sources_system.readings import read


def open_source(proc: Path = Path("/proc")) -> PressureSource:
    source = build_source({}, PressureSource, roots=Roots(proc=proc))
    source.open()
    return source  # type: ignore[return-value]


def test_recorded_machine_has_its_pressure(recorded_proc: Path) -> None:
    found = read(open_source(recorded_proc))
    assert found["seconds_total", "cpu", "some"] == 14.036781
    assert found["ratio", "io", "full", "60"] == pytest.approx(0.0034)
    assert found["seconds_total", "irq", "full"] == 0.008494
    assert ("seconds_total", "irq", "some") not in found


@pytest.mark.integration
@pytest.mark.skipif(not Path("/proc/pressure/cpu").exists(), reason="this kernel has no PSI")
def test_this_host_agrees_with_node_exporter(node_exporter: NodeExporter) -> None:
    pairs = {
        ("cpu", "some"): "node_pressure_cpu_waiting_seconds_total",
        ("memory", "some"): "node_pressure_memory_waiting_seconds_total",
        ("memory", "full"): "node_pressure_memory_stalled_seconds_total",
        ("io", "some"): "node_pressure_io_waiting_seconds_total",
        ("io", "full"): "node_pressure_io_stalled_seconds_total",
    }
    before = {key: node_exporter.value(name) for key, name in pairs.items()}
    found = read(open_source())
    for key, name in pairs.items():
        # It cuts the fraction of microseconds off in other places than the kernel.
        assert before[key] - 1e-4 <= found[("seconds_total", *key)], name
        assert found[("seconds_total", *key)] <= node_exporter.value(name) + 1e-4, name


def test_kernel_without_pressure_is_idle_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = open_source(tmp_path)
    for _ in range(2):
        with pytest.raises(NoData, match="keeps no pressure figures"):
            read(source)
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("line", ["some", "some avg10=1", "some avg10=x avg60=1 avg300=1 total=1"])
def test_rubbish_is_a_bad_response(line: str) -> None:
    with pytest.raises(BadResponse, match="expected pressure figures"):
        parse_pressure("cpu", line)


def test_file_that_makes_no_sense_costs_only_its_resource(tmp_path: Path) -> None:
    line = "some avg10=1.00 avg60=1.00 avg300=1.00 total=2000000\n"
    folder = tmp_path / "pressure"
    folder.mkdir()
    (folder / "cpu").write_text("some nonsense\n")
    (folder / "io").write_text(line)
    source = open_source(tmp_path)
    assert read(source)["seconds_total", "io", "some"] == 2
    assert "cpu: expected pressure figures" in str(source.troubles)
    (folder / "io").write_text("some nonsense\n")
    with pytest.raises(TargetUnavailable, match="expected pressure figures"):
        read(source)
    (folder / "cpu").write_text(line)
    assert read(source)["seconds_total", "cpu", "some"] == 2
