"""What flows through pollect: metrics, samples, the identity of a source, results and batches.

A source declares `Metric`s and yields `Sample`s of them. The engine turns what one probe brought
into a `ProbeResult`, and a result with values into a `Batch`, the unit that writers take.
"""

import enum
import logging
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, NamedTuple
from weakref import WeakValueDictionary

import msgspec

from pollect.hints import Alert, Headline, Panel
from pollect.text import valid_text

#: The latest Unix time of a sample: nanoseconds in 64 bits, which some backends have, end in 2262.
LATEST_TIME: Final = 9_223_372_036.0


def _valid_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names that differ as text that can be encoded, which differs as well."""
    texts = tuple(map(valid_text, names))
    if len(set(texts)) == len(texts):
        return texts
    # A label that is there twice makes a whole scrape invalid.
    return tuple(
        f"{text}_{index}" if text in texts[:index] else text for index, text in enumerate(texts)
    )


class Kind(enum.Enum):
    """How the values of a metric move."""

    GAUGE = "gauge"
    #: Only grows, and starts again when its owner restarts.
    COUNTER = "counter"


class Metric:
    """The description of a value: name, help, unit, kind and the names of its labels.

    `name` is the value name, the last part of the exported name; None for a source whose one
    value needs no name of its own. `unit` is a word in plural base form (`bytes`, `seconds`,
    `celsius`, `ratio`) or a symbol a device prescribes (`°C`).

    `headline` marks the two or three values that tell most of the source (all series of the
    metric, or those a `Headline` picks), `panel` says how to draw
    them, `alerts` when they are worth a message: hints, which are neither
    compared nor kept in a spool.

    Metrics are immutable, compare by content, and are meant to be declared once per module.
    """

    __slots__ = ("_hash", "alerts", "headline", "help", "kind", "labels", "name", "panel", "unit")

    name: Final[str | None]  # type: ignore[misc]
    help: Final[str]  # type: ignore[misc]
    unit: Final[str]  # type: ignore[misc]
    kind: Final[Kind]  # type: ignore[misc]
    labels: Final[tuple[str, ...]]  # type: ignore[misc]
    headline: Final[tuple[Headline, ...]]  # type: ignore[misc]
    panel: Final[Panel | None]  # type: ignore[misc]
    alerts: Final[tuple[Alert, ...]]  # type: ignore[misc]

    def __init__(
        self,
        name: str | None = None,
        *,
        help: str = "",
        unit: str = "",
        kind: Kind = Kind.GAUGE,
        labels: Sequence[str] = (),
        headline: bool | Headline | Sequence[Headline] = (),
        panel: Panel | None = None,
        alert: Alert | Sequence[Alert] = (),
    ) -> None:
        if isinstance(labels, str):
            raise TypeError(f"metric {name!r}: expected a tuple of label names, got {labels!r}")
        if len(set(labels)) != len(labels):
            raise ValueError(f"metric {name!r} names a label twice: {', '.join(labels)}")
        alerts = (alert,) if isinstance(alert, Alert) else tuple(alert)
        for hint in alerts:
            hint.check()
            if not {*hint.labels, *hint.share_of} <= set(labels):
                raise ValueError(f"alert {hint.name} of {name!r} names a label it does not have")
        if isinstance(headline, bool):
            headline = (Headline(),) if headline else ()
        headlines = (headline,) if isinstance(headline, Headline) else tuple(headline)
        if any(not line.labels.keys() <= set(labels) for line in headlines):
            raise ValueError(f"a headline of {name!r} names a label it does not have")
        put = object.__setattr__
        # A name may come from a device.
        put(self, "name", None if name is None else valid_text(name))
        put(self, "help", valid_text(help))
        put(self, "unit", valid_text(unit))
        put(self, "kind", Kind(kind))
        put(self, "labels", _valid_names(labels))
        put(self, "headline", headlines)
        put(self, "panel", panel)
        put(self, "alerts", alerts)
        # Writers look a series up by its metric once per sample: the hash is worth keeping.
        put(self, "_hash", hash(self._fields()))

    def sample(self, value: float, *label_values: str, time: float | None = None) -> "Sample":
        """Return one value of this metric.

        `label_values` follow the order of `labels`. `time` is Unix time in seconds when the value
        was true, for sources that know; by default it is the time of the probe.
        """
        return Sample(self, value, label_values, time)

    def labelled(self, *more: str) -> "Metric":
        """Return the metric with further labels behind its own, hints included."""
        return Metric(
            self.name,
            help=self.help,
            unit=self.unit,
            kind=self.kind,
            labels=(*self.labels, *more),
            headline=self.headline,
            panel=self.panel,
            alert=self.alerts,
        )

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"metric {self.name!r} is immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"metric {self.name!r} is immutable")

    def __hash__(self) -> int:
        return self._hash  # type: ignore[attr-defined, no-any-return]

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Metric) and self._fields() == other._fields()

    def __reduce__(self) -> tuple[object, ...]:
        return _restore_metric, self._fields()

    def __repr__(self) -> str:
        facts = f"kind={self.kind.value}, unit={self.unit!r}, labels={self.labels!r}"
        return f"Metric({self.name!r}, {facts})"

    def _fields(self) -> tuple[str | None, str, str, Kind, tuple[str, ...]]:
        return self.name, self.help, self.unit, self.kind, self.labels


def _restore_metric(
    name: str | None, help: str, unit: str, kind: Kind, labels: tuple[str, ...]
) -> Metric:
    return Metric(name, help=help, unit=unit, kind=kind, labels=labels)


class Sample(NamedTuple):
    """One value of a metric. Build it with `Metric.sample`."""

    metric: Metric
    #: An integer stays one, also through a spool.
    value: int | float
    label_values: tuple[str, ...] = ()
    #: Unix time in seconds; None means the time of the probe.
    time: float | None = None


class SourceId(NamedTuple):
    """Which source of the config: the first parts of every metric name.

    `type` is the word the config uses, aliases and letter case included, because it is part of
    the metric names.
    """

    collection: str
    type: str
    name: str | None = None
    #: Counts the sources of a config that share all the rest, from 0. Not part of any name.
    instance: int = 0
    #: Which target of its section's inventory; empty for a source that is alone in its section.
    #: Not part of any name either, as it is a label.
    target: str = ""

    @property
    def dotted(self) -> str:
        """`collection.type` or `collection.type.name`: the name all writers start from."""
        return ".".join(part for part in self[:3] if part is not None)

    def __str__(self) -> str:
        text = "/".join(part for part in self[:3] if part is not None)
        if self.target:
            text = f"{text}@{self.target}"
        return f"{text}#{self.instance + 1}" if self.instance else text


def log_of(source: SourceId) -> logging.Logger:
    """Return the log of a source.

    That of a target is not registered: targets come and go, and what is registered stays.
    """
    if not source.target:
        return logging.getLogger(str(source))
    found = _TARGET_LOGS.get(source)
    if found is None:
        found = _TARGET_LOGS[source] = _TargetLog(source)
    return found


class _TargetLog(logging.Logger):
    """The log of one target, with the level and the handlers of its section's."""

    def __init__(self, source: SourceId) -> None:
        super().__init__(str(source))
        self.parent = logging.getLogger(str(source._replace(target="", instance=0)))

    def isEnabledFor(self, level: int) -> bool:
        return self.parent is None or self.parent.isEnabledFor(level)


#: One for all who log about a target, for as long as there is one.
_TARGET_LOGS: WeakValueDictionary[SourceId, _TargetLog] = WeakValueDictionary()


class Outcome(enum.Enum):
    """How a probe ended."""

    OK = "ok"
    #: The source answered, but a part of what it checks fails: `ProbeResult.troubles`.
    TROUBLED = "troubled"
    #: Nothing to report, and that is normal.
    NO_DATA = "no_data"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    #: The source raised something it does not declare: a programming error.
    BUG = "bug"

    # Each member exists once; the hash of Enum is a function in Python, called at every probe.
    __hash__ = object.__hash__

    #: Whether the source itself works.
    up: bool
    #: Whether the source works, and every part of what it checks.
    healthy: bool

    def __init__(self, word: str) -> None:
        self.healthy = word in ("ok", "no_data")
        self.up = self.healthy or word == "troubled"


class ProbeResult(msgspec.Struct, frozen=True):
    """What one probe brought. `samples` is empty unless the outcome is `OK` or `TROUBLED`."""

    source: SourceId
    outcome: Outcome
    samples: Sequence[Sample] = ()
    #: Unix time in seconds at the end of the probe.
    time: float = 0.0
    duration_seconds: float = 0.0
    error: BaseException | None = None
    #: The values reported before are gone now, see `NoData`.
    withdraw: bool = False
    #: What is wrong with parts of what the source checks, in words; at most ten and a line that
    #: counts the rest.
    troubles: tuple[str, ...] = ()
    #: How many parts fail, those without a line of their own included.
    trouble_count: int = 0


class Batch(msgspec.Struct, frozen=True):
    """All series one source has at one moment.

    A series that the source had in its last batch and lacks in this one no longer exists; an
    empty batch withdraws everything the source wrote before. All values are finite numbers.
    """

    source: SourceId
    samples: Sequence[Sample]
    #: Unix time in seconds, for samples that carry no time of their own.
    time: float
    #: From the config, `(name, value)` in config order; they follow a sample's own labels.
    static_labels: tuple[tuple[str, str], ...] = ()
    #: Seconds for which the values hold without a new batch; None: until they are withdrawn.
    fresh_seconds: float | None = None
    #: In a fleet with leases: the term of the daemon that owned the source, a later one larger.
    epoch: tuple[int, int] | None = None

    def labels_of(self, sample: Sample) -> tuple[tuple[str, str], ...]:
        """Return all labels of a sample as `(name, value)`, its own first.

        A static label of the same name as one of the sample's own loses.
        """
        own = sample.metric.labels
        static = (label for label in self.static_labels if label[0] not in own)
        return (*zip(own, sample.label_values, strict=True), *static)

    def __len__(self) -> int:
        return len(self.samples)


class Reload(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The last time the config was read; the start counts as one."""

    #: Unix time in seconds.
    time: float
    successful: bool
    error: Annotated[
        str, msgspec.Meta(description="Why the old config goes on; empty if it does not.")
    ] = ""
    changes: Annotated[
        Sequence[str],
        msgspec.Meta(description="What it changed, one line per source or writer."),
    ] = ()


class SourceStatus(msgspec.Struct, frozen=True):
    """How a source fares, for status pages and self metrics."""

    source: SourceId
    #: None until the first probe ended.
    outcome: Outcome | None = None
    #: Why the source is down, in words; empty while it is up.
    reason: str = ""
    #: Unix time in seconds of the last change between up and down; None before the first probe.
    since: float | None = None
    #: Unix time in seconds of the last probe that worked; None if none did.
    last_success: float | None = None
    duration_seconds: float | None = None
    series: int = 0
    probes: Mapping[Outcome, int] = msgspec.field(default_factory=dict)
    #: Ticks that found the last probe still running.
    skipped: int = 0
    #: Values left out because the source has more series than `maxSeries` allows.
    dropped: int = 0
    #: As in the last `ProbeResult`: what is wrong with parts of what the source checks.
    troubles: tuple[str, ...] = ()
    trouble_count: int = 0
    #: Unix time in seconds since when parts fail without a break; None while none does.
    troubled_since: float | None = None
    #: The last probe that did not work: Unix time in seconds, and why.
    last_failure: float | None = None
    last_error: str = ""
    #: Unix time in seconds of the next probe, as far as one is planned.
    next_probe: float | None = None

    @property
    def up(self) -> bool:
        return self.outcome is not None and self.outcome.up


class WriterStatus(msgspec.Struct, frozen=True):
    """How a writer fares."""

    writer: str
    up: bool = True
    reason: str = ""
    buffered_samples: int = 0
    lost_samples: int = 0
    written_samples: int = 0
