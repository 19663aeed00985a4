"""The self metrics of sources: made again when something of them changed."""

from typing import Any

import pytest

from pollect.engine.selfmetrics import UP, SourceMetrics, describe_sources
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


@pytest.mark.parametrize("count", [2, 200, 201, 450])
def test_every_source_is_described_however_many_there_are(count: int) -> None:
    statuses = [SourceStatus(SourceId("a", "b", str(number)), **PROBED) for number in range(count)]
    found = SourceMetrics().describe(iter(statuses), 0.0)
    assert list(found.samples) == list(describe_sources(statuses, 0.0).samples)
    assert len({sample.label_values for sample in found.samples if sample.metric is UP}) == count


def test_a_target_shows_what_is_not_zero_and_always_whether_it_is_up() -> None:
    target = SourceId("net", "Http", target="10.0.0.1:80")
    down = SourceStatus(target, outcome=Outcome.FAILED, probes={Outcome.OK: 0, Outcome.FAILED: 2})
    well = SourceStatus(target, **PROBED)
    shown = [
        {(s.metric.name, *s.label_values): s.value for s in describe_sources([x], 0.0).samples}
        for x in (down, well)
    ]
    labels = ("net", "Http", "", "10.0.0.1:80")
    outcomes = ("net", "Http", "", "failed", "10.0.0.1:80"), ("net", "Http", "", "ok", labels[3])
    assert shown[0] == {("up", *labels): 0, ("probes_total", *outcomes[0]): 2}
    assert shown[1] == {
        ("up", *labels): 1,
        ("probe_duration_seconds", *labels): 0.25,
        ("series", *labels): 3,
        ("last_success_timestamp_seconds", *labels): 100.0,
        ("probes_total", *outcomes[1]): 1,
    }
    assert all(
        len(s.label_values) == len(s.metric.labels) for s in describe_sources([well], 0.0).samples
    )


def test_sources_that_come_and_go_are_seen() -> None:
    metrics = SourceMetrics()
    statuses = [SourceStatus(SourceId("a", str(number)), **PROBED) for number in range(3)]
    for some in (statuses, statuses[1:], statuses[:1], [], statuses):
        found = metrics.describe(some, 0.0)
        assert {sample.label_values[1] for sample in found.samples} == {
            status.source.type for status in some
        }
