"""When sources that share an interval begin: together, or spread over it."""

import gc
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pollect.api import Batch, Metric, SourceId
from pollect.delivery.routing import MergedTick
from pollect.engine.groups import (
    ALIGNMENT_SECONDS,
    RAMP_SECONDS,
    RAMP_SOURCES,
    SOURCES_OF_A_SLOT,
    SPREAD_FROM,
    SPREAD_SHARE,
    TickGroup,
)
from pollect.engine.scheduler import Scheduler
from pollect.testing import FakeClock
from tests.core.engine.test_scheduler import run_for

INTERVAL = 10.0
#: Sources that share three slots.
THREE_SLOTS = 3 * SOURCES_OF_A_SLOT
VALUE = Metric("value")


class Member:
    """Stands for a runner: all a group looks at."""

    def __init__(self, number: int) -> None:
        self.number = number
        # Spread as evenly as a checksum would.
        self.spread_hash = number * 2_654_435_761 % 2**32


class Group:
    """A group under a clock of the test, whose probes end as soon as they begin."""

    def __init__(self, members: int, *, spread: bool, interval: float = INTERVAL) -> None:
        self.clock = FakeClock(monotonic=0.0)
        self.scheduler = Scheduler(self.clock)
        self.members: list[Any] = [Member(number) for number in range(members)]
        #: Member -> the times at which it began.
        self.starts: dict[int, list[float]] = {number: [] for number in range(members)}
        self.due: dict[int, list[float | None]] = {number: [] for number in range(members)}
        self.merged: list[tuple[float, int]] = []
        self.group = TickGroup(
            interval,
            begin=self._begin,
            new_tick=lambda: MergedTick(self._flush),
            errand=lambda call: call(),
            clock=self.clock,
            scheduler=self.scheduler,
        )
        self.group.spread = spread
        self.group.add(self.members)

    def run(self, seconds: float) -> None:
        run_for(self.scheduler, self.clock, seconds)

    def _begin(self, runners: Sequence[Any], tick: MergedTick, next_due: float | None) -> None:
        tick.begin(len(runners))
        for runner in runners:
            self.starts[runner.number].append(self.clock.monotonic())
            self.due[runner.number].append(next_due)
            tick.end(Batch(SourceId("a", "b", str(runner.number)), [VALUE.sample(1)], 0.0))

    def _flush(self, batches: Sequence[Batch]) -> None:
        self.merged.append((self.clock.monotonic(), len(batches)))


def test_many_sources_all_begin_at_the_start_in_steps() -> None:
    group = Group(1000, spread=True)
    group.run(0)
    assert sum(map(len, group.starts.values())) == RAMP_SOURCES
    group.run(1)
    assert all(len(starts) == 1 for starts in group.starts.values())
    last = max(starts[0] for starts in group.starts.values())
    assert last == pytest.approx((1000 / RAMP_SOURCES - 1) * RAMP_SECONDS)


def test_spread_sources_begin_evenly_over_their_tick_each_in_its_slot() -> None:
    group = Group(4000, spread=True)
    group.run(6 * INTERVAL)
    seconds = Counter(
        int(starts[2] - group.starts[0][2] + INTERVAL) % 10 for starts in group.starts.values()
    )
    assert len(seconds) >= 8
    assert max(seconds.values()) < 800, "no burst"
    for starts in group.starts.values():
        assert 0.5 * INTERVAL < starts[1] - starts[0] < 1.5 * INTERVAL
        gaps = [b - a for a, b in itertools.pairwise(starts[1:])]
        assert gaps == pytest.approx([INTERVAL] * len(gaps))


def test_a_few_dozen_spread_sources_have_two_slots() -> None:
    group = Group(SPREAD_FROM, spread=True)
    group.run(3 * INTERVAL)
    assert len({starts[2] for starts in group.starts.values()}) == 2


@pytest.mark.parametrize(("interval", "slots"), [(1.0, 4), (10.0, 20)])
def test_spread_sources_share_slots_so_that_threads_wake_up_seldom(
    interval: float, slots: int
) -> None:
    group = Group(1000, spread=True, interval=interval)
    group.run(4 * interval)
    together = Counter(starts[2] for starts in group.starts.values())
    assert len(together) == slots
    assert max(together.values()) < 3 * 1000 / slots, "no burst"


def test_merging_writers_get_one_batch_of_each_tick_even_if_spread() -> None:
    group = Group(1000, spread=True)
    group.run(6 * INTERVAL - 1)
    assert [size for _, size in group.merged] == [1000] * len(group.merged)
    assert len(group.merged) in (6, 7)


def test_a_source_knows_when_it_is_due_again() -> None:
    group = Group(THREE_SLOTS, spread=True)
    group.run(5 * INTERVAL)
    for number, starts in group.starts.items():
        assert group.due[number][1:-1] == pytest.approx(starts[2:])


@pytest.mark.parametrize(("members", "spread"), [(49, True), (1000, False)])
def test_few_sources_or_those_that_are_not_spread_begin_together(
    members: int, spread: bool
) -> None:
    group = Group(members, spread=spread)
    group.run(3 * INTERVAL)
    assert all(starts[1:] == [10, 20, 30] for starts in group.starts.values())
    assert all(due == [10, 20, 30, 40] for due in group.due.values())


def test_a_group_that_lost_its_last_source_has_no_tick_left() -> None:
    group = Group(60, spread=True)
    group.run(INTERVAL)
    group.group.keep(set(group.members[:1]))
    seen = len(group.starts[0])
    group.run(2 * INTERVAL)
    assert len(group.starts[0]) == seen + 2
    assert len(group.starts[1]) == seen
    group.group.keep(set())
    group.run(2 * INTERVAL)
    assert group.scheduler.run_due() is None


def test_sources_added_later_begin_at_once_and_join_the_ticks_of_the_others() -> None:
    group = Group(3, spread=False)
    group.run(4)
    late: Any = Member(3)
    group.starts[3], group.due[3] = [], []
    group.group.add([late])
    group.run(20)
    assert group.starts[3] == [4, 10, 20]
    assert [size for _, size in group.merged] == [3, 1, 4, 4]


def test_sources_that_get_one_more_probe_have_no_second_place_in_the_ticks() -> None:
    group = Group(3, spread=False)
    group.run(4)
    group.group.add(group.members, once=True)
    group.run(20)
    assert list(group.starts.values()) == [[0, 4, 10, 20]] * 3


def test_a_group_that_stops_while_it_starts_begins_no_more_sources() -> None:
    group = Group(1000, spread=True)
    group.run(0)
    group.group.stop()
    group.run(2 * INTERVAL)
    assert sum(map(len, group.starts.values())) == RAMP_SOURCES


def test_ticks_that_are_over_take_no_memory() -> None:
    before = ticks_alive()
    group = Group(1, spread=False)
    group.run(100 * INTERVAL)
    assert len(group.starts[0]) == 101
    assert ticks_alive() - before <= 3


def ticks_alive() -> int:
    gc.collect()
    return sum(isinstance(each, MergedTick) for each in gc.get_objects())


def test_ticks_that_were_missed_are_one_line_in_the_log(caplog) -> None:
    group = Group(2, spread=False)
    group.run(30)
    assert not caplog.records
    group.clock.advance(50)
    group.run(5)
    assert caplog.messages == [
        "4 ticks of 10 s were missed by 2 sources: the machine slept, or is overloaded"
    ]


def test_ticks_that_are_missed_again_and_again_are_a_line_a_minute(caplog) -> None:
    group = Group(2, spread=False)
    for _ in range(6):
        group.run(5)
        group.clock.advance(39)
    group.run(5)
    assert caplog.messages == [
        f"{missed} ticks of 10 s were missed by 2 sources: the machine slept, or is overloaded"
        for missed in (3, 6, 6)
    ]


class Shared:
    """What stands for a runner in a fleet: it begins only where its daemon owns it."""

    def __init__(self, number: int, is_owned: Callable[[], bool]) -> None:
        self.number = number
        self.spread_hash = number * 2_654_435_761 % 2**32
        self.check_ownership = is_owned


class WallClock(FakeClock):
    """The clocks of a machine whose wall clock is ahead of another's."""

    def __init__(self, true: FakeClock, ahead: float) -> None:
        self._true, self.ahead = true, ahead

    def monotonic(self) -> float:
        return self._true.monotonic()

    def time(self) -> float:
        return self._true.time() + self.ahead


class Daemons:
    """Daemons of a fleet, each with a wall clock of its own; at most one owns the sources."""

    def __init__(self, sources: int) -> None:
        self.clock = FakeClock(monotonic=0.0, time=1_700_000_000.0)
        self.scheduler = Scheduler(self.clock)
        self.owner: TickGroup | None = None
        self.starts: dict[int, list[float]] = {number: [] for number in range(sources)}
        self.clocks: dict[TickGroup, WallClock] = {}

    def join(self, *, ahead: float = 0.0, owns: bool = False) -> TickGroup:
        clock = WallClock(self.clock, ahead)

        def begin(runners: Sequence[Any], tick: MergedTick, next_due: float | None) -> None:
            for runner in runners:
                if self.owner is group:
                    self.starts[runner.number].append(self.clock.monotonic())

        group = TickGroup(
            INTERVAL,
            begin=begin,
            new_tick=lambda: MergedTick(lambda batches: None),
            errand=lambda call: call(),
            clock=clock,
            scheduler=self.scheduler,
            aligned=True,
        )
        group.spread = True
        self.clocks[group] = clock
        if owns:
            self.owner = group
        members: list[Any] = [Shared(n, lambda: self.owner is group) for n in self.starts]
        group.add(members)
        return group

    def run(self, seconds: float) -> None:
        run_for(self.scheduler, self.clock, seconds)

    def take_up(self, group: TickGroup, stopped: float) -> None:
        self.owner = group
        group.take_up([(runner, stopped) for runner in group.runners])

    def hand_over(self, old: TickGroup, new: TickGroup, seconds: float) -> None:
        self.owner = None
        stopped = self.clocks[old].time()
        self.run(seconds)
        self.take_up(new, stopped)

    def gaps(self) -> list[float]:
        return [gap for starts in self.starts.values() for gap in gaps_of(starts)]


def gaps_of(starts: Sequence[float]) -> list[float]:
    return [b - a for a, b in itertools.pairwise(starts)]


@given(
    phase=st.floats(0, INTERVAL),
    joined_before=st.floats(0, 1.5 * INTERVAL),
    takes=st.floats(0, 0.2 * INTERVAL),
    old_ahead=st.floats(-0.1 * INTERVAL, 0.1 * INTERVAL),
)
@settings(max_examples=40, deadline=None)
def test_a_source_that_is_handed_over_loses_no_slot_and_has_none_twice(
    phase: float, joined_before: float, takes: float, old_ahead: float
) -> None:
    daemons = Daemons(THREE_SLOTS)
    daemons.owner = old = daemons.join(ahead=old_ahead)
    daemons.run(2 * INTERVAL + phase)
    new = daemons.join()
    daemons.run(joined_before)
    for starts in daemons.starts.values():
        del starts[:-1]  # the ramp of the first
    stopped = daemons.clocks[old].time() % INTERVAL
    daemons.hand_over(old, new, takes)
    daemons.run(2.5 * INTERVAL)
    # What was due in the very moment is left to the one before.
    slots = [slot * SPREAD_SHARE * INTERVAL / 3 for slot in range(3)]
    assume(all((due - stopped) % INTERVAL > 2 * ALIGNMENT_SECONDS for due in slots))
    ramp = THREE_SLOTS / RAMP_SOURCES * RAMP_SECONDS
    gaps = daemons.gaps()
    assert max(gaps) <= INTERVAL + takes + abs(old_ahead) + ramp
    assert min(gaps) >= INTERVAL - takes - abs(old_ahead) - ramp
    assert all(len(starts) >= 3 for starts in daemons.starts.values())


def test_a_daemon_that_joins_in_the_middle_of_a_tick_begins_with_the_slots_that_are_left() -> None:
    daemons = Daemons(THREE_SLOTS)
    new = daemons.join()
    daemons.run(0.1)
    daemons.owner = new
    daemons.run(INTERVAL - 1)
    slots = len({starts[0] for starts in daemons.starts.values() if starts})
    assert slots == 2
    assert max(max(starts, default=0) for starts in daemons.starts.values()) < INTERVAL


def test_what_no_one_probed_is_probed_at_once_unless_its_slot_comes_soon() -> None:
    daemons = Daemons(THREE_SLOTS)
    new = daemons.join()
    daemons.run(INTERVAL + 0.1)
    daemons.take_up(new, float("-inf"))
    daemons.run(INTERVAL)
    firsts = sorted(starts[0] for starts in daemons.starts.values())
    assert firsts[0] == INTERVAL + 0.1
    assert firsts[-1] < 1.5 * INTERVAL + 0.1
    assert min(daemons.gaps()) >= INTERVAL / 2
    assert max(daemons.gaps()) <= INTERVAL


def test_what_a_daemon_probed_as_it_started_is_probed_again_at_its_place_in_the_next_tick() -> None:
    daemons = Daemons(THREE_SLOTS)
    daemons.join(owns=True)
    daemons.run(INTERVAL - 0.1)
    assert {len(starts) for starts in daemons.starts.values()} == {1}
    daemons.run(INTERVAL)
    assert {len(starts) for starts in daemons.starts.values()} == {2}


def test_a_source_that_a_reload_adds_gives_no_other_a_second_probe_in_its_tick() -> None:
    daemons = Daemons(THREE_SLOTS)
    group = daemons.join(owns=True)
    daemons.run(2 * INTERVAL + 0.5)
    late: Any = Shared(THREE_SLOTS, lambda: True)
    daemons.starts[late.number] = []
    group.add([late])
    daemons.run(2 * INTERVAL)
    assert daemons.starts[late.number][0] == 2 * INTERVAL + 0.5
    del daemons.starts[late.number]
    gaps = [gap for starts in daemons.starts.values() for gap in gaps_of(starts[1:])]
    assert gaps == pytest.approx([INTERVAL] * len(gaps))


def test_a_slot_at_the_very_moment_a_daemon_stopped_is_not_made_up_for() -> None:
    daemons = Daemons(THREE_SLOTS)
    new = daemons.join()
    slot = 2 * INTERVAL + SPREAD_SHARE * INTERVAL / 3
    daemons.run(slot + 0.1)
    stopped = daemons.clocks[new].time() - 0.1 - ALIGNMENT_SECONDS / 2
    daemons.take_up(new, stopped)
    assert not any(daemons.starts.values())


def test_a_slot_is_not_probed_twice_if_the_daemon_before_was_ahead() -> None:
    daemons = Daemons(THREE_SLOTS)
    old, new = daemons.join(ahead=1.0, owns=True), daemons.join()
    daemons.run(3 * INTERVAL - 0.95)  # the first slot of its tick has just begun there
    daemons.hand_over(old, new, 0.0)
    daemons.run(2 * INTERVAL)
    gaps = [gap for starts in daemons.starts.values() for gap in gaps_of(starts[1:])]
    assert min(gaps) >= INTERVAL - 1e-3
    assert max(gaps) <= INTERVAL + 1 + 1e-3


def test_a_daemon_whose_clock_was_hours_ahead_costs_its_sources_no_more_than_a_tick() -> None:
    daemons = Daemons(THREE_SLOTS)
    old, new = daemons.join(ahead=3600.0, owns=True), daemons.join()
    daemons.run(2 * INTERVAL + 0.5)
    daemons.hand_over(old, new, 0.0)
    daemons.run(3 * INTERVAL)
    assert max(daemons.gaps()) <= 2 * INTERVAL + 1e-3
    now = daemons.clock.monotonic()
    assert all(now - starts[-1] <= INTERVAL for starts in daemons.starts.values())


@pytest.mark.parametrize("step", [-2.5, 0.4, 3.0])
def test_ticks_of_a_fleet_follow_a_wall_clock_that_is_set(step: float) -> None:
    daemons = Daemons(THREE_SLOTS)
    daemons.owner = group = daemons.join()
    daemons.run(2.5 * INTERVAL)
    daemons.clocks[group].ahead += step
    daemons.run(3 * INTERVAL)
    width = SPREAD_SHARE * INTERVAL / 3
    for starts in daemons.starts.values():
        late = (daemons.clocks[group].ahead + starts[-1] + 1e-4) % INTERVAL % width
        assert late < 1e-3
    assert max(daemons.gaps()) <= INTERVAL + abs(step) + 1e-3
    gaps = [gap for starts in daemons.starts.values() for gap in gaps_of(starts[1:])]
    assert min(gaps) >= INTERVAL - abs(step) - 1e-3


class InterruptedClock(FakeClock):
    """Of a machine that is busy with something else at every third reading of the wall clock."""

    readings = 0

    def time(self) -> float:
        self.readings += 1
        if self.readings % 3 == 1:
            self.advance(0.3)
        return super().time()


def test_a_machine_that_is_interrupted_while_it_reads_its_clocks_keeps_the_place_of_its_ticks() -> (
    None
):
    clock = InterruptedClock(monotonic=0.0, time=1_700_000_000.0)
    scheduler, dues = Scheduler(clock), list[float | None]()
    group = TickGroup(
        INTERVAL,
        begin=lambda runners, tick, next_due: dues.append(next_due),
        new_tick=lambda: MergedTick(lambda batches: None),
        errand=lambda call: call(),
        clock=clock,
        scheduler=scheduler,
        aligned=True,
    )
    members: list[Any] = [Shared(0, lambda: True)]
    group.add(members)
    run_for(scheduler, clock, 3 * INTERVAL)
    assert sorted({due for due in dues if due is not None}) == pytest.approx([10, 20, 30, 40])
