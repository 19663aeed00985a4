"""Samples as OTLP: names, units, the start times of counters, and the protobuf message.

Built directly on the official protobuf classes: the instruments of an SDK would send the last
value of every series for ever and fold series beyond a limit into one.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from pollect.api import Batch, Kind, Metric, Sample, SourceId, describe_unit

if TYPE_CHECKING:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
    )

#: Longest instrument name of the specification, in characters.
NAME_LIMIT = 255

_NANOSECONDS = 1_000_000_000
_MICROSECONDS = 1_000_000
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9_.\-/]")
_REMEMBERED_NAMES = 16_384


class Point(NamedTuple):
    """One data point, with all that its place in the message depends on."""

    name: str
    metric: Metric
    labels: tuple[tuple[str, str], ...]
    time_ns: int
    value: float
    #: When a counter began to count, as far as is known; 0 for a gauge.
    start_ns: int


class CounterStart(NamedTuple):
    """Since when a counter counts, and the last point seen, which tells a restart."""

    start_ns: int
    last_ns: int
    last_value: float


_Series: TypeAlias = tuple[Metric, tuple[str, ...]]
Starts: TypeAlias = dict[SourceId, dict[_Series, CounterStart]]


@lru_cache(_REMEMBERED_NAMES)
def otel_name(source: SourceId, value_name: str | None) -> str:
    """Return the lower-case metric name: `collection.type.name_value`."""
    name = source.dotted if value_name is None else f"{source.dotted}_{value_name}"
    name = _NOT_IN_A_NAME.sub("_", name.lower())
    if not name[:1].isalpha():
        name = f"x{name}"
    return name[:NAME_LIMIT]


def build_points(batches: Iterable[Batch], known: Starts) -> tuple[list[Point], Starts]:
    """Return the points of `batches`, and what is then known of the counters in them.

    The first point of a counter starts it; so does one below its predecessor, from the time of
    that predecessor on. `known` is not changed: a delivery that fails is built again.
    """
    points: list[Point] = []
    changed: Starts = {}
    for batch in batches:
        before = changed.get(batch.source, known.get(batch.source, {}))
        changed[batch.source] = now = {}
        for sample in batch.samples:
            metric = sample.metric
            time_ns = _to_ns(batch.time if sample.time is None else sample.time)
            start_ns = 0
            if metric.kind is Kind.COUNTER:
                series = (metric, sample.label_values)
                now[series] = counter = _follow(before.get(series), sample, time_ns)
                start_ns = counter.start_ns
            name = otel_name(batch.source, metric.name)
            labels = batch.labels_of(sample)
            points.append(Point(name, metric, labels, time_ns, sample.value, start_ns))
    return points, changed


def build_request(
    points: Sequence[Point], resource: Mapping[str, str], version: str
) -> "ExportMetricsServiceRequest":
    """Return the message that carries `points`."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
    )
    from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

    request = ExportMetricsServiceRequest()
    holder = request.resource_metrics.add()
    _add_attributes(holder.resource.attributes, resource.items())
    scope = holder.scope_metrics.add()
    scope.scope.name = "pollect"
    scope.scope.version = version
    # Two sources may share a name and differ in kind: each kind is a metric of its own.
    families: dict[tuple[str, Kind, str], Any] = {}
    for point in points:
        metric = point.metric
        family = families.get((point.name, metric.kind, metric.unit))
        if family is None:
            message = scope.metrics.add()
            message.name = point.name
            message.description = metric.help
            message.unit = describe_unit(metric.unit).ucum
            if metric.kind is Kind.COUNTER:
                message.sum.aggregation_temporality = (
                    AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
                )
                message.sum.is_monotonic = True
                family = message.sum.data_points
            else:
                family = message.gauge.data_points
            families[point.name, metric.kind, metric.unit] = family
        data = family.add(
            time_unix_nano=point.time_ns,
            start_time_unix_nano=point.start_ns,
            as_double=point.value,
        )
        _add_attributes(data.attributes, point.labels)
    return request


def _follow(before: CounterStart | None, sample: Sample, time_ns: int) -> CounterStart:
    if before is None:
        return CounterStart(time_ns, time_ns, sample.value)
    restarted = sample.value < before.last_value
    return CounterStart(before.last_ns if restarted else before.start_ns, time_ns, sample.value)


def _to_ns(seconds: float) -> int:
    # A float holds today's time to a quarter of a microsecond: more digits would be noise.
    return round(seconds * _MICROSECONDS) * (_NANOSECONDS // _MICROSECONDS)


def _add_attributes(attributes: Any, pairs: Iterable[tuple[str, str]]) -> None:
    for name, value in pairs:
        attributes.add(key=name or "_").value.string_value = value
