"""How a section of the config wants the values of its source."""

from collections.abc import Mapping
from typing import Any

from pollect.engine.plan import SourcePlan
from pollect.engine.shaping import LabelRules
from pollect.plugin import MetricFilter, Source, SourceConfig


def plan_source(
    source: Source[Any],
    config: SourceConfig,
    *,
    interval: float,
    labels: Mapping[str, str],
    path: str,
    keep_stale: bool = False,
    fleet: bool = True,
    exclusive: bool = False,
) -> SourcePlan:
    """Return how to run a source; `labels` are those around its own section."""
    rules = LabelRules(drop=config.drop_labels, rename=config.rename_labels)
    return SourcePlan(
        source=source,
        interval=interval,
        static_labels=tuple(rules.apply_to_static({**labels, **config.labels}).items()),
        filter=_filter_of(config),
        label_rules=rules,
        max_series=_max_series_of(config),
        keep_stale=keep_stale,
        fleet=fleet,
        exclusive=exclusive,
        path=path,
    )


def _filter_of(config: SourceConfig) -> MetricFilter:
    """Return which values of a source are wanted."""
    # A source may use the word for something else, as HttpIngress has from the beginning.
    return config.metrics if isinstance(config.metrics, MetricFilter) else MetricFilter()


def _max_series_of(config: SourceConfig) -> int:
    """Return how many series a source may have, 0 for no limit."""
    # HttpIngress has the word for what it keeps itself, of each of which it may show three.
    declared = any(
        "max_series" in vars(base).get("__annotations__", {})
        for base in type(config).__mro__[: type(config).__mro__.index(SourceConfig)]
    )
    return 0 if declared else config.max_series
