"""Writers `InMemory` and `ParallelInMemory`: keep what was written, for tests to look at."""

import threading
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from pollect.api import Batch, Writer, WriterConfig, WriterContext


class InMemoryConfig(WriterConfig, frozen=True, kw_only=True):
    keep: Annotated[
        Annotated[int, Meta(ge=1)], Meta(description="Calls to keep; the oldest are forgotten.")
    ] = 1000


class InMemoryWriter(Writer[InMemoryConfig]):
    """Keeps the merged batches of every tick."""

    config_type = InMemoryConfig
    in_process = True
    self_metrics = False

    def __init__(self, config: InMemoryConfig, context: WriterContext) -> None:
        super().__init__(config, context)
        self._lock = threading.Lock()
        #: The batches of each call, oldest first.
        self.data: list[list[Batch]] = []
        #: How often `write` was called, the forgotten calls included.
        self.write_calls = 0

    def write(self, batches: Sequence[Batch]) -> None:
        with self._lock:
            self.write_calls += 1
            self.data.append(list(batches))
            del self.data[: -self.config.keep]


class ParallelInMemoryWriter(InMemoryWriter):
    """Keeps the batch of every source as soon as it comes."""

    accepts_partial = True
