"""The metrics `process_*` and `python_*` that every Python client of Prometheus shows."""

from collections.abc import Iterator
from functools import lru_cache

from pollect.api import Kind, Metric, Sample
from pollect_writers.prometheus.client_library import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)


def process_registry() -> CollectorRegistry:
    """Return a registry of its own with what the library tells of the process it runs in."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry


def collect_samples(registry: CollectorRegistry) -> Iterator[Sample]:
    """Yield what the collectors of a registry find now."""
    for family in registry.collect():
        kind = Kind.COUNTER if family.type == "counter" else Kind.GAUGE
        for name, labels, value, *_ in family.samples:
            metric = _metric(name, family.documentation, kind, tuple(labels))
            yield metric.sample(value, *labels.values())


@lru_cache
def _metric(name: str, help: str, kind: Kind, labels: tuple[str, ...]) -> Metric:
    return Metric(name, help=help, kind=kind, labels=labels)
