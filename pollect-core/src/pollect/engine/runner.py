"""One source at run time: is it busy, is it up, whose is it, when is it tried again."""

import binascii
import math
import threading
from typing import TYPE_CHECKING

from pollect.engine.guard import Guard
from pollect.engine.health import Health
from pollect.engine.plan import Ownership, SourcePlan
from pollect.engine.probe_run import Executing, ProbeRun, Rank
from pollect.engine.retry import Retry
from pollect.engine.scheduler import Scheduler, Timer
from pollect.engine.values import Values
from pollect.errors import ProbeError, TargetUnavailable, describe
from pollect.model import Batch, Outcome, ProbeResult, SourceId, SourceStatus
from pollect.plugin import Clock

if TYPE_CHECKING:
    from pollect.delivery.routing import MergedTick
    from pollect.engine.relaying import RelayCarrier

#: A probe is slow when it takes longer than this, or than this share of its interval.
SLOW_SECONDS = 1.0
SLOW_OF_INTERVAL = 0.1
#: Why a tick is skipped.
STILL_BUSY = "still busy with the last probe"
STILL_WAITS = "the last probe still waits for a free thread"
STILL_WAITS_ON_LOOP = "the last probe still waits for its event loop"
# Compared at every probe, and on Python 3.11 the name of a member costs a call.
_QUICK = Rank.QUICK
_OK = Outcome.OK


class Runner:
    """The state of one source, and every decision about it.

    The scheduler's thread calls `begin` and the methods that look after deadline and freshness:
    they hold `_lock` for a moment and run nothing of a plugin. Worker threads hold `values.order`
    while a result is decided on and put into the queues of the writers.
    """

    # Python shares the names of at most 30 attributes: with a dict a runner took 2 KB more, and
    # missed the processor's cache at every probe.
    __slots__ = (
        "_clock", "_closing", "_deadline_watch", "_disowned", "_executor", "_health",
        "_left_behind", "_lock", "_log", "_next_due", "_ownership", "_rank", "_retry", "_run",
        "_scheduler", "_skipped", "_skips_logged", "_slow_seconds", "_stopped", "carrier", "guard",
        "id", "key", "plan", "spread_hash", "suspect", "values",
    )  # fmt: skip

    def __init__(
        self,
        plan: SourcePlan,
        executor: Executing,
        *,
        clock: Clock,
        scheduler: Scheduler,
        ownership: Ownership | None = None,
    ) -> None:
        self.plan = plan
        self.id = plan.id
        #: Of a source that relays batches of other daemons.
        self.carrier: RelayCarrier | None = None
        self.guard = Guard(plan, clock)
        self.values = Values(plan, self.guard, executor, clock=clock)
        self._rank = Rank.NEW
        #: It took long the last time, so that its next probe must not keep others waiting.
        self.suspect = False
        #: What hangs together with it, for the worker threads.
        self.key = _key(plan.id, Rank.NEW)
        self._slow_seconds = min(SLOW_SECONDS, SLOW_OF_INTERVAL * plan.interval)
        #: Where in a tick it is probed, if sources are spread over it.
        self.spread_hash = binascii.crc32(str(plan.id).encode(errors="replace"))
        self._executor = executor
        self._clock = clock
        self._scheduler = scheduler
        self._ownership = ownership
        self._log = plan.log
        self._lock = threading.Lock()
        self._run: ProbeRun | None = None
        self._stopped = False
        self._left_behind = False
        self._skipped = 0
        self._skips_logged: tuple[str, ...] = ()
        self._deadline_watch: Timer | None = None
        self._health = Health(plan.id, self._log)
        self._retry = Retry()
        #: Monotonic seconds of the next regular probe; None if there is none to come.
        self._next_due: float | None = None
        #: Another daemon probes the source.
        self._disowned = False
        #: It is being closed, as another daemon probes it.
        self._closing = False

    def begin(
        self, tick: "MergedTick", *, next_due: float | None = None, retry: bool = False
    ) -> ProbeRun | None:
        """Start a run; None if the last one still runs, or it is too early, or not its owner.

        `next_due`: when the tick after this one is, in monotonic seconds. A `retry` between two
        ticks that finds the last run still going is not a skipped tick.
        """
        now = self._clock.monotonic()
        with self._lock:
            if next_due is not None:
                self._next_due = next_due
            if self._stopped:
                return None
            epoch = None
            if self._ownership is not None and (epoch := self._epoch(self._ownership)) is None:
                self._leave_to_others()
                return None
            if self._closing:
                return None
            self._disowned = False
            if self._run is not None:
                if not retry:
                    self._skip(self._run)
                return None
            if self._retry.timer is not None:
                self._retry.cancel()
            if not self.guard.opened and not self._retry.may_open(now):
                return None
            run = self._run = ProbeRun(self, tick, now, epoch)
            if self._deadline_watch is None:
                self._watch_deadline(now)
        return run

    def probe(self, run: ProbeRun) -> None:
        """Probe in this thread and pass on what comes of it."""
        if self._start(run):
            self.finish(run, self.guard.probe())

    async def probe_async(self, run: ProbeRun, loop: object) -> ProbeResult | None:
        """Probe on the event loop; what comes of it is to be passed to `finish`, in a worker."""
        run.started = self._clock.monotonic()
        return await self.guard.probe_async(loop) if self._start(run) else None

    def fail(self, run: ProbeRun, error: BaseException) -> None:
        """End a run that did not come to its source, or not back from it."""
        now = self._clock.time()
        self.finish(run, ProbeResult(self.id, Outcome.FAILED, (), now, error=error))

    def finish(self, run: ProbeRun, result: ProbeResult) -> None:
        """Take the result of a run, unless it comes after the deadline."""
        batch = None
        if result.samples or result.withdraw:
            term = _term(run.epoch) if run.epoch is not None else None
            batch = self.values.batch(result, term)
        with self.values.order:
            with self._lock:
                ended, run.over = run.over, True
                if self._run is run:
                    self._run = None
                unwanted = ended or self._stopped or self._is_lost_since(run.epoch)
            if ended:
                self._report_missed(run)
            elif not unwanted:
                self._take(result, batch, run)
                self._executor.finished(self, result)
        if unwanted:
            self._log.debug("an earlier probe returned after %.1f s", result.duration_seconds)
            if not ended:
                self._executor.drop(run)
            self._let_go()
            return
        self._executor.settle()

    def stop(self) -> bool:
        """Start no run any more; return whether one still runs."""
        with self._lock:
            self._stopped = True
            self._retry.cancel()
            return self._run is not None

    def farewell(self) -> None:
        """Withdraw for good what the source wrote; after `stop`."""
        self.values.withdraw(lambda: not self._left_behind)
        if self.carrier is not None:
            self.carrier.close()

    def leave_behind(self) -> None:
        """Write nothing any more, whenever `farewell` gets to it: an heir may have values now."""
        self._left_behind = True

    def check_ownership(self) -> bool:
        """Withdraw the values of a source that is another's now; return whether it is ours."""
        with self._lock:
            if self._stopped:
                return False
            if self._ownership is not None and self._epoch(self._ownership) is None:
                self._leave_to_others()
                return False
            return True

    def came(self) -> bool:
        """Do what `check_ownership` does; return whether the source came to us since."""
        was_another_s = self._disowned
        return self.check_ownership() and was_another_s

    def status(self) -> SourceStatus:
        return self._health.status(
            series=self.values.series,
            skipped=self._skipped,
            dropped=self.guard.dropped,
            next_probe=self._next_probe(),
        )

    def hurry(self) -> None:
        """Let the next run begin even if the pause after a failed `open()` is not over."""
        with self._lock:
            self._retry.end_pause()

    def _next_probe(self) -> float | None:
        """Return the Unix time of the next probe."""
        retry = self._retry.due()
        due = self._next_due if retry is None else retry
        if due is None or self._stopped or self._disowned:
            return None
        return self._clock.time() + due - self._clock.monotonic()

    def _is_lost_since(self, epoch: object) -> bool:
        """Whether the source is another daemon's, or was in between."""
        return self._ownership is not None and self._epoch(self._ownership) != epoch

    def _epoch(self, ownership: Ownership) -> object | None:
        try:
            return ownership.owned(self.id)
        except Exception as error:  # noqa: BLE001 - not known to be ours: left alone
            reason = describe(error)
            self._executor.errand(lambda: self._log.error("its owner is unknown: %s", reason))
            return None

    def _leave_to_others(self) -> None:
        if not self._disowned:
            self._disowned = True
            self._retry.cancel()
            self._executor.errand(self._be_disowned)

    def _be_disowned(self) -> None:
        self.values.withdraw(lambda: self._disowned)
        with self.values.order:
            if self._disowned:
                self._health.forget()
        self._executor.finished(self, None)
        self._let_go()

    def _let_go(self) -> None:
        """Close a source that is another daemon's: its device may have a single session."""
        with self._lock:
            if not self._disowned or self._stopped or self._run or not self.guard.opened:
                return
            self._closing = True
        try:
            self._executor.close(self)
        finally:
            self._closing = False

    def _skip(self, run: ProbeRun) -> None:
        self._skipped += 1
        if run.started is not None:
            text = STILL_BUSY
        else:
            text = STILL_WAITS_ON_LOOP if self.guard.is_async else STILL_WAITS
        if text not in self._skips_logged:
            self._skips_logged += (text,)
            self._executor.errand(lambda: self._log.warning("%s: this tick is skipped", text))

    def _start(self, run: ProbeRun) -> bool:
        """Note that a run got its thread; return False if it is not wanted any more."""
        # It may have waited for its thread for longer than it was ours.
        if run.over or self._stopped or self._is_lost_since(run.epoch):
            with self._lock:
                if self._run is run:
                    self._run = None
            return False
        if self._deadline_watch is None:
            with self._lock:
                self._watch_deadline(self._clock.monotonic())
        if not self.guard.opened:
            self._read_traits(run)
        return True

    def _rate(self, result: ProbeResult) -> None:
        """Note how quick the source is, which decides where its next probe waits."""
        if result.duration_seconds <= self._slow_seconds:
            rank = _QUICK
        else:
            rank = Rank.SLOW if result.outcome.up else Rank.HUNG
        if rank is not self._rank:
            self._set_rank(rank)

    def _set_rank(self, rank: Rank) -> None:
        self._rank = rank
        self.key = _key(self.id, rank)
        self.suspect = rank is Rank.SLOW or rank is Rank.HUNG

    def _take(self, result: ProbeResult, batch: Batch | None, run: ProbeRun) -> None:
        """Update the state and put what is to be written; holds `values.order`."""
        if self._rank is not _QUICK or result.duration_seconds > self._slow_seconds:
            self._rate(result)
        if not result.outcome.up:
            self._plan_next(result)
        elif self._retry.failures:
            self._retry.worked()
        self.values.take(result, batch, None if run.reported else run.tick)
        if batch is None or not batch.samples or result.outcome is not _OK:
            self._executor.note(result)
        # Last, so that who sees the status also sees what follows from it.
        self._health.take(result)

    def _plan_next(self, result: ProbeResult) -> None:
        """After a failure: wait before the next `open()`, probe again sooner if that is wished."""
        now, guard = self._clock.monotonic(), self.guard
        pause = self._retry.failed(now, result.error, guard.retry_after, opened=guard.opened)
        if pause is None:
            return
        when = now + pause
        with self._lock:
            if not self._stopped and self._next_due is not None and when < self._next_due:
                again = self._scheduler.call_at(when, lambda: self._executor.again(self))
                self._retry.book(when, again)

    def _read_traits(self, run: ProbeRun) -> None:
        before = self.guard.deadline_seconds
        self.guard.read_traits()
        if self.guard.deadline_seconds < before and run.started is not None:
            with self._lock:
                self._forget_deadline()
                self._watch_deadline(run.started)

    def _watch_deadline(self, since: float) -> None:
        if self._deadline_watch is None:
            due = since + self.guard.deadline_seconds
            if due < math.inf:
                self._deadline_watch = self._scheduler.call_at(due, self._check_deadline)

    def _forget_deadline(self) -> None:
        if self._deadline_watch is not None:
            self._deadline_watch.cancel()
            self._deadline_watch = None

    def _check_deadline(self) -> None:
        """Give up on a run past its deadline; look again later at one that is not."""
        with self._lock:
            self._deadline_watch = None
            run = self._run
            if run is None or run.over or self._stopped:
                return
            seconds = self.guard.deadline_seconds
            since = run.created if run.started is None else run.started
            if since + seconds > self._clock.monotonic():
                self._watch_deadline(since)
            elif run.started is not None:
                # The run stays in place: no probe starts before the old call returned.
                run.over = True
                run.missed = seconds
                self._executor.errand(lambda: self._time_out(run))
            elif not run.reported:
                run.reported = True
                self._executor.errand(lambda: self._report_wait(run, seconds))

    def _report_wait(self, run: ProbeRun, seconds: float) -> None:
        """Say that a probe did not begin in time; it keeps its place in the queue."""
        error = ProbeError(f"waited {seconds:g} s for {self._executor.describe_wait(run)}")
        with self.values.order:
            if run.started is None:
                self._count_timed_out(seconds, error)
        run.tick.end()
        self._executor.settle()

    def _time_out(self, run: ProbeRun) -> None:
        """Give up on a run and let its tick end without it; in a thread of the engine."""
        self._executor.abandon(run)
        run.blocked = self._executor.describe_block(run)
        with self.values.order:
            self._report_missed(run)
        run.tick.end()
        self._executor.settle()

    def _report_missed(self, run: ProbeRun) -> None:
        """Count a run that missed its deadline, once; holds `values.order`.

        The call that returns late and the engine both come here: whichever is first, no result of a
        later run precedes it.
        """
        seconds, run.missed = run.missed, None
        if seconds is not None:
            self._set_rank(Rank.HUNG)
            reason = f": {run.blocked}" if run.blocked else ""
            error = TargetUnavailable(f"no answer within {seconds:g} s{reason}")
            self._count_timed_out(seconds, error)

    def _count_timed_out(self, seconds: float, error: ProbeError) -> None:
        now = self._clock.time()
        result = ProbeResult(self.id, Outcome.TIMED_OUT, (), now, seconds, error)
        if not self._stopped:
            self._plan_next(result)
            self._executor.note(result)
            self._health.take(result)
            self._executor.finished(self, result)


def _term(epoch: object) -> tuple[int, int] | None:
    """Return the epoch of a lease; there is none where nothing can move."""
    if not isinstance(epoch, tuple) or len(epoch) != 2 or not any(epoch):
        return None
    return epoch[0], epoch[1]


def _key(source: SourceId, rank: Rank) -> str:
    return f"{rank.name} {source.type}"
