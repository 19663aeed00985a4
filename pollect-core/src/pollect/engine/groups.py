"""Sources of one executor that share an interval: when each of them is probed.

The first probe of each comes at once, a few hundred sources a second after each other. After that
they either start together at every tick, or spread over it: each in the slot that a hash of its id
names, so that a thousand sources are no burst. Both ways the batches of one tick are merged for the
writers that want them together.

Daemons of a fleet have the same slots at the same times of the wall clock. A source that is handed
over loses none and has none twice: what was due until the owner before stopped was its, the rest is
the new one's, which makes up at once for the slots that passed in between.
"""

import logging
import math
from collections import deque
from collections.abc import Callable, Collection, Container, Iterator, Sequence
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
#: So many sources share a slot on average, more where slots were closer than these seconds: threads
#: that wake up five times a second, their code and data gone from the processor's caches by then,
#: cost as much as the probes. How many threads wake up matters little beside that.
SOURCES_OF_A_SLOT = 50
SHORTEST_SLOT = 0.2
#: A source whose slot comes within this time, or half an interval, is not probed before.
SOON_SECONDS = 5.0
#: How far two daemons whose clocks agree may be apart at a slot: a slot so close after the moment
#: in which a daemon stopped may have begun there.
ALIGNMENT_SECONDS = 0.001
#: How often the two clocks are read, for the reading that took least.
CLOCK_READINGS = 3
#: As many ticks in a row that did not happen are worth a line in the log.
MISSED_TICKS = 3
#: Seconds between two such lines: a machine that is overloaded misses ticks again and again.
MISSED_PAUSE = 60.0

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
        #: Ticks that did not happen and were not logged yet, and when some were.
        self._missed, self._missed_logged = 0, -math.inf
        #: How many slots the present tick has, when it began, and when the last of its slots that
        #: has begun was due.
        self._slot_count = 1
        self._tick_start = self._begun_until = -math.inf
        #: Sources that came lately: a slot that is due before that moment is not theirs.
        self._not_before: dict[Runner, float] = {}
        #: Ticks that may still wait for a source.
        self._open: list[MergedTick] = []
        self._stopped = False

    def add(self, runners: Sequence[Runner], *, once: bool = False) -> None:
        """Probe `runners` now and, unless `once`, from now on at every tick of the group."""
        first = self._timer is None
        if not once:
            self.runners = [*self.runners, *runners]
            if self._timer is None:
                self._timer = RepeatingTimer(
                    self._scheduler, self._clock, self.interval, self._tick, first=self._first()
                )
        now = self._clock.monotonic()
        if self._aligned:
            # Before the daemon takes part in its fleet: what comes later has its place in the tick.
            runners = [runner for runner in runners if runner.check_ownership()]
        self._scheduler.call_at(now, partial(self._ramp, runners))
        if self._aligned and first and self._timer is not None:
            join = partial(self._join_tick, self._timer.due, frozenset(runners))
            self._scheduler.call_at(now, join)

    def take_up(self, came: Sequence[tuple[Runner, float]]) -> None:
        """Go on with sources where the daemon that had them before stopped; see the module.

        Beside each source the Unix time at which that was, minus infinity for one that was not
        probed. For the scheduler's thread, after the first tick.
        """
        now, offset = self._clock.monotonic(), self._wall_offset()
        soon = min(self.interval / 2, SOON_SECONDS)
        at_once: list[Runner] = []
        for runner, at in came:
            stopped, last = at - offset, self._last_slot(runner)
            if last > stopped + ALIGNMENT_SECONDS:
                # A slot that comes soon will do: no two probes close to each other, whoever has
                # the source then.
                if last + self.interval - now >= soon:
                    at_once.append(runner)
            elif stopped > now:  # the clock there is ahead of ours
                self._not_before[runner] = min(stopped, now + self.interval)
        if at_once:
            self._ramp(at_once)

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
            return now + self.interval - (now + self._wall_offset()) % self.interval
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
        if self._aligned:
            self._timer.move(self._on_the_wall(self._timer.due))
        self._note_missed(start)
        self.flush()
        if self._not_before:
            self._not_before = {r: at for r, at in self._not_before.items() if at > start}
        self._slot_count, self._tick_start = self._slots, start
        self._begin_parts(list(self._parts(self._timer.due)), start, slots=True)

    def _join_tick(self, due: float, probed: Container[Runner]) -> None:
        """Begin what is left of the tick before `due`, for sources that may come until then."""
        if self._timer is None or self._timer.due != due:
            return
        start, now = due - self.interval, self._clock.monotonic()
        self._slot_count, self._tick_start, self._begun_until = self._slots, start, now
        parts = [
            part._replace(runners=[runner for runner in part.runners if runner not in probed])
            for part in self._parts(due)
            if start + part.offset > now
        ]
        self._begin_parts(parts, start, slots=True)

    def _parts(self, next_start: float) -> Iterator[Part]:
        """Yield the slots of a tick and the sources in each, in order."""
        if self._slot_count == 1:
            yield Part(0.0, self.runners, next_start)
            return
        members: dict[int, list[Runner]] = {}
        for runner in self.runners:
            members.setdefault(runner.spread_hash % self._slot_count, []).append(runner)
        for slot in sorted(members):
            offset = self._slot_width * slot
            yield Part(offset, members[slot], next_start + offset)

    @property
    def _slot_width(self) -> float:
        return self.interval * SPREAD_SHARE / self._slot_count

    def _last_slot(self, runner: Runner) -> float:
        """Return when a source's last slot that has begun was due, in monotonic seconds."""
        slot = self._tick_start + self._slot_width * (runner.spread_hash % self._slot_count)
        return slot if slot <= self._begun_until else slot - self.interval

    def _wall_offset(self) -> float:
        """Return what the wall clock shows at 0 of the monotonic one."""
        readings = []
        for _ in range(CLOCK_READINGS):
            before, wall, after = (
                self._clock.monotonic(), self._clock.time(), self._clock.monotonic()
            )  # fmt: skip
            readings.append((after - before, wall - (before + after) / 2))
        return min(readings)[1]

    def _on_the_wall(self, due: float) -> float:
        """Return the start of a tick next to `due`, as the wall clock may have been set since."""
        late = (due + self._wall_offset()) % self.interval
        return due - late if late < self.interval / 2 else due - late + self.interval

    def _begin_parts(self, parts: Sequence[Part], start: float, *, slots: bool = False) -> None:
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
                runners = part.runners
                if slots:
                    self._begun_until = when
                    if self._not_before:
                        runners = [r for r in runners if self._not_before.get(r, when) <= when]
                self._begin(runners, tick, part.next_due)
            tick.end()

        begin_due()

    def _note_missed(self, start: float) -> None:
        before, self._last_start = self._last_start, start
        gap = 0 if before is None else round((start - before) / self.interval) - 1
        if gap < MISSED_TICKS:
            return
        self._missed += gap
        if start - self._missed_logged >= MISSED_PAUSE:
            self._missed_logged, missed, self._missed = start, self._missed, 0
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
