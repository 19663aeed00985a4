"""What a plugin is made of: sources, writers, their configs and contexts, and their specs.

A source reads one thing at an interval; a writer hands samples on. Both get a typed config and a
context, validate in `__init__` without any I/O, connect in `open()`, and let go in `close()`.
"""

import importlib
import logging
import math
import threading
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Literal, Protocol, Self, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from pollect.errors import ConfigError, PluginLoadError, describe
from pollect.model import Batch, Metric, Sample, SourceId, SourceStatus, WriterStatus, log_of
from pollect.needs import Needs
from pollect.status import SourceDetail, Status
from pollect.troubles import Troubles

Seconds: TypeAlias = Annotated[float, Meta(gt=0)]
#: What an option of these types is, for messages. A number or boolean that stands for one in the
#: config is a mistake, unless it is in quotes: text options take them otherwise.
MEANS = "means"
FilePath: TypeAlias = Annotated[str, Meta(extra={MEANS: "a path"})]
Name: TypeAlias = Annotated[str, Meta(extra={MEANS: "a name"})]
Host: TypeAlias = Annotated[str, Meta(extra={MEANS: "a host"})]
#: Series of one source at most when its config does not say.
MAX_SERIES = 50_000

#: What a probe may return: samples, value names with their numbers, one number, or nothing.
ProbeValue: TypeAlias = Iterable[Sample] | Mapping[str, float] | float | None


class Secret:
    """Text of the config that must never be shown: it prints as `***`.

    Only `reveal()` gives the text. Two secrets with the same text are equal.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself, to be handed to a device and never to a log."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__


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


class MetricFilter(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Which values of a source to keep, and what to make of them, by value name.

    `include` and `exclude` take shell patterns as in `total_*`. All use the source's own names.
    """

    include: Annotated[
        tuple[str, ...], Meta(description="Keep only values whose name matches one of these.")
    ] = ()
    exclude: Annotated[
        tuple[str, ...], Meta(description="Drop values whose name matches one of these.")
    ] = ()
    rename: Annotated[
        dict[str, str],
        Meta(description="New value names by the source's own; empty for a value without a name."),
    ] = msgspec.field(default_factory=dict)
    scale: Annotated[
        dict[str, float],
        Meta(description="Factors by value name, as in `uptime: 0.001`; the unit is then unknown."),
    ] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, factor in self.scale.items():
            if not math.isfinite(factor) or factor == 0:
                raise ValueError(f"scale.{name}: expected a factor other than 0, got {factor}")


class SourceConfig(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Options that every source has. Derive from it with `frozen=True, kw_only=True`.

    Fields are snake_case here and camelCase in the config file. Every field of a subclass has a
    description (`Annotated[int, Meta(description=...)]`): the manual and the JSON Schema are made
    of them. A class that sets `keep_unknown` declares a field `options: Mapping[str, Any]` and
    gets all keys it does not declare in it; reading one whose `${NAME}` is unset is a `KeyError`.
    """

    keep_unknown: ClassVar[bool] = False

    @classmethod
    def placeholders(cls, section: Mapping[str, Any]) -> Collection[str]:
        """Return names whose `${name}` the source fills in itself, from this section of a config.

        They are never taken from the environment. `section` is what the file says, before any
        check or substitution.
        """
        return ()

    type: Annotated[str, Meta(description="Type of the source, part of its metric names.")]
    name: Annotated[
        str | None, Meta(description="Name of this source, part of its metric names.")
    ] = None
    labels: Annotated[
        dict[str, str], Meta(description="Static labels, added to every value of this source.")
    ] = msgspec.field(default_factory=dict)
    tick_time: Annotated[
        Seconds | None,
        Meta(description="Seconds between two probes of this source; default: the executor's."),
    ] = None
    timeout: Annotated[
        Seconds | None,
        Meta(description="Seconds a probe may take; default: the larger of the tick time and 10."),
    ] = None
    enabled: Annotated[bool, Meta(description="Set to false to leave this source out.")] = True
    metrics: Annotated[
        MetricFilter,
        Meta(description="Which values to keep, what to call and how to scale them."),
    ] = MetricFilter()
    drop_labels: Annotated[
        tuple[str, ...], Meta(description="Labels to leave out of all values of this source.")
    ] = ()
    rename_labels: Annotated[
        dict[str, str], Meta(description="New names of labels by the source's own.")
    ] = msgspec.field(default_factory=dict)
    max_series: Annotated[
        Annotated[int, Meta(ge=0)],
        Meta(description="Series of this source at most, the rest is left out; 0 for no limit."),
    ] = MAX_SERIES
    details: Annotated[
        bool, Meta(description="Also report the less common values of this source.")
    ] = False
    keep_stale: Annotated[
        bool | None,
        Meta(
            description="Keep the last values until a restart when the source stops answering; "
            "default: the global `keepStale`."
        ),
    ] = None
    fleet: Annotated[
        bool | None,
        Meta(
            description="In a fleet: whether one daemon probes this source, or (false) every "
            "daemon does; default: false for sources of the host itself."
        ),
    ] = None
    exclusive: Annotated[
        bool | None,
        Meta(
            description="In a fleet: stop probing when this daemon cannot prove that the source "
            "is still its own; default: true for devices with a single session."
        ),
    ] = None


class BufferConfig(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How much a remote writer keeps while its target is away. The oldest samples go first."""

    samples: Annotated[
        Annotated[int, Meta(ge=1)], Meta(description="Samples kept in memory at most.")
    ] = 100_000
    age: Annotated[Seconds, Meta(description="Seconds a sample is kept at most.")] = 3600.0


class WriterConfig(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Options that every writer has. See `SourceConfig` for how to derive from it."""

    keep_unknown: ClassVar[bool] = False

    type: Annotated[str, Meta(description="Type of the writer.")]
    self_metrics: Annotated[
        bool | None,
        Meta(
            description="Whether this writer also gets the metrics of pollect itself; "
            "default: depends on the writer."
        ),
    ] = None
    buffer: Annotated[
        BufferConfig, Meta(description="What to keep while the target is away (remote writers).")
    ] = BufferConfig()
    spool: Annotated[
        bool,
        Meta(description="Keep the buffer on disk, so that it survives a crash (remote writers)."),
    ] = False


class SourceContext(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine tells a source about its place."""

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
    """What the engine tells a writer about its place."""

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
    status: Callable[[], Status | None] = lambda: None
    #: One source by the text of its id; None for one that this writer does not get.
    source_detail: Callable[[str], SourceDetail | None] = lambda source: None
    #: Probe a source of this writer now and wait for the result; False for an unknown one.
    probe_now: Callable[[str], bool] = lambda source: False
    #: What may be probed on demand; None if the config has no `probes`.
    probes: Callable[[], ProbesOnDemand | None] = lambda: None
    #: The targets of the inventories that this writer gets values of; None if there are none.
    targets: Callable[[], Sequence[TargetGroup] | None] = lambda: None
    #: The metrics of pollect itself as of now, for writers that are asked, such as a page.
    self_batches: Callable[[], Sequence[Batch]] = tuple


SourceConfigT = TypeVar("SourceConfigT", bound=SourceConfig)
WriterConfigT = TypeVar("WriterConfigT", bound=WriterConfig)


class AuthorizationCode(msgspec.Struct, frozen=True):
    """What a browser brought back from an OAuth sign-in, to be exchanged for a token at once."""

    code: Secret
    #: The `code_verifier` that belongs to the code (PKCE, RFC 7636).
    verifier: Secret
    redirect_uri: str


class SignIn(Protocol):
    """The operator at the terminal, for `Source.sign_in`; `pollect auth` provides it."""

    def show(self, text: str) -> None:
        """Print a text. Never give it a token or a password."""

    def ask(self, question: str, *, default: str = "") -> str:
        """Return a line that the operator types; an empty one means `default`."""

    def ask_secret(self, question: str) -> Secret:
        """Return a line that is typed without being shown."""

    def authorize(
        self, url: str, *, redirect_uri: str, parameters: Mapping[str, str]
    ) -> AuthorizationCode:
        """Let the operator sign in on a page of the service, by OAuth with PKCE.

        `url` is the authorization endpoint, `parameters` what its query needs besides
        `response_type`, `redirect_uri`, `state` and the challenge, such as `client_id` and
        `scope`. With a redirect to http://localhost:PORT/ the code is taken from there, with any
        other the operator pastes it. Raises `AuthenticationFailed` when the service refuses and
        `TargetUnavailable` when nothing came back in time.
        """

    def wait_for(
        self,
        text: str,
        done: Callable[[], bool],
        *,
        timeout: float = 300.0,
        pause: float = 2.0,
    ) -> None:
        """Show `text` and call `done` until it is true, for a button that must be pressed.

        `pause` and `timeout` are in seconds. Raises `TargetUnavailable` after `timeout`, and what
        `done` raises.
        """


class Source(Generic[SourceConfigT]):
    """Reads one thing at an interval.

    The engine calls `open()` once before the first probe and again, with growing pauses, while it
    raises; then `probe()` at every tick, never twice at once; then `close()`. All may run in any
    thread, one at a time; only when the daemon stops does `close()` not wait for a probe that
    hangs. If `probe` is a coroutine function, `open` and `close` may be too; such sources share
    one event loop.
    """

    #: The model of this source's section in the config.
    config_type: ClassVar[type[SourceConfig]] = SourceConfig
    #: Every metric the source may emit.
    metrics: ClassVar[tuple[Metric, ...]] = ()
    #: The device or the config decides on the names: `metrics` lists only what is always there.
    dynamic_metrics: ClassVar[bool] = False
    #: The option that takes the target where a section is repeated for those of an inventory
    #: (`targets`) or is asked to probe one; empty where none does.
    target_option: ClassVar[str] = ""
    #: What to put before a target that has no scheme, as in `http://`.
    target_prefix: ClassVar[str] = ""
    #: Seconds a value stays true without a new probe that works; None means 2.5 intervals. For
    #: sources whose device only speaks up when something changes.
    hold: ClassVar[float | None] = None
    #: Seconds until another try after the first, second, ... failed probe in a row, the last one
    #: repeated; each counts only if the next tick is later. `ProbeError.retry_in` goes first.
    retry_after: ClassVar[Sequence[float]] = ()

    def __init__(self, config: SourceConfigT, context: SourceContext) -> None:
        """Validate `config`; no I/O here. Raises `ConfigError` with the `key` in question."""
        self.config = config
        self.context = context
        self.log = log_of(context.id)
        #: Which parts of what the source checks fail now: part of the result of every probe.
        self.troubles = Troubles(self.log)
        #: What the source runs with although a part of it cannot work: `check` prints it as a
        #: warning. For options whose values earlier versions accepted; everything else is raised.
        self.config_warnings: list[ConfigError] = []

    def expected_metrics(self) -> Sequence[Metric] | None:
        """Return all metrics that this config can lead to, None for those of the class.

        Dashboards and alert rules are made of them. For sources whose config decides on names or
        labels; what an option switches off may also be said by `Panel.needs`.
        """
        return None

    def listens_on(self) -> Sequence[tuple[str, int]]:
        """Return the TCP addresses and ports it opens, so that `check` finds two with the same.

        An empty address stands for all of them; a port of 0 is one that the system chooses.
        """
        return ()

    def open(self) -> Awaitable[None] | None:
        """Connect, and import the library that talks to the device.

        Raises `ProbeError` when the device is away (it is tried again later) and
        `MissingDependency` when the library is not installed.
        """
        return None

    def take_over(self, previous: Self) -> None:
        """Keep what a reload of the config should not lose, such as values that were pushed.

        Called before the first `open()`, in its thread, with the closed source that had the same
        collection, type and name and another section.
        """
        return None

    def probe(self) -> ProbeValue | Awaitable[ProbeValue]:
        """Return the values of now.

        Raises `NoData` when there is nothing to report and that is normal, and `ProbeError` when
        the device could not be read. Returning None or nothing at all is `NoData` as well.
        """
        raise NotImplementedError

    def close(self) -> Awaitable[None] | None:
        """Let go of everything; called once or more often, also after a failed `open()`."""
        return None

    def sign_in(self, dialogue: SignIn) -> Awaitable[None] | None:
        """Obtain and keep what the source needs to be let in, with the operator's help.

        Called by `pollect auth` only, on a source that was not opened; `close()` follows. Keep
        the token with `pollect.support.tokens`, then use it and show what was found, so that the
        operator sees that it works. Raises `ProbeError` when it does not. A source that does not
        override this needs no sign-in.
        """
        raise NotImplementedError

    def deadline_seconds(self) -> float:
        """Return how long a probe may take before it counts as timed out.

        The `timeout` of the config, else the larger of the interval and 10 seconds. A source that
        uses `timeout` for its own requests leaves itself room here to report the failure.
        """
        return self.config.timeout or max(self.context.interval, 10.0)


#: Options of a writer that do not say where samples go.
_NOT_THE_TARGET = frozenset({"type", "buffer", "spool", "self_metrics", "timeout"})


def is_default(field: msgspec.structs.FieldInfo, config: msgspec.Struct) -> bool:
    """Whether an option has the value it has when a config does not name it."""
    default = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
    return bool(default == getattr(config, field.name))


class Writer(Generic[WriterConfigT]):
    """Hands samples on.

    `write` is called by one thread at a time, of an `in_process` writer not always the same one.
    """

    #: The model of this writer's section in the config.
    config_type: ClassVar[type[WriterConfig]] = WriterConfig
    #: Quick and without a network: called in a thread that probes. If it blocks it keeps that
    #: thread, and loses what comes meanwhile.
    in_process: ClassVar[bool] = False
    #: Takes the batch of each source as soon as it is there; else those of one tick together.
    accepts_partial: ClassVar[bool] = False
    #: Only the latest value of a series matters: what is outdated in the buffer is not sent.
    latest_only: ClassVar[bool] = False
    #: Only a person looks at what it writes: a transport is not to be emptied for that.
    only_shows: ClassVar[bool] = False
    #: Whether it gets the metrics of pollect itself when the config does not say.
    self_metrics: ClassVar[bool] = True
    #: It has work to do before the first values come: it gets an empty batch at the start.
    opens_at_once: ClassVar[bool] = False
    #: Samples handed over in one `write` at most, unless a single batch is larger.
    batch_size: ClassVar[int] = 1000

    def __init__(self, config: WriterConfigT, context: WriterContext) -> None:
        """Validate `config`; no I/O here. Raises `ConfigError` with the `key` in question."""
        self.config = config
        self.context = context
        self.log = logging.getLogger(context.name)

    def check_files(self) -> None:
        """Look whether files that `config` names can be used, of those it cannot open without.

        Called once after the constructor, by `pollect check` as well; nothing is opened for good
        here and nothing beyond this machine is asked. Raises `ConfigError` with the `key` in
        question, upon which `run` does not start and a reload changes nothing.
        """

    def target_identity(self) -> Hashable:
        """Return what tells the target from others: addresses, names of databases, users.

        A spool is named after its `repr`: samples that wait on disk go to the same target only.
        What may change without another target (time-outs, passwords, formats) has no part in it,
        and it stays the same from version to version. By default all options of the config that
        are not at their defaults, apart from those that every writer has.
        """
        return tuple(
            (field.name, repr(getattr(self.config, field.name)))
            for field in msgspec.structs.fields(self.config)
            if field.name not in _NOT_THE_TARGET and not is_default(field, self.config)
        )

    def listens_on(self) -> Sequence[tuple[str, int]]:
        """Return the TCP addresses and ports it opens, so that `check` finds two with the same.

        An empty address stands for all of them; a port of 0 is one that the system chooses.
        """
        return ()

    def open(self) -> None:
        """Connect.

        For a remote writer `Retryable` means: try again later, keep what comes until then. For an
        in-process writer any `WriteError` ends the start, a port in use for example.
        """

    def write(self, batches: Sequence[Batch]) -> None:
        """Deliver `batches`, oldest first; returning means that all of them arrived.

        Raises `Retryable` when the very same call is worth repeating and `Rejected` when the
        target refused some or all of the samples for good.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of everything; called once or more often, also after a failed `open()`."""


class Suggestion(msgspec.Struct, frozen=True):
    """A section of a config that suits this host, for `pollect init` to write."""

    kind: Literal["source", "writer"]
    #: As in a config, `type` included.
    section: Mapping[str, Any]
    #: What it shows and which option is worth a look, in a sentence or two for newcomers.
    comment: str
    #: Why it should not run as it is: a missing privilege, a decision that is the operator's. Such
    #: a section is written as a comment. What is not installed need not be mentioned here.
    caveat: str = ""


#: Inside a spec the word `type` is a field.
_Class: TypeAlias = type[Any]


class _Spec(msgspec.Struct, frozen=True):
    #: The word a config uses.
    type: str
    #: Where the class is, `module:Class`; imported only when a config names the type.
    target: str
    #: One line for lists.
    summary: str = ""
    #: Further words for the same type.
    aliases: tuple[str, ...] = ()
    #: The extra of the plugin's distribution that the type needs.
    extra: str = ""
    #: Values of `sys.platform` it works on; empty for all.
    platforms: tuple[str, ...] = ()
    #: What it needs of the machine; the default is the network and nothing else.
    needs: Needs = Needs()

    kind: ClassVar[str]
    _base: ClassVar[_Class]

    @classmethod
    def of(cls, plugin: _Class) -> Self:
        """Describe a class: the type is its name without `Source` or `Writer`."""
        return cls(
            type=plugin.__name__.removesuffix(cls._base.__name__),
            target=f"{plugin.__module__}:{plugin.__qualname__}",
            summary=(plugin.__doc__ or "").strip().partition("\n")[0],
        )

    def _load(self) -> _Class:
        module_name, _, class_name = self.target.partition(":")
        try:
            found = getattr(importlib.import_module(module_name), class_name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a module may raise anything at import
            raise PluginLoadError(
                f"{self.type}: cannot load {self.target}: {describe(error)}"
            ) from error
        if not (isinstance(found, type) and issubclass(found, self._base)):
            raise PluginLoadError(
                f"{self.type}: {self.target} is not a class derived from {self._base.__name__}"
            )
        return found


class SourceSpec(_Spec, frozen=True):
    """What can be known of a source without importing it."""

    #: In a fleet one daemon probes it; false for what every host has of its own.
    fleet: bool = True
    #: In a fleet it must never be probed twice at once: its device or account has one session.
    exclusive: bool = False

    kind: ClassVar[str] = "source"
    _base: ClassVar[_Class] = Source

    def load(self) -> type[Source[Any]]:
        """Import and return the class; raises `PluginLoadError`."""
        return self._load()


class WriterSpec(_Spec, frozen=True):
    """What can be known of a writer without importing it."""

    kind: ClassVar[str] = "writer"
    _base: ClassVar[_Class] = Writer

    def load(self) -> type[Writer[Any]]:
        """Import and return the class; raises `PluginLoadError`."""
        return self._load()
