"""What stands before a remote writer: a bounded buffer and a thread that sends, retries and counts.

Whoever hands a batch over never waits, neither for the network nor for a disk. A batch is delivered
or counted as lost, once; batches arrive in the order they were handed over.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from pollect.delivery.memory import Buffer, Drop, LatestBuffer, MemoryBuffer
from pollect.errors import PollectError, Rejected, Retryable, describe
from pollect.model import Batch, WriterStatus
from pollect.plugin import Clock, Writer

#: Seconds before the first retry, doubled each time up to the longest.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 15.0
#: Pauses vary by this share, so that many daemons do not come back at the same moment.
JITTER = 0.2
#: Seconds a disk gets to take what was handed over, however short the end is to be.
STORE_SECONDS = 0.5

LostCallback = Callable[[str, Batch, BaseException | None], None]


class Outbox:
    """Delivers to one remote writer from a thread of its own.

    `_changed` guards the state of the outbox and is never held while a target or a disk works; the
    buffer guards itself.
    """

    def __init__(
        self,
        writer: Writer[Any],
        *,
        clock: Clock,
        lost: LostCallback | None = None,
    ) -> None:
        self.writer = writer
        self.name = writer.context.name
        self._clock = clock
        self._report_lost = lost
        self._log = writer.log
        lock = threading.RLock()
        self._changed = threading.Condition(lock)
        #: A pause ends early when the outbox stops, not whenever something is handed over.
        self._end_of_pause = threading.Condition(lock)
        self._stopping = False
        self._closed = False
        self._opened = False
        self._pause = FIRST_PAUSE
        self._reason = ""
        self._down_since: float | None = None
        self._dropping = dict.fromkeys(Drop, 0)
        self._written = 0
        self._lost = 0
        self._store_until = 0.0
        self._buffer = build_buffer(writer, clock, settled=self._drop)
        #: What was taken over and neither delivered nor dropped.
        self._taken = self._buffer.samples
        self._thread = threading.Thread(
            target=self._run, name=f"pollect-outbox-{self.name}", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def deliver(self, batches: Sequence[Batch]) -> None:
        """Take batches over; returns at once."""
        with self._changed:
            dropped = self._buffer.put(*batches)
            self._taken += _size(batches)
            if self._closed:
                self._count_lost(dropped)
            elif dropped:
                self._count_dropped(dropped, Drop.TOO_MANY)
            self._changed.notify()
        self._lose(dropped, None)

    def stop(self) -> None:
        """Send what is left as long as the target takes it, then close; does not wait."""
        with self._changed:
            self._store_until = self._clock.monotonic() + STORE_SECONDS
            self._stopping = True
            self._changed.notify()
            self._end_of_pause.notify()

    def join(self, seconds: float) -> None:
        """Wait for the end of `stop`, `seconds` at most; what is left then is lost.

        With a spool only what is not on disk then is lost. A disk gets a moment in any case.
        """
        until = self._clock.monotonic() + seconds
        if self._thread.is_alive():
            self._thread.join(max(0.0, seconds))
        left = self._buffer.close(max(until, self._store_until) - self._clock.monotonic())
        with self._changed:
            self._closed = True
            self._count_lost(left)
            self._changed.notify()
        if left:
            self._log.error("%d samples lost: not delivered before the end", _size(left))
        self._lose(left, None)

    def status(self) -> WriterStatus:
        with self._changed:
            unreadable = self._buffer.unreadable
            waiting = self._taken - unreadable - self._buffer.outdated
            return WriterStatus(
                writer=self.name,
                up=not self._reason,
                reason=self._reason,
                buffered_samples=0 if self._closed else waiting,
                lost_samples=self._lost + unreadable,
                written_samples=self._written,
            )

    def _run(self) -> None:
        while self._wait_for_work():
            last_try = self._stopping
            if not self._send_some() and last_try:
                break
        try:
            self.writer.close()
        except Exception as error:  # noqa: BLE001 - there is nothing left to protect
            self._log.warning("close failed: %s", describe(error))

    def _wait_for_work(self) -> bool:
        """Wait for batches; return False when stopping and nothing is left."""
        with self._changed:
            while not self._closed:
                if self._buffer.ready:
                    return True
                if self._stopping and not len(self._buffer):
                    return False
                self._clock.wait(self._changed, None)
        return False

    def _send_some(self) -> bool:
        """Try to deliver the oldest batches; return False when the target is away."""
        self._drop(self._buffer.expire(), Drop.TOO_OLD)
        batches = self._buffer.peek(self.writer.batch_size)
        if not batches:
            return True
        try:
            if not self._opened:
                self.writer.open()
                self._opened = True
            self.writer.write(batches)
        except Retryable as error:
            self._target_away(error)
            return False
        except Rejected as error:
            total = _size(batches)
            lost = total if error.lost is None else min(error.lost, total)
            self._delivered(total - lost, lost)
            self._complain(f"{lost} samples refused", error)
            self._lose(batches, error)
        except Exception as error:  # noqa: BLE001 - a mistake in the writer stays the writer's
            # The same call would fail again.
            self._delivered(0, _size(batches))
            self._complain(f"{_size(batches)} samples lost", error)
            self._lose(batches, error)
        else:
            self._delivered(_size(batches), 0)
            self._target_back()
        return True

    def _delivered(self, written: int, lost: int) -> None:
        if not self._buffer.ack():
            # The writer came back after it was given up on: counted as lost already.
            return
        with self._changed:
            self._taken -= written + lost
            self._written += written
            self._lost += lost
            self._pause = FIRST_PAUSE

    def _target_away(self, error: Retryable) -> None:
        import random  # only where a target was away: it and its hashes are resident for good

        pause = self._pause * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        if error.retry_after is not None:
            pause = max(pause, error.retry_after)
        if self._down_since is None:
            self._down_since = self._clock.monotonic()
            self._log.warning("cannot deliver, keeping samples: %s", describe(error))
        else:
            self._log.debug("still cannot deliver: %s", describe(error))
        until = self._clock.monotonic() + pause
        with self._changed:
            self._reason = describe(error)
        self._drop(self._buffer.release(), Drop.TOO_MANY)
        with self._changed:
            while not self._stopping:
                left = until - self._clock.monotonic()
                if left <= 0:
                    break
                self._clock.wait(self._end_of_pause, left)

    def _target_back(self) -> None:
        if self._down_since is not None:
            away = self._clock.monotonic() - self._down_since
            self._log.warning("delivering again after %.0f s", away)
            self._down_since = None
        with self._changed:
            self._reason = ""
            dropped, self._dropping = self._dropping, dict.fromkeys(Drop, 0)
        if dropped[Drop.TOO_MANY]:
            self._log.error(
                "%d samples were lost while the buffer was full", dropped[Drop.TOO_MANY]
            )
        if dropped[Drop.TOO_OLD]:
            self._log.error("%d samples were lost as they were too old", dropped[Drop.TOO_OLD])

    def _complain(self, loss: str, error: Exception) -> None:
        """Log a reason once until something was delivered, a mistake in the writer as such."""
        reason = describe(error)
        if self._reason != reason:
            mistake = None if isinstance(error, PollectError) else error
            self._log.error("%s: %s", loss, reason, exc_info=mistake)
        self._down_since = None
        with self._changed:
            self._reason = reason

    def _drop(self, dropped: Sequence[Batch], reason: Drop) -> None:
        """Count and report what the buffer gave up on; what it stored may be sent now."""
        with self._changed:
            if dropped:
                self._count_dropped(dropped, reason)
            self._changed.notify()
        self._lose(dropped, None)

    def _count_dropped(self, dropped: Sequence[Batch], reason: Drop) -> None:
        lost = self._count_lost(dropped)
        if lost and not self._dropping[reason]:
            if reason is Drop.TOO_OLD:
                age = self.writer.config.buffer.age
                self._log.error("samples that waited longer than %g s are being dropped", age)
            else:
                self._log.error("the buffer is full: the oldest samples are being dropped")
        self._dropping[reason] += lost

    def _count_lost(self, batches: Sequence[Batch]) -> int:
        lost = _size(batches)
        self._taken -= lost
        self._lost += lost
        return lost

    def _lose(self, batches: Sequence[Batch], error: BaseException | None) -> None:
        if self._report_lost is not None:
            for batch in batches:
                self._report_lost(self.name, batch, error)


def build_buffer(
    writer: Writer[Any], clock: Clock, *, settled: Callable[[Sequence[Batch], Drop], None]
) -> Buffer:
    """Return the buffer that the writer's config asks for; see `WriteBehindBuffer` of `settled`."""
    samples, age = writer.config.buffer.samples, writer.config.buffer.age
    if writer.latest_only:
        # What was the latest before a crash is outdated after it: nothing to keep on disk.
        return LatestBuffer(samples=samples, age=age, clock=clock)
    memory = MemoryBuffer(samples=samples, age=age, clock=clock)
    if not writer.config.spool:
        return memory
    # SQLite only for those who use it.
    from pollect.delivery.spool.files import spool_file
    from pollect.delivery.spool.store import SpoolBuffer
    from pollect.delivery.spool.write_behind import WriteBehindBuffer

    spool = SpoolBuffer(spool_file(writer), samples=samples, age=age, clock=clock, log=writer.log)
    return WriteBehindBuffer(spool, memory, settled=settled, log=writer.log)


def _size(batches: Sequence[Batch]) -> int:
    return sum(map(len, batches))
