"""What `details: true` adds: every further number, statistics, consumption, modes and programs."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pollect.api import (
    DETAIL,
    YES_IS_GOOD,
    Kind,
    Metric,
    Sample,
)
from pollect_sources_home.viessmann.features import (
    Feature,
    finite,
    metric_of,
    name_of,
    number_of,
    properties_of,
    split_name,
    text_of,
    unit_of,
)

BURNER_STARTS = Metric(
    "heating.burners.stats_starts",
    help="Starts of the burner.",
    kind=Kind.COUNTER,
    labels=("burner",),
    panel=DETAIL,
)
BURNER_HOURS = Metric(
    "heating.burners.stats_hours",
    help="Hours the burner has run.",
    unit="hours",
    kind=Kind.COUNTER,
    labels=("burner",),
    panel=DETAIL,
)
MODE = Metric(
    "heating.circuits.operating.mode",
    help="Whether the circuit is in this mode.",
    labels=("mode", "circuit"),
    panel=DETAIL,
)
PROGRAM = Metric(
    "heating.circuits.operating.program",
    help="Whether the circuit runs this program.",
    labels=("program", "circuit"),
    panel=DETAIL,
)
DHW_MODE = Metric(
    "heating.dhw.operating.mode",
    help="Whether hot water is in this mode.",
    labels=("mode",),
    panel=DETAIL,
)
DEVICE_ONLINE = Metric(
    "device_online",
    help="Whether the device is online.",
    labels=("device",),
    panel=YES_IS_GOOD.needing("details"),
)
DETAILS = (BURNER_STARTS, BURNER_HOURS, MODE, PROGRAM, DHW_MODE, DEVICE_ONLINE)

#: The properties that decide on the one value of a feature, which is there without details.
_DECISIVE = ("value", "temperature")
_BURNER = re.compile(r"heating\.burners\.(\d+)\.statistics")
_COMPRESSOR_STATISTICS = re.compile(r"heating\.compressors\.\d+\.statistics(\.load)?")
_OPERATING = re.compile(
    r"heating\.(?:circuits\.(\d+)|dhw)\.operating\.(mode|program)s\.(.+)", re.DOTALL
)
_SUMMARY = ".summary."
#: Arrays whose first element is the current day, week, month or year.
_PERIODS = ("day", "week", "month", "year")
#: Where the house stands is private.
_PRIVATE = "houseLocation"


def parse_details(features: Sequence[Feature]) -> Iterator[Sample]:
    """Yield the less common values of a device."""
    for feature in features:
        name = name_of(feature)
        if not name or _PRIVATE in name or _COMPRESSOR_STATISTICS.fullmatch(name):
            continue
        if burner := _BURNER.fullmatch(name):
            properties = properties_of(feature)
            for key, metric in (("starts", BURNER_STARTS), ("hours", BURNER_HOURS)):
                value = number_of(properties.get(key))
                if value is not None:
                    yield metric.sample(value, burner[1])
        elif _SUMMARY in name:
            yield from _parse_summary(name, feature)
        else:
            yield from _parse_numbers(name, feature)
    yield from _parse_operating(features)


def parse_online(devices: Sequence[Mapping[str, Any]]) -> Iterator[Sample]:
    """Yield whether each device of a gateway's list is online."""
    for device in devices:
        identity, status = device.get("id"), device.get("status")
        if isinstance(identity, str) and isinstance(status, str):
            yield DEVICE_ONLINE.sample(float(status.lower() == "online"), identity)


def _parse_summary(name: str, feature: Feature) -> Iterator[Sample]:
    base, labels, label_values = split_name(name)
    for period, prop in properties_of(feature).items():
        value = number_of(prop)
        if value is not None:
            metric = metric_of(base, unit_of(prop), ("period", *labels))
            yield metric.sample(value, period, *label_values)


def _parse_numbers(name: str, feature: Feature) -> Iterator[Sample]:
    base, labels, label_values = split_name(name)
    properties = properties_of(feature)
    decisive = next((key for key in _DECISIVE if key in properties), None)
    for key, prop in properties.items():
        if key == decisive:
            continue
        value, part = number_of(prop), key
        if key in _PERIODS and prop.get("type") == "array":
            values = prop.get("value")
            value = finite(values[0]) if isinstance(values, list) and values else None
        if value is not None:
            metric = metric_of(f"{base}.{part}", unit_of(prop), labels)
            yield metric.sample(value, *label_values)


def _parse_operating(features: Sequence[Feature]) -> Iterator[Sample]:
    """Yield a 1 for the mode and program of each circuit, a 0 for those it also has."""
    active: dict[tuple[str | None, str], str] = {}
    known: dict[tuple[str | None, str], list[str]] = {}
    for feature in features:
        found = _OPERATING.fullmatch(name_of(feature))
        properties = properties_of(feature)
        # A feature without properties is one that the device does not have.
        if found is None or not properties:
            continue
        circuit, kind, rest = found.groups()
        if rest == "active":
            active[circuit, kind] = text_of(properties.get("value"))
        elif "." not in rest:
            known.setdefault((circuit, kind), []).append(rest)
    for (circuit, kind), current in active.items():
        if not current or (circuit is None and kind == "program"):
            continue
        metric = DHW_MODE if circuit is None else MODE if kind == "mode" else PROGRAM
        labels = () if circuit is None else (circuit,)
        for word in dict.fromkeys((*known.get((circuit, kind), ()), current)):
            yield metric.sample(float(word == current), word, *labels)
