"""A source that moves to another daemon: closed there, opened here, at its place in the tick."""

from collections.abc import Callable

from pollect.engine.clock import SystemClock
from pollect.engine.engine import Engine
from pollect.model import SourceId
from pollect.testing import FakeClock
from pollect.testing.waiting import wait_until
from tests.core.engine.rig import Gate, plan_of, recording, scripted


class Shares:
    """Says who owns what, as a test decides."""

    def __init__(self) -> None:
        self.epochs: dict[str, int] = {}

    def owned(self, source: SourceId) -> object | None:
        return self.epochs.get(source.name or "")

    def since(self, source: SourceId) -> float | None:
        return None


def start(ownership: Shares, *sources, clock=None, writer=None, threads=5, interval=0.05) -> Engine:
    writers = [writer] if writer is not None else []
    plan = plan_of(sources, writers, interval=interval, threads=threads)
    engine = Engine(plan, clock=clock or SystemClock(), ownership=ownership)
    engine.start()
    return engine


def named(name: str, script: Callable[[], object] | None = None):
    return scripted(script, type="Scripted", name=name)


def test_a_source_that_went_away_is_withdrawn_and_closed_at_once() -> None:
    shares, source, writer = Shares(), named("a"), recording()
    shares.epochs["a"] = 1
    engine = start(shares, source, writer=writer, interval=30.0)
    try:
        wait_until(lambda: any(len(batch) for batch in writer.batches))
        shares.epochs.clear()
        engine.ownership_changed()
        wait_until(lambda: len(writer.batches[-1]) == 0)
        wait_until(lambda: source.closed == 1)
    finally:
        engine.stop()


def test_a_source_that_comes_back_is_opened_again() -> None:
    shares, source = Shares(), named("a")
    opened = []
    source.opening = lambda: opened.append(1)
    shares.epochs["a"] = 1
    engine = start(shares, source)
    try:
        wait_until(lambda: source.starts)
        shares.epochs.clear()
        engine.ownership_changed()
        wait_until(lambda: source.closed)
        probes = len(source.starts)
        shares.epochs["a"] = 2
        engine.ownership_changed()
        wait_until(lambda: len(source.starts) > probes)
        assert len(opened) == 2
    finally:
        engine.stop()


def test_a_probe_that_waits_for_a_thread_is_not_started_once_the_source_is_gone(gate: Gate) -> None:
    shares, slow, waiting = Shares(), named("slow", gate), named("waiting")
    shares.epochs.update(slow=1, waiting=1)
    engine = start(shares, slow, waiting, threads=1, interval=30.0)
    try:
        wait_until(lambda: slow.running)
        assert not waiting.starts, "one thread, so the second waits"
        del shares.epochs["waiting"]
        gate.open()
        engine.ownership_changed()
        wait_until(lambda: not slow.running)
        assert not waiting.starts
    finally:
        engine.stop()


def test_what_comes_is_probed_at_its_place_in_the_tick_and_at_once_if_nothing_probed_it() -> None:
    shares, source = Shares(), named("a")
    engine = start(shares, source, interval=30.0)
    try:
        shares.epochs["a"] = 1
        engine.ownership_changed()
        engine.ownership_changed(probe_now=True)
        wait_until(lambda: len(source.starts) == 1)
    finally:
        engine.stop()


def test_what_comes_while_the_daemon_starts_is_left_to_its_place_in_the_tick() -> None:
    """The daemon before may have probed it a moment ago."""
    clock, shares = FakeClock(), Shares()
    sources = [scripted(clock=clock, type="Scripted", name=f"s{n}") for n in range(200)]
    shares.epochs.update(s0=1, s199=1)
    engine = start(shares, *sources, clock=clock, interval=10.0)
    try:
        shares.epochs["s150"] = 1
        engine.ownership_changed()
        wait_until(lambda: sources[0].starts)
        clock.advance(1.0)
        wait_until(lambda: sources[199].starts)
        assert not sources[150].starts
        clock.advance(10.0)
        wait_until(lambda: sources[150].starts)
    finally:
        engine.stop()


def due_in_tick(started: float) -> float:
    """Start a daemon at a moment of the wall clock; return when in its ticks a source is due."""
    clock, shares = FakeClock(time=started), Shares()
    shares.epochs["a"] = 1
    source = scripted(clock=clock, type="Scripted", name="a")
    engine = start(shares, source, clock=clock, interval=10.0)
    try:
        wait_until(lambda: len(source.starts) == 1)
        (executor,) = engine._executors
        (group,) = executor._groups.values()
        assert group._timer is not None
        return (clock.time() + group._timer.due - clock.monotonic()) % 10.0
    finally:
        engine.stop()


def test_two_daemons_probe_a_source_at_the_same_moment_of_the_tick() -> None:
    """Whenever each was started: so a source that moves misses no tick."""
    assert due_in_tick(1003.0) == due_in_tick(1007.5) == 0.0
