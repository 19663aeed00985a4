"""What `Prometheus` shows of pollect itself: self metrics, `process_*` and `python_*`."""

import re

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from pollect.api import Batch, Metric, Sample, SourceId
from pollect_writers.prometheus.writer import PrometheusWriter
from tests.writers.prometheus_scraper import (
    PROMETHEUS_2_42,
    build_prometheus,
    request,
    serving,
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
    assert len(caplog.records) == 1


def families(text: str) -> dict[str, tuple[str, str, set[tuple[str, tuple[str, ...]]]]]:
    return {
        family.name: (
            family.type,
            family.documentation,
            {(s.name, tuple(s.labels)) for s in family.samples},
        )
        for family in text_string_to_metric_families(text)
    }


def test_process_and_python_metrics_are_those_of_the_library() -> None:
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    with serving(build_prometheus(processMetrics=True)) as writer:
        ours = request(writer).text
        theirs = generate_latest(registry).decode()
    assert families(ours) == families(theirs)
    for name in (
        "process_start_time_seconds",
        "process_max_fds",
        "python_info{.*}",
        "process_virtual_memory_bytes",
        "process_cpu_seconds_total",
    ):
        line = re.compile(rf"^{name} (.*)$", re.MULTILINE)
        ours_value, theirs_value = (float(line.findall(text)[0]) for text in (ours, theirs))
        assert ours_value == pytest.approx(theirs_value, rel=0.2, abs=0.1)


def test_openmetrics_of_everything_is_valid() -> None:
    with serving(with_self_metrics(build_prometheus(processMetrics=True))) as writer:
        text = request(writer, headers={"Accept": PROMETHEUS_2_42}).text
    found = {family.name for family in openmetrics.text_string_to_metric_families(text)}
    assert {"process_cpu_seconds", "python_info", "pollect_source_up"} <= found
