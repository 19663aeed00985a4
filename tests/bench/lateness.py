"""The engine with 1,000 sources: how late probes start, also beside sources that hang."""

import logging
import math
import os
import threading
import time
from pathlib import Path

from pollect.api import Metric, Sample, Source, SourceConfig
from pollect.daemon.settling import keep_what_lasts
from pollect.engine.clock import SystemClock
from pollect.engine.engine import Engine
from pollect.engine.plan import ExecutorPlan, Plan, SourcePlan
from pollect.engine.scheduler import RepeatingTimer, Scheduler
from pollect.testing import FakeClock, build_source
from tests.bench.table import OURS, Row

SOURCES = 1000
HANGING = 10
TICK_SECONDS = 1.0
MEASURED_SECONDS = 10.5
#: Ticks at the start that do not count: threads are made, and hung sources are found out.
WARM_UP_TICKS = 2
VALUE = Metric("value", help="Always one.")


class QuickSource(Source[SourceConfig]):
    """Remembers when it was probed."""

    metrics = (VALUE,)

    def open(self) -> None:
        self.starts: list[float] = []

    def probe(self) -> list[Sample]:
        self.starts.append(time.monotonic())
        return [VALUE.sample(1.0)]


class HangingSource(Source[SourceConfig]):
    """Never returns from a probe until it is released."""

    metrics = (VALUE,)
    released = threading.Event()

    def probe(self) -> list[Sample]:
        self.released.wait()
        return [VALUE.sample(1.0)]


def lateness(hanging: int, *, history: int = 0) -> tuple[float, int]:
    """Return the p99 of the start lateness in ms, and the number of threads.

    `history`: series that are remembered.
    """
    clock = SystemClock()
    quick = [build_source({"name": str(n)}, QuickSource, clock=clock) for n in range(SOURCES)]
    stuck = [build_source({"name": f"h{n}"}, HangingSource, clock=clock) for n in range(hanging)]
    plan = Plan(
        executors=[
            ExecutorPlan(
                name="bench",
                writers=[],
                sources=[
                    SourcePlan(source=source, interval=TICK_SECONDS)
                    # The very first is quick: its first probe marks the beginning of all ticks.
                    for source in (quick[0], *stuck, *quick[1:])
                ],
            )
        ],
        history=history,
    )
    engine = Engine(plan, clock=clock)
    engine.start()
    time.sleep(WARM_UP_TICKS * TICK_SECONDS)
    keep_what_lasts(len(quick))  # as the daemon does
    time.sleep(MEASURED_SECONDS - WARM_UP_TICKS * TICK_SECONDS)
    threads = threading.active_count()
    HangingSource.released.set()
    engine.stop()
    HangingSource.released.clear()
    starts = [source.starts for source in quick if isinstance(source, QuickSource)]
    origin = starts[0][0]
    late = sorted(
        # Nearest tick: a later first probe may well start a little sooner than that very first.
        math.remainder(start - origin, TICK_SECONDS)
        for times in starts
        for start in times[WARM_UP_TICKS:]
    )
    return 1000 * late[int(len(late) * 0.99)], threads


def drift_ms() -> float:
    """Return how far the ticks of a simulated hour are off their grid at most, in ms."""
    clock = FakeClock(monotonic=0.0)
    scheduler = Scheduler(clock)
    starts: list[float] = []
    RepeatingTimer(scheduler, clock, TICK_SECONDS, lambda: starts.append(clock.monotonic()))
    while len(starts) <= 3600:
        due = scheduler.run_due()
        if due is not None:
            clock.advance(due - clock.monotonic())
    return 1000 * max(abs(start - n) for n, start in enumerate(starts))


def idle_growth() -> tuple[int, int, float]:
    """Run 24 simulated hours of 20 sources; return growth of threads, files and memory (MB)."""
    clock = FakeClock()
    sources = [build_source({"name": str(n)}, IdleSource, clock=clock) for n in range(20)]
    plan = Plan(
        executors=[
            ExecutorPlan(
                name="idle",
                writers=[],
                sources=[SourcePlan(source=source, interval=60) for source in sources],
            )
        ]
    )
    engine = Engine(plan, clock=clock)
    engine.start()
    plan.ready.wait(10)
    _simulate(engine, clock, ticks=60)
    before = _usage()
    _simulate(engine, clock, ticks=24 * 60)
    after = _usage()
    engine.stop()
    return after[0] - before[0], after[1] - before[1], after[2] - before[2]


class IdleSource(Source[SourceConfig]):
    metrics = (VALUE,)

    def probe(self) -> list[Sample]:
        return [VALUE.sample(1.0)]


def _simulate(engine: Engine, clock: FakeClock, ticks: int) -> None:
    for _ in range(ticks):
        done = sum(sum(status.probes.values()) for status in engine.source_statuses())
        clock.advance(60)
        limit = time.monotonic() + 5
        while time.monotonic() < limit:
            now = sum(sum(status.probes.values()) for status in engine.source_statuses())
            if now >= done + 20:
                break
            time.sleep(0.0005)


def _usage() -> tuple[int, int, float]:
    resident_pages = int(Path("/proc/self/statm").read_text().split()[1])
    files = len(os.listdir("/proc/self/fd"))
    return threading.active_count(), files, resident_pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def run() -> list[Row]:
    """Measure lateness with and without hanging sources, drift, and growth of an idle daemon."""
    logging.getLogger().addHandler(logging.NullHandler())
    alone, _ = lateness(0)
    beside, threads = lateness(HANGING)
    new_threads, new_files, new_megabytes = idle_growth()
    return [
        Row(f"start lateness p99, {SOURCES:,} sources", "ms", {OURS: alone}, goal=8),
        Row(f"the same beside {HANGING} that hang", "ms", {OURS: beside}, goal=20),
        Row("threads then", "", {OURS: threads}, goal=5 + HANGING + 2),
        Row("drift over a simulated hour", "ms", {OURS: drift_ms()}, goal=0),
        Row("24 simulated hours: more threads", "", {OURS: new_threads}, goal=0),
        Row("24 simulated hours: more open files", "", {OURS: new_files}, goal=0),
        Row("24 simulated hours: more memory", "MB", {OURS: new_megabytes}, goal=1),
    ]
