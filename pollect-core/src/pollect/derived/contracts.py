"""The metrics that a plan has, as far as they are known before anything is asked."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from pollect.engine import selfmetrics
from pollect.engine.plan import Plan, SourcePlan
from pollect.engine.samples import matches
from pollect.engine.shaping import Shaper
from pollect.model import Metric, SourceId
from pollect.support.names import metric_name

#: pollect's own metrics, by the source they seem to come from.
OF_SOURCES = (
    selfmetrics.UP,
    selfmetrics.TROUBLED,
    selfmetrics.DURATION,
    selfmetrics.SERIES,
)
OF_WRITERS = (selfmetrics.WRITER_UP, selfmetrics.BUFFERED, selfmetrics.WRITTEN, selfmetrics.LOST)


class Contract(msgspec.Struct, frozen=True):
    """One metric of one source."""

    source: SourceId
    metric: Metric
    #: As in Prometheus.
    name: str
    static_labels: tuple[tuple[str, str], ...] = ()


def sources_of(plan: Plan) -> list[SourcePlan]:
    """Return every source of a plan, in its order."""
    return [source for executor in plan.executors for source in executor.sources]


def contracts_of(plan: SourcePlan) -> list[Contract]:
    """Return the declared metrics of a source as its config lets them out, each name once."""
    source: Any = plan.source
    shaper = Shaper(plan.filter, plan.label_rules, plan.log)
    found: dict[str, Contract] = {}
    for metric in source.metrics:
        if not matches(plan.filter, metric.name or ""):
            continue
        shaped = shaper.shaped(metric)
        name = metric_name(plan.id, shaped.name)
        found.setdefault(name, Contract(plan.id, shaped, name, plan.static_labels))
    return list(found.values())


def self_contracts(plan: Plan) -> list[Contract]:
    """Return the metrics of pollect itself; none where they are switched off."""
    return list(_own()) if plan.self_metrics else []


def _own() -> Iterator[Contract]:
    families: Sequence[tuple[SourceId, Sequence[Metric]]] = (
        (selfmetrics.SOURCE, OF_SOURCES),
        (selfmetrics.WRITER, OF_WRITERS),
    )
    for source, metrics in families:
        for metric in metrics:
            yield Contract(source, metric, metric_name(source, metric.name))
