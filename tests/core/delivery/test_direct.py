"""In-process writers: in order, by one thread at a time, and bounded when they block."""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from pollect.api import Batch, Metric, SourceId
from pollect.delivery.direct import HUNG_SECONDS, PATIENCE_SECONDS, DirectPort
from pollect.testing import FakeClock, build_writer
from pollect.testing.waiting import wait_until
from tests.core.engine.rig import Gate, RecordingWriter

VALUE = Metric("value")
SOURCE = SourceId("a", "b")


def batch(number: float) -> Batch:
    return Batch(SOURCE, [VALUE.sample(number)], 0.0)


class Port:
    """A port whose writer blocks until the test opens the gate."""

    def __init__(self, **section: Any) -> None:
        self.clock, self.gate = FakeClock(), Gate()
        self.lost: list[float] = []
        writer = build_writer(section, RecordingWriter, clock=self.clock)
        assert isinstance(writer, RecordingWriter)
        self.writer, keep = writer, writer.write
        self.blocked = threading.Event()

        def write(batches: Sequence[Batch]) -> None:
            self.blocked.set()
            self.gate()
            keep(batches)

        writer.write = write  # type: ignore[method-assign]
        self.port = DirectPort(
            writer,
            clock=self.clock,
            lost=lambda name, lost, error: self.lost.append(lost.samples[0].value),
        )
        self.thread = threading.Thread(target=self.port.deliver, args=[[batch(0)]], daemon=True)
        self.thread.start()
        assert self.blocked.wait(30)

    @property
    def written(self) -> list[float]:
        return [each.samples[0].value for each in self.writer.batches]


def test_what_waits_for_a_writer_that_blocks_is_bounded_and_the_oldest_goes_first(caplog) -> None:
    port = Port(buffer={"samples": 3})
    port.clock.advance(PATIENCE_SECONDS / 2)
    for number in range(1, 11):
        port.port.deliver([batch(number)])
    assert not port.lost, "a moment is nothing"
    assert port.port.status().buffered_samples == 10
    port.clock.advance(PATIENCE_SECONDS)
    port.port.deliver([batch(11)])
    assert port.lost == [1, 2, 3, 4, 5, 6, 7, 8]
    assert port.port.status().lost_samples == 8
    assert caplog.text.count("the oldest samples are being dropped") == 1
    port.gate.open()
    wait_until(lambda: port.written == [0, 9, 10, 11])
    assert port.port.wait_idle(5)


def test_what_blocks_again_is_logged_again(caplog) -> None:
    """Once when it starts and once when it ends, also for less than it takes to count as hung."""
    caplog.set_level("INFO")
    port = Port(buffer={"samples": 1})
    for episode in (1, 2):
        port.clock.advance(PATIENCE_SECONDS + 1)
        for number in range(3):
            port.port.deliver([batch(number)])
        port.gate.open()
        wait_until(lambda: caplog.text.count("keeps up again") == episode)  # noqa: B023
        assert caplog.text.count("the oldest samples are being dropped") == episode
        port.gate.event.clear()
        port.blocked.clear()
        threading.Thread(target=port.port.deliver, args=[[batch(9)]], daemon=True).start()
        assert port.blocked.wait(30)
    port.gate.open()


def test_a_port_is_idle_when_nothing_waits_and_nothing_is_being_written() -> None:
    port = Port()
    assert not port.port.wait_idle(0.0), "the writer has not returned"
    port.gate.open()
    assert port.port.wait_idle(30)
    port.port.put([batch(1)])
    assert not port.port.wait_idle(0.0), "it was not handed over yet"
    port.port.drain()
    assert port.port.wait_idle(0.0)


def test_a_writer_that_works_through_a_long_queue_does_not_hang() -> None:
    """Each call has its own time."""
    clock = FakeClock()
    writer = build_writer({}, RecordingWriter, clock=clock)
    port = DirectPort(writer, clock=clock)
    reasons: list[str] = []

    def write(batches: Sequence[Batch]) -> None:
        clock.advance(HUNG_SECONDS - 1)
        reasons.append(port.status().reason)

    writer.write = write  # type: ignore[method-assign]
    for number in range(4):
        port.put([batch(number)])
    port.drain()
    assert reasons == [""] * 4


def test_a_writer_that_does_not_return_is_down_until_it_does(caplog) -> None:
    caplog.set_level("INFO")
    port = Port()
    assert port.port.status().up
    port.clock.advance(HUNG_SECONDS + 1)
    status = port.port.status()
    assert (status.up, status.reason) == (False, "has not returned from write() for 11 s")
    for number in range(1, 4):
        port.port.deliver([batch(number)])
    assert caplog.text.count("has not returned from write()") == 1
    port.gate.open()
    assert port.port.wait_idle(5)
    assert port.port.status().up
    assert port.written == [0, 1, 2, 3]
    assert caplog.text.count("writes again") == 1


def test_a_single_batch_is_never_too_large_to_wait() -> None:
    port = Port(buffer={"samples": 1})
    port.clock.advance(PATIENCE_SECONDS + 1)
    large = Batch(SOURCE, [VALUE.sample(number) for number in range(100)], 0.0)
    port.port.deliver([large])
    port.gate.open()
    wait_until(lambda: len(port.writer.batches) == 2)
    assert not port.lost


def test_a_port_that_was_given_up_counts_what_comes_as_lost(caplog) -> None:
    port = Port()
    port.port.deliver([batch(1)])
    port.port.give_up()
    assert (port.lost, port.port.status().lost_samples) == ([1], 1)
    port.port.deliver([batch(2)])
    assert port.lost == [1, 2]
    assert port.port.status().lost_samples == 2
    assert "the writer blocks" not in caplog.text, "that is not why"
    port.gate.open()


class Quick:
    """A port that the test's own thread empties; `doing` runs at every write."""

    def __init__(self, **section: Any) -> None:
        self.clock = FakeClock()
        self.lost: list[float] = []
        writer = build_writer(section, RecordingWriter, clock=self.clock)
        assert isinstance(writer, RecordingWriter)
        self.writer, keep = writer, writer.write
        self.doing: Callable[[], object] = lambda: None

        def write(batches: Sequence[Batch]) -> None:
            self.doing()
            keep(batches)

        writer.write = write  # type: ignore[method-assign]
        self.port = DirectPort(
            writer,
            clock=self.clock,
            lost=lambda name, lost, error: self.lost.extend(s.value for s in lost.samples),
        )

    @property
    def written(self) -> list[float]:
        return [each.samples[0].value for each in self.writer.batches]


def test_a_writer_that_failed_is_down_until_it_writes_and_counts_both() -> None:
    quick = Quick()
    quick.doing = lambda: 1 / 0
    quick.port.deliver([batch(1)])
    status = quick.port.status()
    assert (status.up, status.reason) == (False, "ZeroDivisionError: division by zero")
    assert (status.lost_samples, status.written_samples, quick.lost) == (1, 0, [1])
    quick.doing = lambda: None
    quick.port.deliver([batch(2), batch(3)])
    status = quick.port.status()
    assert (status.up, status.reason) == (True, "")
    assert (status.lost_samples, status.written_samples, status.buffered_samples) == (1, 2, 0)


def test_a_writer_that_fails_for_one_reason_logs_it_once(caplog) -> None:
    quick = Quick()
    quick.doing = lambda: 1 / 0
    for number in range(3):
        quick.port.deliver([batch(number)])
    assert caplog.text.count("samples lost: ZeroDivisionError") == 1


def test_a_writer_keeps_up_only_once_nothing_waits(caplog) -> None:
    caplog.set_level("INFO")
    quick = Quick(buffer={"samples": 2})
    seen: list[bool] = []

    def block() -> None:
        if not seen:
            quick.clock.advance(PATIENCE_SECONDS + 1)
            for number in range(1, 6):
                quick.port.deliver([batch(number)])
        seen.append("keeps up again" in caplog.text)

    quick.doing = block
    quick.port.deliver([batch(0)])
    assert (quick.written, quick.lost) == ([0, 4, 5], [1, 2, 3])
    assert seen == [False] * 3
    assert "keeps up again" in caplog.text


def test_what_a_writer_that_blocks_costs_is_settled_before_what_it_wrote() -> None:
    quick = Quick(buffer={"samples": 2})
    settled: list[int] = []

    def block() -> None:
        quick.doing = lambda: None
        quick.clock.advance(PATIENCE_SECONDS + 1)
        for number in range(1, 5):
            quick.port.deliver([batch(number)], partial(settled.append, number))

    quick.doing = block
    quick.port.deliver([batch(0)], partial(settled.append, 0))
    assert settled == [1, 2, 0, 3, 4]


def test_a_port_that_was_given_up_keeps_no_withdrawal_waiting() -> None:
    quick = Quick()
    quick.port.put([Batch(SOURCE, (), 0.0)])
    quick.port.give_up()
    quick.port.put([Batch(SOURCE, (), 0.0)])
    assert quick.port.wait_idle(0.0)


def test_close_writes_what_waits_and_what_comes_later_is_lost() -> None:
    quick = Quick()
    quick.port.put([batch(1)])
    quick.port.close()
    quick.port.deliver([batch(2)])
    assert (quick.written, quick.lost, quick.writer.closed) == ([1], [2], 1)
    status = quick.port.status()
    assert (status.lost_samples, status.buffered_samples) == (1, 0)


def test_close_lets_a_writer_finish_what_it_writes_in_another_thread() -> None:
    port = Port()
    port.port.deliver([batch(1)])
    closing = threading.Thread(target=port.port.close, daemon=True)
    closing.start()
    closing.join(0.1)
    assert port.writer.closed == 0
    port.gate.open()
    closing.join(30)
    assert (port.written, port.writer.closed, port.lost) == ([0, 1], 1, [])


@pytest.mark.parametrize("threads", [8])
def test_many_threads_write_one_after_the_other(threads: int) -> None:
    writer = build_writer({}, RecordingWriter)
    assert isinstance(writer, RecordingWriter)
    inside, most, keep = [0], [0], writer.write

    def write(batches: Sequence[Batch]) -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        keep(batches)
        inside[0] -= 1

    writer.write = write  # type: ignore[method-assign]
    port = DirectPort(writer, clock=FakeClock())
    together = threading.Barrier(threads)

    def deliver(first: int) -> None:
        together.wait(30)
        for number in range(200):
            port.deliver([batch(first + number)])

    workers = [threading.Thread(target=deliver, args=[1000 * n]) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert port.wait_idle(5)
    assert most == [1]
    values = [each.samples[0].value for each in writer.batches]
    assert len(values) == 200 * threads
    for first in range(threads):
        own = [value for value in values if value // 1000 == first]
        assert own == sorted(own), "each thread's batches in order"
