"""A daemon that takes batches from a broker, and what it got from another one's meter."""

from collections.abc import Sequence
from typing import Any, Self

from pollect.api import Batch, Kind, Metric, Retryable, SourceId
from pollect.engine.clock import SystemClock
from pollect.engine.engine import Engine
from pollect.support.batches import encode_message
from pollect.testing import build_writer, wait_until
from tests.core.engine.rig import RecordingWriter, plan_of

ENERGY = Metric("energy", help="So far.", unit="joules", kind=Kind.COUNTER, labels=("room",))
METER = SourceId("home", "Meter", "attic")
LIMIT = 60.0


class RemoteWriter(RecordingWriter):
    """Behind an outbox; its target can be away."""

    in_process = False
    away = False

    def write(self, batches: Sequence[Batch]) -> None:
        if self.away:
            raise Retryable("connection refused")
        super().write(batches)

    def numbers(self) -> list[float]:
        """Return the values that arrived of other daemons."""
        relayed = [batch for batch in self.batches if batch.source.collection == "home"]
        return [sample.value for batch in relayed for sample in batch.samples]


class RelayingEngine:
    """An engine with a source that relays, and one writer."""

    def __init__(self, source: Any) -> None:
        writer = build_writer({}, RemoteWriter)
        assert isinstance(writer, RemoteWriter)
        self.writer = writer
        self.source = source
        plan = plan_of([source], [writer], interval=0.2, shutdown_timeout=0.2)
        self.engine = Engine(plan, clock=SystemClock())

    def __enter__(self) -> Self:
        self.engine.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.stop()

    def wait_for(self, numbers: Sequence[float]) -> None:
        wait_until(
            lambda: sorted(self.writer.numbers()) == sorted(numbers),
            f"{len(numbers)} numbers",
            limit_seconds=LIMIT,
        )

    def value(self, name: str) -> float | None:
        """Return the last value that the source reported of itself."""
        own = self.source.context.id.type
        for batch in reversed(self.writer.batches):
            if batch.source.type == own:
                for sample in batch.samples:
                    if sample.metric.name == name:
                        return sample.value
        return None


def message(number: int, origin: str = "pi-1") -> bytes:
    """Return what a daemon sends when its meter shows a number."""
    return encode_message(Batch(METER, [ENERGY.sample(number, "attic")], 1000.0 + number), origin)
