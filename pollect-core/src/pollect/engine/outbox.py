"""What stands before a remote writer: a bounded buffer and a thread that sends, retries and counts.

Whoever hands a batch over never waits for the network. A batch is delivered or counted as lost,
once; batches arrive in the order they were handed over.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from pollect.engine.buffer import Buffer, LatestBuffer, MemoryBuffer
from pollect.engine.guard import describe
from pollect.errors import PollectError, Rejected, Retryable
from pollect.model import Batch, WriterStatus
from pollect.plugin import Clock, Writer

#: Seconds before the first retry, doubled each time up to the longest.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
#: Pauses vary by this share, so that many daemons do not come back at the same moment.
JITTER = 0.2

LostCallback = Callable[[str, Batch, BaseException | None], None]


class Outbox:
    """Delivers to one remote writer from a thread of its own."""

    def __init__(
        self,
        writer: Writer[Any],
        *,
        clock: Clock,
        lost: LostCallback | None = None,
        buffer: Buffer | None = None,
    ) -> None:
        self.writer = writer
        self.name = writer.context.name
        self._clock = clock
        self._report_lost = lost
        self._buffer = buffer if buffer is not None else build_buffer(writer, clock)
        self._log = writer.log
        self._changed = threading.Condition()
        self._stopping = False
        self._closed = False
        self._opened = False
        self._pause = FIRST_PAUSE
        self._reason = ""
        self._down_since: float | None = None
        self._dropping = 0
        self._written = 0
        self._lost = 0
        self._thread = threading.Thread(
            target=self._run, name=f"pollect-outbox-{self.name}", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def deliver(self, batches: Sequence[Batch]) -> None:
        """Take batches over; returns at once."""
        dropped: list[Batch] = []
        with self._changed:
            if self._closed:
                dropped.extend(batches)
            else:
                for batch in batches:
                    dropped.extend(self._buffer.put(batch))
                self._changed.notify()
            self._count_dropped(dropped)
        self._lose(dropped, None)

    def stop(self) -> None:
        """Send what is left as long as the target takes it, then close; does not wait."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def join(self, seconds: float) -> None:
        """Wait for the end of `stop`, `seconds` at most; what is left then is lost."""
        if self._thread.is_alive():
            self._thread.join(max(0.0, seconds))
        with self._changed:
            self._closed = True
            left = self._buffer.clear()
            self._lost += _size(left)
            self._buffer.close()
        if left:
            self._log.error("%d samples lost: not delivered before the end", _size(left))
        self._lose(left, None)

    def status(self) -> WriterStatus:
        with self._changed:
            return WriterStatus(
                writer=self.name,
                up=not self._reason,
                reason=self._reason,
                buffered_samples=self._buffer.samples,
                lost_samples=self._lost + self._buffer.unreadable,
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
            while not len(self._buffer):
                if self._stopping:
                    return False
                self._clock.wait(self._changed, None)
        return True

    def _send_some(self) -> bool:
        """Try to deliver the oldest batches; return False when the target is away."""
        with self._changed:
            expired = self._buffer.expire()
            self._count_dropped(expired)
            batches = self._buffer.peek(self.writer.batch_size) if len(self._buffer) else ()
        self._lose(expired, None)
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
        with self._changed:
            if self._closed:
                # The writer came back after it was given up on: counted as lost already.
                return
            self._buffer.ack()
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
            dropped = self._buffer.release()
            self._count_dropped(dropped)
        self._lose(dropped, None)
        with self._changed:
            while not self._stopping:
                left = until - self._clock.monotonic()
                if left <= 0:
                    break
                self._clock.wait(self._changed, left)

    def _target_back(self) -> None:
        if self._down_since is not None:
            away = self._clock.monotonic() - self._down_since
            self._log.warning("delivering again after %.0f s", away)
            self._down_since = None
        if self._dropping:
            self._log.error("%d samples were lost while the buffer was full", self._dropping)
        with self._changed:
            self._reason = ""
            self._dropping = 0

    def _complain(self, loss: str, error: Exception) -> None:
        """Log a reason once until something was delivered, a mistake in the writer as such."""
        reason = describe(error)
        if self._reason != reason:
            mistake = None if isinstance(error, PollectError) else error
            self._log.error("%s: %s", loss, reason, exc_info=mistake)
        self._down_since = None
        with self._changed:
            self._reason = reason

    def _count_dropped(self, dropped: Sequence[Batch]) -> None:
        lost = _size(dropped)
        if lost and not self._dropping:
            self._log.error("the buffer is full: the oldest samples are being dropped")
        self._lost += lost
        self._dropping += lost

    def _lose(self, batches: Sequence[Batch], error: BaseException | None) -> None:
        if self._report_lost is not None:
            for batch in batches:
                self._report_lost(self.name, batch, error)


def build_buffer(writer: Writer[Any], clock: Clock) -> Buffer:
    """Return the buffer that the writer's config asks for."""
    limits = writer.config.buffer
    if writer.latest_only:
        # What was the latest before a crash is outdated after it: nothing to keep on disk.
        return LatestBuffer(samples=limits.samples, age=limits.age, clock=clock)
    if not writer.config.spool:
        return MemoryBuffer(samples=limits.samples, age=limits.age, clock=clock)
    from pollect.engine.spool import SpoolBuffer, spool_file  # SQLite only for those who use it

    return SpoolBuffer(
        spool_file(writer), samples=limits.samples, age=limits.age, clock=clock, log=writer.log
    )


def _size(batches: Sequence[Batch]) -> int:
    return sum(map(len, batches))
