"""Names in the form of Prometheus, for the writers whose backends share it."""

from collections.abc import Collection
from functools import lru_cache

from pollect.api import Batch, Metric, Sample, SourceId
from pollect.support.names import label_name, metric_name

#: Names repeat at every tick; beyond this many the oldest are worked out again.
_REMEMBERED_NAMES = 16_384

_remembered_metric_name = lru_cache(_REMEMBERED_NAMES)(metric_name)
_remembered_label_name = lru_cache(_REMEMBERED_NAMES)(label_name)


def prometheus_name(source: SourceId, metric: Metric) -> str:
    """Return `collection_type_name_value`, as writer `Prometheus` spells it."""
    return _remembered_metric_name(source, metric.name)


def prometheus_base_name(source: SourceId) -> str:
    """Return `collection_type_name`: the metric name without the name of the value."""
    return _remembered_metric_name(source, None)


def filled_labels(batch: Batch, sample: Sample) -> dict[str, str]:
    """Return the labels of a sample, spelled for Prometheus, without the empty ones.

    Of two labels that end up with the same name the first one stays.
    """
    labels: dict[str, str] = {}
    for name, value in batch.labels_of(sample):
        if value:
            labels.setdefault(_remembered_label_name(name), value)
    return labels


def free_names(labels: dict[str, str], reserved: Collection[str]) -> dict[str, str]:
    """Return labels without the names a backend has for itself: those get an underscore more."""
    if labels.keys().isdisjoint(reserved):
        return labels
    taken = labels.keys() - set(reserved)
    free: dict[str, str] = {}
    for label, value in labels.items():
        name = label
        while name in reserved or (name != label and name in taken):
            name += "_"
        taken.add(name)
        free[name] = value
    return free


def free_name(name: str, reserved: Collection[str]) -> str:
    """Return a name, with an underscore more where a backend has it for itself."""
    return f"{name}_" if name in reserved else name
