"""Whether remote writers delay probes: start lateness while a target is away or hangs.

The cases differ in the writer alone. Runs alone as well:
`python -m tests.bench delivery`.
"""

import contextlib
import logging
import math
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from pollect.api import Batch, Writer, WriterConfig
from pollect.delivery.spool import folder
from pollect.engine.clock import SystemClock
from pollect.engine.engine import Engine
from pollect.engine.plan import ExecutorPlan, Plan, SourcePlan
from pollect.testing import build_source, build_writer
from tests.bench.lateness import QuickSource
from tests.bench.process import free_port
from tests.bench.table import OURS, Row

SOURCES = 100
TICK_SECONDS = 0.2
MEASURED_SECONDS = 4.1
#: How often each case is measured, in turns, since what else this machine does changes as well.
ROUNDS = 5
#: Ticks at the start that do not count: threads and files are made.
WARM_UP_TICKS = 5
SHUTDOWN_SECONDS = 0.2
#: What the slow disk takes for one transaction.
COMMIT_SECONDS = 0.03
ALONE = "without a remote writer"
RATIO_GOAL = 1.3


class QuickWriter(Writer[WriterConfig]):
    """Takes everything at once: what handing over costs by itself."""

    accepts_partial = True

    def write(self, batches: Sequence[Batch]) -> None:
        pass


class HangingWriter(Writer[WriterConfig]):
    """Never returns from its first write until it is released."""

    accepts_partial = True
    released = threading.Event()

    def write(self, batches: Sequence[Batch]) -> None:
        self.released.wait()


def lateness_ms(writer: Writer[Any] | None) -> float:
    """Return the p99 of how late probes start; checks that what should be away was."""
    clock = SystemClock()
    sources = [build_source({"name": str(n)}, QuickSource, clock=clock) for n in range(SOURCES)]
    plan = Plan(
        executors=[
            ExecutorPlan(
                name="bench",
                writers=[] if writer is None else [writer],
                sources=[SourcePlan(source=s, interval=TICK_SECONDS) for s in sources],
            )
        ],
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    engine = Engine(plan, clock=clock)
    engine.start()
    time.sleep(MEASURED_SECONDS)
    skipped = sum(status.skipped for status in engine.source_statuses())
    delivered = sum(status.written_samples for status in engine.writer_statuses())
    if writer is not None:
        writer.context.stopping.set()
    engine.stop()
    if skipped or bool(delivered) != isinstance(writer, QuickWriter):
        raise RuntimeError(
            f"not as planned: {skipped} ticks skipped, {delivered} samples delivered"
        )
    starts = [source.starts for source in sources if isinstance(source, QuickSource)]
    # Opening a spool comes before the first tick and delays no probe, so the earliest start of all
    # marks where the ticks are.
    origin = starts[0][0]
    late = sorted(
        math.remainder(start - origin, TICK_SECONDS)
        for times in starts
        for start in times[WARM_UP_TICKS:]
    )
    return 1000 * (late[int(len(late) * 0.99)] - late[0])


@contextlib.contextmanager
def quick() -> Iterator[Writer[Any]]:
    yield build_writer({}, QuickWriter, clock=SystemClock())


@contextlib.contextmanager
def hanging() -> Iterator[Writer[Any]]:
    HangingWriter.released.clear()
    try:
        yield build_writer({}, HangingWriter, clock=SystemClock())
    finally:
        HangingWriter.released.set()


@contextlib.contextmanager
def refused(*, spool: bool) -> Iterator[Writer[Any]]:
    """Yield a writer for a port where nothing listens."""
    with tempfile.TemporaryDirectory() as place:
        endpoint = f"http://127.0.0.1:{free_port()}/v1/metrics"
        section = {"type": "Otel", "endpoint": endpoint, "spool": spool}
        yield build_writer(section, clock=SystemClock(), state_dir=Path(place))


class SlowDisk:
    """The system calls of a spool on a disk that takes its time, as an SD card does at times."""

    def write(self, file: int, data: bytes) -> int:
        time.sleep(COMMIT_SECONDS)
        return os.write(file, data)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


@contextlib.contextmanager
def slow_disk() -> Iterator[Writer[Any]]:
    setattr(folder, "os", SlowDisk())  # noqa: B010 - mypy does not let a module be changed so
    try:
        with refused(spool=True) as writer:
            yield writer
    finally:
        setattr(folder, "os", os)  # noqa: B010


CASES: Mapping[str, Callable[[], AbstractContextManager[Writer[Any] | None]]] = {
    ALONE: contextlib.nullcontext,
    "one that delivers": quick,
    "its write never returns": hanging,
    "its target refuses": partial(refused, spool=False),
    "its target refuses, spooled": partial(refused, spool=True),
    "the same on a slow disk": slow_disk,
}


def run() -> list[Row]:
    """Measure the lateness alone, and beside writers that deliver nothing."""
    logging.getLogger().addHandler(logging.NullHandler())
    measured: dict[str, list[float]] = {case: [] for case in CASES}
    for number in range(ROUNDS):
        # Each case comes first once, so that none has a better place than the others.
        order = [*CASES][number:] + [*CASES][:number]
        for case in order:
            with CASES[case]() as writer:
                measured[case].append(lateness_ms(writer))
    medians = {case: statistics.median(figures) for case, figures in measured.items()}
    rows = [
        Row(
            f"start lateness p99, {case}",
            "ms",
            {OURS: medians[case]},
            notes={OURS: f" ({min(figures):.1f} to {max(figures):.1f})"},
        )
        for case, figures in measured.items()
    ]
    return rows + [
        Row(f"ratio to none, {case}", "", {OURS: median / medians[ALONE]}, goal=RATIO_GOAL)
        for case, median in medians.items()
        if case != ALONE
    ]
