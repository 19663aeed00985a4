"""Samples of a source as `{(value name, label, ...): value}`, easy to look up and compare."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from pollect.api import Sample, Source
from pollect.testing import wait_until

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


def agree_soon(look: Callable[[], Mapping[str, tuple[float, float]]], within: float) -> None:
    """Compare ours with theirs until all are as close: others change them between two looks."""

    def disagree() -> dict[str, tuple[float, float]]:
        pairs = look()
        return {name: (a, b) for name, (a, b) in pairs.items() if abs(a - b) > within}

    latest: list[dict[str, tuple[float, float]]] = []

    def agree() -> bool:
        latest.append(disagree())
        return not latest[-1]

    try:
        wait_until(agree)
    except AssertionError:
        raise AssertionError(f"ours and theirs differ: {latest[-1]}") from None
