"""What stands before an in-process writer: a queue that the worker threads empty themselves.

A worker puts its batch into the queue and then writes what is in it, unless another thread does so
already: a writer that is quick costs no change of threads, gets the batches in order and is called
by one thread at a time. One that blocks keeps that one thread; the others only add to the queue,
which is bounded.
"""

import logging
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

from pollect.delivery.receipts import LostCallback, Receipt
from pollect.errors import describe
from pollect.model import Batch, WriterStatus
from pollect.plugin import Clock, Writer

#: Seconds a call of `write` may take before what waits is bounded, and before it counts as hung.
PATIENCE_SECONDS = 1.0
HUNG_SECONDS = 10.0


class DirectPort:
    """The queue of one in-process writer."""

    def __init__(
        self, writer: Writer[Any], *, clock: Clock, lost: LostCallback | None = None
    ) -> None:
        self.writer = writer
        self.name = writer.context.name
        self._clock = clock
        self._report_lost = lost
        #: Of the writer, whatever it made of its own.
        self._log = logging.getLogger(self.name)
        self._limit = writer.config.buffer.samples
        # A lock and no condition for what happens at every batch: it costs a third.
        self._lock = threading.Lock()
        self._became_idle = threading.Condition(self._lock)
        #: Who waits for that.
        self._idlers = 0
        #: With the number of samples in them.
        self._waiting: deque[tuple[Sequence[Batch], int, Receipt | None]] = deque()
        self._waiting_samples = 0
        #: Monotonic seconds when the call of the writer that goes on began.
        self._writing_since: float | None = None
        self._closed = False
        self._hung = False
        self._dropping = False
        self._reason = ""
        self._written = 0
        self._lost = 0

    def deliver(self, batches: Sequence[Batch], receipt: Receipt | None = None) -> None:
        """Take batches over and, unless another thread does it already, write them."""
        self.put(batches, receipt)
        self.drain()

    def put(self, batches: Sequence[Batch], receipt: Receipt | None = None) -> None:
        """Take batches over; runs no code of the writer.

        `receipt` is called when they were written or given up on.
        """
        size = _size(batches)
        dropped: Sequence[Batch] = ()
        with self._lock:
            self._waiting.append((batches, size, receipt))
            self._waiting_samples += size
            if self._writing_since is not None or self._closed:
                dropped = self._bound()
        if dropped:
            self._lose(dropped, None)

    def drain(self) -> None:
        """Write what waits, unless another thread does so."""
        if not self._waiting:
            return
        with self._lock:
            if self._writing_since is not None:
                return
            taken = self._take()
        while taken is not None:
            batches, size, receipt = taken
            is_written = self._write(batches, size)
            if receipt is not None:
                receipt()
            with self._lock:
                if is_written:
                    self._reason = ""
                    self._written += size
                taken = self._take()
                keeps_up = taken is None and self._dropping
                if keeps_up:
                    self._dropping = False
            if keeps_up:
                self._log.info("keeps up again: no more samples are being dropped")

    def wait_idle(self, seconds: float) -> bool:
        """Wait until everything was written; return whether that came true in time."""
        with self._became_idle:
            self._idlers += 1
            try:
                return self._became_idle.wait_for(self._is_idle, timeout=seconds)
            finally:
                self._idlers -= 1

    def close(self) -> None:
        """Write what waits, then close the writer; hangs if the writer does."""
        self.drain()
        self.wait_idle(HUNG_SECONDS)
        self.give_up()
        try:
            self.writer.close()
        except BaseException as error:  # noqa: BLE001 - code of a plugin
            self._log.warning("close failed: %s", describe(error))

    def give_up(self) -> None:
        """Take nothing any more; what still waits is lost."""
        with self._lock:
            self._closed = True
            dropped = self._bound()
        self._lose(dropped, None)

    def status(self) -> WriterStatus:
        since = self._writing_since
        reason = self._reason
        if since is not None and self._clock.monotonic() - since > HUNG_SECONDS:
            reason = _hung_text(self._clock.monotonic() - since)
        return WriterStatus(
            writer=self.name,
            up=not reason,
            reason=reason,
            buffered_samples=self._waiting_samples,
            lost_samples=self._lost,
            written_samples=self._written,
        )

    def _is_idle(self) -> bool:
        return not self._waiting and self._writing_since is None

    def _take(self) -> tuple[Sequence[Batch], int, Receipt | None] | None:
        """Return what is written next, None if nothing waits; holds the lock."""
        if self._waiting:
            self._writing_since = self._clock.monotonic()
            taken = self._waiting.popleft()
            self._waiting_samples -= taken[1]
            return taken
        self._writing_since = None
        if self._idlers:
            self._became_idle.notify_all()
        return None

    def _write(self, batches: Sequence[Batch], size: int) -> bool:
        """Call the writer; return whether it took the batches, which are lost if not."""
        is_written = True
        try:
            self.writer.write(batches)
        except BaseException as error:  # noqa: BLE001 - code of a plugin
            is_written = False
            reason = describe(error)
            with self._lock:
                known, self._reason = self._reason == reason, reason
                self._lost += size
            if not known:
                self._log.error("%d samples lost: %s", size, reason, exc_info=error)
            self._report(batches, error)
        if self._hung:
            self._hung = False
            self._log.info("writes again")
        return is_written

    def _bound(self) -> list[Batch]:
        """Drop the oldest batches of a writer that blocks, all if it is closed; holds the lock."""
        dropped: list[Batch] = []
        if self._closed:
            limit, keep = -1, 0
        else:
            since = self._writing_since or 0.0
            blocked = self._clock.monotonic() - since
            if blocked <= PATIENCE_SECONDS:
                return dropped
            if blocked > HUNG_SECONDS and not self._hung:
                self._hung = True
                self._log.error("%s", _hung_text(blocked))
            limit, keep = self._limit, 1
        while self._waiting_samples > limit and len(self._waiting) > keep:
            batches, size, receipt = self._waiting.popleft()
            self._waiting_samples -= size
            dropped += batches
            if receipt is not None and not self._closed:
                receipt()
        self._lost += _size(dropped)
        return dropped

    def _lose(self, dropped: Sequence[Batch], error: BaseException | None) -> None:
        if dropped and not self._dropping and not self._closed:
            self._dropping = True
            self._log.error("the writer blocks: the oldest samples are being dropped")
        self._report(dropped, error)

    def _report(self, batches: Sequence[Batch], error: BaseException | None) -> None:
        if self._report_lost is not None:
            for batch in batches:
                self._report_lost(self.name, batch, error)


def _hung_text(seconds: float) -> str:
    return f"has not returned from write() for {seconds:.0f} s"


def _size(batches: Sequence[Batch]) -> int:
    return sum(map(len, batches))
