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
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Sequence[Batch], Receipt | None]] = deque()
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
        with self._changed:
            self._waiting.append((batches, receipt))
            self._waiting_samples += _size(batches)
            dropped = self._bound() if self._writing_since is not None or self._closed else ()
        self._lose(dropped, None)

    def drain(self) -> None:
        """Write what waits, unless another thread does so."""
        if not self._waiting:
            return
        with self._changed:
            if self._writing_since is not None or self._closed:
                return
            self._writing_since = self._clock.monotonic()
        while (taken := self._take()) is not None:
            batches, receipt = taken
            self._write(batches)
            if receipt is not None:
                receipt()

    def wait_idle(self, seconds: float) -> bool:
        """Wait until everything was written; return whether that came true in time."""
        with self._changed:
            return self._changed.wait_for(self._is_idle, timeout=seconds)

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
        with self._changed:
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

    def _take(self) -> tuple[Sequence[Batch], Receipt | None] | None:
        with self._changed:
            if self._waiting:
                self._writing_since = self._clock.monotonic()
                batches, receipt = self._waiting.popleft()
                self._waiting_samples -= _size(batches)
                return batches, receipt
            self._writing_since = None
            dropped, self._dropping = self._dropping, False
            self._changed.notify_all()
        if dropped:
            self._log.info("keeps up again: no more samples are being dropped")
        return None

    def _write(self, batches: Sequence[Batch]) -> None:
        size = _size(batches)
        try:
            self.writer.write(batches)
        except BaseException as error:  # noqa: BLE001 - code of a plugin
            reason = describe(error)
            with self._changed:
                known, self._reason = self._reason == reason, reason
                self._lost += size
            if not known:
                self._log.error("%d samples lost: %s", size, reason, exc_info=error)
            self._report(batches, error)
        else:
            with self._changed:
                self._reason = ""
                self._written += size
        if self._hung:
            self._hung = False
            self._log.info("writes again")

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
            batches, receipt = self._waiting.popleft()
            self._waiting_samples -= _size(batches)
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
