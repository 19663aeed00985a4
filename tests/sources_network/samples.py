"""Look at what a probe returned."""

from collections.abc import Iterable
from typing import Any

from pollect.api import Sample, Source
from pollect.testing.contract.running import Running


def probe(source: Source[Any]) -> dict[str, float]:
    """Open `source`, probe once, close it, and return the values as `values` does."""
    with Running(source) as running:
        return values(running.probe())


def values(samples: Iterable[Sample]) -> dict[str, float]:
    """Return `{'name{label=value,...}': number}`; fails on duplicates."""
    found: dict[str, float] = {}
    for sample in samples:
        labels = ",".join(
            f"{name}={value}"
            for name, value in zip(sample.metric.labels, sample.label_values, strict=True)
        )
        key = (sample.metric.name or "") + (f"{{{labels}}}" if labels else "")
        assert key not in found, f"{key} twice"
        found[key] = float(sample.value)
    return found
