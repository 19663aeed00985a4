"""Makes sources and writers of pollect 1.x what the engine knows.

The 1.x class stays as it is; a class made here stands around it. The engine sees new-style objects
only.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from msgspec import UNSET, Meta, Struct, field, structs

from pollect.errors import NoData, PollectError, Retryable, TargetUnavailable
from pollect.legacy.config import ConfigContainer
from pollect.legacy.naming import common_name, labels_beside, suffix_of, value_name
from pollect.legacy.source import Source as OldSource
from pollect.legacy.source import value_sets
from pollect.legacy.values import Value, ValueSet
from pollect.legacy.writer import Writer as OldWriter
from pollect.model import Batch, Metric, Sample, SourceId
from pollect.plugin import (
    Source,
    SourceConfig,
    SourceContext,
    Writer,
    WriterConfig,
    WriterContext,
)
from pollect.plugin.self_named import SelfNamed

#: What a probe gets at least, as with a new-style source that sets no `timeout`.
DEADLINE_SECONDS = 10.0


class OldSourceConfig(SourceConfig, frozen=True, kw_only=True):
    """Any option at all: what 1.x knows nothing of may mean anything to an extension."""

    keep_unknown: ClassVar[bool] = True

    options: Annotated[Mapping[str, Any], Meta(description="Options of the extension itself.")] = (
        field(default_factory=dict)
    )
    timeout: Annotated[
        Any, Meta(description="Handed to the extension; not the deadline of its probes.")
    ] = UNSET
    metrics: Annotated[
        Any, Meta(description="Handed to the extension; not a filter of its values.")
    ] = UNSET
    details: Annotated[Any, Meta(description="Handed to the extension.")] = UNSET


class OldWriterConfig(WriterConfig, frozen=True, kw_only=True):
    """Any option at all, as for sources."""

    keep_unknown: ClassVar[bool] = True

    options: Annotated[Mapping[str, Any], Meta(description="Options of the extension itself.")] = (
        field(default_factory=dict)
    )


@dataclass(frozen=True, slots=True)
class Configuration:
    """What `setup_source` gets: of the old object, what sources asked it for."""

    config: ConfigContainer
    #: Seconds between two probes.
    tick_time: float


@functools.cache
def adapt_source(old_class: type[OldSource]) -> type[Source[Any]]:
    """Return the new-style class for a 1.x source class, always the same one."""
    return _derive(AdaptedSource, old_class)


@functools.cache
def adapt_writer(old_class: type[OldWriter]) -> type[Writer[Any]]:
    """Return the new-style class for a 1.x writer class, always the same one."""
    return _derive(AdaptedWriter, old_class)


def _derive(base: type[Any], old_class: type[Any]) -> type[Any]:
    facts = {"old_class": old_class, "__doc__": old_class.__doc__ or base.__doc__}
    return type(old_class.__name__, (base,), {**facts, "__module__": old_class.__module__})


class AdaptedSource(SelfNamed[OldSourceConfig]):
    """A source of pollect 1.x.

    Its constructor may connect to something, so it runs in `open()` and is tried again.
    """

    config_type = OldSourceConfig
    dynamic_metrics = True
    old_class: ClassVar[type[OldSource]]

    def __init__(self, config: OldSourceConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._old: OldSource | None = None
        self._read: Callable[[], Any] = list
        self._metrics: dict[tuple[str | None, tuple[str, ...]], Metric] = {}

    def open(self) -> None:
        self.close()  # what a failed try left
        old = self._call(lambda: self.old_class(section_of(self.config)))
        self._old = old
        overridden = type(old).probe is not OldSource.probe
        self._read = old.probe if overridden else old._probe
        config = ConfigContainer({"tickTime": self.context.interval})
        self._call(lambda: old.setup_source(Configuration(config, self.context.interval)))

    def probe(self) -> Iterable[Sample]:
        sets = self._call(lambda: value_sets(self._read()))
        samples: list[Sample] = self._call(lambda: self._samples(sets))
        if not samples:
            # A set without values means that the series are gone, nothing at all that it is
            # unknown how they fare.
            raise NoData("the extension returned no values", withdraw=bool(sets))
        return samples

    def close(self) -> None:
        old, self._old = self._old, None
        if old is not None:
            old.shutdown()

    def deadline_seconds(self) -> float:
        return max(self.context.interval, DEADLINE_SECONDS)

    def _samples(self, sets: Sequence[ValueSet]) -> list[Sample]:
        old = self._old
        if old is None or not sets:
            return []
        replaced = self._read == old.probe
        # The `probe` of 1.x itself would put both into the sets.
        own = {} if replaced else labels_beside(old.labels, self.config.labels)
        suffix = suffix_of(self.context.id) if replaced else str(old._get_suffix())
        suffixes = [(replaced and found.name) or suffix for found in sets]
        self.written_as = common_name(self.context.id, suffixes)
        source = self.written_as or self.context.id
        samples = []
        for found, suffix in zip(sets, suffixes, strict=True):
            more = {name: text for name, text in own.items() if name not in found.labels}
            labels = (*found.labels, *more)
            for value in found.values:
                metric = self._metric(value_name(source, suffix, value.name), labels)
                texts = (*value.label_values, *more.values())
                samples.append(Sample(metric, value.value, texts))
        return samples

    def _metric(self, name: str | None, labels: tuple[str, ...]) -> Metric:
        metric = self._metrics.get((name, labels))
        if metric is None:
            metric = self._metrics[name, labels] = Metric(name, labels=labels)
        return metric

    def _call(self, action: Callable[[], Any]) -> Any:
        """Run code of 1.x, which knows no `ProbeError`: for it an `OSError` is the usual one."""
        try:
            return action()
        except PollectError:
            raise
        except OSError as error:
            raise TargetUnavailable(f"{type(error).__name__}: {error}") from error


class AdaptedWriter(Writer[OldWriterConfig]):
    """A writer of pollect 1.x; it may be slow, so the engine treats it as a remote one."""

    config_type = OldWriterConfig
    #: 1.x had no metrics of its own to write.
    self_metrics = False
    old_class: ClassVar[type[OldWriter]]

    def __init__(self, config: OldWriterConfig, context: WriterContext) -> None:
        super().__init__(config, context)
        self._old = self.old_class(section_of(config))
        self._started = False
        self._sources: dict[SourceId, SourceReference] = {}
        # 1.x asks the object, the engine reads an attribute.
        self.accepts_partial = self._old.supports_partial_write()  # type: ignore[misc]

    def open(self) -> None:
        self._call(self._old.start)
        self._started = True

    def write(self, batches: Sequence[Batch]) -> None:
        if self.accepts_partial:
            for batch in batches:
                self._call(self._old.write, sets_of(batch), self._source(batch))
            return
        merged = [found for batch in batches if batch.samples for found in sets_of(batch)]
        if merged:
            self._call(self._old.write, merged, None)

    def close(self) -> None:
        if self._started:
            self._started = False
            self._old.stop()

    def _source(self, batch: Batch) -> "SourceReference":
        known = self._sources.get(batch.source)
        if known is None:
            known = SourceReference(batch.source, dict(batch.static_labels))
            self._sources[batch.source] = known
        return known

    def _call(self, action: Callable[..., Any], *arguments: object) -> None:
        try:
            action(*arguments)
        except OSError as error:
            raise Retryable(f"{type(error).__name__}: {error}") from error


class SourceReference:
    """Stands for the source of a write, where 1.x handed over the source itself."""

    def __init__(self, source: SourceId, labels: Mapping[str, str]) -> None:
        self.type = source.type
        self.name = source.name
        self.labels = labels

    def __str__(self) -> str:
        return f"{self.type}.{self.name}" if self.name is not None else self.type


def sets_of(batch: Batch) -> list[ValueSet]:
    """Return a batch as value sets of 1.x, one for each set of label names.

    An empty batch becomes one set without values: the series of its source are gone.
    """
    sets: dict[tuple[str, ...], ValueSet] = {}
    for sample in batch.samples:
        labels = batch.labels_of(sample)
        names = tuple(name for name, _ in labels)
        found = sets.get(names)
        if found is None:
            found = sets[names] = ValueSet(list(names))
        found.add(Value(sample.value, [text for _, text in labels], sample.metric.name))
    result = list(sets.values()) or [ValueSet()]
    for found in result:
        found.name, found.time = batch.source.dotted, int(batch.time)
    return result


def section_of(config: OldSourceConfig | OldWriterConfig) -> ConfigContainer:
    """Return the section of the config as 1.x handed it to an extension."""
    return ConfigContainer(_Section(_given(config), config.options), filled_in=True)


def _given(config: Struct) -> dict[str, Any]:
    """Return the declared options that the section sets, by the words of the config."""
    given = {}
    for option in structs.fields(config):
        value = getattr(config, option.name)
        default = option.default_factory() if callable(option.default_factory) else option.default
        if option.name != "options" and value != default:
            given[option.encode_name] = value
    return given


class _Section(Mapping[str, Any]):
    """Declared options and the rest as one mapping; the rest is read when asked for."""

    def __init__(self, declared: Mapping[str, Any], rest: Mapping[str, Any]) -> None:
        self._declared = declared
        self._rest = rest

    def __getitem__(self, key: str) -> Any:
        return self._declared[key] if key in self._declared else self._rest[key]

    def __iter__(self) -> Any:
        return iter((*self._declared, *self._rest))

    def __len__(self) -> int:
        return len(self._declared) + len(self._rest)

    def __contains__(self, key: object) -> bool:
        return key in self._declared or key in self._rest
