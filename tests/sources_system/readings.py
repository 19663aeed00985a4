"""Samples of a source as `{(value name, label, ...): value}`, easy to look up and compare."""

from collections.abc import Iterable
from typing import Any, cast

from pollect.api import Sample, Source

Readings = dict[tuple[Any, ...], float]


def read(source: Source[Any]) -> Readings:
    """Probe once; every series must be there once only."""
    found: Readings = {}
    samples = cast(Iterable[Sample], source.probe())  # all sources of this family are of this kind
    for metric, value, labels, _ in samples:
        key = (metric.name, *labels)
        assert key not in found, f"{key} was reported twice"
        assert metric in (source.expected_metrics() or source.metrics), f"{key} is not declared"
        assert len(labels) == len(metric.labels)
        found[key] = value
    return found
