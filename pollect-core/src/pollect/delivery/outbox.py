"""What stands before a remote writer: a bounded buffer and a thread that sends, retries and counts.

Whoever hands a batch over never waits, neither for the network nor for a disk. A batch is delivered
or counted as lost, once; batches of one source arrive in the order they were handed over. Whatever
a writer raises costs at most the batches it was given, and never the thread.
"""

import logging
import math
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pollect.delivery.memory import Drop, LatestBuffer, MemoryBuffer
from pollect.delivery.portions import FARTHEST, Portions
from pollect.delivery.receipts import LostCallback, Receipt
from pollect.errors import PollectError, Rejected, Retryable, describe
from pollect.model import Batch, WriterStatus
from pollect.plugin import Clock, Writer
from pollect.plugin.traits import batch_size_of, has_trait, wants_self_metrics

if TYPE_CHECKING:
    from pollect.support.backoff import Backoff

#: Seconds before the first retry, doubled each time up to the longest.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 15.0
#: However long a target asks us to wait.
LONGEST_RETRY_AFTER = 300.0
#: A call to the writer that takes longer shows in the status.
HANGING_SECONDS = 60.0
#: Seconds a disk gets to take what was handed over, however short the end is to be.
STORE_SECONDS = 0.5


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
        #: Asked once, so that a mistake in an answer is logged once.
        self.wants_self_metrics = wants_self_metrics(writer)
        self._batch_size = batch_size_of(writer)
        #: Of the writer, whatever it made of its own.
        self._log = logging.getLogger(self.name)
        lock = threading.RLock()
        self._changed = threading.Condition(lock)
        #: A pause ends early when the outbox stops, not whenever something is handed over.
        self._end_of_pause = threading.Condition(lock)
        self._stopping = False
        self._closed = False
        self._opened = False
        self._backoff: Backoff | None = None
        self._portions = Portions()
        #: The batch that was last tried alone.
        self._suspect: Batch | None = None
        self._called_at: float | None = None
        self._reason = ""
        self._down_since: float | None = None
        self._dropping = dict.fromkeys(Drop, 0)
        self._written = 0
        self._lost = 0
        self._store_until = 0.0
        self._buffer = build_buffer(writer, clock)
        #: What was taken over and neither delivered nor dropped.
        self._taken = self._buffer.samples + self._buffer.unreadable
        self._thread = threading.Thread(
            target=self._run, name=f"pollect-outbox-{self.name}", daemon=True
        )

    def start(self) -> None:
        self._buffer.start()
        self._thread.start()

    def deliver(self, batches: Sequence[Batch], receipt: Receipt | None = None) -> None:
        """Take batches over; returns at once.

        `receipt` is called for each one when it was delivered or given up on, or is on disk.
        """
        with self._changed:
            dropped = self._buffer.put(*batches, receipt=receipt)
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

        What a broker brings again is not lost, and with a spool only what is not on disk then. A
        disk gets a moment in any case.
        """
        until = self._clock.monotonic() + seconds
        if self._thread.is_alive():
            self._thread.join(max(0.0, seconds))
        left = self._buffer.close(max(until, self._store_until) - self._clock.monotonic())
        with self._changed:
            self._closed = True
            self._count_lost(left)
            self._taken -= self._buffer.left_to_brokers
            self._changed.notify()
        if self._buffer.left_to_brokers:
            self._log.info(
                "%d samples were not delivered before the end: their broker brings them again",
                self._buffer.left_to_brokers,
            )
        if left:
            self._log.error("%d samples lost: not delivered before the end", _size(left))
        self._lose(left, None)

    def status(self) -> WriterStatus:
        with self._changed:
            unreadable = self._buffer.unreadable
            waiting = self._taken - unreadable - self._buffer.outdated
            called_at, reason = self._called_at, self._reason
            since = 0.0 if called_at is None else self._clock.monotonic() - called_at
            if since > HANGING_SECONDS:
                reason = f"the writer has not returned for {since:.0f} s"
            return WriterStatus(
                writer=self.name,
                up=not reason,
                reason=reason,
                buffered_samples=0 if self._closed else waiting,
                lost_samples=self._lost + unreadable,
                written_samples=self._written,
            )

    def _run(self) -> None:
        while True:
            last_try = self._stopping
            try:
                if not self._wait_for_work() or (not self._send_some() and last_try):
                    break
            except BaseException as error:  # noqa: BLE001 - see below
                # Nothing a writer does gets here; the thread outlives mistakes of ours, too.
                self._complain("a mistake in the outbox", error)
                self._buffer.release()
                self._rest(FIRST_PAUSE)
                if last_try:
                    break
        try:
            self.writer.close()
        except BaseException as error:  # noqa: BLE001 - there is nothing left to protect
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
        batches = self._choose()
        if not batches:
            return True
        opening = not self._opened
        error = self._call(batches)
        if error is None:
            self._portions.arrived()
            self._target_back()
            self._delivered(_size(batches), 0)
        elif isinstance(error, Retryable):
            if (opening and not self._opened) or not self._portions.failed(len(batches)):
                self._target_away(error)
                return False
            self._give_up(batches, error, "given up on, others arrive")
        elif isinstance(error, Rejected) and error.lost is not None:
            self._portions.arrived()
            self._give_up(batches, error, "refused", _lost_of(batches, error.lost))
        elif not self._opened or self._portions.refused(len(batches)):
            # The same call would fail again.
            what = "refused" if isinstance(error, Rejected) else "lost"
            self._give_up(batches, error, what)
        else:
            self._log.debug("trying in parts: %s", describe(error))
            self._drop(self._buffer.release(), Drop.TOO_MANY)
        return True

    def _call(self, batches: Sequence[Batch]) -> BaseException | None:
        """Hand batches to the writer; return what it raised."""
        self._called_at = self._clock.monotonic()
        try:
            if not self._opened:
                self.writer.open()
                self._opened = True
            self.writer.write(batches)
        except BaseException as error:  # noqa: BLE001 - what a writer raises stays the writer's
            return error
        finally:
            self._called_at = None
        return None

    def _choose(self) -> Sequence[Batch]:
        """Return what to send now, given out by the buffer."""
        portions = self._portions
        if portions.other:
            for skip in range(portions.behind, FARTHEST + 1):
                batches = self._buffer.peek(1, most=1, skip=skip)
                if not batches:
                    break
                head = self._suspect
                if portions.same_source or head is None or batches[0].source != head.source:
                    portions.behind = skip
                    return batches
                self._drop(self._buffer.release(), Drop.TOO_MANY)
            portions.other, portions.behind = False, 1
        batches = self._buffer.peek(self._batch_size, most=portions.most)
        if portions.most == 1 and batches:
            if self._suspect is not batches[0] and self._suspect != batches[0]:
                portions.skipped()
            self._suspect = batches[0]
        return batches

    def _delivered(self, written: int, lost: int) -> None:
        if not self._buffer.ack():
            # The writer came back after it was given up on: counted as lost already.
            return
        with self._changed:
            self._taken -= written + lost
            self._written += written
            self._lost += lost
        if self._backoff is not None:
            self._backoff.reset()

    def _give_up(
        self, batches: Sequence[Batch], error: BaseException, how: str, lost: int | None = None
    ) -> None:
        total = _size(batches)
        lost = total if lost is None else lost
        self._complain(f"{lost} samples {how}", error)
        self._delivered(total - lost, lost)
        self._lose(batches, error)

    def _target_away(self, error: Retryable) -> None:
        if self._backoff is None:
            # Only where a target was away: random numbers and their hashes are resident for good.
            from pollect.support.backoff import Backoff

            self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        pause = max(self._backoff.pause(), _asked_pause(error.retry_after))
        if self._down_since is None:
            self._down_since = self._clock.monotonic()
            self._log.warning("cannot deliver, keeping samples: %s", describe(error))
        else:
            self._log.debug("still cannot deliver: %s", describe(error))
        with self._changed:
            self._reason = describe(error)
        self._drop(self._buffer.release(), Drop.TOO_MANY)
        self._rest(pause)

    def _rest(self, seconds: float) -> None:
        """Wait, until the outbox stops at the longest."""
        until = self._clock.monotonic() + seconds
        with self._changed:
            while not self._stopping:
                left = until - self._clock.monotonic()
                if left <= 0:
                    break
                self._clock.wait(self._end_of_pause, left)

    def _target_back(self) -> None:
        if self._down_since is not None:
            away = self._clock.monotonic() - self._down_since
            self._log.info("delivering again after %.0f s", away)
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

    def _complain(self, loss: str, error: BaseException) -> None:
        """Log a reason once until something was delivered, a mistake in the writer as such."""
        reason = describe(error)
        if self._reason != reason:
            mistake = None if isinstance(error, PollectError) else error
            self._log.error("%s: %s", loss, reason, exc_info=mistake)
        self._down_since = None
        with self._changed:
            self._reason = reason

    def _drop(self, dropped: Sequence[Batch], reason: Drop) -> None:
        """Count and report what the buffer gave up on."""
        if dropped:
            with self._changed:
                self._count_dropped(dropped, reason)
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
        report = self._report_lost
        if report is None:
            return
        for batch in batches:
            try:
                report(self.name, batch, error)
            except BaseException as fault:  # noqa: BLE001 - an observer costs only itself
                self._log.error("the report of lost samples failed", exc_info=fault)


def build_buffer(writer: Writer[Any], clock: Clock) -> MemoryBuffer:
    """Return the buffer that the writer's config asks for."""
    samples, age = writer.config.buffer.samples, writer.config.buffer.age
    if has_trait(writer, "latest_only"):
        # What was the latest before a crash is outdated after it: nothing to keep on disk.
        return LatestBuffer(samples=samples, age=age, clock=clock)
    if not writer.config.spool:
        return MemoryBuffer(samples=samples, age=age, clock=clock)
    from pollect.delivery.spool.buffer import SpoolBuffer
    from pollect.delivery.spool.files import spool_folder
    from pollect.delivery.spool.folder import SpoolFolder

    folder = SpoolFolder(spool_folder(writer))
    log = logging.getLogger(writer.context.name)
    return SpoolBuffer(folder, samples=samples, age=age, clock=clock, log=log)


def _lost_of(batches: Sequence[Batch], lost: object) -> int:
    """Return how many samples a writer says were refused, within reason."""
    total = _size(batches)
    return min(max(lost, 0), total) if isinstance(lost, int) else total


def _asked_pause(seconds: object) -> float:
    """Return how long a target asks us to wait, within reason."""
    if not isinstance(seconds, int | float) or math.isnan(seconds):
        return 0.0
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER)


def _size(batches: Sequence[Batch]) -> int:
    return sum(map(len, batches))
