"""A config that was read: typed sections, ready to be built.

The classes are msgspec's because those are made in a fiftieth of the time of a dataclass, and this
module is imported at every start.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pollect.config.fleet import FleetOptions
from pollect.errors import ConfigError
from pollect.plugin import Roots, Source, SourceConfig, Writer, WriterConfig

if TYPE_CHECKING:
    from pollect.config.probes import ProbeSection
    from pollect.config.targets import TargetedSection


class SourceSection(msgspec.Struct, frozen=True):
    """One source of the config."""

    config: SourceConfig
    source_type: type[Source[Any]]
    #: Where it stands: `executors[0].sources[2]`.
    path: str


class WriterSection(msgspec.Struct, frozen=True):
    """One writer of the config."""

    config: WriterConfig
    writer_type: type[Writer[Any]]
    path: str


class DoubtfulSection(msgspec.Struct, frozen=True):
    """A source or writer that cannot be used, for `check` to find what else is wrong with it."""

    #: Without the options that are wrong.
    config: SourceConfig | WriterConfig
    plugin_type: type[Source[Any]] | type[Writer[Any]]
    path: str
    wrong: tuple[str, ...] = ()


class ExecutorSection(msgspec.Struct, frozen=True):
    """One executor: sources that share a collection, worker threads and writers."""

    collection: str
    #: Seconds between two probes.
    tick_time: float
    threads: int
    spread: bool
    #: Its own, to be added to the global ones.
    labels: dict[str, str]
    sources: tuple[SourceSection, ...]
    #: Sources that are repeated for the targets of an inventory.
    targeted: "tuple[TargetedSection, ...]"
    #: Its own, or else the global ones, which are the same objects in every executor.
    writers: tuple[WriterSection, ...]


class Config(msgspec.Struct, frozen=True):
    """A whole config without a mistake."""

    file: Path
    #: Everything as plain data, every `${...}` filled in; it holds passwords.
    data: Mapping[str, Any]
    tick_time: float
    labels: dict[str, str]
    state_dir: Path
    roots: Roots
    self_metrics: bool
    history: int
    shutdown_timeout: float
    keep_stale: bool
    #: None for a daemon on its own.
    fleet: FleetOptions | None
    executors: tuple[ExecutorSection, ...]
    #: What may be probed on demand.
    probes: "tuple[ProbeSection, ...]" = ()
    #: What `check` and `--strict` refuse, and `run` only mentions.
    warnings: tuple[ConfigError, ...] = ()
    doubtful: tuple[DoubtfulSection, ...] = ()

    def __repr__(self) -> str:
        return f"Config({str(self.file)!r}, {len(self.executors)} executors)"

    @property
    def directory(self) -> Path:
        """Where relative paths of the config start."""
        return self.file.absolute().parent
