"""Samples as OTLP: names, units, the start times of counters, and the protobuf message.

Message: `ExportMetricsServiceRequest` of opentelemetry-proto 1.x. The instruments of an SDK would
send the last value of every series without end and fold series beyond a limit into one; what is the
same at every tick is encoded once.
"""

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from pollect.api import Batch, Kind, Metric, Sample, SourceId, describe_unit
from pollect_writers.protobuf import message, tag, text, varint
from pollect_writers.series import SeriesCache

#: Longest instrument name of the specification, in characters.
NAME_LIMIT = 255

_NANOSECONDS = 1_000_000_000
_MICROSECONDS = 1_000_000
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9_.\-/]")
_REMEMBERED_NAMES = 16_384

#: Fields of `NumberDataPoint`: start and time as fixed64, the value as double, attributes.
_START_TAG, _TIME_TAG, _VALUE_TAG = (tag(field, 1)[0] for field in (2, 3, 4))
_GAUGE = struct.Struct("<BQBd")
_COUNTER = struct.Struct("<BQBQBd")
#: Fields of `Metric`, and what a sum says of itself: cumulative and monotonic.
_GAUGE_FIELD, _SUM_FIELD = 5, 7
_SUM_FACTS = tag(2, 0) + varint(2) + tag(3, 0) + varint(1)


class Series(NamedTuple):
    """What is the same for all data points of a series, encoded."""

    #: Two sources may share a name and differ in kind or unit: each is a metric of its own.
    family: tuple[str, bool, str]
    help: str
    #: Tag and length of a data point.
    lead: bytes
    attributes: bytes


class Point(NamedTuple):
    """One data point."""

    series: Series
    time_ns: int
    value: float
    #: When a counter began to count, as far as is known; 0 for a gauge.
    start_ns: int


class CounterStart(NamedTuple):
    """Since when a counter counts, and the last point seen, which tells a restart."""

    start_ns: int
    last_ns: int
    last_value: float


_Key: TypeAlias = tuple[Metric, tuple[str, ...]]
Starts: TypeAlias = dict[SourceId, dict[_Key, CounterStart]]


@lru_cache(_REMEMBERED_NAMES)
def otel_name(source: SourceId, value_name: str | None) -> str:
    """Return the lower-case metric name: `collection.type.name_value`."""
    name = source.dotted if value_name is None else f"{source.dotted}_{value_name}"
    name = _NOT_IN_A_NAME.sub("_", name.lower())
    if not name[:1].isalpha():
        name = f"x{name}"
    return name[:NAME_LIMIT]


def encode_series(batch: Batch, sample: Sample) -> Series:
    """Return what is known of a series before its first value."""
    metric = sample.metric
    counter = metric.kind is Kind.COUNTER
    attributes = _encode_attributes(7, batch.labels_of(sample))
    size = (_COUNTER if counter else _GAUGE).size + len(attributes)
    family = otel_name(batch.source, metric.name), counter, describe_unit(metric.unit).ucum
    return Series(family, metric.help, tag(1) + varint(size), attributes)


def build_points(
    batches: Iterable[Batch], known: Starts, series: SeriesCache[Series] | None = None
) -> tuple[list[Point], Starts]:
    """Return the points of `batches`, and what is then known of the counters in them.

    The first point of a counter starts it; so does one below its predecessor, from the time of
    that predecessor on. `known` is not changed: a delivery that fails is built again. `series`
    remembers what `encode_series` made of each.
    """
    series = series or SeriesCache(encode_series)
    points: list[Point] = []
    changed: Starts = {}
    for batch in batches:
        before = changed.get(batch.source, known.get(batch.source, {}))
        changed[batch.source] = now = {}
        batch_ns = _to_ns(batch.time)
        for one, sample in zip(series.of(batch), batch.samples, strict=True):
            metric, value, label_values, time = sample
            time_ns = batch_ns if time is None else _to_ns(time)
            start_ns = 0
            if one.family[1]:
                key = (metric, label_values)
                now[key] = counter = _follow(before.get(key), value, time_ns)
                start_ns = counter.start_ns
            points.append(Point(one, time_ns, value, start_ns))
    return points, changed


def encode_request(points: Sequence[Point], resource: Mapping[str, str], version: str) -> bytes:
    """Return the message that carries `points`."""
    families: dict[tuple[str, bool, str], list[bytes]] = {}
    helps: dict[tuple[str, bool, str], str] = {}
    for (family, help, lead, attributes), time_ns, value, start_ns in points:
        if family[1]:
            fixed = _COUNTER.pack(_START_TAG, start_ns, _TIME_TAG, time_ns, _VALUE_TAG, value)
        else:
            fixed = _GAUGE.pack(_TIME_TAG, time_ns, _VALUE_TAG, value)
        if family not in families:
            families[family] = []
            helps[family] = help
        families[family].append(lead + fixed + attributes)
    metrics = [
        message(
            2,
            text(1, name)
            + text(2, helps[name, counter, unit])
            + text(3, unit)
            + message(
                _SUM_FIELD if counter else _GAUGE_FIELD,
                b"".join(data) + (_SUM_FACTS if counter else b""),
            ),
        )
        for (name, counter, unit), data in families.items()
    ]
    scope = message(1, text(1, "pollect") + text(2, version))
    holder = message(1, _encode_attributes(1, resource.items()))
    return message(1, holder + message(2, scope + b"".join(metrics)))


def _follow(before: CounterStart | None, value: float, time_ns: int) -> CounterStart:
    if before is None:
        return CounterStart(time_ns, time_ns, value)
    restarted = value < before.last_value
    return CounterStart(before.last_ns if restarted else before.start_ns, time_ns, value)


def _to_ns(seconds: float) -> int:
    # A float holds today's time to a quarter of a microsecond: more digits would be noise.
    return round(seconds * _MICROSECONDS) * (_NANOSECONDS // _MICROSECONDS)


def _encode_attributes(field: int, pairs: Iterable[tuple[str, str]]) -> bytes:
    """Return `KeyValue` messages, whose values are `AnyValue` messages that hold text."""
    return b"".join(
        message(field, text(1, name or "_") + message(2, tag(1) + _delimited_text(value)))
        for name, value in pairs
    )


def _delimited_text(value: str) -> bytes:
    """Return text as a member of a oneof, where empty text counts as well."""
    encoded = value.encode()
    return varint(len(encoded)) + encoded
