"""One source at run time: is it busy, is it up, until when do its values hold."""

import logging
import math
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pollect.engine.guard import Guard
from pollect.engine.plan import SourcePlan
from pollect.engine.scheduler import Scheduler, Timer
from pollect.engine.workers import WorkerCall
from pollect.errors import ProbeError, TargetUnavailable, describe
from pollect.model import Batch, Outcome, ProbeResult, SourceStatus
from pollect.plugin import Clock

if TYPE_CHECKING:
    from concurrent.futures import Future

    from pollect.delivery.routing import MergedTick

#: A value stays true for this many intervals without a new probe that works.
FRESH_INTERVALS = 2.5
#: Seconds until the next look when the values might be too old but new ones are just coming.
EXPIRY_RETRY_SECONDS = 0.1
#: Pause in seconds after the first failed `open()`, doubled each time up to the longest.
FIRST_OPEN_PAUSE = 1.0
LONGEST_OPEN_PAUSE = 60.0
#: Seconds between a failed probe and another try at least, whatever the source wishes.
SHORTEST_RETRY = 0.1


class ProbeRun:
    """One probe on its way, from the queue to its end."""

    __slots__ = ("future", "job", "over", "runner", "started", "tick")

    def __init__(self, runner: "Runner", tick: "MergedTick") -> None:
        self.runner = runner
        self.tick = tick
        self.job: WorkerCall | None = None
        self.future: Future[Any] | None = None
        #: Monotonic seconds; None while it waits for a worker.
        self.started: float | None = None
        #: It ended or timed out: whatever still comes is too late.
        self.over = False


class Runner:
    """The state of one source, and every decision about it.

    `begin` is called by the scheduler's thread, `finish` by the thread of the probe; `deliver`
    passes a result with the batch that follows from it, if any, on to the executor.
    """

    def __init__(
        self,
        plan: SourcePlan,
        *,
        clock: Clock,
        scheduler: Scheduler,
        deliver: "Callable[[ProbeRun, ProbeResult, Batch | None], None]",
        withdraw: Callable[[Batch], None],
        abandon: Callable[[ProbeRun], None],
        again: "Callable[[Runner], None]",
    ) -> None:
        self.plan = plan
        self.guard = Guard(plan, clock)
        self._clock = clock
        self._scheduler = scheduler
        self._deliver = deliver
        self._withdraw = withdraw
        self._abandon = abandon
        self._again = again
        self._log = plan.source.log
        self._lock = threading.Lock()
        #: Held while a result is decided on and written, so that no older batch overtakes it.
        self._order = threading.Lock()
        self._run: ProbeRun | None = None
        self._stopped = False
        self._deadline_watched = False
        self._expiry_watched = False
        self._fresh_until = 0.0
        self._series = 0
        self._open_pause = FIRST_OPEN_PAUSE
        self._open_again_at = 0.0
        self._outcome: Outcome | None = None
        self._reason = ""
        self._since: float | None = None
        self._last_success: float | None = None
        self._duration: float | None = None
        self._probes = dict.fromkeys(Outcome, 0)
        self._skipped = 0
        self._troubles: tuple[str, ...] = ()
        self._trouble_count = 0
        self._troubled_since: float | None = None
        self._failures = 0
        #: Monotonic seconds of the next regular probe; None if there is none to come.
        self._next_due: float | None = None
        self._retry: Timer | None = None

    def begin(
        self, tick: "MergedTick", *, next_due: float | None = None, retry: bool = False
    ) -> ProbeRun | None:
        """Start a run, or return None: the last one still runs, or it is too early to reopen.

        `next_due`: when the tick after this one is, in monotonic seconds. A `retry` between two
        ticks that finds the last run still going is no skipped tick.
        """
        now = self._clock.monotonic()
        with self._lock:
            if next_due is not None:
                self._next_due = next_due
            if self._stopped:
                return None
            if self._run is not None:
                if not retry:
                    self._skip()
                return None
            self._forget_retry()
            if not self.guard.opened and now < self._open_again_at:
                return None
            run = self._run = ProbeRun(self, tick)
            if not self._deadline_watched:
                self._deadline_watched = True
                self._scheduler.call_at(now + self._deadline_seconds, self._check_deadline)
        return run

    def probe(self, run: ProbeRun) -> None:
        """Probe in this thread and pass on what comes of it."""
        run.started = self._clock.monotonic()
        self.finish(run, self.guard.probe())

    async def probe_async(self, run: ProbeRun) -> None:
        """Probe on the event loop and pass on what comes of it."""
        run.started = self._clock.monotonic()
        self.finish(run, await self.guard.probe_async())

    def finish(self, run: ProbeRun, result: ProbeResult) -> None:
        """Take the result of a run, unless it comes after the deadline."""
        with self._order:
            with self._lock:
                if self._run is run:
                    self._run = None
                too_late = run.over or self._stopped
                run.over = True
                batch = None if too_late else self._take(result)
            if too_late:
                self._log.debug("an earlier probe returned after %.1f s", result.duration_seconds)
                return
            self._deliver(run, result, batch)

    def stop(self) -> bool:
        """Begin no run any more; return whether one still runs."""
        with self._lock:
            self._stopped = True
            self._forget_retry()
            return self._run is not None

    def farewell(self) -> Batch | None:
        """Return the batch that withdraws what the source wrote, None if there is nothing."""
        with self._lock:
            return self._withdrawal()

    def status(self) -> SourceStatus:
        return SourceStatus(
            source=self.plan.id,
            outcome=self._outcome,
            reason=self._reason,
            since=self._since,
            last_success=self._last_success,
            duration_seconds=self._duration,
            series=self._series,
            probes=dict(self._probes),
            skipped=self._skipped,
            troubles=self._troubles,
            trouble_count=self._trouble_count,
            troubled_since=self._troubled_since,
        )

    @property
    def _deadline_seconds(self) -> float:
        return self.plan.source.deadline_seconds()

    def _skip(self) -> None:
        self._skipped += 1
        level = logging.WARNING if self._skipped == 1 else logging.DEBUG
        self._log.log(level, "still busy with the last probe: this tick is skipped")
        self._watch_expiry()

    def _take(self, result: ProbeResult) -> Batch | None:
        """Update the state; return the batch to write, None to leave the writers as they are."""
        self._probes[result.outcome] += 1
        self._duration = result.duration_seconds
        self._note_outcome(result)
        if not self.guard.opened and not result.outcome.up:
            self._open_again_at = self._clock.monotonic() + self._open_pause
            self._open_pause = min(self._open_pause * 2, LONGEST_OPEN_PAUSE)
        else:
            self._open_pause = FIRST_OPEN_PAUSE
        if result.outcome.up:
            self._last_success = result.time
        self._plan_retry(result)
        if result.samples:
            hold = self.plan.source.hold
            lifetime = FRESH_INTERVALS * self.plan.interval if hold is None else hold
            self._fresh_until = self._clock.monotonic() + lifetime
            self._series = len(result.samples)
            return Batch(self.plan.id, result.samples, result.time, self.plan.static_labels)
        if result.withdraw:
            return self._withdrawal()
        self._watch_expiry()
        return None

    def _note_outcome(self, result: ProbeResult) -> None:
        """Log once when the source goes down and once when it is back."""
        was_up = self._outcome is None or self._outcome.up
        is_up = result.outcome.up
        reason = "" if is_up else describe(result.error)
        if was_up and not is_up:
            if result.outcome is Outcome.BUG:
                self._log.error(
                    "down, by a mistake in the source: %s", reason, exc_info=result.error
                )
            else:
                self._log.warning("down: %s", reason)
        elif is_up and not was_up:
            self._log.info("up again after %.0f s", result.time - (self._since or result.time))
        elif not is_up:
            self._log.debug("still down: %s", reason)
        if self._outcome is None or was_up != is_up:
            self._since = result.time
        self._outcome = result.outcome
        self._reason = reason
        self._troubles, self._trouble_count = result.troubles, result.trouble_count
        if not result.troubles:
            self._troubled_since = None
        elif self._troubled_since is None:
            self._troubled_since = result.time

    def _plan_retry(self, result: ProbeResult) -> None:
        """After a failed probe, probe again before the next tick if the source wishes so."""
        if result.outcome.up:
            self._failures = 0
            return
        self._failures += 1
        pause = _retry_pause(result.error, self.plan.source.retry_after, self._failures)
        if pause is None or self._next_due is None:
            return
        when = self._clock.monotonic() + pause
        if when < self._next_due:
            self._open_again_at = min(self._open_again_at, when)
            self._forget_retry()
            self._retry = self._scheduler.call_at(when, lambda: self._again(self))

    def _forget_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _check_deadline(self) -> None:
        """Give up on a run past its deadline; look again later at one that is not."""
        with self._lock:
            run = self._run
            if run is None or run.over or self._stopped:
                self._deadline_watched = False
                return
            now = self._clock.monotonic()
            seconds = self._deadline_seconds
            due = (now if run.started is None else run.started) + seconds
            if due > now:
                self._scheduler.call_at(due, self._check_deadline)
                return
            self._deadline_watched = False
            # The run stays in place: the source is probed again only after the old call returned.
            run.over = True
            error = TargetUnavailable(f"no answer within {seconds:g} s")
            result = ProbeResult(
                self.plan.id, Outcome.TIMED_OUT, (), self._clock.time(), seconds, error
            )
            batch = self._take(result)
        self._abandon(run)
        self._deliver(run, result, batch)

    def _watch_expiry(self) -> None:
        """Withdraw the last values when they are too old, unless they shall stay for ever."""
        if self._series and not self._expiry_watched and not self.plan.keep_stale:
            self._expiry_watched = True
            self._scheduler.call_at(self._fresh_until, self._check_expiry)

    def _check_expiry(self) -> None:
        if not self._order.acquire(blocking=False):
            # A result is being written right now; the scheduler's thread must not wait for that.
            again = self._clock.monotonic() + EXPIRY_RETRY_SECONDS
            self._scheduler.call_at(again, self._check_expiry)
            return
        try:
            with self._lock:
                self._expiry_watched = False
                fresh = self._fresh_until > self._clock.monotonic()
                if fresh and self._outcome not in (Outcome.OK, Outcome.TROUBLED):
                    self._watch_expiry()
                batch = None if fresh or self._stopped else self._withdrawal()
            if batch is not None:
                self._withdraw(batch)
        finally:
            self._order.release()

    def _withdrawal(self) -> Batch | None:
        if not self._series:
            return None
        self._series = 0
        return Batch(self.plan.id, (), self._clock.time(), self.plan.static_labels)


def _retry_pause(
    error: BaseException | None, pauses: Sequence[float], failures: int
) -> float | None:
    """Return the seconds until another try, None if the next tick is early enough."""
    pause = error.retry_in if isinstance(error, ProbeError) else None
    if pause is None and pauses:
        pause = pauses[min(failures, len(pauses)) - 1]
    if not isinstance(pause, int | float) or not 0 <= pause < math.inf:
        return None
    return max(pause, SHORTEST_RETRY)
