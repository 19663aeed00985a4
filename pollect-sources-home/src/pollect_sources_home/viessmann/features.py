"""What the features of a Viessmann device become: one value each, by a rule.

A feature has properties, each with a type and a value. The first of `value`, `temperature`,
`active` and `status` that exists decides, as in pollect 1.x.
"""

import functools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from pollect.api import (
    YES_NO,
    Headline,
    Kind,
    Metric,
    Sample,
)

Feature: TypeAlias = Mapping[str, Any]

#: Features that have short names since 1.x.
ALIASES: Mapping[str, str] = {
    "heating.sensors.temperature.return": "return_temperature",
    "heating.sensors.temperature.outside": "outside_temperature",
    "heating.dhw.sensors.temperature.hotWaterStorage.top": "hot_water_storage_top",
    "heating.dhw.sensors.temperature.hotWaterStorage": "hot_water_storage",
    "heating.secondaryCircuit.temperature.return.minimum": "secondary_return_temp",
    "heating.secondaryCircuit.sensors.temperature.supply": "secondary_supply_temp",
    "heating.dhw.charging": "hot_water_charging",
    "heating.dhw.pumps.circulation": "hot_water_circulation_pump",
    "heating.dhw.pumps.primary": "hot_water_primary_pump",
    "heating.dhw.temperature.main": "hot_water_target_temp",
}
_FEATURE_OF = {name: feature for feature, name in ALIASES.items()}

_HEADLINES = {
    "outside_temperature": Headline("outside"),
    "hot_water_storage_top": Headline("hot water"),
    "secondary_supply_temp": Headline("supply"),
    "heating.boiler.sensors.temperature.main": Headline("boiler"),
}
_PANELS = dict.fromkeys(
    ("hot_water_charging", "hot_water_circulation_pump", "hot_water_primary_pump"), YES_NO
)

#: Words of the service -> ours.
UNITS: Mapping[str, str] = {
    "hour": "hours",
    "minute": "minutes",
    "watt": "watts",
    "volt": "volts",
    "ampere": "amperes",
    "liter": "litres",
    "meter": "metres",
    "kilowattHour": "kWh",
    "wattHour": "Wh",
    "kilowatt": "kW",
    "cubicMeter": "m³",
    "cubicMeter/hour": "m³/h",
    "liter/hour": "l/h",
    "microgrammsPerCubicMeter": "µg/m³",
}

_NUMBERED = re.compile(r"heating\.(circuits|compressors)\.(\d+)(?:\.(.*))?", re.DOTALL)
_LABELS = {"circuits": "circuit", "compressors": "compressor"}
_COMPRESSOR = re.compile(r"heating\.compressors\.(\d+)")
_STATISTICS = re.compile(r"heating\.compressors\.(\d+)\.statistics(\.load)?")

#: Sensors without a value have a status all the same: `connected` is not a temperature of 1.
_SENSORS = (".sensors.", "airQuality")
_STATUSES_ON = ("on", "connected")

#: Phases of a compressor that 1.x knows -> whether it runs in them.
PHASES: Mapping[str, bool] = {
    "preparing": False,
    "heating": True,
    "pause": False,
    "cooling": True,
    "preparing-defrost": False,
    "defrost": True,
    "passive-defrost": False,
    "off": False,
}
LOAD_CLASSES = ("One", "Two", "Three", "Four", "Five")

#: The properties that decide on the one value of a feature, the first that exists.
_DECISIVE = ("value", "temperature", "active", "status")

PHASE = Metric(
    "heating.compressors.phase",
    help="Whether the compressor is in this phase.",
    labels=("phase", "compressor"),
)
ACTIVE = Metric(
    "heating.compressors.active",
    help="Whether the compressor runs.",
    labels=("compressor",),
    headline=Headline("compressor"),
    panel=YES_NO,
)
STARTS = Metric(
    "heating.compressors.stats_starts",
    help="Starts of the compressor.",
    kind=Kind.COUNTER,
    labels=("compressor",),
)
HOURS = Metric(
    "heating.compressors.stats_hours",
    help="Hours the compressor has run.",
    unit="hours",
    kind=Kind.COUNTER,
    labels=("compressor",),
)
HOURS_OF_CLASS = tuple(
    Metric(
        f"heating.compressors.stats_hours_class_{number}",
        help=f"Hours the compressor has run in load class {number}.",
        unit="hours",
        kind=Kind.COUNTER,
        labels=("compressor",),
    )
    for number in range(1, len(LOAD_CLASSES) + 1)
)


@functools.lru_cache(maxsize=2000)
def metric_of(name: str, unit: str = "", labels: tuple[str, ...] = ()) -> Metric:
    """Return the metric of a feature; `name` is what the value is called."""
    feature = _FEATURE_OF.get(name, name)
    return Metric(
        name,
        help=f"Viessmann feature {feature}.",
        unit=unit,
        labels=labels,
        headline=_HEADLINES.get(name, ()),
        panel=_PANELS.get(name),
    )


_SHORT_METRICS = {
    name: metric_of(name, "celsius" if ".temperature." in feature else "")
    for feature, name in ALIASES.items()
}
#: What is known of names before a device was asked.
USUAL_METRICS = (*_SHORT_METRICS.values(), PHASE, ACTIVE, STARTS, HOURS, *HOURS_OF_CLASS)


def parse_features(features: Sequence[Feature]) -> Iterator[Sample]:
    """Yield the values of a device; a feature that is not as it should be brings none."""
    for feature in features:
        sample = _parse_feature(feature)
        if sample is not None:
            yield sample
    yield from _parse_compressors(features)


def find_problems(features: Sequence[Feature]) -> list[str]:
    """Return what of the features is not as it says it is."""
    problems = []
    for feature in features:
        name, properties = feature.get("feature"), feature.get("properties")
        if not isinstance(name, str) or not name:
            problems.append(f"expected a feature with a name, got {feature!r:.60}")
            continue
        if properties is not None and not isinstance(properties, Mapping):
            problems.append(f"{name}: expected an object as properties, got {properties!r:.40}")
        problems += _find_problems_of(name, feature)
    return problems


def _find_problems_of(name: str, feature: Feature) -> Iterator[str]:
    for key, prop in properties_of(feature).items():
        kind, value = prop.get("type"), prop.get("value")
        if value is None:  # a sensor that is not connected
            continue
        if kind == "number" and number_of(prop) is None:
            yield f"{name}: {key}: expected a number, got {value!r:.40}"
        elif kind == "boolean" and not isinstance(value, bool):
            yield f"{name}: {key}: expected true or false, got {value!r:.40}"
        elif kind is None and key in _DECISIVE:
            yield f"{name}: {key}: expected a type beside the value {value!r:.40}"


def name_of(feature: Feature) -> str:
    """Return the name of a feature as the service has it; empty when it has none."""
    name = feature.get("feature")
    return name if isinstance(name, str) else ""


def split_name(name: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Return the name of the value, its label names, and their values."""
    name = ALIASES.get(name, name)
    found = _NUMBERED.fullmatch(name)
    if found is None:
        return name, (), ()
    kind, number, rest = found.groups()
    return f"heating.{kind}" + (f".{rest}" if rest else ""), (_LABELS[kind],), (number,)


def properties_of(feature: Feature) -> Mapping[str, Mapping[str, Any]]:
    """Return the properties of a feature, those that are none left out."""
    found = feature.get("properties")
    if not isinstance(found, Mapping):
        return {}
    return {name: prop for name, prop in found.items() if isinstance(prop, Mapping)}


def number_of(prop: Mapping[str, Any] | None) -> float | None:
    """Return the number in a property of type `number`; None for anything else."""
    if prop is None or prop.get("type") != "number":
        return None
    return finite(prop.get("value"))


def finite(value: object) -> float | None:
    """Return a finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:
        return None


def text_of(prop: Mapping[str, Any] | None) -> str:
    """Return the text in a property; empty for anything else."""
    value = None if prop is None else prop.get("value")
    return value if isinstance(value, str) else ""


def unit_of(prop: Mapping[str, Any]) -> str:
    """Return the unit of a property in our words."""
    unit = prop.get("unit")
    return UNITS.get(unit, unit) if isinstance(unit, str) else ""


def _parse_feature(feature: Feature) -> Sample | None:
    full_name = name_of(feature)
    if not full_name:
        return None
    properties = properties_of(feature)
    for decisive in _DECISIVE:
        prop = properties.get(decisive)
        if prop is not None:
            value = _value_of(decisive, prop, full_name)
            break
    else:
        return None
    if value is None:
        return None
    name, labels, label_values = split_name(full_name)
    metric = _SHORT_METRICS.get(name) or metric_of(name, unit_of(prop), labels)
    return metric.sample(value, *label_values)


def _value_of(decisive: str, prop: Mapping[str, Any], full_name: str) -> float | None:
    if decisive == "status":
        status = prop.get("value")
        if prop.get("type") != "string" or not isinstance(status, str):
            return None
        if any(part in full_name for part in _SENSORS):
            return None
        return float(status in _STATUSES_ON)
    flag = prop.get("value")
    if prop.get("type") == "boolean":
        return float(flag) if isinstance(flag, bool) else None
    return None if decisive == "active" else number_of(prop)


def _parse_compressors(features: Iterable[Feature]) -> Iterator[Sample]:
    statistics: dict[str, dict[str, float]] = {}
    for feature in features:
        name, properties = name_of(feature), properties_of(feature)
        if found := _COMPRESSOR.fullmatch(name):
            yield from _parse_phase(properties, found[1])
        elif found := _STATISTICS.fullmatch(name):
            known = statistics.setdefault(found[1], {})
            for key, prop in properties.items():
                value = number_of(prop)
                # What `statistics.load` says counts more than what `statistics` says.
                if value is not None and (found[2] or key not in known):
                    known[key] = value
    classes = [f"hoursLoadClass{word}" for word in LOAD_CLASSES]
    table = (("starts", STARTS), ("hours", HOURS), *zip(classes, HOURS_OF_CLASS, strict=True))
    for number, known in statistics.items():
        for key, metric in table:
            if key in known:
                yield metric.sample(known[key], number)


def _parse_phase(properties: Mapping[str, Mapping[str, Any]], number: str) -> Iterator[Sample]:
    current = text_of(properties.get("phase"))
    if not current:
        return
    for phase in dict.fromkeys((*PHASES, current)):
        yield PHASE.sample(float(phase == current), phase, number)
    # `ready` and what may come: the pump itself says whether it runs.
    runs = PHASES.get(current, properties.get("active", {}).get("value") is True)
    yield ACTIVE.sample(float(runs), number)
