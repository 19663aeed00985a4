"""What an ESPHome device has, and the values of it: no library is needed here.

Entities and states are those of aioesphomeapi, known by the names of their classes. A device
numbers its entities by a hash of their names: a number is unique per kind and sub-device only.
"""

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from pollect.api import Kind, Metric, Sample
from pollect.support.distinct import Named, tell_apart

Domain: TypeAlias = Literal[
    "sensor", "binary_sensor", "switch", "number", "light", "climate", "cover", "fan"
]

#: Suffix of the value name, number, unit where the entity has none of its own.
Value: TypeAlias = tuple[str, float, str]


def _plain(state: Any) -> Iterator[Value]:
    yield "", float(state.state), ""


def _read_light(state: Any) -> Iterator[Value]:
    yield "", float(state.state), ""
    yield "brightness", float(state.brightness), "ratio"


def _read_climate(state: Any) -> Iterator[Value]:
    yield "current_temperature", float(state.current_temperature), "celsius"
    yield "target_temperature", float(state.target_temperature), "celsius"


def _read_cover(state: Any) -> Iterator[Value]:
    yield "", float(state.position), "ratio"


def _read_fan(state: Any) -> Iterator[Value]:
    yield "", float(state.state), ""
    yield "speed", float(state.speed_level), ""


#: What follows the domain in the names of the library's classes -> how to read a state.
_READERS: dict[Domain, tuple[str, Callable[[Any], Iterator[Value]]]] = {
    "sensor": ("Sensor", _plain),
    "binary_sensor": ("BinarySensor", _plain),
    "switch": ("Switch", _plain),
    "number": ("Number", _plain),
    "light": ("Light", _read_light),
    "climate": ("Climate", _read_climate),
    "cover": ("Cover", _read_cover),
    "fan": ("Fan", _read_fan),
}
_DOMAINS = {word: domain for domain, (word, _) in _READERS.items()}
#: State classes that count up: `total_increasing` and `total`.
_COUNTING = (2, 3)

Key: TypeAlias = tuple[Domain, int, int]


@dataclass(slots=True)
class Entity:
    """One entity, and its latest values: suffix -> number and unit."""

    domain: Domain
    #: Value name of its main value.
    name: str
    #: Value of the label `name`.
    label: str
    unit: str
    is_counter: bool
    heard: bool = False
    values: dict[str, tuple[float, str]] = field(default_factory=dict)
    #: What of the latest state is beyond all numbers.
    problem: str = ""

    def take(self, state: Any) -> None:
        """Take over a state; what it does not know is not a value."""
        self.heard = True
        self.values, self.problem = {}, ""
        if getattr(state, "missing_state", False):
            return
        _, read = _READERS[self.domain]
        for suffix, number, unit in read(state):
            if math.isfinite(number):
                self.values[suffix] = number, unit
            elif math.isinf(number):  # while NaN is how a device says that it does not know
                self.problem = f"{self.label}: expected a finite number, got {number}"


class Entities:
    """The entities of one connection that belong to `domains`, with unique labels."""

    def __init__(self, infos: Iterable[Any], domains: Collection[Domain]) -> None:
        self._entities: dict[Key, Entity] = {}
        self._metrics: dict[str, Metric] = {}
        self._twins: list[str] = []
        listed: dict[Key, Any] = {}
        unclear: set[Key] = set()
        for info in infos:
            domain = _DOMAINS.get(type(info).__name__.removesuffix("Info"))
            if domain is None or domain not in domains:
                continue
            key = domain, info.device_id, info.key
            first = listed.setdefault(key, info)
            if first != info:
                # A state names the key alone: the values of both would alternate.
                unclear.add(key)
                self._twins.append(f"{info.name}: has the key of {first.name}")
        found = {key: info for key, info in listed.items() if key not in unclear}
        names = {key: _value_name(key[0], info) for key, info in found.items()}
        labels = tell_apart(
            (Named(str(i.name), _object_id(i), names[key]) for key, i in found.items()),
            "{} ({})".format,
        )
        for (key, info), label in zip(found.items(), labels, strict=True):
            domain, name = key[0], names[key]
            counting = int(getattr(info, "state_class", None) or 0) in _COUNTING
            unit = getattr(info, "unit_of_measurement", "")
            entity = Entity(domain, name, label, unit, is_counter=counting)
            self._entities[key] = entity

    def __len__(self) -> int:
        return len(self._entities)

    @property
    def complete(self) -> bool:
        """Whether every entity has reported its state, be it that it has none."""
        return all(entity.heard for entity in self._entities.values())

    def take(self, state: Any) -> None:
        """Take over a state; those of other entities are passed over."""
        domain = _DOMAINS.get(type(state).__name__.removesuffix("State"))
        if domain is not None:
            entity = self._entities.get((domain, state.device_id, state.key))
            if entity is not None:
                entity.take(state)

    def problems(self) -> list[str]:
        """Return what cannot be reported of the latest states."""
        states = [entity.problem for entity in self._entities.values() if entity.problem]
        return [*self._twins, *states]

    def samples(self) -> Iterator[Sample]:
        """Yield the latest values."""
        for entity in self._entities.values():
            for suffix, (number, unit) in entity.values.items():
                yield self._metric(entity, suffix, unit).sample(number, entity.label)

    def _metric(self, entity: Entity, suffix: str, unit: str) -> Metric:
        """Return the one metric of this name: entities that disagree get no unit, and a gauge."""
        name = f"{entity.name}.{suffix}" if suffix else entity.name
        metric = self._metrics.get(name)
        if metric is None:
            alike = [each for each in self._entities.values() if each.name == entity.name]
            units = {each.unit for each in alike}
            what = (suffix or "state").replace("_", " ")
            kind = entity.name.removeprefix(entity.domain).lstrip(".")
            of_kind = f" of class {kind}" if kind else ""
            metric = self._metrics[name] = Metric(
                name,
                help=f"Latest {what} of each {entity.domain.replace('_', ' ')}{of_kind}.",
                unit=unit or (entity.unit if len(units) == 1 else ""),
                kind=Kind.COUNTER if all(each.is_counter for each in alike) else Kind.GAUGE,
                labels=("name",),
            )
        return metric


def _value_name(domain: Domain, info: Any) -> str:
    """Return the device class, as in 1.x empty without one; of other domains behind the domain."""
    device_class = getattr(info, "device_class", "")
    if domain == "sensor":
        return str(device_class)
    return f"{domain}.{device_class}" if device_class else domain


def _object_id(info: Any) -> str:
    """Return the object id; devices no longer send it, and older libraries do not make it up."""
    return info.object_id or re.sub("[^a-z0-9_-]", "_", info.name.lower())
