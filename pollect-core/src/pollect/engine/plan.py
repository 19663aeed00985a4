"""What the engine runs: ready sources and writers, grouped into executors.

Whoever reads a config builds a `Plan`; the engine knows no file format and no entry point.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from pollect.model import Batch, SourceId
from pollect.plugin import MetricFilter, Source, Writer


class SourcePlan(msgspec.Struct, frozen=True, kw_only=True):
    """One source and how the engine treats it."""

    source: Source[Any]
    #: Seconds between two probes.
    interval: float
    #: Added to every sample, `(name, value)` in config order.
    static_labels: tuple[tuple[str, str], ...] = ()
    filter: MetricFilter = MetricFilter()
    #: The last values stay for ever when the source stops answering.
    keep_stale: bool = False

    @property
    def id(self) -> SourceId:
        return self.source.context.id


class ExecutorPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One executor of the config: sources that share worker threads and writers."""

    name: str
    sources: Sequence[SourcePlan]
    #: Equal writer sections of a config are one object here, shared by its executors.
    writers: Sequence[Writer[Any]]
    threads: int = 5


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one engine runs."""

    executors: Sequence[ExecutorPlan]
    #: Seconds between two deliveries of self metrics to remote writers.
    tick_time: float = 10.0
    self_metrics: bool = True
    #: Seconds that stopping may take to hand over what is buffered.
    shutdown_timeout: float = 10.0
    filters: Sequence[Callable[[Batch], Batch | None]] = ()
    #: Set by the engine when it stops, shared with the contexts of sources and writers.
    stopping: threading.Event = msgspec.field(default_factory=threading.Event)
    #: Set by the engine when every source was probed once, shared with the contexts of writers.
    ready: threading.Event = msgspec.field(default_factory=threading.Event)
