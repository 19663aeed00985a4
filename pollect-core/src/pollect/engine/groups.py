"""Sources of one executor that share an interval: when each of them is probed.

The first probe of each comes at once, a few hundred sources a second after each other. After that
they either start together at every tick, or spread over it: each in the slot that a hash of its id
names, so that a thousand sources are no burst. Both ways the batches of one tick are merged for the
writers that want them together.
"""

import logging
from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import NamedTuple

from pollect.delivery.routing import MergedTick
from pollect.engine.runner import Runner
from pollect.engine.scheduler import RepeatingTimer, Scheduler
from pollect.plugin import Clock

#: At the start, this many sources begin together, and the next as many after the pause.
RAMP_SOURCES = 100
RAMP_SECONDS = 0.02
#: With fewer sources at one interval, starting together costs nothing.
SPREAD_FROM = 50
#: The share of a tick that sources are spread over; the rest is for the last ones to answer in.
SPREAD_SHARE = 0.8
SHORTEST_SLOT = 0.02
#: So many sources share a slot on average: threads that wake up for a few, their code and data long
#: gone from the processor's caches, cost more than the probes.
SOURCES_OF_A_SLOT = SPREAD_FROM
#: As many ticks in a row that did not happen are worth a line in the log.
MISSED_TICKS = 3

log = logging.getLogger(__name__)

#: Starts runs of these runners for a merged tick; see `Runner.begin` of the last argument.
Begin = Callable[[Sequence[Runner], MergedTick, float | None], None]


class Part(NamedTuple):
    """Sources that begin together."""

    #: Seconds after the start of the tick.
    offset: float
    runners: Sequence[Runner]
    #: Monotonic seconds of their next tick.
    next_due: float | None


class TickGroup:
    """Begins its sources at their times, in the scheduler's thread."""

    def __init__(
        self,
        interval: float,
        *,
        begin: Begin,
        new_tick: Callable[[], MergedTick],
        errand: Callable[[Callable[[], None]], None],
        clock: Clock,
        scheduler: Scheduler,
        aligned: bool = False,
    ) -> None:
        self.interval = interval
        self.spread = False
        self.runners: list[Runner] = []
        self._begin = begin
        self._new_tick = new_tick
        self._errand = errand
        self._clock = clock
        self._scheduler = scheduler
        #: Ticks start at multiples of the interval of the wall clock, so that a source has its
        #: place in the tick on whichever daemon of a fleet it is.
        self._aligned = aligned
        self._timer: RepeatingTimer | None = None
        #: When the last tick should have begun, in monotonic seconds.
        self._last_start: float | None = None
        #: Ticks that may still wait for a source.
        self._open: list[MergedTick] = []
        self._stopped = False

    def add(self, runners: Sequence[Runner], *, once: bool = False) -> None:
        """Probe `runners` now and, unless `once`, from now on at every tick of the group."""
        if not once:
            self.runners = [*self.runners, *runners]
            if self._timer is None:
                self._timer = RepeatingTimer(
                    self._scheduler, self._clock, self.interval, self._tick, first=self._first()
                )
        if self._aligned:
            # Before the daemon takes part in its fleet: what comes later has its place in the tick.
            runners = [runner for runner in runners if runner.check_ownership()]
        self._scheduler.call_at(self._clock.monotonic(), partial(self._ramp, runners))

    def keep(self, runners: Collection[Runner]) -> None:
        """Leave out every runner that is not among `runners`; the ticks end with the last one."""
        self.runners = [runner for runner in self.runners if runner in runners]
        if not self.runners:
            self.stop()

    def stop(self) -> None:
        """Begin nothing any more."""
        self._stopped = True
        if self._timer is not None:
            self._timer.stop()

    def flush(self) -> None:
        """Hand over what waits for slower sources of the same tick."""
        open_ticks, self._open = self._open, []
        for tick in open_ticks:
            tick.close()

    def _first(self) -> float:
        """Return when the first tick is, in monotonic seconds."""
        now = self._clock.monotonic()
        if self._aligned:
            return now + self.interval - self._clock.time() % self.interval
        # So that the second probe is not much later after the first than the others.
        share = 1 - SPREAD_SHARE / 2 if self._slots > 1 else 1
        return now + self.interval * share

    @property
    def _slots(self) -> int:
        if not self.spread or len(self.runners) < SPREAD_FROM:
            return 1
        most = int(self.interval * SPREAD_SHARE / SHORTEST_SLOT)
        return max(1, min(max(len(self.runners) // SOURCES_OF_A_SLOT, 2), most))

    def _ramp(self, runners: Sequence[Runner]) -> None:
        """Probe each once: the first ones now, the others in steps."""
        due = None if self._timer is None else self._timer.due
        parts = [
            Part(RAMP_SECONDS * number, runners[first : first + RAMP_SOURCES], due)
            for number, first in enumerate(range(0, len(runners), RAMP_SOURCES))
        ]
        self._begin_parts(parts, self._clock.monotonic())

    def _tick(self) -> None:
        if self._timer is None:
            return
        start = self._timer.due - self.interval
        self._note_missed(start)
        self.flush()
        slots = self._slots
        if slots == 1:
            parts = [Part(0.0, self.runners, self._timer.due)]
        else:
            width = self.interval * SPREAD_SHARE / slots
            members: dict[int, list[Runner]] = {}
            for runner in self.runners:
                members.setdefault(runner.spread_hash % slots, []).append(runner)
            parts = [
                Part(width * slot, members[slot], self._timer.due + width * slot)
                for slot in sorted(members)
            ]
        self._begin_parts(parts, start)

    def _begin_parts(self, parts: Sequence[Part], start: float) -> None:
        """Begin the parts of one tick at their times."""
        tick = self._new_tick()
        self._open.append(tick)
        left = deque(parts)

        def begin_due() -> None:
            while left and not self._stopped:
                when = start + left[0].offset
                if when > self._clock.monotonic():
                    self._scheduler.call_at(when, begin_due)
                    return
                part = left.popleft()
                self._begin(part.runners, tick, part.next_due)
            tick.end()

        begin_due()

    def _note_missed(self, start: float) -> None:
        before, self._last_start = self._last_start, start
        missed = 0 if before is None else round((start - before) / self.interval) - 1
        if missed >= MISSED_TICKS:
            count, interval = len(self.runners), self.interval
            self._errand(
                lambda: log.warning(
                    "%d ticks of %g s were missed by %d sources: the machine slept, or is "
                    "overloaded",
                    missed,
                    interval,
                    count,
                )
            )
