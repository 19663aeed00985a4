"""What `sensors -j` prints: pure parsing, and what the readings of a chip mean.

The output is an object of chips, each an object of features by label, each with members named
`<feature><number>_<part>`::

    {"nct6798-isa-0290": {"Adapter": "ISA adapter", "CPU Fan": {"fan2_input": 1869.0}}}

lm-sensors 3.5 and newer. Chips may share a name, and features of a chip a label: both are there
twice then. The output is not always JSON: a chip without features leaves a comma
too many (3.6.0), and what cannot be read may be printed as `nan` or `N/A`.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pollect.api import BadResponse
from pollect.support.distinct import Named, tell_apart

_QUOTED_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Feature:
    """One sensor of a chip, in base units; members as `sensors -j` names them."""

    chip: str
    label: str
    members: Mapping[str, float] = field(default_factory=dict)


class Quantity(NamedTuple):
    """What a kind of feature measures."""

    unit: str
    #: The parts that hold the value, the better one first; empty for a member without a part.
    parts: tuple[str, ...] = ("input",)
    #: Digits the text output has behind the point.
    digits: int = 2
    #: Whether the text output puts a prefix before the unit: mV, kW.
    prefixed: bool = False


QUANTITIES = {
    "temp": Quantity("°C", digits=1),
    "in": Quantity("V", prefixed=True),
    "fan": Quantity("RPM", digits=0),
    "power": Quantity("W", ("input", "average"), prefixed=True),
    "energy": Quantity("J", prefixed=True),
    "curr": Quantity("A", prefixed=True),
    "humidity": Quantity("%RH", digits=1),
    "freq": Quantity("Hz"),
    "cpu": Quantity("V", ("vid",), digits=3),
}
LIMITS = ("max", "min", "crit", "lcrit")
#: Up to this magnitude the text output uses this prefix and factor.
PREFIXES = (
    (1e-6, "n", 1e9),
    (1e-3, "u", 1e6),
    (1.0, "m", 1e3),
    (1e3, "", 1.0),
    (1e6, "k", 1e-3),
    (1e9, "M", 1e-6),
    (float("inf"), "G", 1e-9),
)

_MEMBER = re.compile(r"(?P<id>(?P<kind>[a-z]+)\d*)_(?P<part>\w+)")
_SPARE_COMMA = re.compile(r",(?=\s*[}\]])")
_BARE_WORD = re.compile(r'(?<=":)\s*(?!null\b)[+-]?[A-Za-z][^,}\n]*')
_OPENING_LINE = re.compile(r'(?P<indent>\s*)"(?P<name>.*)":\s*\{\s*')
#: Of a chip its adapter, the ends of objects, and what cannot be read at the moment.
_PLAIN_LINE = re.compile(r'[\s{},]*|\s*"Adapter":.*|\s*"\w+":\s*(?:null|[+-]?[A-Za-z]\S*)?,?\s*')
_NUMBER_LINE = re.compile(r'\s*"(?P<name>\w+)":\s*(?P<value>-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?),?\s*')


def parse_sensors(text: str, problems: list[str]) -> list[Feature]:
    """Return the features of all chips; raises `BadResponse` if there is no such thing in it.

    What is there and cannot be read is added to `problems`.
    """
    repaired = _SPARE_COMMA.sub("", _BARE_WORD.sub(" null", text))
    try:
        # As pairs, because a dictionary would keep the last of two with one name only.
        chips = json.loads(repaired, object_pairs_hook=_Pairs)
        if not isinstance(chips, _Pairs):
            raise ValueError("expected an object of chips")
        names = tell_apart(Named(name) for name, _ in chips)
        problems += [
            f"{name}: expected a chip, got {features!r:.60}"
            for name, features in chips
            if not isinstance(features, _Pairs)
        ]
        return [
            Feature(chip, label, _numbers(f"{chip}: {label}", members, problems))
            for chip, (_, features) in zip(names, chips, strict=True)
            if isinstance(features, _Pairs)
            for label, members in features
            if isinstance(members, _Pairs)
        ]
    except (ValueError, RecursionError) as error:
        features = _salvage(text, problems)
        if not features:
            quoted = text.strip()[:_QUOTED_CHARACTERS]
            raise BadResponse(f"expected the JSON of `sensors -j`, got {quoted!r}") from error
        return features


class _Pairs(list[tuple[str, Any]]):
    """Names and values of a JSON object, as often as they stand there."""


def _numbers(place: str, members: _Pairs, problems: list[str]) -> dict[str, float]:
    problems += [
        f"{place}: {name}: expected a number, got {value!r:.40}"
        for name, value in members
        # A sensor that cannot be read at the moment has none.
        if value is not None and not isinstance(value, int | float)
    ]
    return {name: value for name, value in members if isinstance(value, int | float)}


def _salvage(text: str, problems: list[str]) -> list[Feature]:
    """Return what is well-formed, line by line: one bad line must not cost the other chips.

    Chips are indented less than their features.
    """
    chips: list[str] = []
    chip_indent = -1
    #: The position of a chip, the label of a feature, its members.
    found: list[tuple[int, str, dict[str, float]]] = []
    members: dict[str, float] = {}
    for line in text.splitlines():
        if opening := _OPENING_LINE.fullmatch(line):
            indent = len(opening["indent"])
            if chip_indent in (-1, indent):
                chips.append(opening["name"])
                chip_indent = indent
            else:
                members = {}
                found.append((len(chips) - 1, opening["name"], members))
        elif number := _NUMBER_LINE.fullmatch(line):
            members[number["name"]] = float(number["value"])
        elif not _PLAIN_LINE.fullmatch(line):
            problems.append(f"cannot make sense of the line {line.strip()!r:.60}")
    names = tell_apart(Named(chip) for chip in chips)
    return [Feature(names[chip], label, members) for chip, label, members in found]


def feature_id(feature: Feature) -> str:
    """Return what the kernel calls a feature, whatever its label: `fan2`; empty if unknown."""
    return next((match["id"] for match, _ in _matches(feature)), "")


def find_quantity(feature: Feature) -> Quantity | None:
    """Return what a feature measures, whether it can be read now or not."""
    kinds = [match["kind"] for match, _ in _matches(feature)]
    return QUANTITIES.get(kinds[-1]) if kinds else None


def find_value(feature: Feature) -> tuple[float, Quantity] | None:
    """Return the value of a feature and what it measures.

    None for features without a value (intrusion contacts), and while the sensor is faulty or
    cannot be read.
    """
    quantity = find_quantity(feature)
    parts = {match["part"]: number for match, number in _matches(feature)}
    if quantity is None or parts.get("fault"):
        return None
    return next(((parts[part], quantity) for part in quantity.parts if part in parts), None)


def find_limits(feature: Feature) -> dict[str, float]:
    """Return the limits of a feature, among `LIMITS`."""
    parts = {match["part"]: number for match, number in _matches(feature)}
    return {limit: parts[limit] for limit in LIMITS if limit in parts}


def find_alarm(feature: Feature) -> bool | None:
    """Return whether any alarm of a feature is raised; None if it has none."""
    alarms = [number for match, number in _matches(feature) if match["part"].endswith("alarm")]
    return any(alarms) if alarms else None


def _matches(feature: Feature) -> Iterable[tuple[re.Match[str], float]]:
    for member, number in feature.members.items():
        if match := _MEMBER.fullmatch(member):
            yield match, number


def scale_as_text(value: float, quantity: Quantity) -> tuple[float, str]:
    """Return value and unit as `sensors` prints them as text: 0.005 W is 5 mW."""
    prefix, factor = "", 1.0
    if quantity.prefixed and value:
        prefix, factor = next(
            (prefix, factor) for bound, prefix, factor in PREFIXES if abs(value) <= bound
        )
    return round(value * factor, quantity.digits), prefix + quantity.unit
