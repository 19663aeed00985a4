"""The two tables: series, and the points of each.

::

    pollect_series (id, identity, metric, collection, type, source, name, labels, unit, kind)
    pollect_points (series_id, time_ms, value)            primary key: series_id, time_ms

`identity` is a digest of metric name and labels: labels have no length limit, indexed columns do.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import NamedTuple, Protocol, TypeAlias

from pollect.api import Batch, Sample, unit_of
from pollect_writers.names import prometheus_name
from pollect_writers.series import SeriesCache

SERIES_TABLE = "pollect_series"
POINTS_TABLE = "pollect_points"
#: Hexadecimal digits of an identity; 128 bits tell any number of series apart.
IDENTITY_DIGITS = 32
IDENTITY_BYTES = IDENTITY_DIGITS // 2

_MILLISECONDS = 1000


class Series(NamedTuple):
    """A row of the series table, without its id."""

    identity: str
    #: Name as in Prometheus.
    metric: str
    collection: str
    type: str
    #: Name of the source, empty without one.
    source: str
    #: Name of the value, empty without one.
    name: str
    #: A JSON object, keys sorted.
    labels: str
    unit: str
    kind: str


#: Values by Unix time in milliseconds, for each series.
Points: TypeAlias = dict[Series, dict[int, float]]


class Store(Protocol):
    """A database. Every method raises `Retryable` or `Rejected`."""

    def open(self) -> None:
        """Connect and make the tables; may be called again, then it does nothing."""

    def write(self, points: Points) -> None:
        """Store all points or none; one that is there already stays as it is."""

    def prune(self, before_ms: int) -> None:
        """Delete the points before a time, and the series that have none left."""

    def close(self) -> None:
        """Disconnect; `open` may follow."""


def build_points(batches: Iterable[Batch], known: SeriesCache[Series] | None = None) -> Points:
    """Return the rows of `batches`; of two values of one moment the later one counts.

    `known` remembers what `describe_series` made of each series.
    """
    known = known or SeriesCache(describe_series)
    points: Points = {}
    for batch in batches:
        batch_ms = round(batch.time * _MILLISECONDS)
        for series, sample in zip(known.of(batch), batch.samples, strict=True):
            time = sample.time
            time_ms = batch_ms if time is None else round(time * _MILLISECONDS)
            row = points.get(series)
            if row is None:
                points[series] = {time_ms: float(sample.value)}
            else:
                row[time_ms] = float(sample.value)
    return points


def describe_series(batch: Batch, sample: Sample) -> Series:
    """Return the row of the series that a sample belongs to."""
    source, metric = batch.source, sample.metric
    name = prometheus_name(source, metric)
    labels = json.dumps(
        {label: without_nul(value) for label, value in batch.labels_of(sample)},
        sort_keys=True,
        ensure_ascii=False,
        separators=(",", ":"),
    )
    return Series(
        identity=digest(name, labels),
        metric=name,
        collection=without_nul(source.collection),
        type=source.type,
        source=without_nul(source.name or ""),
        name=without_nul(metric.name or ""),
        labels=labels,
        unit=without_nul(unit_of(metric, sample.label_values)),
        kind=metric.kind.value,
    )


def without_nul(text: str) -> str:
    """Return text without NUL, which PostgreSQL does not take and SQLite ends a text at."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def digest(metric: str, labels: str) -> str:
    """Return the identity of a series."""
    text = f"{metric}{labels}".encode()
    return hashlib.blake2b(text, digest_size=IDENTITY_BYTES).hexdigest()
