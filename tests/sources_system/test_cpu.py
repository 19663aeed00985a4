import os
import time
from pathlib import Path

import pytest

from pollect.api import BadResponse, Roots
from pollect.testing import FakeClock, build_source
from pollect_sources_system.cpu import MODES, CpuSource
from tests.sources_system.node_exporter import NodeExporter, run_node_exporter
from tests.sources_system.readings import read

HERTZ = os.sysconf("SC_CLK_TCK")


def open_source(proc: Path = Path("/proc"), *, per_core: bool = False) -> CpuSource:
    source = build_source(
        {"perCore": per_core}, CpuSource, roots=Roots(proc=proc), clock=FakeClock()
    )
    source.open()
    return source  # type: ignore[return-value]


def write_stat(proc: Path, *ticks: int) -> None:
    """Let the kernel show user, nice, system, idle, iowait, irq, softirq, steal, guest, guest."""
    (proc / "stat").write_text(f"cpu  {' '.join(map(str, ticks))}\n")


def test_ratios_are_shares_of_the_time_since_the_last_probe(tmp_path: Path) -> None:
    write_stat(tmp_path, 100, 0, 100, 1000, 0, 0, 0, 0, 0, 0)
    source = open_source(tmp_path)
    assert {name for name, *_ in read(source)} == {"seconds_total"}
    write_stat(tmp_path, 130, 0, 110, 1050, 10, 0, 0, 0, 20, 0)
    found = read(source)
    assert found["usage_ratio", "all"] == pytest.approx(0.4)
    assert found["mode_ratio", "all", "user"] == pytest.approx(0.3)
    assert found["mode_ratio", "all", "iowait"] == pytest.approx(0.1)
    assert sum(found["mode_ratio", "all", mode] for mode in MODES) == pytest.approx(1.0)


def test_idle_time_that_goes_back_counts_as_none(tmp_path: Path) -> None:
    write_stat(tmp_path, 100, 0, 100, 1000, 50, 0, 0, 0, 0, 0)
    source = open_source(tmp_path)
    read(source)
    write_stat(tmp_path, 110, 0, 100, 1010, 49, 0, 0, 0, 0, 0)
    found = read(source)
    assert found["mode_ratio", "all", "iowait"] == 0.0
    assert found["usage_ratio", "all"] == pytest.approx(0.5)


def test_counter_does_not_fall_with_the_kernels(tmp_path: Path) -> None:
    source = open_source(tmp_path)
    seen = []
    for iowait in (50, 49, 40, 51):
        write_stat(tmp_path, 100, 0, 100, 1000, iowait, 0, 0, 0, 0, 0)
        seen.append(read(source)["seconds_total", "all", "iowait"] * HERTZ)
    assert seen == pytest.approx([50, 50, 50, 51])


def test_counters_of_a_cpu_that_was_taken_out_start_again(tmp_path: Path) -> None:
    source = open_source(tmp_path)
    write_stat(tmp_path, 100, 0, 100, 10 * HERTZ, 50, 0, 0, 0, 0, 0)
    read(source)
    write_stat(tmp_path, 1, 0, 2, 3, 4, 0, 0, 0, 0, 0)
    found = read(source)
    assert found["seconds_total", "all", "user"] == pytest.approx(1 / HERTZ)
    assert found["seconds_total", "all", "idle"] == pytest.approx(3 / HERTZ)
    assert ("usage_ratio", "all") not in found


def test_cpus_have_the_numbers_of_the_kernel(tmp_path: Path) -> None:
    lines = ["cpu  4 0 0 40", "cpu0 1 0 0 10", "cpu2 3 0 0 30", "intr 5", "cpufreq 7"]
    (tmp_path / "stat").write_text("\n".join(lines) + "\n")
    source = open_source(tmp_path, per_core=True)
    found = read(source)
    assert {cpu for _, cpu, _ in found} == {"all", "0", "2"}
    assert found["seconds_total", "2", "user"] == pytest.approx(3 / HERTZ)
    assert source.troubles.texts() == ("CPU times: cannot make sense of the line 'cpufreq 7'",)


def test_without_any_cpu_the_answer_is_bad(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  a b\n")
    with pytest.raises(BadResponse, match="expected the CPU times"):
        read(open_source(tmp_path))


def test_no_time_gives_no_ratio(tmp_path: Path) -> None:
    write_stat(tmp_path, 100, 0, 100, 1000, 0, 0, 0, 0, 0, 0)
    source = open_source(tmp_path)
    read(source)
    assert {name for name, *_ in read(source)} == {"seconds_total"}


@pytest.mark.parametrize("option", ["perCore", "details"])
def test_each_core_is_reported_on_request(option: str) -> None:
    source = build_source({option: True}, CpuSource, clock=FakeClock())
    source.open()
    found = read(source)
    cores = {str(core) for core in range(os.cpu_count() or 1)}
    assert {cpu for _, cpu, _ in found} == {"all"} | cores


def test_work_of_this_process_shows_up() -> None:
    source = open_source()
    began, started = time.monotonic(), time.process_time()
    read(source)
    while time.process_time() - started < 0.2:
        pass
    found = read(source)["usage_ratio", "all"]
    # All cores of the machine count, however little this process got of them.
    least = (0.2 - 0.05) / (time.monotonic() - began) / (os.cpu_count() or 1)
    assert least < found <= 1.0


@pytest.mark.integration
def test_recorded_machine_agrees_with_node_exporter(recorded_proc: Path) -> None:
    found = read(open_source(recorded_proc, per_core=True))
    cores = {cpu for _, cpu, _ in found} - {"all"}
    with run_node_exporter(f"--path.procfs={recorded_proc}") as exporter:
        theirs = exporter.scrape()
    assert len(cores) == 8
    for core in cores:
        for mode in MODES:
            labels = frozenset({("cpu", core), ("mode", mode)})
            expected = theirs["node_cpu_seconds_total", labels]
            assert found["seconds_total", core, mode] == pytest.approx(expected), (core, mode)


@pytest.mark.integration
def test_this_host_agrees_with_node_exporter(node_exporter: NodeExporter) -> None:
    before = node_exporter.scrape()
    found = read(open_source(per_core=True))
    after = node_exporter.scrape()
    for (name, core, mode), seconds in found.items():
        if core == "all":
            continue
        key = "node_cpu_seconds_total", frozenset({("cpu", core), ("mode", mode)})
        # Idle times may go back by some ticks, see proc(5).
        assert before[key] - 10 / HERTZ <= seconds <= after[key] + 10 / HERTZ, (name, core, mode)
