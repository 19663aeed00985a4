"""What every section of a config has: the bases of the typed configs, and kinds of options."""

import math
from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, TypeAlias

import msgspec
from msgspec import Meta

Seconds: TypeAlias = Annotated[float, Meta(gt=0)]
#: What an option of these types is, for messages. A number or boolean that stands for one in the
#: config is a mistake, unless it is in quotes: text options take them otherwise.
MEANS = "means"
FilePath: TypeAlias = Annotated[str, Meta(extra={MEANS: "a path"})]
Name: TypeAlias = Annotated[str, Meta(extra={MEANS: "a name"})]
Host: TypeAlias = Annotated[str, Meta(extra={MEANS: "a host"})]
#: Series of one source at most when its config does not say.
MAX_SERIES = 50_000


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


def is_default(field: msgspec.structs.FieldInfo, config: msgspec.Struct) -> bool:
    """Whether an option has the value it has when a config does not name it."""
    default = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
    return bool(default == getattr(config, field.name))
