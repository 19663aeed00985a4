"""What the engine hands to a plugin: its place, time, and what a status page asks for."""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from pollect.model import Batch, SourceId, SourceStatus, WriterStatus

if TYPE_CHECKING:
    from pollect.status import SourceDetail, Status


class Clock(Protocol):
    """Time, injected so that tests can own it."""

    def monotonic(self) -> float:
        """Return seconds that never jump; only differences mean something."""

    def time(self) -> float:
        """Return Unix time in seconds."""

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        """Wait on an acquired condition until it is notified or `timeout` seconds went by.

        May return early for no reason, as `threading.Condition.wait` may.
        """


class Roots(msgspec.Struct, frozen=True):
    """Where the host to be watched shows itself: this one, or the one around a container.

    A test points them at a fixture tree.
    """

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    dev: Path = Path("/dev")
    #: The root of its file systems.
    rootfs: Path = Path("/")

    def place(self, path: str | Path) -> Path:
        """Return where an absolute path of the host is found here: `/host/mnt` for `/mnt`."""
        return self.rootfs / Path(path).relative_to("/")


class SourceContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a source gets from the engine."""

    id: SourceId
    #: Seconds between two probes.
    interval: float
    clock: Clock
    #: Where relative paths of the config start.
    config_dir: Path
    #: Where state that outlives the process is kept; may not exist yet.
    state_dir: Path
    #: The config itself, to be named in a message; None for a source that stands in none.
    config_file: Path | None = None
    roots: Roots = Roots()
    #: Set when the daemon stops; a source that waits by itself waits on this.
    stopping: threading.Event = msgspec.field(default_factory=threading.Event)


class ProbeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a probe that somebody asked for over HTTP."""

    #: Why nothing was probed: no such module or target, a target that is not allowed, too many
    #: probes at the same time; empty for one that took place.
    refused: Literal["", "unknown", "forbidden", "busy"] = ""
    #: What is wrong, in words.
    problem: str = ""
    #: Whether the source works, and every part of what it checks.
    success: bool = False
    #: What the source reports; None for nothing.
    batch: Batch | None = None
    duration_seconds: float = 0.0
    #: How it ended, as `Outcome` has it.
    outcome: str = ""


class ProbesOnDemand(Protocol):
    """Probes targets that are named by a request, with the `probes` of the config."""

    @property
    def modules(self) -> Sequence[str]:
        """The names of what can be asked for."""

    def probe(
        self,
        module: str,
        target: str,
        seconds: float | None,
        answered: Callable[[ProbeAnswer], None],
    ) -> None:
        """Probe; `answered` is called once, in any thread, after `seconds` at most."""


class TargetGroup(msgspec.Struct, frozen=True):
    """Targets with the same labels, as service discovery over HTTP has them."""

    targets: Sequence[str]
    labels: Mapping[str, str]


class WriterContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a writer gets from the engine."""

    #: Short and unique among the writers of the config: `Prometheus`, `Prometheus-2`.
    name: str
    clock: Clock
    config_dir: Path
    state_dir: Path
    stopping: threading.Event = msgspec.field(default_factory=threading.Event)
    #: Set when every source was probed once, so that there is something to show.
    ready: threading.Event = msgspec.field(default_factory=threading.Event)
    #: How the sources of this writer fare now, for a status page.
    sources: Callable[[], Sequence[SourceStatus]] = tuple
    #: How all writers fare now.
    writers: Callable[[], Sequence[WriterStatus]] = tuple
    #: Everything a status page shows of the sources of this writer; None for a writer alone.
    status: "Callable[[], Status | None]" = lambda: None
    #: One source by the text of its id; None for one that this writer does not get.
    source_detail: "Callable[[str], SourceDetail | None]" = lambda source: None
    #: Probe a source of this writer now and wait for the result; False for an unknown one.
    probe_now: Callable[[str], bool] = lambda source: False
    #: What may be probed on demand; None if the config has no `probes`.
    probes: Callable[[], ProbesOnDemand | None] = lambda: None
    #: The targets of the inventories that this writer gets values of; None if there are none.
    targets: Callable[[], Sequence[TargetGroup] | None] = lambda: None
    #: The metrics of pollect itself as of now, for writers that are asked, such as a page.
    self_batches: Callable[[], Sequence[Batch]] = tuple
