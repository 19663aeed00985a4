"""What the values of a source look like in Prometheus and in Home Assistant, for its page.

Made by the writers' own code from the metrics that the source declares, in a collection `home`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pollect.api import Metric, Source, SourceId
from pollect_writers.mqtt.discovery import Announcer
from pollect_writers.mqtt.topics import series_topic
from pollect_writers.names import prometheus_name

COLLECTION = "home"
#: What stands for any value of a label, in characters that no writer replaces, and how it is shown.
_ANY, _SHOWN = "0any{}any0", "‹{}›"
_ANNOUNCER = Announcer(prefix="homeassistant", version="", status_topic="pollect/status", qos=0)


def prometheus_table(type_name: str, source: type[Source[Any]]) -> str:
    """Return a table of the series of a source as the writer `Prometheus` names them."""
    where = SourceId(COLLECTION, type_name)
    rows = []
    for metric in source.metrics:
        labels = ", ".join(f'{label}="‹{label}›"' for label in metric.labels)
        series = prometheus_name(where, metric) + (f"{{{labels}}}" if labels else "")
        rows.append((f"`{series}`", metric.kind.value, metric.help))
    return _table(("series", "type", "meaning"), rows)


def home_assistant_table(type_name: str, source: type[Source[Any]]) -> str:
    """Return a table of the entities of a source as the discovery of `Mqtt` announces them."""
    rows = [_entity(SourceId(COLLECTION, type_name), metric) for metric in source.metrics]
    return _table(("entity", "name", "unit", "device class", "state class"), rows)


def _entity(source: SourceId, metric: Metric) -> tuple[str, ...]:
    values = [_ANY.format(label.lower().replace("_", "-")) for label in metric.labels]
    sample = metric.sample(0.0, *values)
    announced = json.loads(
        _ANNOUNCER.announce(
            source,
            metric,
            tuple(zip(metric.labels, values, strict=True)),
            state_topic=series_topic(source, sample),
            source_status_topic="pollect/source",
        ).payload
    )
    facts = (
        f"`{announced['default_entity_id']}`",
        announced["name"] or announced["device"]["name"],
        *(announced.get(key, "") for key in ("unit_of_measurement", "device_class", "state_class")),
    )
    return tuple(
        _with_labels(fact, dict(zip(values, metric.labels, strict=True))) for fact in facts
    )


def _with_labels(text: str, labels: Mapping[str, str]) -> str:
    """Return a text with the names of labels where a value of them is meant."""
    for value, label in labels.items():
        shown = _SHOWN.format(label)
        text = text.replace(value, shown).replace(value.replace("-", "_"), shown)
    return text


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(_lines(head, rows))


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield _line(head)
    yield _line(["---"] * len(head))
    yield from (_line([cell.replace("|", "\\|") for cell in row]) for row in rows)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
