"""The protobuf message of remote write, and the series it is made of.

Message (prompb, Remote-Write 1.0 specification)::

    WriteRequest { repeated TimeSeries timeseries = 1; }
    TimeSeries   { repeated Label labels = 1; repeated Sample samples = 2; }
    Label        { string name = 1; string value = 2; }      sorted by name
    Sample       { double value = 1; int64 timestamp = 2; }  in milliseconds

Written by hand: no maintained package carries these classes, and the labels of a series, nearly
all of the message, are encoded only once this way.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from pollect.api import Batch, Metric, Sample, SourceId
from pollect_writers.names import filled_labels, prometheus_name
from pollect_writers.protobuf import delimited, message, tag, text, varint

#: The NaN by which a sender says that a series has ended (`value.StaleNaN` of Prometheus).
STALE_MARKER = struct.pack("<Q", 0x7FF0_0000_0000_0002)

_SERIES_TAG, _SAMPLES_TAG = tag(1), tag(2)
_DOUBLE_TAG, _TIMESTAMP_TAG = tag(1, 1), tag(2, 0)
_MILLISECONDS = 1000


class Point(NamedTuple):
    """One value of one series; `value` is a double in its eight bytes."""

    labels: bytes
    value: bytes
    time_ms: int


_Key: TypeAlias = tuple[Metric, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class SourceSeries:
    """The series a source had last: their encoded labels, and the last sample of each."""

    static_labels: tuple[tuple[str, str], ...]
    labels: Mapping[_Key, bytes]
    last: Mapping[bytes, Point]


Known: TypeAlias = dict[SourceId, SourceSeries]


def build_points(batches: Iterable[Batch], known: Known) -> tuple[list[Point], Known, int]:
    """Return the points of `batches`, the series their sources then have, and a count.

    A series that vanished gets a stale marker. A sample that repeats the last one of its series
    is left out. So is one that is not later than it, and counted: a server would refuse the whole
    request for it. `known` is not changed, because a delivery that fails is built again.
    """
    points: list[Point] = []
    changed: Known = {}
    outdated = 0
    pack = struct.Struct("<d").pack
    for batch in batches:
        before = changed.get(batch.source) or known.get(batch.source)
        last = dict(before.last) if before else {}
        reusable = before.labels if before and before.static_labels == batch.static_labels else {}
        labels: dict[_Key, bytes] = {}
        batch_ms = _to_ms(batch.time)
        for sample in batch.samples:
            key = (sample.metric, sample.label_values)
            encoded = reusable.get(key) or encode_labels(batch, sample)
            labels[key] = encoded
            time_ms = batch_ms if sample.time is None else _to_ms(sample.time)
            point = Point(encoded, pack(sample.value), time_ms)
            previous = last.get(encoded)
            if previous is None or previous.time_ms < time_ms:
                last[encoded] = point
                points.append(point)
            elif previous != point:
                outdated += 1
        alive = frozenset(labels.values())
        for encoded in last.keys() - alive:
            # A marker that is not later than the last sample would be out of order.
            end_ms = max(batch_ms, last.pop(encoded).time_ms + 1)
            points.append(Point(encoded, STALE_MARKER, end_ms))
        changed[batch.source] = SourceSeries(batch.static_labels, labels, last)
    return points, changed, outdated


def encode_labels(batch: Batch, sample: Sample) -> bytes:
    """Return the labels of a sample, its name among them, as fields of a `TimeSeries`."""
    labels = filled_labels(batch, sample)
    labels["__name__"] = prometheus_name(batch.source, sample.metric)
    return b"".join(
        message(1, text(1, name) + text(2, value)) for name, value in sorted(labels.items())
    )


def encode_request(points: Sequence[Point]) -> bytes:
    """Return a `WriteRequest` with one `TimeSeries` for each series in `points`."""
    series: dict[bytes, list[bytes]] = {}
    for labels, value, time_ms in points:
        before, behind = _around_value(time_ms)
        series.setdefault(labels, []).append(before + value + behind)
    return b"".join(
        _SERIES_TAG + delimited(labels + b"".join(samples)) for labels, samples in series.items()
    )


@lru_cache(4096)
def _around_value(time_ms: int) -> tuple[bytes, bytes]:
    """Return what is before and behind the eight bytes of a value in a `Sample` of this time."""
    behind = _TIMESTAMP_TAG + varint(time_ms)
    size = len(_DOUBLE_TAG) + 8 + len(behind)
    return _SAMPLES_TAG + varint(size) + _DOUBLE_TAG, behind


def _to_ms(seconds: float) -> int:
    return round(seconds * _MILLISECONDS)
