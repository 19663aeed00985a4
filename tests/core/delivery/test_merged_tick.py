"""The batches of one tick: together, once, and late ones by themselves."""

from collections.abc import Sequence

import pytest

from pollect.api import Batch, Metric, SourceId
from pollect.delivery.routing import MergedTick

NUMBER = Metric("number")


@pytest.fixture
def flushed() -> list[list[str]]:
    return []


@pytest.fixture
def tick(flushed: list[list[str]]) -> MergedTick:
    def flush(batches: Sequence[Batch]) -> None:
        flushed.append([batch.source.type for batch in batches])

    return MergedTick(flush)


def batch(source: str) -> Batch:
    return Batch(SourceId("c", source), [NUMBER.sample(1)], 0.0)


def begin(tick: MergedTick, probes: int) -> None:
    for _ in range(probes):
        tick.begin()
    tick.end()


def test_batches_are_handed_over_together_when_the_last_probe_ended(
    tick: MergedTick, flushed: list[list[str]]
) -> None:
    begin(tick, 3)
    tick.end(batch("a"))
    tick.end()
    assert flushed == []
    tick.end(batch("b"))
    assert flushed == [["a", "b"]]
    tick.close()
    assert flushed == [["a", "b"]]


def test_nothing_is_handed_over_while_probes_are_still_being_begun(
    tick: MergedTick, flushed: list[list[str]]
) -> None:
    tick.begin()
    tick.end(batch("a"))
    assert flushed == []
    tick.end()
    assert flushed == [["a"]]


def test_batch_that_is_late_follows_by_itself_at_once(
    tick: MergedTick, flushed: list[list[str]]
) -> None:
    begin(tick, 3)
    tick.end(batch("a"))
    tick.close()
    assert flushed == [["a"]], "the others do not wait for it longer than a tick"
    tick.end(batch("late"))
    assert flushed == [["a"], ["late"]]
    tick.end(batch("later"))
    assert flushed == [["a"], ["late"], ["later"]]


def test_tick_without_a_batch_writes_nothing(tick: MergedTick, flushed: list[list[str]]) -> None:
    begin(tick, 2)
    tick.end()
    tick.end()
    tick.close()
    assert flushed == []
