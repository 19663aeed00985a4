"""Whatever code of a plugin raises, and however long it takes, it costs only itself."""

import itertools
import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pluggy
import pytest

from pollect import hookspecs
from pollect.api import Batch, Metric, Outcome, SourceId, TargetUnavailable, hookimpl
from pollect.engine.clock import SystemClock
from pollect.engine.engine import Engine
from pollect.engine.guard import COPY_EXIT_CODE
from pollect.engine.history import History
from pollect.engine.plan import ExecutorPlan, Plan, SourcePlan
from pollect.engine.runner import Runner
from pollect.errors import EngineError
from pollect.testing import FakeClock
from pollect.testing.waiting import wait_until
from tests.core.engine.rig import (
    VALUE,
    Gate,
    MergingWriter,
    RecordingWriter,
    plan_of,
    pool_threads,
    recording,
    scripted,
)

Run = Callable[..., Engine]
EXTRA = Metric("extra")
LABELLED = Metric("labelled", labels=("id",))
FATAL = [ValueError("oops"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()]


class Unspeakable(Exception):
    """Its text cannot be asked for."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def raising(error: BaseException) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise error

    return call


def hooks_of(**functions: Callable[..., Any]) -> Any:
    manager = pluggy.PluginManager("pollect")
    manager.add_hookspecs(hookspecs)
    manager.register(SimpleNamespace(**{n: hookimpl(f) for n, f in functions.items()}), "plug")
    return manager.hook


def goes_on(source: Any, probes: int = 3) -> None:
    """Wait until a source was probed some more times."""
    seen = len(source.starts)
    wait_until(lambda: len(source.starts) >= seen + probes)


@pytest.mark.parametrize("good_calls", [0, 1, 2])
def test_a_deadline_that_raises_ends_no_tick(
    run: Run, caplog, monkeypatch, good_calls: int
) -> None:
    monkeypatch.setattr("pollect.engine.retry.FIRST_OPEN_PAUSE", 0.01)
    source, other = scripted(), scripted(name="other")
    tries = [TargetUnavailable("later")] * 3
    calls: list[int] = []

    def opening() -> None:
        if tries:
            raise tries.pop()

    def deadline_seconds() -> float:
        calls.append(1)
        if len(calls) > good_calls:
            raise ZeroDivisionError("by zero")
        return 5.0

    source.opening = opening
    source.deadline_seconds = deadline_seconds  # type: ignore[method-assign]
    run(plan_of([source, other], interval=0.02))
    goes_on(source, 10)
    goes_on(other)
    assert caplog.text.count("deadline_seconds() failed: ZeroDivisionError: by zero") == 1


@pytest.mark.parametrize("nonsense", [None, "soon", -1, 0, float("nan")])
def test_a_senseless_deadline_leaves_the_usual_one(run: Run, nonsense: Any, gate: Gate) -> None:
    source = scripted(gate, timeout=0.1)
    source.deadline_seconds = lambda: nonsense  # type: ignore[method-assign]
    engine = run(plan_of([source], interval=0.05))
    wait_until(lambda: engine.source_statuses()[0].outcome is Outcome.TIMED_OUT)
    assert engine.source_statuses()[0].reason == "no answer within 0.1 s"


@pytest.mark.parametrize("trait", ["hold", "retry_after"])
@pytest.mark.parametrize("nonsense", ["soon", -1, [None], object()])
def test_senseless_traits_cost_no_probe(run: Run, trait: str, nonsense: Any) -> None:
    source, writer = scripted(), recording()
    setattr(source, trait, nonsense)
    run(plan_of([source], [writer], interval=0.02))
    wait_until(lambda: len(writer.batches) > 3)


def test_a_log_that_hangs_or_raises_is_not_the_engine_s(run: Run, gate: Gate) -> None:
    source = scripted(raising(TargetUnavailable("away")))
    source.log = SimpleNamespace(warning=gate, error=gate, debug=gate)  # type: ignore[assignment]
    engine = run(plan_of([source], interval=0.02))
    goes_on(source)
    assert engine.source_statuses()[0].reason == "away"


def test_a_probe_that_never_ends_keeps_no_thread(run: Run, caplog) -> None:
    """The worker goes on with the source beside it; the source itself is probed again."""
    endless, other = scripted(), scripted(name="other")
    endless.script = lambda: (LABELLED.sample(1, str(number)) for number in itertools.count())
    sources = [SourcePlan(source=each, interval=0.02, max_series=10) for each in (endless, other)]
    writer = recording()
    run(Plan(executors=[ExecutorPlan(name="test", sources=sources, writers=[writer], threads=1)]))
    goes_on(endless, 2)
    goes_on(other, 2)
    assert endless.most_running == 1
    (record,) = [each for each in caplog.records if "still yields" in each.getMessage()]
    assert record.name == str(endless.context.id)
    assert all(len(batch.samples) <= 10 for batch in writer.batches)


@pytest.mark.parametrize("error", [*FATAL, Unspeakable()])
def test_an_error_nobody_expects_is_a_reason_in_words(run: Run, error: BaseException) -> None:
    source, other = scripted(raising(error)), scripted(name="other")
    engine = run(plan_of([source, other], interval=0.02))
    goes_on(source)
    goes_on(other)
    assert engine.source_statuses()[0].outcome is Outcome.BUG
    assert type(error).__name__ in engine.source_statuses()[0].reason


@pytest.mark.parametrize("error", [*FATAL, Unspeakable()])
def test_an_error_nobody_expects_holds_up_neither_a_single_round_nor_readiness(
    error: BaseException,
) -> None:
    plan = plan_of([scripted(raising(error)), scripted(name="other")], interval=0.02)
    results = Engine(plan, clock=SystemClock()).run_once()
    assert [result.outcome for result in results] == [Outcome.BUG, Outcome.OK]
    assert plan.ready.is_set()


@pytest.mark.parametrize("error", [*FATAL, Unspeakable()])
def test_an_in_process_writer_that_raises_costs_its_own_samples(
    run: Run, error: BaseException
) -> None:
    bad, good, source = recording(), recording(), scripted()
    bad.write = raising(error)  # type: ignore[method-assign]
    engine = run(plan_of([source], [bad, good], interval=0.02))
    wait_until(lambda: len(good.batches) > 3)
    status = engine.writer_statuses()[0]
    assert not status.up
    assert type(error).__name__ in status.reason
    assert status.lost_samples >= 3


@pytest.mark.parametrize("kind", [RecordingWriter, MergingWriter])
def test_an_in_process_writer_that_blocks_delays_nothing_and_not_the_end(
    run: Run, gate: Gate, kind: type[RecordingWriter], monkeypatch, caplog
) -> None:
    monkeypatch.setattr("pollect.engine.ports.CLOSE_SECONDS", 0.2)
    stuck, good, source = recording(kind), recording(), scripted()
    others = [scripted(name=f"s{n}") for n in range(6)]
    stuck.write = lambda batches: gate()  # type: ignore[method-assign, assignment]
    plan = plan_of([source, *others], [stuck, good], interval=0.1, threads=2)
    engine = run(plan)
    for each in (source, *others):
        goes_on(each, 5)
    assert {batch.source.name for batch in good.batches} == {None, *(f"s{n}" for n in range(6))}
    assert plan.ready.wait(30)
    wait_until(lambda: pool_threads() <= 2 + 1)  # it costs one thread
    began = time.monotonic()
    engine.stop()
    assert time.monotonic() - began < 30
    assert source.closed == 1
    assert "does not close in time" in caplog.text


def test_a_writer_that_blocked_gets_what_waited_in_order(run: Run, gate: Gate) -> None:
    writer = recording()
    keep = writer.write

    def write(batches: Sequence[Batch]) -> None:
        gate()
        keep(batches)

    writer.write = write  # type: ignore[method-assign]
    source = scripted()
    source.script = lambda: len(source.starts)
    engine = run(plan_of([source], [writer], interval=0.01))
    wait_until(lambda: engine.writer_statuses()[0].buffered_samples > 5)
    gate.open()

    def values() -> list[float]:
        # A batch without any withdraws what got too old where probes are late.
        return [sample.value for batch in writer.batches for sample in batch.samples]

    wait_until(lambda: len(values()) > 10)
    found = values()
    assert found == list(range(1, len(found) + 1))


def test_filters_that_raise_or_return_nonsense_are_skipped(run: Run, caplog) -> None:
    writer, source = recording(), scripted()
    filters = [*map(raising, FATAL), raising(Unspeakable()), lambda _: "text"]
    run(plan_of([source], [writer], interval=0.02, filters=filters))
    wait_until(lambda: len(writer.batches) > 3)
    assert caplog.text.count("a batch filter failed") == len(filters), "each logged once"


def test_what_a_filter_makes_is_cleaned_like_the_values_of_a_source(run: Run) -> None:
    writer, source = recording(), scripted()

    def spoil(batch: Batch) -> Batch:
        bad = [batch.samples[0]._replace(value=math.nan), ("text", 1.0), *batch.samples]
        return msgspec.structs.replace(batch, samples=bad)

    run(plan_of([source], [writer], interval=0.02, filters=[spoil]))
    wait_until(lambda: len(writer.batches) > 3)
    assert all(len(batch) == 1 and batch.samples[0].value > 0 for batch in writer.batches)


@pytest.mark.parametrize("wrong", [{"samples": "text"}, {"static_labels": (("a", 1),)}])
def test_a_filter_that_returns_a_batch_of_nonsense_is_skipped(
    run: Run, wrong: dict[str, Any], caplog
) -> None:
    writer, source = recording(), scripted()
    change = lambda batch: msgspec.structs.replace(batch, **wrong)  # noqa: E731
    run(plan_of([source], [writer], interval=0.02, filters=[change]))
    wait_until(lambda: len(writer.batches) > 3)
    assert caplog.text.count("a batch filter failed") == 1
    assert all(not batch.static_labels for batch in writer.batches)


def test_a_batch_that_cannot_be_remembered_is_named_once_and_costs_no_other(
    run: Run, caplog
) -> None:
    spoilt, good = scripted(name="spoilt"), scripted(name="good")

    def spoil(batch: Batch) -> Batch:
        is_good = batch.source.name == "good"
        return batch if is_good else msgspec.structs.replace(batch, time="soon")

    engine = run(plan_of([spoilt, good], interval=0.005, history=100, filters=[spoil]))
    wait_until(lambda: "are not remembered" in caplog.text)
    goes_on(good, 30)
    goes_on(spoilt, 30)
    assert len(engine.history.past(good.context.id).times) > 30
    assert caplog.text.count("Scripted/spoilt are not remembered: TypeError") == 1


def test_a_filter_that_hangs_is_a_probe_that_hangs(run: Run, gate: Gate) -> None:
    writer, caught, other = recording(), scripted(name="caught", timeout=0.1), scripted()

    def hold_one(batch: Batch) -> Batch:
        if batch.source.name == "caught":
            gate()
        return batch

    engine = run(plan_of([caught, other], [writer], interval=0.02, filters=[hold_one]))
    wait_until(lambda: engine.source_statuses()[0].outcome is Outcome.TIMED_OUT)
    goes_on(other, 10)
    gate.open()
    wait_until(lambda: engine.source_statuses()[0].up)


@pytest.mark.parametrize("hook", ["pollect_probe_finished", "pollect_batch_lost"])
def test_an_observer_that_sleeps_delays_no_probe(run: Run, gate: Gate, hook: str, caplog) -> None:
    writer, source = recording(), scripted()
    writer.write = raising(ValueError("full"))  # type: ignore[method-assign]
    observers: dict[str, Callable[..., Any]] = {
        "pollect_probe_finished": lambda result: gate(),
        "pollect_batch_lost": lambda batch: gate(),
    }
    engine = run(
        plan_of([source], [writer], interval=0.005), hooks=hooks_of(**{hook: observers[hook]})
    )
    goes_on(source, 20)
    began = time.monotonic()
    engine.stop()
    assert time.monotonic() - began < 30


def test_an_observer_that_does_not_keep_up_is_named_once(
    run: Run, gate: Gate, monkeypatch, caplog
) -> None:
    monkeypatch.setattr("pollect.engine.observing.MOST_WAITING", 3)
    seen: list[float] = []

    def pollect_probe_finished(result: Any) -> None:
        gate()
        seen.append(result.time)

    caplog.set_level("INFO")
    source = scripted()
    run(
        plan_of([source], interval=0.005),
        hooks=hooks_of(pollect_probe_finished=pollect_probe_finished),
    )
    wait_until(lambda: "plugin plug does not keep up with pollect_probe_finished" in caplog.text)
    goes_on(source, 5)
    assert caplog.text.count("does not keep up") == 1
    gate.open()
    wait_until(lambda: "plugin plug keeps up again" in caplog.text)
    assert seen == sorted(seen)


def test_observers_get_the_results_of_a_source_in_order(run: Run, monkeypatch) -> None:
    seen: list[float] = []
    source = scripted()
    note = History.note

    def held_up(history: History, result: Any) -> None:
        if not second.is_set() and len(source.starts) == 1:
            wait_until(lambda: len(source.starts) == 2)
            second.wait(0.2)  # what the second result needs to overtake, if it can
        note(history, result)

    def pollect_probe_finished(result: Any) -> None:
        seen.append(result.time)
        second.set()

    second = threading.Event()
    monkeypatch.setattr(History, "note", held_up)
    hooks = hooks_of(pollect_probe_finished=pollect_probe_finished)
    run(plan_of([source], interval=0.02), hooks=hooks)
    wait_until(lambda: len(seen) > 3)
    assert seen == sorted(seen)


def test_a_call_that_returns_just_after_its_deadline_is_counted_before_the_next(
    run: Run, gate: Gate, monkeypatch
) -> None:
    """The thread of the engine that reports what hung may be late itself."""
    seen: list[Outcome] = []
    late, reported = threading.Event(), threading.Event()
    time_out = Runner._time_out

    def report_late(runner: Runner, *details: Any) -> None:
        late.set()
        wait_until(lambda: Outcome.OK in seen)
        time_out(runner, *details)
        reported.set()

    monkeypatch.setattr(Runner, "_time_out", report_late)
    source = scripted(gate, timeout=0.1)
    hooks = hooks_of(pollect_probe_finished=lambda result: seen.append(result.outcome))
    engine = run(plan_of([source], [recording()], interval=0.05), hooks=hooks)
    assert late.wait(30)
    gate.open()
    assert reported.wait(30)
    status = engine.source_statuses()[0]
    assert status.up
    assert status.probes[Outcome.TIMED_OUT] == 1
    assert seen[0] is Outcome.TIMED_OUT
    assert Outcome.TIMED_OUT not in seen[1:]


@pytest.mark.parametrize("error", [*FATAL, Unspeakable()])
def test_observers_that_raise_anything_are_logged_once(
    run: Run, error: BaseException, caplog
) -> None:
    source = scripted()
    run(
        plan_of([source], interval=0.01),
        hooks=hooks_of(pollect_probe_finished=lambda result: raising(error)()),
    )
    goes_on(source, 10)
    wait_until(lambda: "plugin plug failed in pollect_probe_finished" in caplog.text)
    assert caplog.text.count("plugin plug failed in pollect_probe_finished") == 1


def broken_generator() -> Iterator[Batch]:
    yield Batch(SourceId("extra", "a"), [EXTRA.sample(1)], 1.0)
    raise SystemExit(4)


@pytest.mark.parametrize(
    "answer",
    [
        raising(ValueError("x")),
        broken_generator,
        lambda: [None],
        lambda: 5,
        lambda: None,
        lambda: itertools.repeat(Batch(SourceId("extra", "a"), (), 1.0)),
    ],
)
def test_self_samples_that_fail_leave_the_others(run: Run, answer: Any, caplog) -> None:
    engine = run(plan_of([scripted()]), hooks=hooks_of(pollect_self_samples=answer))
    for _ in range(3):
        found = engine.self_batches()
        assert "extra" not in {batch.source.collection for batch in found}
    assert caplog.text.count("plugin plug failed in pollect_self_samples") == 1


def test_values_of_self_samples_are_cleaned_like_those_of_a_source(run: Run) -> None:
    samples = [EXTRA.sample(float("nan")), EXTRA.sample(2.0), EXTRA.sample("x")]  # type: ignore[arg-type]
    engine = run(
        plan_of([scripted()]),
        hooks=hooks_of(pollect_self_samples=lambda: [Batch(SourceId("extra", "a"), samples, 1.0)]),
    )
    [batch] = [found for found in engine.self_batches() if found.source.collection == "extra"]
    assert [sample.value for sample in batch.samples] == [2.0]


def test_self_samples_that_hang_are_not_waited_for(run: Run, gate: Gate, monkeypatch) -> None:
    monkeypatch.setattr("pollect.engine.observing.ANSWER_SECONDS", 1.0)
    plan = plan_of([scripted()])

    def pollect_self_samples() -> list[Batch]:
        gate()
        return [Batch(SourceId("extra", "a"), [EXTRA.sample(7)], 1.0)]

    engine = run(plan, hooks=hooks_of(pollect_self_samples=pollect_self_samples))
    plan.ready.wait(30)
    began = time.monotonic()
    for _ in range(50):
        assert {batch.source.type for batch in engine.self_batches()} == {"source"}
    assert time.monotonic() - began < 25, "only the first one waits"
    gate.open()
    wait_until(lambda: any(batch.source.collection == "extra" for batch in engine.self_batches()))


def test_an_answer_of_a_plugin_that_hangs_since_is_shown_for_a_minute_only(
    run: Run, gate: Gate
) -> None:
    clock = FakeClock()
    gate.open()

    def pollect_self_samples() -> list[Batch]:
        gate()
        return [Batch(SourceId("extra", "a"), [EXTRA.sample(7)], 1.0)]

    hooks = hooks_of(pollect_self_samples=pollect_self_samples)
    engine = run(plan_of([scripted(clock=clock)]), hooks=hooks, clock=clock)

    def shown() -> bool:
        return any(batch.source.collection == "extra" for batch in engine.self_batches())

    wait_until(shown)
    gate.event.clear()
    assert shown()
    clock.advance(60)
    assert shown()
    clock.advance(1)
    assert not shown()
    gate.open()


class Odd(RecordingWriter):
    """Its properties cannot be read."""

    @property
    def accepts_partial(self) -> bool:  # type: ignore[override]
        raise SystemExit(5)


def test_a_writer_whose_traits_cannot_be_read_is_taken_for_an_ordinary_one(run: Run) -> None:
    odd, good = recording(Odd), recording()
    run(plan_of([scripted()], [odd, good], interval=0.02))
    wait_until(lambda: len(good.batches) > 2 and len(odd.batches) > 2)


@pytest.mark.parametrize("error", [*FATAL, Unspeakable()])
def test_an_in_process_writer_that_cannot_open_is_an_engine_error(error: BaseException) -> None:
    writer, source = recording(), scripted()
    writer.open = raising(error)  # type: ignore[method-assign]
    from pollect.engine.clock import SystemClock

    engine = Engine(plan_of([source], [writer]), clock=SystemClock())
    with pytest.raises(EngineError, match=f"writer Recording: {type(error).__name__}"):
        engine.start()
    assert not source.starts


@pytest.mark.parametrize("error", FATAL)
def test_errors_while_closing_end_nothing(run: Run, error: BaseException) -> None:
    writers, sources = [recording(), recording()], [scripted(), scripted()]
    sources[0].close = raising(error)  # type: ignore[method-assign]
    writers[0].close = raising(error)  # type: ignore[method-assign]
    engine = run(plan_of(sources, writers, interval=0.02))
    goes_on(sources[1])
    engine.stop()
    assert (sources[1].closed, writers[1].closed) == (1, 1)


@pytest.mark.parametrize("error", FATAL)
def test_an_heir_that_fails_to_take_over_starts_without(run: Run, error: BaseException) -> None:
    first, second = scripted(name="a"), scripted(name="a")
    second.take_over = raising(error)  # type: ignore[method-assign]
    engine = run(plan_of([first], interval=0.02))
    goes_on(first)
    engine.replace(plan_of([second], interval=0.02))
    goes_on(second)


def test_an_heir_that_hangs_in_taking_over_blocks_no_reload(run: Run, gate: Gate) -> None:
    first, second, other = scripted(name="a"), scripted(name="a", timeout=0.1), scripted()
    second.take_over = lambda previous: gate()  # type: ignore[method-assign, assignment]
    engine = run(plan_of([first, other], interval=0.02))
    goes_on(first)
    engine.replace(plan_of([second, other], interval=0.02))
    goes_on(other)
    wait_until(lambda: engine.source_statuses()[0].outcome is Outcome.TIMED_OUT)


def test_a_source_that_cannot_even_be_looked_at_is_left_out(run: Run, caplog) -> None:
    broken, good = scripted(), scripted(name="good")
    del vars(broken)["context"]
    plans = [SourcePlan(source=source, interval=0.02) for source in (broken, good)]
    engine = run(Plan(executors=[ExecutorPlan(name="c", sources=plans, writers=[])]))
    goes_on(good)
    assert len(engine.source_statuses()) == 1
    assert "c: a ScriptedSource is left out: AttributeError" in caplog.text


def test_a_shortage_of_threads_ends_nothing(run: Run, monkeypatch, caplog) -> None:
    """What `ulimit -u` does: no thread for a while, in the middle of everything."""
    caplog.set_level("INFO")
    start = threading.Thread.start
    shortage = threading.Event()
    shortage.set()

    def refuse(thread: threading.Thread) -> None:
        if shortage.is_set() and thread.name.startswith("pollect-test"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr("pollect.engine.workers.THREAD_RETRY_SECONDS", 0.05)
    source, other = scripted(timeout=0.2), scripted(name="other")
    engine = run(plan_of([source, other], [recording()], interval=0.05))
    wait_until(lambda: "cannot start a thread" in caplog.text)
    wait_until(lambda: engine.source_statuses()[0].outcome is Outcome.TIMED_OUT)
    assert not engine.source_statuses()[0].up
    assert "waited 0.2 s for a free thread of executor 'test'" in engine.source_statuses()[0].reason
    shortage.clear()
    goes_on(source)
    goes_on(other)
    assert caplog.text.count("cannot start a thread") == 1
    assert caplog.text.count("there are threads again") == 1


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("leave", [sys.exit, lambda: [VALUE.sample(2.0)]])
def test_a_copy_that_a_probe_forked_does_not_go_on_as_a_second_daemon(
    run: Run, leave: Callable[[], Any], capfd
) -> None:
    copies: list[int] = []

    def fork() -> Any:
        if len(copies) == 0:
            copies.append(os.fork())
            if copies[0] == 0:
                return leave()
        return [VALUE.sample(1.0)]

    writer, source = recording(), scripted(fork)
    run(plan_of([source], [writer], interval=0.02))
    wait_until(lambda: copies)
    watched = select.poll()
    watched.register(copy := os.pidfd_open(copies[0]), select.POLLIN)
    if not watched.poll(30_000):
        os.kill(copies[0], signal.SIGKILL)
    os.close(copy)
    assert os.waitstatus_to_exitcode(os.waitpid(copies[0], 0)[1]) == COPY_EXIT_CODE
    assert "forked and returned" in capfd.readouterr().err
    goes_on(source)
