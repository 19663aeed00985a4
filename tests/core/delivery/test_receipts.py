"""Whoever hands a batch over hears when it is in safe hands or given up on, and not before."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pollect.api import Batch, Metric, SourceId, Writer, WriterConfig
from pollect.delivery.direct import DirectPort
from pollect.delivery.memory import LatestBuffer, MemoryBuffer
from pollect.delivery.spool.buffer import SpoolBuffer
from pollect.delivery.spool.folder import SpoolFolder
from pollect.testing import FakeClock, build_writer

VALUE = Metric("value")


class Receipts:
    def __init__(self) -> None:
        self.settled: list[int] = []

    def __call__(self, number: int) -> Callable[[], None]:
        return lambda: self.settled.append(number)


@pytest.fixture
def receipts() -> Receipts:
    return Receipts()


def batch(number: int, samples: int = 1) -> Batch:
    return Batch(SourceId("home", "Meter", str(number)), [VALUE.sample(1)] * samples, 1.0)


def spool(folder: Path, clock: FakeClock) -> SpoolBuffer:
    log = build_writer({}, SilentWriter).log
    return SpoolBuffer(SpoolFolder(folder), samples=10, age=60.0, clock=clock, log=log)


class SilentWriter(Writer[WriterConfig]):
    """In process; fails or runs something on request."""

    in_process = True

    def write(self, batches: object) -> None:
        self.doing()

    doing: Callable[[], object] = staticmethod(lambda: None)


def test_delivery_settles_what_was_given_out_and_a_retry_does_not(receipts) -> None:
    buffer = MemoryBuffer(samples=10, age=60.0, clock=FakeClock())
    for number in range(3):
        buffer.put(batch(number), receipt=receipts(number))
    buffer.peek(2)
    buffer.release()
    assert receipts.settled == []
    buffer.peek(2)
    buffer.ack()
    assert receipts.settled == [0, 1]


def test_what_a_full_buffer_gives_up_is_settled(receipts) -> None:
    buffer = MemoryBuffer(samples=2, age=60.0, clock=FakeClock())
    for number in range(3):
        buffer.put(batch(number), receipt=receipts(number))
    assert receipts.settled == [0]


def test_what_is_too_old_is_settled(receipts) -> None:
    clock = FakeClock()
    buffer = MemoryBuffer(samples=2, age=60.0, clock=clock)
    buffer.put(batch(0), receipt=receipts(0))
    clock.advance(61)
    buffer.expire()
    assert receipts.settled == [0]


@pytest.mark.parametrize("sending", [False, True])
def test_what_a_newer_batch_replaces_is_settled(receipts, sending: bool) -> None:
    buffer = LatestBuffer(samples=10, age=60.0, clock=FakeClock())
    buffer.put(batch(0), receipt=receipts(0))
    if sending:
        buffer.peek(5)
    buffer.put(batch(0), receipt=receipts(1))
    if sending:
        buffer.release()
    assert receipts.settled == [0]


def test_what_is_left_at_the_end_is_not_settled(receipts) -> None:
    buffer = MemoryBuffer(samples=10, age=60.0, clock=FakeClock())
    buffer.put(batch(0), receipt=receipts(0))
    buffer.close()
    buffer.put(batch(1), receipt=receipts(1))
    assert receipts.settled == []


def test_what_is_on_disk_is_settled_once(receipts, tmp_path: Path) -> None:
    buffer = spool(tmp_path / "spool", FakeClock())
    buffer.put(batch(0), receipt=receipts(0))
    assert receipts.settled == []
    buffer.store()
    assert receipts.settled == [0]
    buffer.peek(5)
    buffer.ack()
    assert receipts.settled == [0]
    buffer.start()
    buffer.close(5.0)


def test_disk_that_takes_nothing_settles_what_is_delivered_only(receipts, tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file where the folder should be")
    buffer = spool(tmp_path / "spool", FakeClock())
    buffer.put(batch(0), receipt=receipts(0))
    buffer.store()
    assert receipts.settled == []
    buffer.peek(5)
    buffer.ack()
    assert receipts.settled == [0]
    buffer.start()
    buffer.close(5.0)


def test_in_process_writer_settles_what_it_wrote_or_failed_to_write(receipts) -> None:
    writer = build_writer({}, SilentWriter)
    port = DirectPort(writer, clock=FakeClock())
    port.put([batch(0)], receipts(0))
    assert receipts.settled == []
    port.drain()
    assert receipts.settled == [0]
    writer.doing = lambda: 1 / 0  # type: ignore[attr-defined]
    port.deliver([batch(1)], receipts(1))
    assert receipts.settled == [0, 1]


def test_in_process_writer_that_is_given_up_settles_nothing(receipts) -> None:
    port = DirectPort(build_writer({}, SilentWriter), clock=FakeClock())
    port.put([batch(0)], receipts(0))
    port.give_up()
    assert receipts.settled == []
