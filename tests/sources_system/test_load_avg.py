import os
from pathlib import Path

import pytest

from pollect.api import BadResponse, Roots
from pollect.testing import build_source
from pollect_sources_system.load_avg import LoadAvgSource, parse_loadavg
from tests.sources_system.node_exporter import NodeExporter
from tests.sources_system.readings import read


def test_probe_reports_what_the_kernel_says() -> None:
    def look() -> tuple[list[float], list[float], list[float]]:
        before = parse_loadavg(Path("/proc/loadavg").read_text())
        found = read(build_source({}, LoadAvgSource))
        after = parse_loadavg(Path("/proc/loadavg").read_text())
        assert found.keys() == {(None, time) for time in ("short", "mid", "long")}
        return list(before), [found[None, time] for time in ("short", "mid", "long")], list(after)

    before, found, after = look()
    while before != after:  # the kernel renews the numbers every five seconds
        before, found, after = look()
    assert found == before


@pytest.mark.integration
def test_probe_agrees_with_node_exporter(node_exporter: NodeExporter) -> None:
    for name, time in (("node_load1", "short"), ("node_load5", "mid"), ("node_load15", "long")):
        for _ in range(5):  # the kernel renews the numbers every five seconds
            before = node_exporter.value(name)
            found = read(build_source({}, LoadAvgSource))
            if node_exporter.value(name) == before:
                break
        assert found[None, time] == before


def test_recorded_machine_has_its_loads(recorded_proc: Path) -> None:
    source = build_source({}, LoadAvgSource, roots=Roots(proc=recorded_proc))
    assert read(source) == {(None, "short"): 0.21, (None, "mid"): 0.37, (None, "long"): 0.39}


@pytest.mark.parametrize("option", ["perCpu", "details"])
def test_load_per_cpu_is_reported_on_request(recorded_proc: Path, option: str) -> None:
    source = build_source({option: True}, LoadAvgSource, roots=Roots(proc=recorded_proc))
    cpus = os.cpu_count() or 1
    assert read(source)["per_cpu", "long"] == 0.39 / cpus


def test_host_without_the_file_is_asked_through_the_library(tmp_path: Path) -> None:
    found = read(build_source({}, LoadAvgSource, roots=Roots(proc=tmp_path)))
    assert set(found) == {(None, "short"), (None, "mid"), (None, "long")}


@pytest.mark.parametrize("text", ["", "0.1 0.2", "a b c"])
def test_rubbish_is_a_bad_response(text: str) -> None:
    with pytest.raises(BadResponse, match="expected three load averages"):
        parse_loadavg(text)
