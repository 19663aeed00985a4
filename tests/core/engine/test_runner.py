"""What one source does, and what not, as its run, its owner and its end cross each other."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from pollect.api import Batch, NoData, Outcome, TargetUnavailable
from pollect.delivery.routing import MergedTick
from pollect.engine.plan import SourcePlan
from pollect.engine.probe_run import ProbeRun
from pollect.engine.runner import Runner
from pollect.engine.scheduler import Scheduler
from pollect.model import ProbeResult, SourceId
from pollect.testing import FakeClock
from tests.core.engine.rig import scripted
from tests.core.engine.test_scheduler import run_for

INTERVAL = 10.0


class Bench:
    """A runner in the thread of the test, which stands for its executor and its owner."""

    name = "test"

    def __init__(self, *, keep_stale: bool = False) -> None:
        self.clock = FakeClock(monotonic=0.0)
        self.scheduler = Scheduler(self.clock)
        self.source = scripted(clock=self.clock)
        self.epoch: object | None = 1
        self.closing: Callable[[], object] = lambda: None
        self.written: list[Batch] = []
        #: The tick that each was put into.
        self.ticks: list[MergedTick | None] = []
        self.results: list[ProbeResult | None] = []
        self.dropped: list[ProbeRun] = []
        self.errands: list[Callable[[], None]] = []
        self.runner = Runner(
            SourcePlan(source=self.source, interval=INTERVAL, keep_stale=keep_stale),
            self,
            clock=self.clock,
            scheduler=self.scheduler,
            ownership=self,
        )

    def begin(self) -> ProbeRun | None:
        tick = MergedTick(lambda batches: None)
        tick.begin(1)
        due = self.clock.monotonic() + INTERVAL
        run = self.runner.begin(tick, next_due=due)
        tick.end()
        return run

    def begun(self) -> ProbeRun:
        run = self.begin()
        assert run is not None
        return run

    def run(self, seconds: float) -> None:
        run_for(self.scheduler, self.clock, seconds)
        self.do_errands()

    def lose(self) -> None:
        """Let another daemon have the source."""
        self.epoch = None
        assert not self.runner.check_ownership()
        self.do_errands()

    @property
    def outcomes(self) -> list[Outcome | None]:
        return [None if result is None else result.outcome for result in self.results]

    # What a runner asks of the owner and of its executor.

    def owned(self, source: SourceId) -> object | None:
        return self.epoch

    def since(self, source: SourceId) -> float | None:
        return None

    def filtered(self, batch: Batch) -> Batch | None:
        assert not self.runner.values.order.locked(), "a filter that hangs would keep the source"
        return batch

    def put(self, batch: Batch, tick: MergedTick | None = None, renaming: Any = None) -> None:
        assert self.runner.values.order.locked(), "an older batch could overtake this one"
        self.written.append(batch)
        self.ticks.append(tick)
        if tick is not None:
            tick.end(batch)

    def record(self, batch: Batch) -> None:
        pass

    def note(self, result: ProbeResult) -> None:
        pass

    def finished(self, runner: Runner, result: ProbeResult | None) -> None:
        self.results.append(result)

    def settle(self) -> None:
        pass

    def abandon(self, run: ProbeRun) -> None:
        pass

    def drop(self, run: ProbeRun) -> None:
        self.dropped.append(run)

    def watch_freshness(self, until: float) -> None:
        pass

    def again(self, runner: Runner) -> None:
        pass

    def close(self, runner: Runner) -> None:
        self.closing()
        runner.guard.close()

    def errand(self, call: Callable[[], None]) -> None:
        self.errands.append(call)

    def do_errands(self) -> None:
        while self.errands:
            self.errands.pop(0)()

    def describe_wait(self, run: ProbeRun) -> str:
        return "a free thread"

    def describe_block(self, run: ProbeRun) -> str:
        return ""


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_source_that_was_stopped_is_not_probed_again(bench: Bench) -> None:
    bench.runner.probe(bench.begun())
    assert not bench.runner.stop()
    assert bench.begin() is None
    assert bench.runner.status().next_probe is None


def test_what_a_probe_brings_after_the_stop_is_dropped(bench: Bench) -> None:
    run = bench.begun()
    assert bench.runner.stop(), "it still runs"
    bench.runner.finish(run, bench.runner.guard.probe())
    assert (bench.written, bench.results, bench.dropped) == ([], [], [run])


def test_what_waits_for_a_thread_at_the_stop_is_not_probed(bench: Bench) -> None:
    run = bench.begun()
    bench.runner.stop()
    bench.runner.probe(run)
    assert bench.source.starts == []


def test_what_a_probe_brings_of_a_source_that_was_lost_and_came_back_is_dropped(
    bench: Bench,
) -> None:
    run = bench.begun()
    result = bench.runner.guard.probe()
    bench.epoch = 2
    bench.runner.finish(run, result)
    assert (bench.written, bench.results, bench.dropped) == ([], [], [run])
    bench.runner.probe(bench.begun())
    assert len(bench.written) == 1


def test_a_run_that_waited_while_its_source_was_lost_leaves_the_place_to_the_next(
    bench: Bench,
) -> None:
    run = bench.begun()
    bench.epoch = 2
    bench.runner.probe(run)
    assert bench.source.starts == []
    bench.runner.probe(bench.begun())
    assert len(bench.written) == 1


def test_a_source_that_is_lost_during_a_probe_is_closed_when_that_returns(bench: Bench) -> None:
    run = bench.begun()
    result = bench.runner.guard.probe()
    bench.lose()
    assert bench.source.closed == 0, "no device gets a close in the middle of a probe"
    bench.runner.finish(run, result)
    assert bench.source.closed == 1
    assert bench.written == []


def test_a_source_that_comes_back_while_it_is_closed_is_probed_afterwards(bench: Bench) -> None:
    begun: list[ProbeRun | None] = []

    def come_back() -> None:
        bench.epoch = 2
        begun.append(bench.begin())

    bench.runner.probe(bench.begun())
    bench.closing = come_back
    bench.lose()
    assert (begun, bench.source.closed) == ([None], 1)
    bench.runner.probe(bench.begun())
    assert [len(batch) for batch in bench.written] == [1, 0, 1]


def test_a_source_is_withdrawn_closed_and_without_a_next_probe_once_it_is_lost(
    bench: Bench,
) -> None:
    bench.runner.probe(bench.begun())
    assert bench.runner.status().next_probe == bench.clock.time() + INTERVAL
    bench.lose()
    bench.lose()
    assert [len(batch) for batch in bench.written] == [1, 0]
    assert (bench.source.closed, bench.outcomes) == (1, [Outcome.OK, None])
    status = bench.runner.status()
    assert (status.next_probe, status.outcome, status.series) == (None, None, 0)


def test_a_source_came_only_if_it_was_another_daemon_s(bench: Bench) -> None:
    bench.runner.probe(bench.begun())
    assert not bench.runner.came()
    bench.lose()
    assert not bench.runner.came()
    bench.epoch = 2
    assert bench.runner.came()
    bench.runner.probe(bench.begun())
    assert not bench.runner.came()


@pytest.mark.parametrize("left_behind", [False, True])
def test_the_end_withdraws_the_values_unless_an_heir_may_have_some(left_behind: bool) -> None:
    bench = Bench()
    bench.runner.probe(bench.begun())
    bench.runner.stop()
    if left_behind:
        bench.runner.leave_behind()
    bench.runner.farewell()
    assert [len(batch) for batch in bench.written] == ([1] if left_behind else [1, 0])


def test_a_probe_that_misses_its_deadline_is_counted_once_and_what_it_brings_is_too_late(
    bench: Bench,
) -> None:
    run = bench.begun()
    bench.run(4)
    run.started = bench.clock.monotonic()
    bench.run(9.9)
    assert bench.results == [], "its time counts from its start"
    bench.run(0.2)
    assert bench.outcomes == [Outcome.TIMED_OUT]
    assert run.tick.over
    assert bench.begin() is None, "the old call has not returned"
    bench.runner.finish(run, bench.runner.guard.probe())
    bench.run(2 * INTERVAL)
    assert (bench.written, bench.outcomes) == ([], [Outcome.TIMED_OUT])
    bench.runner.probe(bench.begun())
    assert bench.outcomes == [Outcome.TIMED_OUT, Outcome.OK]


def test_a_probe_that_waits_is_reported_once_and_written_when_it_is_done(bench: Bench) -> None:
    run = bench.begun()
    bench.run(3 * INTERVAL)
    assert bench.outcomes == [Outcome.TIMED_OUT]
    assert bench.results[0] is not None
    assert str(bench.results[0].error) == "waited 10 s for a free thread"
    assert run.tick.over
    bench.runner.probe(run)
    assert bench.outcomes == [Outcome.TIMED_OUT, Outcome.OK]
    assert len(bench.written) == 1
    assert bench.ticks == [None], "its tick went on without it"


def test_a_deadline_that_comes_after_the_stop_counts_nothing(bench: Bench) -> None:
    run = bench.begun()
    run.started = bench.clock.monotonic()
    bench.runner.stop()
    bench.run(3 * INTERVAL)
    assert bench.results == []


def test_a_source_that_came_back_before_its_withdrawal_keeps_its_values(bench: Bench) -> None:
    bench.runner.probe(bench.begun())
    bench.epoch = None
    assert not bench.runner.check_ownership()
    bench.epoch = 2
    bench.runner.probe(bench.begun())
    bench.do_errands()
    assert [len(batch) for batch in bench.written] == [1, 1]


def test_a_source_that_cannot_open_is_tried_at_once_by_who_asks_for_it(bench: Bench) -> None:
    def refuse() -> None:
        raise TargetUnavailable("later")

    bench.source.opening = refuse
    for _ in range(3):  # the pauses grow
        bench.runner.hurry()
        bench.runner.probe(bench.begun())
    assert bench.begin() is None
    bench.runner.hurry()
    bench.source.opening = lambda: None
    bench.runner.probe(bench.begun())
    assert bench.outcomes[-1] is Outcome.OK


def test_values_are_withdrawn_once_they_are_too_old_and_not_before(bench: Bench) -> None:
    bench.runner.probe(bench.begun())
    values = bench.runner.values
    assert values.fresh_until == bench.clock.monotonic() + 2.5 * INTERVAL
    assert bench.written[0].fresh_seconds == 2.5 * INTERVAL
    values.expire()
    assert len(bench.written) == 1
    bench.clock.advance(2.5 * INTERVAL)
    values.expire()
    values.expire()
    assert [len(batch) for batch in bench.written] == [1, 0]
    assert (values.series, values.fresh_until) == (0, math.inf)


@pytest.mark.parametrize("keep_stale", [True, False])
def test_values_that_stay_true_have_no_limit(
    monkeypatch: pytest.MonkeyPatch, keep_stale: bool
) -> None:
    bench = Bench(keep_stale=keep_stale)
    if not keep_stale:
        monkeypatch.setattr(bench.source, "hold", math.inf)
    bench.runner.probe(bench.begun())
    bench.clock.advance(1e9)
    bench.runner.values.expire()
    assert [batch.fresh_seconds for batch in bench.written] == [None]


def test_a_source_without_values_has_nothing_to_withdraw(bench: Bench) -> None:
    def tell() -> float:
        raise NoData("unplugged", withdraw=True)

    bench.source.script = tell
    run = bench.begun()
    bench.runner.probe(run)
    assert (bench.written, run.tick.over) == ([], True)
    bench.source.script = lambda: 1.0
    bench.runner.probe(bench.begun())
    bench.source.script = tell
    for _ in range(2):
        bench.runner.probe(bench.begun())
    assert [len(batch) for batch in bench.written] == [1, 0]
