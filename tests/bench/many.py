"""Many sources in one executor: 2,000 that hang beside three that do not, and 5,000 quick ones."""

import logging
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pluggy

from pollect import hookspecs
from pollect.api import Metric, ProbeResult, Sample, Source, SourceConfig, SourceId, hookimpl
from pollect.daemon.settling import keep_what_lasts
from pollect.engine.clock import SystemClock
from pollect.engine.engine import Engine
from pollect.engine.plan import ExecutorPlan, Plan, SourcePlan
from pollect.testing import build_source
from tests.bench.table import OURS, Row

HUNG = 2000
QUICK = 5000
TICK_SECONDS = 10.0
MEASURED_SECONDS = 62.0
HEALTHY = ("Uptime", "LoadAvg", "MemoryUsage")
VALUE = Metric("value", help="Always one.")


class QuickSource(Source[SourceConfig]):
    metrics = (VALUE,)

    def probe(self) -> list[Sample]:
        return [VALUE.sample(1.0)]


class Starts:
    """When each source's probes began, in Unix seconds."""

    def __init__(self) -> None:
        self.of: dict[SourceId, list[float]] = {}

    def hooks(self) -> Any:
        manager = pluggy.PluginManager("pollect")
        manager.add_hookspecs(hookspecs)

        @hookimpl
        def pollect_probe_finished(result: ProbeResult) -> None:
            self._probe_finished(result)

        manager.register(SimpleNamespace(pollect_probe_finished=pollect_probe_finished), "bench")
        return manager.hook

    def _probe_finished(self, result: ProbeResult) -> None:
        start = result.time - result.duration_seconds
        self.of.setdefault(result.source, []).append(start)

    def lateness_p99_ms(self, types: Sequence[str]) -> float:
        """Return how much later than its own grid a probe began, the first two left out."""
        late: list[float] = []
        for source, starts in self.of.items():
            if source.type in types:
                # A tick that never came counts as late by all the time until the next.
                phases = [start - number * TICK_SECONDS for number, start in enumerate(starts[2:])]
                late += [phase - min(phases) for phase in phases]
        late.sort()
        return 1000 * late[int(len(late) * 0.99)] if late else float("nan")


@contextmanager
def silent_server() -> Iterator[int]:
    """Accept connections on a port of this host and never answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as server:
        held: list[socket.socket] = []
        ended = threading.Event()

        def accept() -> None:
            server.settimeout(0.2)
            while not ended.is_set():
                try:
                    held.append(server.accept()[0])
                except OSError:
                    del held[:-500]

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        ended.set()
        thread.join()
        for peer in held:
            peer.close()


def measure(sources: Sequence[Source[Any]]) -> tuple[Starts, int, float]:
    """Run sources; return when they began, the most threads seen, and % of a core."""
    starts = Starts()
    executor = ExecutorPlan(
        name="bench",
        writers=[],
        spread=True,
        sources=[SourcePlan(source=source, interval=TICK_SECONDS) for source in sources],
    )
    engine = Engine(Plan(executors=[executor]), clock=SystemClock(), hooks=starts.hooks())
    engine.start()
    time.sleep(TICK_SECONDS)
    keep_what_lasts(len(sources))  # as the daemon does
    threads, cpu = 0, time.process_time()
    ends = time.monotonic() + MEASURED_SECONDS
    while time.monotonic() < ends:
        threads = max(threads, _threads())
        time.sleep(0.5)
    share = 100 * (time.process_time() - cpu) / MEASURED_SECONDS
    engine.stop()
    return starts, threads, share


def _threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def run() -> list[Row]:
    """Measure healthy sources beside hung ones, and a great many quick ones."""
    logging.getLogger().addHandler(logging.NullHandler())
    logging.getLogger().setLevel(logging.CRITICAL)
    clock = SystemClock()
    with silent_server() as port:
        hung = [
            build_source(
                {"type": "Http", "name": f"h{n}", "url": f"http://127.0.0.1:{port}/"}, clock=clock
            )
            for n in range(HUNG)
        ]
        healthy = [build_source({"type": name}, clock=clock) for name in HEALTHY]
        beside, threads, _ = measure([*hung, *healthy])
    fewest = min(len(starts) for source, starts in beside.of.items() if source.type in HEALTHY)
    quick = [build_source({"name": str(n)}, QuickSource, clock=clock) for n in range(QUICK)]
    alone, _, share = measure(quick)
    return [
        Row(
            f"start lateness p99 of {len(HEALTHY)} beside {HUNG:,} that hang",
            "ms",
            {OURS: beside.lateness_p99_ms(HEALTHY)},
            goal=100,
        ),
        Row("threads then", "", {OURS: threads}, goal=140),
        Row("ticks they missed", "", {OURS: max(0, 7 - fewest)}, goal=0),
        Row(
            f"start lateness p99, {QUICK:,} sources at {TICK_SECONDS:g} s, spread",
            "ms",
            {OURS: alone.lateness_p99_ms(["Quick"])},
            goal=1000,
        ),
        Row("the same: % of a core", "%", {OURS: share}),
    ]
