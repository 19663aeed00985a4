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
from functools import lru_cache
from typing import TypeAlias

from pollect.api import Batch, Sample, SourceId
from pollect_writers.names import filled_labels, prometheus_name
from pollect_writers.protobuf import delimited, encode_varint, message, tag, text, varint
from pollect_writers.series import SeriesCache

#: The NaN by which a sender says that a series has ended (`value.StaleNaN` of Prometheus).
STALE_MARKER = struct.pack("<Q", 0x7FF0_0000_0000_0002)

_SERIES_TAG, _SAMPLES_TAG = tag(1), tag(2)
_DOUBLE_TAG, _TIMESTAMP_TAG = tag(1, 1), tag(2, 0)
_MILLISECONDS = 1000


#: One value of one series: its encoded labels, a double in its eight bytes, Unix milliseconds. No
#: class of its own, as to make one costs more than all the rest of a sample.
Point: TypeAlias = tuple[bytes, bytes, int]
#: The last point of each series that a source has, by its encoded labels.
Known: TypeAlias = dict[SourceId, Mapping[bytes, Point]]


def build_points(
    batches: Iterable[Batch], known: Known, encoded: SeriesCache[bytes] | None = None
) -> tuple[list[Point], Known, int]:
    """Return the points of `batches`, the series their sources then have, and a count.

    A series that vanished gets a stale marker. A sample that repeats the last one of its series
    is left out. So is one that is not later than it, and counted: a server would refuse the whole
    request for it. `known` is not changed, because a delivery that fails is built again. `encoded`
    remembers what `encode_labels` made of each series.
    """
    encoded = encoded or SeriesCache(encode_labels)
    points: list[Point] = []
    changed: Known = {}
    outdated = 0
    pack = struct.Struct("<d").pack
    for batch in batches:
        before = changed.get(batch.source)
        last = dict(known.get(batch.source, {}) if before is None else before)
        series = encoded.of(batch)
        batch_ms = _to_ms(batch.time)
        for labels, (_, value, _, moment) in zip(series, batch.samples, strict=True):
            time_ms = batch_ms if moment is None else _to_ms(moment)
            point = (labels, pack(value), time_ms)
            previous = last.get(labels)
            if previous is None or previous[2] < time_ms:
                last[labels] = point
                points.append(point)
            elif previous != point:
                outdated += 1
        for labels in last.keys() - set(series):
            # A marker that is not later than the last sample would be out of order.
            _, _, last_ms = last.pop(labels)
            points.append((labels, STALE_MARKER, max(batch_ms, last_ms + 1)))
        changed[batch.source] = last
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
    series: dict[bytes, bytes] = {}
    for labels, value, time_ms in points:
        before, behind = _around_value(time_ms)
        series[labels] = series.get(labels, b"") + before + value + behind
    return b"".join(
        [_SERIES_TAG + delimited(labels + samples) for labels, samples in series.items()]
    )


# The values of one probe have one time, which never comes back.
@lru_cache(64)
def _around_value(time_ms: int) -> tuple[bytes, bytes]:
    """Return what is before and behind the eight bytes of a value in a `Sample` of this time."""
    behind = _TIMESTAMP_TAG + encode_varint(time_ms)
    size = len(_DOUBLE_TAG) + 8 + len(behind)
    return _SAMPLES_TAG + varint(size) + _DOUBLE_TAG, behind


def _to_ms(seconds: float) -> int:
    return round(seconds * _MILLISECONDS)
