"""What one asynchronous source does to its event loop costs no other type, and is named."""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from pollect.api import Outcome, Source, SourceConfig
from pollect.engine.clock import SystemClock
from pollect.engine.engine import Engine
from pollect.engine.loop import EventLoopThread
from pollect.engine.loops import EventLoops
from pollect.engine.plan import ExecutorPlan, Plan, SourcePlan
from pollect.testing import build_source
from pollect.testing.waiting import wait_until
from tests.core.engine.rig import VALUE, Gate, plan_of, recording

Run = Callable[..., Engine]
LIMIT_SECONDS = 30.0


class Careful(Source[SourceConfig]):
    metrics = (VALUE,)

    async def probe(self) -> Any:
        await asyncio.sleep(0)
        return 1.0


class Blocking(Careful):
    """Calls something that blocks, where it should await."""

    metrics = (VALUE,)
    gate: Gate | None = None

    async def probe(self) -> Any:
        await asyncio.sleep(0)
        return self.gate() if self.gate is not None else 1.0


class BlockingTask(Blocking):
    """A library of its own does so, in a task."""

    async def probe(self) -> Any:
        if self.gate is not None:
            self.task = asyncio.create_task(asyncio.sleep(0), name="reader")
            self.task.add_done_callback(lambda _: self.gate and self.gate())
        return 1.0


def built(kind: type[Careful], name: str, **section: Any) -> Any:
    return build_source({"type": kind.__name__, "name": name, **section}, kind, clock=SystemClock())


def blocking(gate: Gate, kind: type[Blocking] = Blocking) -> Any:
    source = built(kind, "blocks", timeout=0.1)
    source.gate = gate
    return source


def test_a_source_that_blocks_its_loop_costs_no_other_type(run: Run, gate: Gate) -> None:
    writer = recording()
    run(plan_of([blocking(gate), built(Careful, "goes on")], [writer], interval=0.05))
    wait_until(lambda: [batch.source.name for batch in writer.batches].count("goes on") > 8)
    assert not any(batch.source.name == "blocks" for batch in writer.batches)


def test_who_blocks_a_loop_is_named_wherever_it_is_missed(run: Run, gate: Gate) -> None:
    other = built(Blocking, "other", timeout=0.1)
    engine = run(plan_of([blocking(gate), other], [recording()], interval=0.05))
    wait_until(lambda: all(s.outcome is Outcome.TIMED_OUT for s in engine.source_statuses()))
    reasons = [status.reason for status in engine.source_statuses()]
    assert reasons[0] == (
        "no answer within 0.1 s: it blocks the event loop of all Blocking sources: what takes long "
        "must be awaited, or run in a thread"
    )
    # Both began in one turn of the loop or in two.
    ending = "pollect/Blocking/blocks blocks the event loop of all Blocking sources"
    assert reasons[1] in {
        f"no answer within 0.1 s: {ending}",
        f"waited 0.1 s for its event loop: {ending}",
    }
    gate.open()
    wait_until(lambda: all(status.up for status in engine.source_statuses()))


def test_many_who_wait_for_a_blocked_loop_keep_no_thread_of_the_engine(
    run: Run, gate: Gate
) -> None:
    waiting = [built(Blocking, f"other {number}", timeout=0.1) for number in range(60)]
    engine = run(plan_of([blocking(gate), *waiting], [recording()], interval=0.05))
    most = 0

    def all_are_down() -> bool:
        nonlocal most
        errands = sum(t.name.startswith("pollect-engine-") for t in threading.enumerate())
        most = max(most, errands)
        return all(s.outcome is Outcome.TIMED_OUT for s in engine.source_statuses())

    wait_until(all_are_down)
    assert most < 20


def test_a_callback_that_blocks_a_loop_is_told_apart_from_a_probe(run: Run, gate: Gate) -> None:
    other = built(BlockingTask, "other", timeout=0.1)
    engine = run(plan_of([blocking(gate, BlockingTask), other], [recording()], interval=0.05))
    wait_until(lambda: "a callback blocks the event loop" in engine.source_statuses()[1].reason)
    gate.open()
    wait_until(lambda: all(status.up for status in engine.source_statuses()))


def test_an_engine_stops_in_time_while_a_loop_is_blocked(run: Run, gate: Gate) -> None:
    engine = run(plan_of([blocking(gate)], [recording()], interval=0.05))
    wait_until(lambda: engine.source_statuses()[0].outcome is Outcome.TIMED_OUT)
    stopping = threading.Thread(target=engine.stop)
    stopping.start()
    stopping.join(LIMIT_SECONDS)
    assert not stopping.is_alive()


def test_sources_of_one_type_share_a_loop() -> None:
    loops = EventLoops()
    first, second, other = built(Careful, "1"), built(Careful, "2"), built(Blocking, "3")
    assert loops.of(first, "Careful") is loops.of(second, "Careful")
    assert loops.of(first, "Careful") is not loops.of(other, "Blocking")
    loops.stop(LIMIT_SECONDS)


def test_a_loop_that_turns_or_has_ended_is_blocked_by_nothing() -> None:
    loop = EventLoopThread()
    wait_until(lambda: loop.blocked_by(0.1) is None)
    loop.stop(LIMIT_SECONDS)
    assert loop.blocked_by(0.0) is None


def test_a_loop_without_a_thread_is_tried_again_at_the_next_tick(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start
    refused: list[threading.Thread] = []

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "pollect-eventloop" and len(refused) < 3:
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    engine = run(plan_of([built(Careful, "late")], [recording()], interval=0.05))
    wait_until(lambda: engine.source_statuses()[0].up)
    assert len(refused) == 3


class Breaking(Careful):
    """Closes its loop once, while another source waits on it."""

    metrics = (VALUE,)
    breaks = False
    opened_on: Any = None

    async def open(self) -> None:
        assert self.opened_on is None, "closed before it opens on another loop"
        self.opened_on = asyncio.get_running_loop()

    async def probe(self) -> Any:
        running: Any = asyncio.get_running_loop()
        assert running is self.opened_on
        if self.breaks:
            type(self).breaks = False
            running._selector.close()
        await asyncio.sleep(0)
        return 1.0

    async def close(self) -> None:
        self.opened_on = None


def test_sources_whose_loop_broke_open_again_on_another(run: Run) -> None:
    sources = [built(Breaking, name) for name in ("one", "two")]
    engine = run(plan_of(sources, [recording()], interval=0.05))
    wait_until(lambda: all(status.up for status in engine.source_statuses()))
    broken = sources[0].opened_on
    Breaking.breaks = True
    wait_until(lambda: all(source.opened_on not in {broken, None} for source in sources))
    wait_until(lambda: all(status.up for status in engine.source_statuses()))


def event_loops() -> int:
    return sum(thread.name == "pollect-eventloop" for thread in threading.enumerate())


def test_a_reload_ends_the_loops_of_types_that_are_gone(run: Run) -> None:
    before = event_loops()
    engine = run(plan_of([built(Careful, "first")], interval=0.05))
    for number in range(3):
        # As a reload does whose extensions changed.
        kind = type("Careful", (Careful,), {})
        engine.replace(plan_of([built(kind, f"next {number}")], interval=0.05))
    wait_until(lambda: event_loops() == before + 1)
    wait_until(lambda: engine.source_statuses()[0].up)


def test_reloads_of_sources_on_a_blocked_loop_leave_no_thread_behind(
    run: Run, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pollect.engine.closing.CLOSE_SECONDS", 0.1)
    engine = run(plan_of([blocking(gate), *others()], interval=0.05))
    wait_until(lambda: engine.source_statuses()[0].outcome is Outcome.TIMED_OUT)
    for _ in range(2):
        engine.replace(plan_of([blocking(gate), *others()], interval=0.05))
    closing = [t for t in threading.enumerate() if t.name.startswith("pollect-close")]
    for thread in closing:
        thread.join(LIMIT_SECONDS)
    assert not any(thread.is_alive() for thread in closing)


def others() -> list[Any]:
    return [built(Blocking, f"other {number}", timeout=0.1) for number in range(10)]


class Odd(type(Source)):  # type: ignore[misc]
    """A metaclass whose classes cannot be a key."""

    def __hash__(cls) -> int:
        raise ValueError("hash of a class")

    def __eq__(cls, other: object) -> bool:
        raise ValueError("equality of a class")


class OfAnOddKind(Careful, metaclass=Odd):
    metrics = (VALUE,)


def test_a_class_that_cannot_be_hashed_is_probed_like_any_other(run: Run) -> None:
    engine = run(plan_of([built(OfAnOddKind, "odd")], [recording()], interval=0.05))
    wait_until(lambda: engine.source_statuses()[0].up)


class CancelsAll(Careful):
    metrics = (VALUE,)
    cancels = True

    async def probe(self) -> Any:
        if self.cancels:
            for task in asyncio.all_tasks():
                task.cancel()
        return 1.0


def test_a_source_that_another_one_cancelled_is_probed_at_its_next_tick(run: Run) -> None:
    sources = [built(CancelsAll, name) for name in ("one", "two", "three")]
    engine = run(plan_of(sources, [recording()], interval=0.05))
    wait_until(lambda: any("cancelled" in s.reason for s in engine.source_statuses()))
    CancelsAll.cancels = False
    wait_until(lambda: all(status.up for status in engine.source_statuses()))


def test_a_reload_without_what_blocks_a_loop_lets_the_others_of_its_type_go_on(
    run: Run, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pollect.engine.loop.BLOCKED_SECONDS", 0.1)
    monkeypatch.setattr("pollect.engine.closing.CLOSE_SECONDS", 0.2)
    stays = SourcePlan(source=built(Blocking, "stays", timeout=0.1), interval=0.05)
    culprit = SourcePlan(source=blocking(gate), interval=0.05)

    def plan(sources: list[SourcePlan]) -> Plan:
        return Plan(executors=[ExecutorPlan(name="test", sources=sources, writers=[])])

    engine = run(plan([culprit, stays]))
    wait_until(lambda: all(s.outcome is Outcome.TIMED_OUT for s in engine.source_statuses()))
    engine.replace(plan([stays]))
    wait_until(lambda: engine.source_statuses()[0].up)


def is_blocked(loop: EventLoopThread) -> bool:
    return loop.blocked_by(1.0) is not None


def test_only_so_many_blocked_loops_are_replaced(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pollect.engine.loop.BLOCKED_SECONDS", 0.05)
    monkeypatch.setattr("pollect.engine.loops.MOST_GIVEN_UP", 2)
    loops, source = EventLoops(), built(Blocking, "blocks")

    async def block() -> None:
        gate()

    used = []
    for _ in range(4):
        loop = loops.of(source, "Blocking")
        used.append(loop)
        loop.submit(block)
        wait_until(partial(is_blocked, loop))
        loops.replace_blocked()
    assert len(set(used)) == 3
    gate.open()
    loops.stop(LIMIT_SECONDS)
    wait_until(lambda: not any(loop.is_alive() for loop in used))
