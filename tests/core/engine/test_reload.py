"""A reload changes what changed, and nothing of the rest is seen, lost or left behind."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pollect.api import Outcome
from pollect.engine.engine import Engine
from pollect.engine.plan import ExecutorPlan, Plan, SourcePlan
from pollect.engine.scheduler import RepeatingTimer, Scheduler
from pollect.errors import EngineError
from pollect.testing import FakeClock
from pollect.testing.waiting import wait_until
from tests.core.engine.rig import (
    Gate,
    MergingWriter,
    RecordingWriter,
    ScriptedSource,
    plan_of,
    recording,
    scripted,
)

Run = Callable[..., Engine]


class Remote(RecordingWriter):
    in_process = False


def pending(engine: Engine) -> int:
    """Return how many calls the scheduler still has to make."""
    return sum(not timer.cancelled for _, _, timer in engine._scheduler._heap)


def section(source: ScriptedSource, interval: float = 0.05) -> SourcePlan:
    return SourcePlan(source=source, interval=interval)


def plan(sources: Sequence[SourcePlan], writers: Sequence[Any] = ()) -> Plan:
    return Plan(executors=[ExecutorPlan(name="test", sources=sources, writers=writers)])


def test_sources_that_stay_are_visible_while_a_removed_one_closes_slowly(
    run: Run, gate: Gate
) -> None:
    stays, goes = scripted(name="stays"), scripted(name="goes")
    goes.close = gate  # type: ignore[method-assign, assignment]
    kept = section(stays)
    engine = run(plan([kept, section(goes)]))
    wait_until(lambda: stays.starts and goes.starts)
    reload = threading.Thread(target=engine.replace, args=[plan([kept])])
    reload.start()
    seen = len(stays.starts)
    names: set[tuple[str | None, ...]] = set()
    while len(stays.starts) < seen + 4:
        names.add(tuple(status.source.name for status in engine.source_statuses()))
        time.sleep(0.001)
    assert reload.is_alive(), "still closing"
    assert names <= {("stays", "goes"), ("stays",)}
    assert ("stays",) in names
    gate.open()
    reload.join(30)
    assert not reload.is_alive()


def test_a_removed_source_withdraws_its_values_before_it_closes(run: Run, gate: Gate) -> None:
    goes, writer = scripted(name="goes"), recording()
    goes.close = gate  # type: ignore[method-assign, assignment]
    engine = run(plan([section(goes)], [writer]))
    wait_until(lambda: writer.batches)
    reload = threading.Thread(target=engine.replace, args=[plan([], [writer])])
    reload.start()
    wait_until(lambda: len(writer.batches[-1]) == 0)
    gate.open()
    reload.join(30)


def test_fifty_reloads_leave_no_tick_behind(run: Run) -> None:
    stays = section(scripted(name="stays"), 3600)
    engine = run(plan([stays, section(scripted(name="n"), 3600)]))
    wait_until(lambda: all(status.up for status in engine.source_statuses()))
    for number in range(50):
        other = section(scripted(name="n"), 3600 + number % 3)
        engine.replace(plan([stays, other]))
    wait_until(lambda: all(status.up for status in engine.source_statuses()))
    # Ticks of two intervals, self metrics, and deadline and expiry of two sources and those gone.
    wait_until(lambda: sum(len(e._groups) for e in engine._executors) == 2)
    timers = [
        timer.callback
        for _, _, timer in engine._scheduler._heap
        if not timer.cancelled and getattr(timer.callback, "__func__", None) is RepeatingTimer._tick
    ]
    assert len(timers) <= 3


def test_sources_added_by_a_reload_share_the_tick_of_the_others(run: Run) -> None:
    writer = recording(MergingWriter)
    kept = section(scripted(name="a"), 0.2)
    engine = run(plan([kept], [writer]))
    wait_until(lambda: writer.calls)
    engine.replace(plan([kept, section(scripted(name="b"), 0.2)], [writer]))
    wait_until(lambda: len(writer.calls) > 5)
    assert {batch.source.name for batch in writer.calls[-1]} == {"a", "b"}


def test_a_timer_that_is_stopped_during_its_callback_has_no_next_tick() -> None:
    clock = FakeClock()
    scheduler = Scheduler(clock)
    calls: list[int] = []
    timers: list[RepeatingTimer] = []

    def callback() -> None:
        calls.append(1)
        timers[0].stop()
        clock.advance(25)

    timers.append(RepeatingTimer(scheduler, clock, 10, callback))
    scheduler.run_due()
    clock.advance(100)
    assert scheduler.run_due() is None
    assert calls == [1]


def test_a_callback_that_fails_does_not_end_its_ticks(caplog) -> None:
    clock = FakeClock()
    scheduler = Scheduler(clock)
    calls: list[int] = []

    def callback() -> None:
        calls.append(1)
        raise SystemExit(1)

    RepeatingTimer(scheduler, clock, 10, callback)
    for _ in range(3):
        scheduler.run_due()
        clock.advance(10)
    assert len(calls) == 3


@pytest.mark.parametrize("kind", [RecordingWriter, Remote])
@pytest.mark.parametrize("news", [0, 1])
def test_a_writer_that_the_config_has_no_more_is_closed_once(
    run: Run, kind: type[RecordingWriter], news: int
) -> None:
    source, stays, goes = section(scripted()), recording(), recording(kind)
    engine = run(plan([source], [stays, goes]))
    wait_until(lambda: goes.batches)
    engine.replace(plan([source], [stays, *(recording() for _ in range(news))]))
    assert goes.closed == 1
    assert len(engine.writer_statuses()) == 1 + news
    seen = len(stays.batches)
    wait_until(lambda: len(stays.batches) > seen + 1)
    assert (goes.closed, stays.closed) == (1, 0)


def test_another_merging_writer_gets_what_waits_in_the_running_tick(run: Run, gate: Gate) -> None:
    old, new = recording(MergingWriter), recording(MergingWriter)
    slow, quick = scripted(gate, name="slow", timeout=60), scripted(name="quick")
    sections = [section(slow, 3600), section(quick, 3600)]
    engine = run(plan(sections, [old]))
    wait_until(lambda: engine.source_statuses()[1].outcome is Outcome.OK and slow.running)
    assert not old.calls, "it waits for the slow one"
    engine.replace(plan(sections, [new]))
    wait_until(lambda: len(quick.starts) == 2)
    gate.open()
    wait_until(lambda: any(batch.source.name == "slow" for batch in new.batches))
    written = [batch.source.name for batch in (*old.batches, *new.batches)]
    wait_until(lambda: written.count("quick") + written.count("slow") >= 2)
    assert [b.source.name for b in (*old.batches, *new.batches)].count("quick") == 2


def test_a_removed_source_withdraws_its_values_after_they_were_written(
    run: Run, gate: Gate
) -> None:
    slow, quick = section(scripted(gate, name="slow", timeout=60), 3600), scripted(name="quick")
    writer = recording(MergingWriter)
    engine = run(plan([slow, section(quick, 3600)], [writer]))
    wait_until(lambda: engine.source_statuses()[1].outcome is Outcome.OK)
    assert not writer.calls, "they wait for the slow one"
    engine.replace(plan([slow], [writer]))
    wait_until(lambda: len(writer.batches) == 2)
    assert [(b.source.name, len(b)) for b in writer.batches] == [("quick", 1), ("quick", 0)]


def test_a_source_whose_labels_change_goes_on_as_the_same_object(run: Run) -> None:
    source, writer = scripted(), recording()
    heirs: list[object] = []
    source.take_over = heirs.append  # type: ignore[method-assign, assignment]
    engine = run(plan([section(source)], [writer]))
    wait_until(lambda: writer.batches)
    changed = SourcePlan(source=source, interval=0.05, static_labels=(("site", "north"),))
    engine.replace(plan([changed], [writer]))
    wait_until(lambda: writer.batches[-1].static_labels == (("site", "north"),))
    assert not heirs, "it is no heir of itself"


def test_a_source_that_closes_too_slowly_wipes_no_values_of_its_heir(
    run: Run, gate: Gate, monkeypatch
) -> None:
    monkeypatch.setattr("pollect.engine.closing.CLOSE_SECONDS", 0.1)
    first, second, writer = scripted(name="a"), scripted(name="a"), recording()

    def hold_withdrawal(batch: Any) -> Any:
        if not batch.samples:
            gate()
        return batch

    def plan_with(source: ScriptedSource) -> Plan:
        return plan_of([source], [writer], interval=0.05, filters=[hold_withdrawal])

    engine = run(plan_with(first))
    wait_until(lambda: writer.batches)
    engine.replace(plan_with(second))
    wait_until(lambda: len(second.starts) > 2)
    gate.open()
    time.sleep(0.1)
    assert all(len(batch) for batch in writer.batches)


def test_stop_does_not_wait_for_a_reload_that_hangs(run: Run, gate: Gate, monkeypatch) -> None:
    monkeypatch.setattr("pollect.engine.engine.RELOAD_GRACE_SECONDS", 0.1)
    monkeypatch.setattr("pollect.engine.ports.OPEN_SECONDS", 50.0)
    source, old, new = scripted(), recording(), recording()
    new.open = gate  # type: ignore[method-assign, assignment]
    kept = section(source)
    engine = run(plan([kept], [old]))
    wait_until(lambda: source.starts)
    errors: list[BaseException] = []

    def reload() -> None:
        try:
            engine.replace(plan([kept], [new]))
        except EngineError as error:
            errors.append(error)

    thread = threading.Thread(target=reload)
    thread.start()
    wait_until(lambda: any(t.name.startswith("pollect-open") for t in threading.enumerate()))
    began = time.monotonic()
    engine.stop()
    assert time.monotonic() - began < 30, "it does not wait for the open that hangs"
    thread.join(30)
    assert not thread.is_alive()


def test_an_executor_that_comes_or_goes_is_seen_at_once_and_its_values_go(run: Run) -> None:
    first, second, writer = scripted(name="first"), scripted(name="second"), recording()

    def plan_named(name: str, source: ScriptedSource) -> Plan:
        return Plan(
            executors=[ExecutorPlan(name=name, sources=[section(source)], writers=[writer])]
        )

    engine = run(plan_named("a", first))
    wait_until(lambda: writer.batches)
    engine.replace(plan_named("b", second))
    assert [status.source.name for status in engine.source_statuses()] == ["second"]
    assert first.closed == 1
    wait_until(lambda: [len(b) for b in writer.batches if b.source.name == "first"][-1] == 0)
    wait_until(lambda: len(second.starts) > 2)
    seen = len(first.starts)
    wait_until(lambda: len(second.starts) > 5)
    assert len(first.starts) == seen


def test_ready_means_that_in_process_writers_have_the_first_values(run: Run) -> None:
    writer = recording()
    keep = writer.write

    def write(batches: Sequence[Any]) -> None:
        time.sleep(0.2)
        keep(batches)

    writer.write = write  # type: ignore[method-assign]
    plans = plan([section(scripted(name=name), 3600) for name in ("a", "b")], [writer])
    run(plans)
    assert plans.ready.wait(30)
    assert {batch.source.name for batch in writer.batches} == {"a", "b"}


def test_stop_hands_over_what_waits_for_slower_sources_of_the_tick(run: Run, gate: Gate) -> None:
    writer = recording(MergingWriter)
    slow, quick = scripted(gate, name="slow", timeout=60), scripted(name="quick")
    engine = run(plan([section(slow, 3600), section(quick, 3600)], [writer]))
    wait_until(lambda: engine.source_statuses()[1].up and slow.running)
    assert not writer.calls
    engine.stop()
    assert [batch.source.name for batch in writer.batches] == ["quick"]


def test_all_of_many_sources_that_go_withdraw_their_values(run: Run, monkeypatch) -> None:
    monkeypatch.setattr("pollect.engine.closing.CLOSE_SECONDS", 0.3)
    sources = [scripted(name=str(number)) for number in range(160)]
    writer = recording()
    engine = run(plan([section(source, 3600) for source in sources], [writer]))
    wait_until(lambda: len(writer.batches) == len(sources), limit_seconds=60)
    for source in sources:
        source.close = lambda: time.sleep(0.03)  # type: ignore[method-assign]
    engine.replace(plan([], [writer]))
    withdrawn = {batch.source.name for batch in writer.batches if not len(batch)}
    assert len(withdrawn) == len(sources)


def test_a_reload_changes_the_number_of_threads(run: Run, gate: Gate) -> None:
    clock = FakeClock()  # no call takes long enough for another to start in its place
    sections = [
        section(scripted(gate, clock=clock, name=f"s{number}"), 3600) for number in range(3)
    ]

    def with_threads(threads: int) -> Plan:
        part = ExecutorPlan(name="test", sources=sections, writers=[], threads=threads)
        return Plan(executors=[part])

    engine = run(with_threads(1), clock=clock)

    def running() -> int:
        return sum(s.source.running for s in sections)  # type: ignore[attr-defined]

    wait_until(lambda: running() == 1)
    engine.replace(with_threads(3))
    wait_until(lambda: running() == 3)
    gate.open()


class RemoteWriter(RecordingWriter):
    in_process = False


def test_stop_closes_and_delivers_all_although_a_reload_still_changes_what_there_is(
    run: Run, gate: Gate, monkeypatch
) -> None:
    """The reload hangs in a plugin, is not waited for, and goes on in the middle of the stop."""
    monkeypatch.setattr("pollect.engine.engine.RELOAD_GRACE_SECONDS", 0.05)
    old, new = recording(RemoteWriter), recording(RemoteWriter)
    stays, goes, hangs = (scripted(name=name) for name in ("stays", "goes", "hangs"))
    hangs.close = gate  # type: ignore[method-assign, assignment]
    added = [scripted(name=f"added{number}") for number in range(20)]
    kept = section(stays)
    engine = run(plan([kept, section(goes), section(hangs)], [old]))
    names = {"stays", "goes", "hangs"}
    wait_until(lambda: {batch.source.name for batch in old.batches} >= names)
    keep = stays.close

    def close() -> None:
        """Let the reload go on while the sources are being closed."""
        gate.open()
        time.sleep(0.02)
        keep()

    stays.close = close  # type: ignore[method-assign]
    following = plan([kept, *map(section, added)], [old, new])
    reload = threading.Thread(target=engine.replace, args=[following])
    reload.start()
    wait_until(lambda: goes.closed)
    engine.stop()
    reload.join(30)
    assert not reload.is_alive()
    assert all(source.closed for source in (stays, goes, *added))
    assert all(writer.closed for writer in (old, new))
    assert all(status.buffered_samples == 0 for status in engine.writer_statuses())
