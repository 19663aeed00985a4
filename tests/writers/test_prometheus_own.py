"""What `Prometheus` shows of pollect itself: self metrics, `process_*` and `python_*`."""

import gc
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from msgspec.structs import replace
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    exposition,
)
from prometheus_client import Metric as Family
from prometheus_client.openmetrics import exposition as openmetrics_exposition
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.registry import Collector

from pollect.api import Batch, Metric, Sample, SourceId
from pollect_writers.prometheus.exposition import Block, Renderer, join_open_metrics, join_text
from pollect_writers.prometheus.process import MAX_OPEN_FILES, METRICS, OPEN_FILES, Process
from pollect_writers.prometheus.writer import PrometheusWriter
from tests.writers.prometheus_scraper import (
    PROMETHEUS_2_42,
    build_prometheus,
    request,
    serving,
    warnings_in,
)

UP = Metric("up", help="Whether the last probe worked.", labels=("collection", "type", "name"))


def with_self_metrics(writer: PrometheusWriter) -> PrometheusWriter:
    counter = iter(range(100))

    def self_batches() -> list[Batch]:
        samples = [UP.sample(next(counter), "pollect", "LoadAvg", "")]
        return [Batch(SourceId("pollect", "source"), samples, 0.0)]

    writer.context = replace(writer.context, self_batches=self_batches)
    return writer


def test_self_metrics_are_those_of_the_moment_of_the_scrape() -> None:
    with serving(with_self_metrics(build_prometheus())) as writer:
        line = 'pollect_source_up{collection="pollect",name="",type="LoadAvg"} %s.0\n'
        assert request(writer).text.endswith(line % 0)
        assert request(writer).text.endswith(line % 1)


def test_self_metrics_that_changed_in_place_are_shown_as_they_are_now() -> None:
    samples = [UP.sample(0, "pollect", "LoadAvg", "")]
    writer = build_prometheus()
    batch = Batch(SourceId("pollect", "source"), samples, 0.0)
    writer.context = replace(writer.context, self_batches=lambda: [batch])
    with serving(writer):
        assert request(writer).text.endswith(" 0.0\n")
        samples[0] = UP.sample(1, "pollect", "LoadAvg", "")
        assert request(writer).text.endswith(" 1.0\n")


def test_self_metrics_of_thousands_of_sources_are_one_family_each_and_none_is_left_out() -> None:
    series = Metric("series", help="Series.", labels=UP.labels)
    samples = [
        metric.sample(number, "net", "Http", f"t{number}")
        for number in range(6000)
        for metric in (UP, series)
    ]
    writer = build_prometheus()
    batch = Batch(SourceId("pollect", "source"), samples, 0.0)
    writer.context = replace(writer.context, self_batches=lambda: [batch])
    with serving(writer):
        for accept in ("", PROMETHEUS_2_42):
            answer = request(writer, headers={"Accept": accept})
            lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
            names = [line.partition("{")[0] for line in lines]
            assert names == ["pollect_source_up"] * 6000 + ["pollect_source_series"] * 6000
            assert (
                lines[5999] == 'pollect_source_up{collection="net",name="t5999",type="Http"} 5999.0'
            )
            assert answer.text.count("# TYPE") == 2


def test_self_metrics_can_be_switched_off() -> None:
    with serving(with_self_metrics(build_prometheus(selfMetrics=False))) as writer:
        assert request(writer).text == ""


@pytest.mark.parametrize(
    "broken",
    [UP.sample(1, "too few"), UP.sample("no number", "a", "b", "c"), UP.sample(1, "a", "b", 3)],  # type: ignore[arg-type]
)
def test_a_plugin_that_adds_nonsense_takes_nothing_else_away(
    broken: Sample, caplog: pytest.LogCaptureFixture
) -> None:
    writer = build_prometheus()
    good = Batch(SourceId("pollect", "source"), [UP.sample(1, "a", "b", "c")], 0.0)
    batches = [Batch(SourceId("pollect", "broken"), [broken], 0.0), good]
    writer.context = replace(writer.context, self_batches=lambda: batches)
    with serving(writer):
        for _ in range(2):
            text = request(writer).text
            assert "pollect_source_up{" in text
            assert "pollect_broken" not in text
    assert len(warnings_in(caplog)) == 1


class Library(Collector):
    """What the collectors of the library find, those of files in `proc`."""

    def __init__(self, proc: Path) -> None:
        registry = CollectorRegistry()
        ProcessCollector(registry=registry, proc=str(proc))
        GCCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._families = list(registry.collect())

    def collect(self) -> list[Family]:
        return self._families


def as_python_writes(line: str) -> str:
    """The library writes `1e+06`, as Go does, for the number that is 1000000.0 here."""
    series, _, number = line.rpartition(" ")
    return f"{series} {float(number)!r}"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """What the kernel showed of some process whose name has brackets in it."""
    (tmp_path / "self" / "fd").mkdir(parents=True)
    for number in range(7):
        (tmp_path / "self" / "fd" / str(number)).touch()
    (tmp_path / "stat").write_text("cpu  1 2 3 4\nbtime 1764288000\nprocesses 12\n")
    rest = "S 1 2 3 0 -1 4194560 1 2 3 4 1234 567 0 0 20 0 9 0 98765 123456789 4321 1 2 3"
    (tmp_path / "self" / "stat").write_text(f"42 (a (odd) name) {rest}\n")
    (tmp_path / "self" / "limits").write_text(
        "Limit                     Soft Limit           Hard Limit           Units     \n"
        "Max processes             1000                 2000                 processes \n"
        "Max open files            1024                 1048576              files     \n"
    )
    return tmp_path


@pytest.fixture
def still_gc() -> Iterator[None]:
    """No collection between two looks at the garbage collector."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("still_gc")
@pytest.mark.parametrize(
    ("join", "library"),
    [
        pytest.param(join_text, exposition.generate_latest, id="text"),
        pytest.param(join_open_metrics, openmetrics_exposition.generate_latest, id="openmetrics"),
    ],
)
@pytest.mark.parametrize("absent", ["", "self/stat", "self/limits", "self/fd", "stat"])
def test_process_and_python_metrics_are_the_text_of_the_library(
    join: Callable[[list[Block]], list[bytes]],
    library: Callable[[CollectorRegistry], bytes],
    proc: Path,
    absent: str,
) -> None:
    if absent:
        os.rename(proc / absent, proc / "gone")
    registry = CollectorRegistry()
    registry.register(Library(proc))
    block, _ = Renderer(None).render(tuple(Process(proc).samples()))
    assert b"".join(join([block])).decode().splitlines() == [
        line if line.startswith("#") else as_python_writes(line)
        for line in library(registry).decode().splitlines()
    ]


def test_every_process_metric_has_a_value_here() -> None:
    assert {sample.metric for sample in Process().samples()} == set(METRICS)


def test_unlimited_files_have_no_limit_to_show(proc: Path) -> None:
    limits = proc / "self" / "limits"
    limits.write_text(limits.read_text().replace("1024   ", "unlimited"))
    shown = {sample.metric for sample in Process(proc).samples()}
    assert OPEN_FILES in shown
    assert MAX_OPEN_FILES not in shown


def test_process_metrics_are_those_of_the_moment_of_the_scrape() -> None:
    open_fds = re.compile(r"^process_open_fds (.*)$", re.MULTILINE)
    with serving(build_prometheus(processMetrics=True)) as writer, ExitStack() as files:
        (before,) = open_fds.findall(request(writer).text)
        for _ in range(50):
            files.enter_context(open(os.devnull))
        (after,) = open_fds.findall(request(writer).text)
    assert float(after) - float(before) >= 40, "a connection more or less"


def test_process_metrics_can_be_switched_off() -> None:
    with serving(build_prometheus(processMetrics=False)) as writer:
        assert request(writer).text == ""


def test_openmetrics_of_everything_is_valid() -> None:
    with serving(with_self_metrics(build_prometheus(processMetrics=True))) as writer:
        text = request(writer, headers={"Accept": PROMETHEUS_2_42}).text
    found = {family.name for family in openmetrics.text_string_to_metric_families(text)}
    assert {"process_cpu_seconds", "python_info", "pollect_source_up"} <= found
