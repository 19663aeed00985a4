"""prometheus-client is shown where others use it, and not imported where nothing does."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    parser,
)
from prometheus_client import Metric as Family
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.registry import Collector

from pollect.api import Batch, Metric, SourceId
from tests.writers.prometheus_scraper import (
    PROMETHEUS_2_42,
    build_prometheus,
    request,
    serving,
    warnings_in,
)


def run_python(program: str, *path: Path) -> None:
    """Run a program in a process that has imported nothing yet."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={"PYTHONPATH": ":".join([*map(str, path), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr


def test_an_endpoint_brings_no_servers_of_the_library_along() -> None:
    run_python(
        """
        import pathlib, sys
        from pollect.api import WriterContext
        from pollect.engine.clock import SystemClock
        from pollect_writers.prometheus.config import PrometheusConfig
        from pollect.support.http_server import Request
        from pollect_writers.prometheus.writer import PrometheusWriter

        here = pathlib.Path()
        context = WriterContext(name="P", clock=SystemClock(), config_dir=here, state_dir=here)
        context.ready.set()
        config = PrometheusConfig(type="Prometheus", port=0, bind="127.0.0.1")
        writer = PrometheusWriter(config, context)
        writer.open()
        for accept in ("", "application/openmetrics-text"):
            answer = writer._answer(Request("GET", "/metrics", {}, {"accept": accept}))
            assert b"process_resident_memory_bytes" in b"".join(answer.body)
        writer.close()
        heavy = {"prometheus_client", "http.server", "wsgiref", "ssl", "email"} & set(sys.modules)
        assert not heavy, heavy
        """
    )


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> CollectorRegistry:
    """A default registry with nothing in it but what the library itself puts there."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    PlatformCollector(registry=registry)
    monkeypatch.setattr("prometheus_client.REGISTRY", registry)
    return registry


def test_what_others_count_is_part_of_the_scrape(registry: CollectorRegistry) -> None:
    Counter("tide_calls", 'Calls of "them".', ["pier"], registry=registry).labels("a\\b").inc(3)
    Histogram("tide_wait_seconds", "Wait.", buckets=[1], registry=registry).observe(0.5)
    Gauge("tide_level", "Level.", registry=registry).set(1e6)
    with serving(build_prometheus(processMetrics=True)) as writer:
        text = request(writer).text
        opened = request(writer, headers={"Accept": PROMETHEUS_2_42}).text
    families = {family.name for family in parser.text_string_to_metric_families(text)}
    assert {"tide_calls", "tide_wait_seconds", "tide_level", "python_info"} <= families
    assert 'tide_calls_total{pier="a\\\\b"} 3.0\n' in text
    assert "tide_level 1e+06\n" in text
    assert text.count("# TYPE process_open_fds ") == 1
    assert {"tide_calls", "tide_wait_seconds", "tide_level", "python_info"} <= {
        family.name for family in openmetrics.text_string_to_metric_families(opened)
    }
    assert opened.endswith("# EOF\n")


def test_what_others_count_can_be_picked_by_name(registry: CollectorRegistry) -> None:
    Counter("tide_calls", "Calls.", registry=registry)
    Gauge("tide_level", "Level.", registry=registry)
    with serving(build_prometheus()) as writer:
        text = request(writer, "/metrics?name[]=tide_calls_total").text
    assert "tide_calls_total 0.0\n" in text
    assert "tide_level" not in text


@pytest.mark.parametrize(
    "option",
    [
        {"clientRegistry": False, "processMetrics": True},
        {"processMetrics": False},
    ],
)
def test_neither_switch_shows_what_the_other_switches_off(
    registry: CollectorRegistry, option: dict[str, Any]
) -> None:
    Gauge("tide_level", "Level.", registry=registry)
    with serving(build_prometheus(**option)) as writer:
        text = request(writer).text
    assert ("tide_level" in text) is option.get("clientRegistry", True)
    assert ("process_open_fds" in text) is option["processMetrics"]


def test_a_name_that_a_source_has_is_shown_once(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    Gauge("pollect_LoadAvg", "Mine.", registry=registry).set(7)
    level = Metric(None, help="Load.")
    batch = Batch(SourceId("pollect", "LoadAvg"), [level.sample(1)], 0.0)
    with serving(build_prometheus()) as writer:
        writer.write([batch])
        for _ in range(2):
            assert request(writer).text.endswith("pollect_LoadAvg 1.0\n")
    (message,) = warnings_in(caplog)
    assert message.startswith("pollect_LoadAvg in the default registry")


def test_a_collector_that_fails_costs_its_own_families(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Collector):
        def describe(self) -> list[Family]:
            return []

        def collect(self) -> Iterator[Family]:
            yield Family("tide_odd", "Odd.", "gauge")
            yield from [rubbish]
            raise SystemExit(3)

    rubbish = Family("tide_rubbish", "Rubbish.", "gauge")
    rubbish.add_sample("tide_rubbish", {}, "no number")  # type: ignore[arg-type]
    Gauge("tide_level", "Level.", registry=registry)
    registry.register(Broken())
    with serving(build_prometheus()) as writer:
        for _ in range(2):
            text = request(writer).text
            assert "tide_level 0.0\n" in text
            assert "tide_rubbish" not in text
    assert len(warnings_in(caplog)) == 2
