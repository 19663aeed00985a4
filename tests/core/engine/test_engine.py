"""What the engine promises to sources, writers and the people who wait for values."""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pluggy
import pytest
from msgspec.structs import replace

from pollect import hookspecs
from pollect.api import (
    Batch,
    MetricFilter,
    NoData,
    Outcome,
    Rejected,
    Retryable,
    Source,
    SourceConfig,
    TargetUnavailable,
    hookimpl,
)
from pollect.engine.clock import SystemClock
from pollect.engine.engine import Engine
from pollect.engine.plan import ExecutorPlan, Plan, SourcePlan
from pollect.errors import EngineError
from pollect.testing import FakeClock, build_source, build_writer
from pollect.testing.clock import GLANCE_SECONDS
from pollect.testing.waiting import wait_until
from tests.core.engine.rig import (
    VALUE,
    Gate,
    MergingWriter,
    RecordingWriter,
    ScriptedSource,
    plan_of,
    pool_threads,
    recording,
    scripted,
)

Run = Callable[..., Engine]


def failing(error: BaseException) -> Callable[[], Any]:
    def script() -> Any:
        raise error

    return script


def test_every_source_is_probed_at_once_at_the_start(run: Run) -> None:
    sources = [scripted() for _ in range(20)]
    writer = recording()
    run(plan_of(sources, [writer], interval=3600))
    wait_until(lambda: len(writer.batches) == 20)


def test_static_labels_and_filter_of_the_plan_reach_the_writer(run: Run) -> None:
    writer = recording()
    source = scripted(lambda: {"kept": 1, "dropped": 2})
    plan = SourcePlan(
        source=source,
        interval=60,
        static_labels=(("site", "north"),),
        filter=MetricFilter(exclude=("drop*",)),
    )
    run(Plan(executors=[ExecutorPlan(name="c", sources=[plan], writers=[writer])]))
    wait_until(lambda: writer.batches)
    [batch] = writer.batches
    assert [sample.metric.name for sample in batch.samples] == ["kept"]
    assert batch.labels_of(batch.samples[0]) == (("site", "north"),)


def test_source_never_overlaps_itself_and_the_skip_is_counted(run: Run, gate: Gate) -> None:
    clock = FakeClock()
    source = scripted(gate, clock=clock)
    engine = run(plan_of([source], [recording()], interval=1), clock=clock)
    wait_until(lambda: source.running == 1)

    def three_skips() -> bool:
        clock.advance(1)
        return engine.source_statuses()[0].skipped >= 3

    wait_until(three_skips)
    assert source.most_running == 1
    gate.open()
    wait_until(lambda: engine.source_statuses()[0].outcome is Outcome.OK)


def test_ten_hanging_sources_with_three_threads_leave_the_other_its_tick(
    run: Run, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pollect.engine.closing.CLOSE_SECONDS", 50.0)
    hanging = [scripted(gate, name=f"h{n}", timeout=0.3) for n in range(10)]
    good = scripted(name="good")
    engine = run(plan_of([*hanging, good], [recording()], interval=0.2, threads=3))
    wait_until(lambda: len(good.starts) >= 10)
    # A probe that waits for a thread until its next tick is skipped then.
    assert engine.source_statuses()[-1].skipped < len(good.starts) / 2
    wait_until(lambda: sum(s.outcome is Outcome.TIMED_OUT for s in engine.source_statuses()) == 10)
    threads = [t for t in threading.enumerate() if t.name.startswith("pollect-test")]
    assert len(threads) <= 3 + 10
    assert all(source.most_running == 1 for source in hanging)
    began = time.monotonic()
    engine.stop()
    assert time.monotonic() - began < 30, "what hangs is not waited for"


def test_hung_source_is_down_and_not_probed_again_until_the_old_call_returned(
    run: Run, gate: Gate
) -> None:
    clock = FakeClock()
    source = scripted(gate, clock=clock, timeout=2)
    engine = run(plan_of([source], [recording()], interval=1), clock=clock)
    wait_until(lambda: source.running == 1)

    def timed_out() -> bool:
        clock.advance(1)
        return engine.source_statuses()[0].outcome is Outcome.TIMED_OUT

    wait_until(timed_out)
    status = engine.source_statuses()[0]
    assert not status.up
    assert "no answer within 2 s" in status.reason
    assert len(source.starts) == 1
    gate.open()
    wait_until(lambda: source.running == 0)

    def probed_again() -> bool:
        clock.advance(1)
        return len(source.starts) > 1

    wait_until(probed_again)
    wait_until(lambda: engine.source_statuses()[0].up)


def test_slow_executor_does_not_delay_another(run: Run, gate: Gate) -> None:
    slow = [scripted(gate, name=f"s{n}") for n in range(5)]
    quick = scripted()
    plans = [
        ExecutorPlan(
            name=name,
            threads=1,
            writers=[],
            sources=[SourcePlan(source=source, interval=0.1) for source in sources],
        )
        for name, sources in (("slow", slow), ("quick", [quick]))
    ]
    run(Plan(executors=plans))
    wait_until(lambda: len(quick.starts) > 5)


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (TargetUnavailable("no route to pump"), Outcome.FAILED, "no route to pump"),
        (NoData("asleep"), Outcome.NO_DATA, ""),
        (ValueError("oops"), Outcome.BUG, "ValueError: oops"),
        (SystemExit(3), Outcome.BUG, "SystemExit: 3"),
        (KeyboardInterrupt(), Outcome.BUG, "KeyboardInterrupt"),
    ],
)
def test_whatever_a_probe_raises_has_its_outcome(
    run: Run, error: BaseException, outcome: Outcome, reason: str
) -> None:
    writer = recording()
    engine = run(plan_of([scripted(failing(error))], [writer], interval=3600))
    wait_until(lambda: engine.source_statuses()[0].outcome is outcome)
    assert engine.source_statuses()[0].reason == reason
    assert writer.calls == []


@pytest.mark.parametrize("rubbish", ["text", b"bytes", object(), [None], [("a", 1)], {"a": "x"}])
def test_rubbish_from_a_probe_costs_only_that_source(run: Run, rubbish: Any) -> None:
    good, writer = scripted(name="good"), recording()
    engine = run(plan_of([scripted(lambda: rubbish), good], [writer], interval=3600))
    wait_until(lambda: all(status.outcome for status in engine.source_statuses()))
    assert [batch.source.name for batch in writer.batches] == ["good"]


def test_trace_of_a_bug_is_logged_once_until_it_is_mended(run: Run, caplog) -> None:
    state = {"broken": True}

    def script() -> float:
        if state["broken"]:
            raise ZeroDivisionError("by zero")
        return 1.0

    source = scripted(script)
    engine = run(plan_of([source], interval=0.02))
    wait_until(lambda: len(source.starts) > 5)
    state["broken"] = False
    wait_until(lambda: engine.source_statuses()[0].up)
    engine.stop()
    messages = [record.message for record in caplog.records if record.levelname != "DEBUG"]
    assert sum("by a mistake in the source: ZeroDivisionError" in text for text in messages) == 1
    back = [record.levelname for record in caplog.records if "up again" in record.getMessage()]
    assert back == ["INFO"], "no warning: nothing is wrong any more"


def test_open_that_fails_is_tried_again_with_growing_pauses(run: Run) -> None:
    clock = FakeClock()
    source, pulse = scripted(clock=clock), scripted(clock=clock, name="pulse")
    tries: list[float] = []

    def opening() -> None:
        tries.append(clock.monotonic() - 1000)
        if len(tries) < 4:
            raise TargetUnavailable("not yet")

    source.opening = opening
    # One worker: when the pulse was probed, the source before it had its turn at that tick.
    engine = run(plan_of([source, pulse], interval=1, threads=1), clock=clock)
    for ticks in range(1, 9):
        wait_until(lambda: engine.source_statuses()[1].probes[Outcome.OK] == ticks)  # noqa: B023
        wait_until(lambda: clock.waited_for)  # the next tick is set
        clock.advance(1)
    assert tries == [0, 1, 3, 7]


def test_series_stay_until_their_freshness_ends_then_they_are_withdrawn(run: Run) -> None:
    clock = FakeClock()
    state: dict[str, Any] = {"answer": [VALUE.sample(1.0)]}

    def script() -> Any:
        if isinstance(state["answer"], Exception):
            raise state["answer"]
        return state["answer"]

    source, writer = scripted(script, clock=clock), recording()
    engine = run(plan_of([source], [writer], interval=10), clock=clock)
    wait_until(lambda: len(writer.batches) == 1)
    state["answer"] = TargetUnavailable("gone")

    wait_until(lambda: clock.waited_for)  # the next tick is set
    clock.advance(10)
    wait_until(lambda: engine.source_statuses()[0].outcome is Outcome.FAILED)
    clock.advance(14.9)
    assert len(writer.batches) == 1, "one hiccup makes no gap"
    clock.advance(0.2)
    wait_until(lambda: len(writer.batches) == 2)
    assert len(writer.batches[1]) == 0
    state["answer"] = [VALUE.sample(2.0)]

    def back() -> bool:
        clock.advance(10)
        return len(writer.batches) >= 3

    wait_until(back)
    assert writer.batches[2].samples[0].value == 2.0


def test_keep_stale_never_withdraws(run: Run) -> None:
    clock = FakeClock()
    answers = iter([[VALUE.sample(1.0)]])
    source = scripted(lambda: next(answers, None), clock=clock)
    writer = recording()
    plan = SourcePlan(source=source, interval=10, keep_stale=True)
    run(Plan(executors=[ExecutorPlan(name="c", sources=[plan], writers=[writer])]), clock=clock)
    wait_until(lambda: writer.batches)

    def many_empty_probes() -> bool:
        clock.advance(10)
        return len(source.starts) > 8

    wait_until(many_empty_probes)
    assert len(writer.batches) == 1


def test_source_that_knows_its_thing_is_gone_withdraws_at_once(run: Run) -> None:
    answers = iter([lambda: [VALUE.sample(1.0)], failing(NoData("unplugged", withdraw=True))])
    last = failing(NoData())
    source, writer = scripted(lambda: next(answers, last)()), recording()
    run(plan_of([source], [writer], interval=0.05))
    wait_until(lambda: len(writer.batches) >= 2)
    assert [len(batch) for batch in writer.batches] == [1, 0]


def test_merging_writer_gets_all_sources_of_a_tick_in_one_call(run: Run) -> None:
    writer, partial = recording(MergingWriter), recording()
    sources = [scripted(name=f"s{n}") for n in range(7)]
    run(plan_of(sources, [writer, partial], interval=3600))
    wait_until(lambda: writer.calls)
    assert sorted(str(batch.source.name) for batch in writer.calls[0]) == [
        f"s{n}" for n in range(7)
    ]
    assert [len(call) for call in partial.calls] == [1] * 7


def test_merging_writer_waits_no_longer_than_the_next_tick_for_a_slow_source(
    run: Run, gate: Gate
) -> None:
    writer = recording(MergingWriter)
    run(plan_of([scripted(gate, name="slow"), scripted(name="quick")], [writer], interval=0.2))
    wait_until(lambda: len(writer.calls) >= 3)
    assert {batch.source.name for batch in writer.batches} == {"quick"}
    gate.open()
    wait_until(lambda: any(batch.source.name == "slow" for batch in writer.batches))


def test_failing_writer_costs_no_other_writer_its_batches(run: Run, caplog) -> None:
    broken, good = recording(), recording()
    broken.write = failing(RuntimeError("disk on fire"))  # type: ignore[method-assign, assignment]
    engine = run(plan_of([scripted()], [broken, good], interval=0.02))
    wait_until(lambda: len(good.batches) > 5)
    status = next(s for s in engine.writer_statuses() if not s.up)
    assert status.lost_samples >= 5
    assert caplog.text.count("disk on fire") <= 3


def test_writer_that_cannot_open_ends_the_start_and_nothing_is_left_running(run: Run) -> None:
    first, second = recording(), recording()
    second.open = failing(Rejected("port 8000 is in use"))  # type: ignore[method-assign]
    source = scripted()
    with pytest.raises(EngineError, match="port 8000 is in use"):
        Engine(plan_of([source], [first, second]), clock=SystemClock()).start()
    assert first.closed
    assert source.starts == []


def test_writer_shared_by_collections_is_opened_and_closed_once(run: Run) -> None:
    writer = recording()
    plans = [
        ExecutorPlan(
            name=name, sources=[SourcePlan(source=scripted(), interval=9)], writers=[writer]
        )
        for name in ("a", "b")
    ]
    engine = run(Plan(executors=plans))
    wait_until(lambda: len(writer.batches) == 2)
    engine.stop()
    assert (writer.opened, writer.closed) == (1, 1)


def test_stop_during_a_probe_is_prompt_and_closes_every_source(
    run: Run, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pollect.engine.closing.CLOSE_SECONDS", 50.0)
    hanging, good = scripted(gate), scripted()
    engine = run(plan_of([hanging, good], [recording()]))
    wait_until(lambda: hanging.running and good.starts)
    began = time.monotonic()
    engine.stop()
    assert time.monotonic() - began < 30, "what hangs is not waited for"
    assert (hanging.closed, good.closed) == (1, 1)


def test_source_that_hangs_in_close_is_left_behind(
    run: Run, gate: Gate, monkeypatch, caplog
) -> None:
    monkeypatch.setattr("pollect.engine.closing.CLOSE_SECONDS", 0.1)
    stuck, good = scripted(), scripted(name="good")
    stuck.close = gate  # type: ignore[method-assign, assignment]
    engine = run(plan_of([stuck, good]))
    wait_until(lambda: good.starts)
    engine.stop()
    assert good.closed == 1
    assert "does not close in time" in caplog.text


class AsyncSource(Source[SourceConfig]):
    metrics = (VALUE,)

    def __init__(self, config: SourceConfig, context: Any) -> None:
        super().__init__(config, context)
        self.loops: set[int] = set()
        self.behaviour = "answer"
        self.cancelled = 0

    async def open(self) -> None:
        await asyncio.sleep(0)

    async def probe(self) -> Any:
        self.loops.add(id(asyncio.get_running_loop()))
        while self.behaviour != "answer":
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                self.cancelled += 1
                if self.behaviour != "ignore cancellation":
                    raise
        return [VALUE.sample(3.0)]

    async def close(self) -> None:
        await asyncio.sleep(0)


def test_coroutine_sources_share_one_loop_that_exists_only_for_them(run: Run) -> None:
    engine = run(plan_of([scripted()], interval=0.05))
    assert not any(thread.name == "pollect-eventloop" for thread in threading.enumerate())
    engine.stop()
    first, second = (build_source({}, AsyncSource, clock=SystemClock()) for _ in range(2))
    writer = recording()
    engine = run(plan_of([first, second], [writer], interval=0.05))
    wait_until(lambda: len(writer.batches) > 4)
    assert isinstance(first, AsyncSource)
    assert isinstance(second, AsyncSource)
    assert first.loops == second.loops
    assert len(first.loops) == 1
    engine.stop()
    assert not any(thread.name == "pollect-eventloop" for thread in threading.enumerate())


@pytest.mark.parametrize("behaviour", ["hang", "ignore cancellation"])
def test_hanging_coroutine_times_out_and_the_other_goes_on(run: Run, behaviour: str) -> None:
    hanging = build_source({"timeout": 0.1, "name": "h"}, AsyncSource, clock=SystemClock())
    good = build_source({"name": "good"}, AsyncSource, clock=SystemClock())
    assert isinstance(hanging, AsyncSource)
    hanging.behaviour = behaviour
    writer = recording()
    engine = run(plan_of([hanging, good], [writer], interval=0.05))
    wait_until(lambda: engine.source_statuses()[0].outcome is Outcome.TIMED_OUT)
    seen = len(writer.batches)
    wait_until(lambda: len(writer.batches) > seen + 3)
    wait_until(lambda: hanging.cancelled)
    hanging.behaviour = "answer"
    wait_until(lambda: engine.source_statuses()[0].up)


def test_filter_that_hangs_on_one_coroutine_holds_up_no_other(run: Run, gate: Gate) -> None:
    sources = [build_source({"name": f"n{n}"}, AsyncSource, clock=SystemClock()) for n in range(9)]
    writer = recording()

    def hold_one(batch: Batch) -> Batch:
        if batch.source.name == "n0":
            gate()
        return batch

    run(plan_of(sources, [writer], interval=3600, filters=[hold_one]))
    wait_until(lambda: len(writer.batches) == 8)
    gate.open()
    wait_until(lambda: len(writer.batches) == 9)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), ValueError("oops")])
def test_callback_of_a_library_that_raises_does_not_end_the_loop(
    run: Run, error: BaseException
) -> None:
    class Calling(AsyncSource):
        async def probe(self) -> Any:
            asyncio.get_running_loop().call_soon(failing(error))
            return await super().probe()

    calling = build_source({"name": "calling"}, Calling, clock=SystemClock())
    good = build_source({"name": "good"}, AsyncSource, clock=SystemClock())
    writer = recording()
    run(plan_of([calling, good], [writer], interval=0.05))
    wait_until(lambda: [b.source.name for b in writer.batches].count("good") > 4)


def test_reload_leaves_equal_sources_and_writers_alone(run: Run) -> None:
    kept, gone, new = scripted(name="kept"), scripted(name="gone"), scripted(name="new")
    kept_plan = SourcePlan(source=kept, interval=0.05)
    writer = recording()

    def plan(*sources: SourcePlan) -> Plan:
        return Plan(executors=[ExecutorPlan(name="c", sources=sources, writers=[writer])])

    engine = run(plan(kept_plan, SourcePlan(source=gone, interval=0.05)))
    wait_until(lambda: {"kept", "gone"} <= {batch.source.name for batch in writer.batches})
    engine.replace(plan(kept_plan, SourcePlan(source=new, interval=0.05)))
    assert (kept.closed, gone.closed, writer.opened, writer.closed) == (0, 1, 1, 0)
    last_of_gone = [batch for batch in writer.batches if batch.source.name == "gone"][-1]
    assert len(last_of_gone) == 0
    seen = len(kept.starts)
    wait_until(lambda: new.starts and len(kept.starts) > seen + 1)


def test_reload_lets_a_source_take_over_from_the_closed_one_of_its_name(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    class Heir(ScriptedSource):
        """Remembers what it was given, and whether it was open by then."""

        def __init__(self, config: SourceConfig, context: Any) -> None:
            super().__init__(config, context)
            self.given: list[tuple[Source[Any], int, int]] = []

        def take_over(self, previous: Source[Any]) -> None:
            assert isinstance(previous, Heir)
            self.given.append((previous, previous.closed, len(self.starts)))
            if self.config.labels:
                raise ValueError("nothing fits")

    def heir(**section: Any) -> Heir:
        source = build_source(section, Heir, clock=SystemClock())
        assert isinstance(source, Heir)
        return source

    first, second, third, other = heir(name="a"), heir(name="a"), heir(name="a"), heir(name="b")
    broken, stranger = heir(name="a", labels={"x": "y"}), scripted(name="a")
    writer = recording()
    engine = run(plan_of([first], [writer], interval=0.05))
    wait_until(lambda: first.starts)
    plans: list[list[ScriptedSource]] = [[second, other], [stranger], [third], [broken]]
    for sources in plans:
        engine.replace(plan_of(sources, [writer], interval=0.05))
        starts = sources[0].starts
        wait_until(starts.__len__)
    assert second.given == [(first, 1, 0)]
    assert other.given == []
    assert third.given == [], "the one before was of another kind"
    assert broken.given == [(third, 1, 0)]
    assert "starts without the state of its predecessor: ValueError: nothing fits" in caplog.text


def test_reload_with_a_new_writer_tells_it_what_there_is_at_once(run: Run) -> None:
    source, old, new, late = scripted(), recording(), recording(), recording(MergingWriter)
    section = SourcePlan(source=source, interval=3600)

    def plan(*writers: RecordingWriter) -> Plan:
        return Plan(executors=[ExecutorPlan(name="c", sources=[section], writers=writers)])

    engine = run(plan(old))
    wait_until(lambda: old.batches)
    engine.replace(plan(old, new))
    wait_until(lambda: new.batches)
    engine.replace(plan(old, new, late))
    wait_until(lambda: late.batches)
    engine.replace(plan(new))
    time.sleep(0.1)
    assert len(source.starts) == 3, "removing a writer does not cause a probe"


def test_reload_that_switches_self_metrics_on_reaches_remote_writers(run: Run) -> None:
    remote = build_writer({}, RemoteRecorder)
    assert isinstance(remote, RemoteRecorder)
    source = SourcePlan(source=scripted(), interval=0.05)
    collections = [ExecutorPlan(name="c", sources=[source], writers=[remote])]
    engine = run(Plan(executors=collections, self_metrics=False))
    wait_until(lambda: remote.batches)
    assert not any(batch.source.type in ("source", "writer") for batch in remote.batches)
    engine.replace(Plan(executors=collections, self_metrics=True, tick_time=0.05))
    wait_until(lambda: any(batch.source.type == "source" for batch in remote.batches))


def test_reload_that_cannot_open_a_writer_keeps_the_old_plan_running(run: Run) -> None:
    old, new = recording(), recording()
    new.open = failing(Rejected("port 9 is in use"))  # type: ignore[method-assign]
    source = scripted()
    engine = run(plan_of([source], [old], interval=0.05))
    wait_until(lambda: old.batches)
    with pytest.raises(EngineError, match="port 9 is in use"):
        engine.replace(plan_of([source], [new], interval=0.05))
    seen = len(old.batches)
    wait_until(lambda: len(old.batches) > seen + 1)


class RemoteRecorder(RecordingWriter):
    in_process = False


def test_reload_that_fails_leaves_a_writer_with_a_spool_delivering(
    run: Run, tmp_path: Path
) -> None:
    spooling = build_writer({"spool": True}, RemoteRecorder, state_dir=tmp_path)
    broken = recording()
    broken.open = failing(Rejected("port 9 is in use"))  # type: ignore[method-assign]
    assert isinstance(spooling, RemoteRecorder)
    engine = run(plan_of([scripted()], [spooling], interval=0.05))
    wait_until(lambda: spooling.batches)
    with pytest.raises(EngineError):
        engine.replace(plan_of([scripted()], [broken], interval=0.05))
    seen = len(spooling.batches)
    wait_until(lambda: len(spooling.batches) > seen + 1)
    assert all(status.up and not status.lost_samples for status in engine.writer_statuses())


def test_reload_with_other_options_goes_on_with_what_waits_in_the_spool(
    run: Run, tmp_path: Path
) -> None:
    """An outage is when somebody changes a time-out or a buffer."""
    old = build_writer({"spool": True}, RemoteRecorder, state_dir=tmp_path)
    old.open = failing(Retryable("away"))  # type: ignore[method-assign]
    section = {"spool": True, "buffer": {"samples": 5000}}
    new = build_writer(section, RemoteRecorder, state_dir=tmp_path)
    assert isinstance(new, RemoteRecorder)
    source = scripted()
    engine = run(plan_of([source], [old], interval=0.05, self_metrics=False))
    wait_until(lambda: engine.writer_statuses()[0].buffered_samples >= 3)
    reloaded = time.time()
    engine.replace(plan_of([source], [new], interval=0.05))
    wait_until(lambda: len(new.batches) > 4)
    times = [batch.time for batch in new.batches]
    assert times == sorted(times)
    assert times[0] < reloaded, "what the old one could not deliver comes first"
    assert len(list((tmp_path / "spool").glob("*/state"))) == 1


def test_run_once_probes_each_source_once_and_writes(gate: Gate) -> None:
    sources = [scripted(name="a"), scripted(failing(TargetUnavailable("away")), name="b")]
    writer = recording(MergingWriter)
    results = Engine(plan_of(sources, [writer]), clock=SystemClock()).run_once()
    assert [result.outcome for result in results] == [Outcome.OK, Outcome.FAILED]
    assert [len(source.starts) for source in sources] == [1, 1]
    assert [batch.source.name for batch in writer.batches] == ["a"]
    assert writer.closed == 1


def test_run_once_withdraws_no_value_while_the_slowest_probe_goes_on() -> None:
    def last_long() -> float:
        time.sleep(0.3)
        return 2.0

    sources = [scripted(name="quick"), scripted(last_long, name="slow")]
    writer, partial = recording(MergingWriter), recording()
    plan = plan_of(sources, [writer, partial], interval=0.05)
    Engine(plan, clock=SystemClock()).run_once()
    for written in (writer.batches, partial.batches):
        assert [(batch.source.name, len(batch)) for batch in written] == [("quick", 1), ("slow", 1)]


def test_ready_is_set_when_every_source_was_probed(run: Run, gate: Gate) -> None:
    plan = plan_of([scripted(gate), scripted()])
    run(plan)
    assert not plan.ready.wait(0.1)
    gate.open()
    assert plan.ready.wait(30)


def test_self_metrics_tell_who_is_up_and_how_probes_ended(run: Run) -> None:
    sources = [scripted(name="good"), scripted(failing(TargetUnavailable("away")), name="bad")]
    plan = plan_of(sources, [recording()])
    engine = run(plan)
    plan.ready.wait(30)
    found = {
        (f"{batch.source.dotted}_{sample.metric.name}", sample.label_values): sample.value
        for batch in engine.self_batches()
        for sample in batch.samples
    }
    assert found["pollect.source_up", ("pollect", "Scripted", "good")] == 1
    assert found["pollect.source_up", ("pollect", "Scripted", "bad")] == 0
    assert found["pollect.source_probes_total", ("pollect", "Scripted", "bad", "failed")] == 1
    assert found["pollect.writer_lost_samples_total", ("Recording",)] == 0


def hooks_of(**functions: Callable[..., Any]) -> SimpleNamespace:
    """Return what pluggy's relay looks like, with one observer for each hook."""
    manager = pluggy.PluginManager("pollect")
    manager.add_hookspecs(hookspecs)
    manager.register(SimpleNamespace(**{n: hookimpl(f) for n, f in functions.items()}), "plug")
    return manager.hook  # type: ignore[return-value]


def test_observer_that_raises_is_logged_once_and_stops_nothing(run: Run, caplog) -> None:
    def pollect_probe_finished(result: Any) -> None:
        raise RuntimeError("observer broke")

    writer = recording()
    run(
        plan_of([scripted()], [writer], interval=0.02),
        hooks=hooks_of(pollect_probe_finished=pollect_probe_finished),
    )
    wait_until(lambda: len(writer.batches) > 5)
    assert caplog.text.count("plugin plug failed in pollect_probe_finished") == 1


def test_observers_hear_of_start_probe_and_stop(run: Run) -> None:
    heard: list[str] = []

    def pollect_started(sources: Any) -> None:
        heard.append(f"started {len(sources)}")

    def pollect_probe_finished(result: Any) -> None:
        heard.append(result.outcome.value)

    def pollect_stopped() -> None:
        heard.append("stopped")

    hooks = hooks_of(
        pollect_started=pollect_started,
        pollect_probe_finished=pollect_probe_finished,
        pollect_stopped=pollect_stopped,
    )
    engine = run(plan_of([scripted()], interval=3600), hooks=hooks)
    wait_until(lambda: "ok" in heard)
    engine.stop()
    assert sorted(heard) == ["ok", "started 1", "stopped"]


def test_batch_filters_change_and_drop_batches(run: Run) -> None:
    writer = recording(MergingWriter)
    plan = plan_of(
        [scripted(name="kept"), scripted(name="dropped")],
        [writer],
        filters=[
            lambda batch: None if batch.source.name == "dropped" else batch,
            lambda batch: replace(batch, static_labels=(("rack", "7"),)),
        ],
    )
    run(plan)
    wait_until(lambda: writer.batches)
    assert [(b.source.name, b.static_labels) for b in writer.batches] == [
        ("kept", (("rack", "7"),))
    ]


def test_namesakes_do_not_replace_each_other_in_self_metrics(run: Run) -> None:
    first, second = scripted(), scripted()
    second.context = replace(second.context, id=second.context.id._replace(instance=1))
    plan = plan_of([first, second])
    engine = run(plan)
    plan.ready.wait(30)
    names = {
        sample.label_values
        for batch in engine.self_batches()
        for sample in batch.samples
        if sample.metric.name == "up" and batch.source.type == "source"
    }
    assert names == {("pollect", "Scripted", ""), ("pollect", "Scripted", "#2")}


def test_thousand_sources_with_ten_hanging_are_all_probed_with_few_threads(
    run: Run, gate: Gate
) -> None:
    good = [scripted(name=f"g{n}") for n in range(990)]
    hanging = [scripted(gate, name=f"h{n}") for n in range(10)]
    run(plan_of([*hanging, *good], [recording()], interval=1))
    wait_until(lambda: all(len(source.starts) >= 2 for source in good))
    # Where the machine is slow, a probe that waits for it gets a substitute for a moment.
    wait_until(lambda: pool_threads() <= 5 + 10)


def test_number_and_mapping_are_accepted_as_values(run: Run) -> None:
    writer = recording()
    run(plan_of([scripted(lambda: 4), scripted(lambda: {"a": 1, "b": True})], [writer]))
    wait_until(lambda: len(writer.batches) == 2)
    found = {(s.metric.name, s.value) for batch in writer.batches for s in batch.samples}
    assert found == {(None, 4), ("a", 1), ("b", 1)}


def test_call_at_an_interval_ends_when_the_scheduler_hangs(run: Run, gate: Gate) -> None:
    clock = FakeClock()
    engine = run(plan_of([], []), clock=clock)
    beats: list[float] = []
    engine.call_every(5, lambda: beats.append(clock.monotonic()))
    wait_until(lambda: beats == [1000])
    clock.advance(5)
    wait_until(lambda: beats == [1000, 1005])
    hanging = threading.Event()

    def hang() -> None:
        hanging.set()
        gate()

    engine.call_every(3600, hang)
    assert hanging.wait(30)
    clock.advance(5)
    time.sleep(3 * GLANCE_SECONDS)
    assert beats == [1000, 1005]
    gate.open()
    wait_until(lambda: beats == [1000, 1005, 1010])
