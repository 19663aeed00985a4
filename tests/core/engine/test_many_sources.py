"""Many sources: hung ones leave the others their ticks, and probes are spread over a tick."""

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pollect.api import Batch, Outcome, TargetUnavailable
from pollect.engine import workers
from pollect.engine.engine import Engine
from pollect.engine.plan import ExecutorPlan, Plan, SourcePlan
from pollect.testing import FakeClock
from pollect.testing.waiting import wait_until
from tests.core.engine.rig import (
    Gate,
    MergingWriter,
    ScriptedSource,
    plan_of,
    pool_threads,
    recording,
    scripted,
)

Run = Callable[..., Engine]


def hung(count: int, gate: Gate, **options: Any) -> list[ScriptedSource]:
    return [scripted(gate, type="Hung", name=f"h{n}", **options) for n in range(count)]


def lateness(source: ScriptedSource, interval: float) -> list[float]:
    """Return by how much each probe came too late after the one before, the first two left out."""
    return [b - a - interval for a, b in zip(source.starts[2:], source.starts[3:], strict=False)]


@pytest.mark.parametrize("first", ["hung", "healthy"])
def test_hundreds_that_hang_leave_the_others_their_ticks(run: Run, gate: Gate, first: str) -> None:
    healthy = [scripted(type=f"Healthy{n}") for n in range(3)]
    stuck = hung(600, gate)
    sources = [*stuck, *healthy] if first == "hung" else [*healthy, *stuck]
    run(plan_of(sources, [recording()], interval=0.5))
    wait_until(lambda: all(len(source.starts) >= 8 for source in healthy))
    late = sorted(late for source in healthy for late in lateness(source, 0.5))
    assert late[len(late) // 2] < 0.5, "a tick of theirs"
    assert pool_threads() <= 5 + workers.OVERDUE_LANE + workers.MOST_LOST


def test_sources_of_one_type_keep_their_ticks_once_the_others_of_it_are_known_to_hang(
    run: Run, gate: Gate
) -> None:
    away = threading.Event()

    def answer() -> float:
        if away.is_set():
            gate.event.wait(1)
            raise TargetUnavailable("no answer")
        return 1.0

    good = scripted(name="good")
    stuck = [scripted(answer, name=f"s{n}") for n in range(150)]
    engine = run(plan_of([*stuck, good], [recording()], interval=0.5, threads=3))
    wait_until(lambda: all(source.starts for source in stuck))
    away.set()
    wait_until(
        lambda: all(status.outcome is not Outcome.OK for status in engine.source_statuses()[:-1]),
    )
    del good.starts[:]
    wait_until(lambda: len(good.starts) > 8)
    late = sorted(lateness(good, 0.5))
    assert late[len(late) // 2] < 0.5, "a tick of theirs"
    assert pool_threads() <= 3 + workers.OVERDUE_LANE


def test_a_probe_that_waits_for_a_thread_says_so_and_is_not_up(
    run: Run, gate: Gate, monkeypatch, caplog
) -> None:
    monkeypatch.setattr(workers, "OVERDUE_LANE", 4)
    monkeypatch.setattr(workers, "OVERDUE_OF_ONE_KEY", 3)
    monkeypatch.setattr(workers, "MOST_LOST", 1)
    engine = run(plan_of(hung(20, gate, timeout=0.3), [recording()], interval=0.1, threads=2))

    def waiting() -> list[str]:
        return [s.reason for s in engine.source_statuses() if s.reason.startswith("waited 0.3 s")]

    wait_until(lambda: len(waiting()) >= 10)
    assert "for a free thread of executor 'test' (" in waiting()[0]
    assert not any(status.up for status in engine.source_statuses())
    wait_until(lambda: all(s.outcome is Outcome.TIMED_OUT for s in engine.source_statuses()))
    assert "the last probe still waits for a free thread: this tick is skipped" in caplog.text
    assert pool_threads() <= 2 + 4 + 1
    gate.open()
    wait_until(lambda: all(status.up for status in engine.source_statuses()))


def test_who_waits_keeps_the_place_in_the_queue(run: Run, gate: Gate, monkeypatch) -> None:
    monkeypatch.setattr(workers, "OVERDUE_LANE", 2)
    monkeypatch.setattr(workers, "OVERDUE_OF_ONE_KEY", 1)
    monkeypatch.setattr(workers, "MOST_LOST", 0)
    slow = [scripted(lambda: time.sleep(0.15), name=f"s{n}", timeout=0.2) for n in range(12)]
    run(plan_of(slow, [recording()], interval=0.2, threads=1))
    wait_until(lambda: all(len(source.starts) >= 2 for source in slow))
    before = [len(source.starts) for source in slow]
    wait_until(
        lambda: all(len(s.starts) >= n + 3 for s, n in zip(slow, before, strict=True)),
        limit_seconds=60,
    )
    counts = [len(s.starts) - n for s, n in zip(slow, before, strict=True)]
    assert max(counts) <= min(counts) + 2, "served in turn, not the first ones again and again"


def test_a_deadline_counts_from_the_start_of_the_probe_and_not_of_its_waiting(run: Run) -> None:
    clock = FakeClock()
    gate, second_gate = Gate(), Gate()
    first = scripted(gate, clock=clock, name="first", timeout=100)
    second = scripted(second_gate, clock=clock, name="second", timeout=10)
    plan = plan_of([first, second], [recording()], interval=3600, threads=1)
    engine = run(plan, clock=clock)
    wait_until(lambda: first.running and clock.waited_for)
    clock.advance(6)
    gate.open()
    wait_until(lambda: second.running)
    clock.advance(6)
    time.sleep(0.1)
    assert engine.source_statuses()[1].outcome is None, "12 s after it was due, 6 after its start"
    clock.advance(5)
    wait_until(lambda: engine.source_statuses()[1].outcome is Outcome.TIMED_OUT)
    assert engine.source_statuses()[1].reason == "no answer within 10 s"
    second_gate.open()


def test_a_result_that_comes_after_the_deadline_changes_nothing(run: Run) -> None:
    clock, gate = FakeClock(), Gate()
    source, writer = scripted(gate, clock=clock, timeout=10), recording()
    engine = run(plan_of([source], [writer], interval=3600), clock=clock)
    wait_until(lambda: source.running and clock.waited_for)
    clock.advance(11)
    wait_until(lambda: engine.source_statuses()[0].outcome is Outcome.TIMED_OUT)
    gate.open()
    wait_until(lambda: not source.running)
    time.sleep(0.1)
    assert engine.source_statuses()[0].outcome is Outcome.TIMED_OUT
    assert not writer.batches
    source.script = lambda: 2.0
    wait_until(lambda: clock.waited_for)
    clock.advance(3600)
    wait_until(lambda: [batch.samples[0].value for batch in writer.batches] == [2.0])


def test_a_source_that_fails_at_once_stays_among_the_quick_ones(run: Run, gate: Gate) -> None:
    def refuse() -> None:
        raise TargetUnavailable("refused")

    refused = scripted(refuse, type="Same")
    stuck = [scripted(gate, type="Same", name=f"h{n}", timeout=60) for n in range(100)]
    run(plan_of([refused, *stuck], [recording()], interval=0.2))
    wait_until(lambda: len(refused.starts) > 5)


def test_a_late_batch_of_a_merging_writer_follows_by_itself(run: Run, gate: Gate) -> None:
    writer = recording(MergingWriter)
    slow = scripted(gate, name="slow", timeout=60)
    quick = scripted(name="quick")
    run(plan_of([slow, quick], [writer], interval=0.1))
    wait_until(lambda: len(writer.calls) >= 3)
    gate.open()
    wait_until(lambda: any(batch.source.name == "slow" for batch in writer.batches))
    late = next(call for call in writer.calls if any(b.source.name == "slow" for b in call))
    assert [batch.source.name for batch in late] == ["slow"]
    wait_until(lambda: {batch.source.name for batch in writer.calls[-1]} == {"slow", "quick"})


def test_a_probe_out_of_turn_is_written_after_the_values_that_wait_in_a_tick(
    run: Run, gate: Gate
) -> None:
    writer, numbers = recording(MergingWriter), itertools.count()
    slow = scripted(gate, name="slow", timeout=60)
    quick = scripted(lambda: next(numbers), name="quick")
    engine = run(plan_of([slow, quick], [writer], interval=3600))
    wait_until(lambda: engine.source_statuses()[1].outcome is Outcome.OK)
    engine.probe_now(quick.context.id, lambda result: None)
    wait_until(lambda: len(writer.batches) == 2)
    assert [batch.samples[0].value for batch in writer.batches] == [0, 1]


def test_values_that_wait_in_a_tick_are_written_before_they_are_withdrawn(
    run: Run, gate: Gate
) -> None:
    clock = FakeClock()
    writer = recording(MergingWriter)
    quick = scripted(name="quick", clock=clock)
    quick.hold = 3.0  # type: ignore[misc]
    slow = scripted(gate, name="slow", timeout=60, clock=clock)
    engine = run(plan_of([quick, slow], [writer], interval=10), clock=clock)
    wait_until(lambda: engine.source_statuses()[0].outcome is Outcome.OK and clock.waited_for)
    clock.advance(4)
    wait_until(lambda: len(writer.batches) == 2)
    assert [len(batch) for batch in writer.batches] == [1, 0]


def test_a_probe_that_timed_out_does_not_hold_up_its_tick(run: Run, gate: Gate) -> None:
    writer = recording(MergingWriter)
    slow = scripted(gate, name="slow", timeout=0.2)
    run(plan_of([slow, scripted(name="quick")], [writer], interval=3600))
    wait_until(lambda: writer.calls)
    assert [batch.source.name for batch in writer.calls[0]] == ["quick"]


def test_values_expire_while_a_probe_hangs_for_longer_than_their_freshness(run: Run) -> None:
    clock = FakeClock()
    gate = Gate()
    answers = iter([lambda: 1.0])
    source = scripted(lambda: next(answers, gate)(), clock=clock, timeout=1000)
    writer = recording()
    engine = run(plan_of([source], [writer], interval=10), clock=clock)
    wait_until(lambda: len(writer.batches) == 1 and clock.waited_for)
    clock.advance(10)
    wait_until(lambda: source.running)
    clock.advance(14.9)
    time.sleep(0.1)
    assert len(writer.batches) == 1
    clock.advance(0.2)
    wait_until(lambda: len(writer.batches) == 2)
    assert len(writer.batches[1]) == 0
    assert engine.source_statuses()[0].series == 0
    gate.open()


def test_values_of_each_source_expire_at_their_own_time(run: Run) -> None:
    clock, writer = FakeClock(), recording()
    state = {"away": False}

    def script() -> float:
        if state["away"]:
            raise TargetUnavailable("away")
        return 1.0

    slow = scripted(script, clock=clock, name="slow")
    quick = scripted(script, clock=clock, name="quick")
    held = scripted(script, clock=clock, name="held")
    held.hold = 3.0  # type: ignore[misc]
    plans = [
        SourcePlan(source=slow, interval=30),
        SourcePlan(source=quick, interval=10),
        SourcePlan(source=held, interval=3600),
    ]
    run(Plan(executors=[ExecutorPlan(name="c", sources=plans, writers=[writer])]), clock=clock)
    wait_until(lambda: len(writer.batches) == 3 and clock.waited_for)
    state["away"] = True

    def gone() -> list[str | None]:
        return [batch.source.name for batch in writer.batches if not len(batch)]

    expected: list[str | None] = []
    for seconds, name in (
        (2.9, None),
        (0.2, "held"),
        (21.8, None),
        (0.2, "quick"),
        (49.8, None),
        (0.2, "slow"),
    ):
        clock.advance(seconds)
        expected += [name] if name else []
        wait_until(lambda: gone() == expected and clock.waited_for)  # noqa: B023
        time.sleep(0.05)
        assert gone() == expected


def test_values_expire_even_if_no_tick_comes_any_more(run: Run) -> None:
    clock = FakeClock()
    writer = recording()
    engine = run(plan_of([scripted(clock=clock)], [writer], interval=10), clock=clock)
    wait_until(lambda: len(writer.batches) == 1 and clock.waited_for)
    for executor in engine._executors:
        for group in executor._groups.values():
            group.stop()
    clock.advance(25.1)
    wait_until(lambda: len(writer.batches) == 2)
    assert len(writer.batches[1]) == 0


def test_batches_of_one_source_reach_a_writer_in_the_order_they_were_decided(
    run: Run, gate: Gate
) -> None:
    """A withdrawal that waits for the filters must not overtake or wipe newer values."""
    clock = FakeClock()
    state: dict[str, Any] = {"answer": 1.0}
    waiting = threading.Event()

    def script() -> float:
        if state["answer"] is None:
            raise TargetUnavailable("away")
        return float(state["answer"])

    def slow_withdrawal(batch: Batch) -> Batch:
        if not batch.samples:
            waiting.set()
            gate()
        return batch

    writer, source = recording(), scripted(script, clock=clock)
    engine = run(plan_of([source], [writer], interval=10, filters=[slow_withdrawal]), clock=clock)
    wait_until(lambda: len(writer.batches) == 1 and clock.waited_for)
    state["answer"] = None
    clock.advance(10)
    wait_until(lambda: engine.source_statuses()[0].outcome is Outcome.FAILED)
    wait_until(lambda: clock.waited_for)
    clock.advance(10)
    wait_until(lambda: engine.source_statuses()[0].probes[Outcome.FAILED] == 2)
    wait_until(lambda: clock.waited_for)
    clock.advance(5.1)
    assert waiting.wait(30)
    state["answer"] = 2.0
    clock.advance(5)
    wait_until(lambda: len(writer.batches) == 2)
    gate.open()
    time.sleep(0.1)
    assert [len(batch) for batch in writer.batches] == [1, 1], "the newer values stay"


def test_values_of_a_probe_that_waited_too_long_are_written_when_it_is_done(
    run: Run, monkeypatch
) -> None:
    monkeypatch.setattr(workers, "OVERDUE_LANE", 0)
    clock, gate = FakeClock(), Gate()
    first = scripted(gate, clock=clock, name="first", timeout=1000)
    second = scripted(clock=clock, name="second", timeout=10)
    writer = recording(MergingWriter)
    engine = run(plan_of([first, second], [writer], interval=3600, threads=1), clock=clock)
    wait_until(lambda: first.running and clock.waited_for)
    clock.advance(11)
    wait_until(lambda: engine.source_statuses()[1].reason.startswith("waited 10 s"))
    assert not second.starts
    gate.open()
    wait_until(lambda: {batch.source.name for batch in writer.batches} == {"first", "second"})
    wait_until(lambda: engine.source_statuses()[1].up)


def test_a_source_that_hung_takes_no_place_of_the_others_the_next_time(run: Run) -> None:
    clock = FakeClock()
    gates = [Gate(), Gate()]
    stuck = scripted(lambda: gates[len(stuck.starts) - 1](), clock=clock, type="A", timeout=10)
    healthy = scripted(clock=clock, type="B")
    plan = plan_of([stuck, healthy], [recording()], interval=3600, threads=1)
    engine = run(plan, clock=clock)
    wait_until(lambda: stuck.running and clock.waited_for)
    clock.advance(11)
    wait_until(lambda: engine.source_statuses()[0].outcome is Outcome.TIMED_OUT)
    wait_until(lambda: len(healthy.starts) == 1)
    gates[0].open()
    wait_until(lambda: not stuck.running and clock.waited_for)
    clock.advance(3600)
    # No time passes while the first one hangs again: there is no patience to end.
    wait_until(lambda: stuck.running and len(healthy.starts) == 2)
    gates[1].open()


def test_another_try_that_finds_the_old_call_running_is_no_skipped_tick(run: Run) -> None:
    clock, gate = FakeClock(), Gate()
    source = scripted(gate, clock=clock, timeout=10)
    source.retry_after = (1,)  # type: ignore[misc]
    engine = run(plan_of([source], [recording()], interval=3600), clock=clock)
    wait_until(lambda: source.running and clock.waited_for)
    clock.advance(11)
    wait_until(lambda: engine.source_statuses()[0].outcome is Outcome.TIMED_OUT)
    wait_until(lambda: clock.waited_for)
    clock.advance(2)
    time.sleep(0.1)
    assert engine.source_statuses()[0].skipped == 0
    gate.open()


def test_a_wait_that_ended_before_it_was_reported_is_no_failure(run: Run, monkeypatch) -> None:
    monkeypatch.setattr(workers, "OVERDUE_LANE", 0)
    clock, gate = FakeClock(), Gate()
    first = scripted(gate, clock=clock, name="first", timeout=1000)
    second = scripted(clock=clock, name="second", timeout=10)
    engine = run(plan_of([first, second], [recording()], interval=3600, threads=1), clock=clock)
    wait_until(lambda: first.running and clock.waited_for)
    [executor] = engine._executors
    errands: list[Callable[[], None]] = []
    executor.errand = errands.append
    clock.advance(11)
    wait_until(lambda: errands)
    gate.open()
    wait_until(lambda: engine.source_statuses()[1].up)
    for errand in errands:
        errand()
    assert engine.source_statuses()[1].up
    assert engine.source_statuses()[1].probes[Outcome.TIMED_OUT] == 0
