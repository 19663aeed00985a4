"""The metrics that a plan has, as far as they are known before anything is asked."""

from collections.abc import Sequence
from typing import Any

import msgspec

from pollect.engine import selfmetrics
from pollect.engine.plan import Plan, SourcePlan
from pollect.engine.samples import matches
from pollect.engine.shaping import Shaper
from pollect.errors import describe
from pollect.model import Metric, SourceId
from pollect.support.names import metric_name

#: pollect's own metrics, by the source they seem to come from.
OF_THE_DAEMON: Sequence[tuple[SourceId, Sequence[Metric]]] = (
    (
        selfmetrics.SOURCE,
        (
            selfmetrics.UP,
            selfmetrics.TROUBLED,
            selfmetrics.TROUBLES,
            selfmetrics.DURATION,
            selfmetrics.PROBES,
            selfmetrics.SKIPPED,
            selfmetrics.SERIES,
            selfmetrics.DROPPED,
            selfmetrics.LAST_SUCCESS,
        ),
    ),
    (
        selfmetrics.WRITER,
        (
            selfmetrics.WRITER_UP,
            selfmetrics.BUFFERED,
            selfmetrics.WRITTEN,
            selfmetrics.LOST,
        ),
    ),
    (selfmetrics.CONFIG, (selfmetrics.RELOAD_SUCCESSFUL, selfmetrics.RELOAD_TIME)),
    (selfmetrics.BUILD, (selfmetrics.BUILD_INFO,)),
)


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


def all_metrics(plan: SourcePlan) -> Sequence[Metric] | None:
    """Return every metric a source can report; None where only its device knows."""
    source: Any = plan.source
    try:
        expected = source.expected_metrics()
        if expected is not None:
            metrics = list(expected)
            for metric in metrics:
                if not isinstance(metric, Metric):
                    raise TypeError(f"expected Metrics, got {metric!r:.80}")
            return metrics
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - code of a plugin
        # Its declared metrics are better than no rules for all the others.
        plan.log.warning("expected_metrics() failed: %s", describe(error))
    return None if source.dynamic_metrics else list(source.metrics)


def contracts_of(plan: SourcePlan) -> list[Contract]:
    """Return the declared metrics of a source as its config lets them out, each name once.

    What the options of the source do not let come is left out.
    """
    source: Any = plan.source
    shaper = Shaper(plan.filter, plan.label_rules, plan.log)
    found: dict[str, Contract] = {}
    for declared in all_metrics(plan) or source.metrics:
        if not matches(plan.filter, declared.name or ""):
            continue
        if not _comes(declared, source.config):
            continue
        shaped = shaper.shaped(declared)
        name = metric_name(plan.id, shaped.name)
        found.setdefault(name, Contract(plan.id, shaped, name, plan.static_labels))
    return list(found.values())


def _comes(metric: Metric, config: object) -> bool:
    needs = metric.panel.needs if metric.panel else ()
    return all(any(getattr(config, name, None) for name in one.split("|")) for one in needs)


def self_contracts(plan: Plan) -> list[Contract]:
    """Return the metrics of pollect itself; none where they are switched off."""
    if not plan.self_metrics:
        return []
    families = [*OF_THE_DAEMON, *_of_fleet(plan.fleet)]
    return [
        Contract(source, metric, metric_name(source, metric.name))
        for source, metrics in families
        for metric in metrics
    ]


def _of_fleet(mode: str) -> Sequence[tuple[SourceId, Sequence[Metric]]]:
    if not mode:
        return ()
    from pollect.fleet import fleet

    if mode == "lease":
        return ((fleet.SOURCE, fleet.METRICS),)
    return ((fleet.SOURCE, (fleet.MEMBERS, fleet.OWNED_SOURCES, fleet.SHARED_SOURCES)),)
