"""Sources and writers that do what a test tells them, and an engine around them."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from pollect.api import Batch, Metric, Source, SourceConfig, Writer, WriterConfig
from pollect.engine.clock import SystemClock
from pollect.engine.plan import ExecutorPlan, Plan, SourcePlan
from pollect.testing import build_source, build_writer

VALUE = Metric("value", help="A number.")


class ScriptedSource(Source[SourceConfig]):
    """Probes by calling `script`; records when, and how many probes ran at once."""

    metrics = (VALUE,)
    script: Callable[[], Any]

    def __init__(self, config: SourceConfig, context: Any) -> None:
        super().__init__(config, context)
        self.script = lambda: [VALUE.sample(1.0)]
        self.opening: Callable[[], None] = lambda: None
        self.starts: list[float] = []
        self.running = 0
        self.most_running = 0
        self.closed = 0

    def open(self) -> None:
        self.opening()

    def probe(self) -> Any:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.starts.append(self.context.clock.monotonic())
        try:
            return self.script()
        finally:
            self.running -= 1

    def close(self) -> None:
        self.closed += 1


class RecordingWriter(Writer[WriterConfig]):
    """In process; keeps what it gets."""

    in_process = True
    accepts_partial = True

    def __init__(self, config: WriterConfig, context: Any) -> None:
        super().__init__(config, context)
        self.calls: list[list[Batch]] = []
        self.opened = 0
        self.closed = 0

    def open(self) -> None:
        self.opened += 1

    def write(self, batches: Sequence[Batch]) -> None:
        self.calls.append(list(batches))

    def close(self) -> None:
        self.closed += 1

    @property
    def batches(self) -> list[Batch]:
        return [batch for call in self.calls for batch in call]


class MergingWriter(RecordingWriter):
    accepts_partial = False


def scripted(
    script: Callable[[], Any] | None = None, *, clock: Any = None, **section: Any
) -> ScriptedSource:
    source = build_source(section, ScriptedSource, clock=clock or SystemClock())
    assert isinstance(source, ScriptedSource)
    if script is not None:
        source.script = script
    return source


def recording(kind: type[RecordingWriter] = RecordingWriter) -> RecordingWriter:
    writer = build_writer({}, kind)
    assert isinstance(writer, RecordingWriter)
    return writer


def plan_of(
    sources: Sequence[Source[Any]],
    writers: Sequence[Writer[Any]] = (),
    *,
    interval: float = 10.0,
    threads: int = 5,
    **options: Any,
) -> Plan:
    plans = [SourcePlan(source=source, interval=interval) for source in sources]
    collection = ExecutorPlan(name="test", sources=plans, writers=writers, threads=threads)
    return Plan(executors=[collection], **options)


def pool_threads() -> int:
    """Return how many worker threads the executor of `plan_of` has."""
    return sum(thread.name.startswith("pollect-test") for thread in threading.enumerate())


class Gate:
    """What a source hangs on until the test opens it."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def __call__(self) -> float:
        self.event.wait()
        return 1.0

    def open(self) -> None:
        self.event.set()
