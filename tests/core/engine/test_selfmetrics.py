"""The self metrics of sources: made again when something of them changed."""

from typing import Any

import pytest

from pollect.engine.selfmetrics import SourceMetrics, describe_sources
from pollect.model import Outcome, SourceId, SourceStatus

PROBED: dict[str, Any] = {
    "outcome": Outcome.OK,
    "duration_seconds": 0.25,
    "series": 3,
    "last_success": 100.0,
    "probes": {Outcome.OK: 1, Outcome.FAILED: 0},
}
LOAD = SourceId("pollect", "LoadAvg")


def test_sources_that_were_not_probed_since_keep_their_samples() -> None:
    metrics = SourceMetrics()
    first = metrics.describe([SourceStatus(LOAD, **PROBED, next_probe=1.0)], 7.0)
    again = metrics.describe([SourceStatus(LOAD, **PROBED, next_probe=2.0)], 8.0)
    assert isinstance(again.samples, tuple)
    assert again.samples is first.samples
    assert (first.time, again.time) == (7.0, 8.0)


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": Outcome.FAILED},
        {"trouble_count": 2},
        {"duration_seconds": 0.5},
        {"skipped": 1},
        {"series": 4},
        {"dropped": 5},
        {"last_success": 101.0},
        {"probes": {Outcome.OK: 2, Outcome.FAILED: 0}},
        {"source": SourceId("pollect", "LoadAvg", "other")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_change_of_a_source_is_seen(change: dict[str, Any]) -> None:
    metrics = SourceMetrics()
    before = metrics.describe([SourceStatus(**{"source": LOAD, **PROBED})], 0.0)
    changed = [SourceStatus(**{"source": LOAD, **PROBED, **change})]
    after = metrics.describe(changed, 0.0)
    assert list(after.samples) != list(before.samples)
    assert list(after.samples) == list(describe_sources(changed, 0.0).samples)


def test_sources_that_come_and_go_are_seen() -> None:
    metrics = SourceMetrics()
    statuses = [SourceStatus(SourceId("a", str(number)), **PROBED) for number in range(3)]
    for some in (statuses, statuses[1:], statuses[:1], [], statuses):
        found = metrics.describe(some, 0.0)
        assert {sample.label_values[1] for sample in found.samples} == {
            status.source.type for status in some
        }
