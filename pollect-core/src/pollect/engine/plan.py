"""What the engine runs: ready sources and writers, grouped into executors.

Whoever reads a config builds a `Plan`; the engine knows no file format and no entry point.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import msgspec

from pollect.engine.shaping import LabelRules
from pollect.errors import ConfigError
from pollect.model import Batch, SourceId, log_of
from pollect.plugin import MAX_SERIES, MetricFilter, Source, Writer
from pollect.plugin.self_named import SelfNamed


class Ownership(Protocol):
    """Which sources this daemon probes, where several share the sources of one config."""

    def owned(self, source: SourceId) -> object | None:
        """Return the epoch in which this daemon owns `source`, None if another does.

        Asked in the scheduler's thread before a probe begins and again when its result is taken:
        a result of another epoch is dropped. Must be quick.
        """

    def since(self, source: SourceId) -> float | None:
        """Return the Unix time at which the daemon that owned `source` before stopped probing it.

        Whatever was due by then was probed there. None if that is not known. Asked in the
        scheduler's thread once `source` is owned.
        """


class SourcePlan(msgspec.Struct, frozen=True, kw_only=True):
    """One source and how the engine treats it."""

    source: Source[Any]
    #: Seconds between two probes.
    interval: float
    #: Added to every sample, `(name, value)` in config order.
    static_labels: tuple[tuple[str, str], ...] = ()
    filter: MetricFilter = MetricFilter()
    #: For the source's own labels; `static_labels` are as they should be.
    label_rules: LabelRules = LabelRules()
    #: Series of one probe at most, 0 for no limit.
    max_series: int = MAX_SERIES
    #: The last values stay when the source stops answering.
    keep_stale: bool = False
    #: In a fleet one daemon probes it; otherwise every one does.
    fleet: bool = True
    #: In a fleet it is probed only while its ownership is proven.
    exclusive: bool = False
    #: Where it stands in the config: `executors[0].sources[2]`.
    path: str = ""

    @property
    def id(self) -> SourceId:
        return self.source.context.id

    @property
    def written_id(self) -> SourceId:
        """What the writers know it as, which only a source that names itself decides on."""
        source: Any = self.source
        return (source.written_as if self.names_itself else None) or self.id

    @property
    def names_itself(self) -> bool:
        """Whether the source may choose another name; runs no code of the source."""
        return issubclass(type(self.source), SelfNamed)

    @property
    def log(self) -> logging.Logger:
        """The log of the source, whatever it made of its own."""
        return log_of(self.id)

    @property
    def config_timeout(self) -> float | None:
        """The `timeout` of the section, None where it is not set or means something else."""
        timeout = getattr(self.source.config, "timeout", None)
        if not isinstance(timeout, int | float) or isinstance(timeout, bool):
            return None
        return timeout if timeout > 0 else None

    def is_same(self, other: "SourcePlan") -> bool:
        """Whether a source can go on as it is; runs no code of the source."""
        return self.source is other.source and self._treatment == other._treatment

    @property
    def _treatment(self) -> tuple[object, ...]:
        return (
            self.interval,
            self.static_labels,
            self.filter,
            self.label_rules,
            self.max_series,
            self.keep_stale,
        )


class ExecutorPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One executor of the config: sources that share worker threads and writers."""

    name: str
    sources: Sequence[SourcePlan]
    #: Equal writer sections of a config are one object here, shared by its executors.
    writers: Sequence[Writer[Any]]
    threads: int = 5
    #: Spread sources that share an interval over it instead of probing them together.
    spread: bool = False


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one engine runs."""

    executors: Sequence[ExecutorPlan]
    #: Seconds between two deliveries of self metrics to remote writers.
    tick_time: float = 10.0
    self_metrics: bool = True
    #: How its sources are shared with other daemons: by a fixed shard, or by leases.
    fleet: Literal["", "shard", "lease"] = ""
    #: Series whose values of the last hour are kept in memory, at most.
    history: int = 0
    #: Seconds that stopping may take to hand over what is buffered.
    shutdown_timeout: float = 10.0
    filters: Sequence[Callable[[Batch], Batch | None]] = ()
    #: What sources run with although a part of it cannot work, each at its place in the config.
    warnings: Sequence[ConfigError] = ()
    #: Set by the engine when it stops, shared with the contexts of sources and writers.
    stopping: threading.Event = msgspec.field(default_factory=threading.Event)
    #: Set by the engine when every source was probed once, shared with the contexts of writers.
    ready: threading.Event = msgspec.field(default_factory=threading.Event)
