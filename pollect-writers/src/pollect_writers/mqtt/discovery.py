"""Discovery messages for Home Assistant, one for each series.

Contract: "MQTT" and "MQTT Sensor" of the Home Assistant documentation (2026.2). A message is
retained at `<prefix>/sensor/pollect/<object id>/config`; an empty one removes the entity. The ids
come from the topic of the series, which is unique on its broker.
"""

import json
import re
import zlib
from typing import NamedTuple

from pollect.api import Kind, Metric, SourceId, describe_unit, unit_of

_NOT_IN_IDS = re.compile(r"[^a-z0-9_-]+")
#: Characters of an object id before its checksum; a topic may be of any length.
_ID_LENGTH = 96


#: Device classes of amounts: a counter is `total_increasing`, and most take a gauge as well.
_AMOUNTS = frozenset({"data_size", "distance", "duration", "energy"})


class Discovery(NamedTuple):
    """Where and how to announce one series."""

    topic: str
    payload: bytes


class Announcer:
    """Makes the discovery messages of one writer."""

    def __init__(self, *, prefix: str, version: str, status_topic: str, qos: int) -> None:
        self._prefix = prefix
        self._version = version
        self._status_topic = status_topic
        self._qos = qos

    def announce(
        self,
        source: SourceId,
        metric: Metric,
        labels: tuple[tuple[str, str], ...],
        *,
        state_topic: str,
        source_status_topic: str,
    ) -> Discovery:
        """Return the message for one series with `labels`."""
        series_id = object_id(state_topic)
        name_parts = [*([metric.name] if metric.name else []), *(value for _, value in labels)]
        origin = {"name": "pollect", "sw_version": self._version}
        payload = {
            # Without a name of its own the entity is called as its device is.
            "name": " ".join(name_parts).replace("_", " ") or None,
            "unique_id": f"pollect_{series_id}",
            "default_entity_id": f"sensor.{series_id.rpartition('_')[0].replace('-', '_')}",
            "state_topic": state_topic,
            "qos": self._qos,
            **describe_entity(metric, unit_of(metric, [value for _, value in labels])),
            "availability": [{"topic": self._status_topic}, {"topic": source_status_topic}],
            "availability_mode": "all",
            "device": {
                "identifiers": [f"pollect_{object_id(source.dotted.lower())}"],
                "name": " ".join(part for part in source[:3] if part),
                "model": source.type,
                "sw_version": self._version,
            },
            "origin": origin,
        }
        text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
        return Discovery(f"{self._prefix}/sensor/pollect/{series_id}/config", text.encode())


def object_id(topic: str) -> str:
    """Return an id of the characters that Home Assistant allows, and another for each topic."""
    readable = _NOT_IN_IDS.sub("_", topic.lower()).strip("_")[:_ID_LENGTH]
    return f"{readable}_{zlib.crc32(topic.encode()):08x}"


def describe_entity(metric: Metric, unit: str) -> dict[str, str]:
    """Return `unit_of_measurement`, `device_class` and `state_class` of one series.

    The class comes from the unit alone, never from the name, and only where Home Assistant accepts
    the two together: it drops an entity otherwise.
    """
    known = describe_unit(unit)
    device_class = known.device_class
    counter = metric.kind is Kind.COUNTER
    if counter and device_class not in _AMOUNTS:
        device_class = ""
    if counter:
        state_class = "total_increasing"
    elif device_class == "energy":
        # A gauge of energy goes up and down: the yield of today, a battery.
        state_class = "total"
    else:
        state_class = "measurement"
    facts = {"unit_of_measurement": known.symbol, "device_class": device_class}
    return {key: value for key, value in facts.items() if value} | {"state_class": state_class}
