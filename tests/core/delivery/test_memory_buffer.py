"""The queue in front of a remote writer: what it gives out, and what gets too old for it."""

import pytest

from pollect.api import Batch, Metric, SourceId
from pollect.delivery.memory import LatestBuffer, MemoryBuffer
from pollect.testing import FakeClock

NUMBER = Metric("number", help="A number.")


def batch(*values: float, of: str = "Test") -> Batch:
    return Batch(SourceId("c", of), [NUMBER.sample(value) for value in values], 5.0)


def test_a_delivery_is_filled_to_the_last_sample() -> None:
    buffer = MemoryBuffer(samples=100, age=1000, clock=FakeClock())
    first, second, third = batch(1, 2), batch(3), batch(4)
    buffer.put(first, second, third)
    assert buffer.peek(3) == [first, second]


@pytest.mark.parametrize("kind", [MemoryBuffer, LatestBuffer])
def test_values_get_too_old(kind: type[MemoryBuffer]) -> None:
    clock = FakeClock()
    buffer = kind(samples=100, age=60, clock=clock)
    old, young = batch(1, of="Old"), batch(2, of="Young")
    buffer.put(old)
    clock.advance(30)
    buffer.put(young)
    clock.advance(30.5)
    assert buffer.expire() == [old]
    assert buffer.peek(100) == [young]


def test_news_that_values_ended_never_get_too_old_where_the_present_is_shown() -> None:
    clock = FakeClock()
    queue, latest = (kind(samples=9, age=60, clock=clock) for kind in (MemoryBuffer, LatestBuffer))
    withdrawal = batch()
    for buffer in (queue, latest):
        buffer.put(withdrawal)
    clock.advance(61)
    assert queue.expire() == [withdrawal]
    assert not queue.ready
    assert latest.expire() == []
    assert latest.peek(100) == [withdrawal]
