"""Items of openHAB as samples. Pure; an item that makes no sense yields no value.

The format is that of `GET /rest/items` (openhab/openhab-core, `ItemResource.java`): a list of
objects whose `state` is text. Only the type decides what it means: a `Location` begins with digits,
too. The display pattern and `transformedState` are for people and never read.
"""

import functools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from pollect.api import Metric, Sample
from pollect_sources_home.numbers import decimal_number

GROUP = "Group"
#: What is always reported.
BASIC_TYPES = ("Number", "Switch")

_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_:]+")
_WORDS: Mapping[str, Mapping[str, float]] = {
    "Switch": {"ON": 1.0, "OFF": 0.0},
    "Contact": {"OPEN": 1.0, "CLOSED": 0.0},
    "Player": {"PLAY": 1.0, "PAUSE": 0.0, "REWIND": 0.0, "FASTFORWARD": 0.0},
}


#: Types of groups whose state is a number; that of a player may be something else.
GROUP_TYPES = ("Number", "Dimmer", "Rollershutter", "Switch", "Contact", "Color", "DateTime")

#: What every type of item may have before its first update, and when it is offline.
UNKNOWN_STATES = ("NULL", "UNDEF", None)


def parse_items(
    items: Iterable[object],
    types: Collection[str],
    groups: Collection[str] | None,
    problems: list[str],
) -> Iterator[Sample]:
    """Yield the values of the items that have one of `types` and, if given, are in `groups`.

    What cannot be read is added to `problems`.
    """
    seen: set[str] = set()
    for item in items:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            problems.append(f"expected an item with a name, got {item!r:.60}")
            continue
        name, label = item["name"], item.get("label")
        if label is not None and not isinstance(label, str):
            problems.append(f"{name}: expected a text as label, got {label!r:.40}")
        if not isinstance(label, str) or name in seen:
            continue
        membership = _texts(item.get("groupNames"))
        if groups is not None and not set(groups) & set(membership):
            continue
        value = item_value(item, types)
        if value is None and is_unreadable(item, types):
            problems.append(
                f"{name}: expected a state of {item.get('groupType') or item['type']}, got "
                f"{item['state']!r:.40}"
            )
        if value is not None:
            seen.add(name)
            yield item_metric(value_name(label, name)).sample(value, name, ",".join(membership))


def is_unreadable(item: Mapping[str, Any], types: Collection[str]) -> bool:
    """Whether an item of one of `types` without a value has a state that should be one."""
    kind, state = _base_type(item.get("type")), item.get("state")
    if kind not in types or state in UNKNOWN_STATES:
        return False
    if kind == GROUP:
        # Without a type it has no state of its own; with one of texts, no number.
        return _base_type(item.get("groupType")) in GROUP_TYPES
    return kind != "Player"  # which may do what is no number


def item_value(item: Mapping[str, Any], types: Collection[str]) -> float | None:
    """Return the number of an item, None if it has none or is of another type."""
    kind, state = _base_type(item.get("type")), item.get("state")
    if kind not in types or not isinstance(state, str):
        return None
    if kind == GROUP:
        kind = _base_type(item.get("groupType"))
    return state_value(kind, state)


def state_value(kind: str, state: str) -> float | None:
    """Return the number that a state of this type of item means, None if it means none.

    `NULL` and `UNDEF`, which every type may have, mean none.
    """
    match kind:
        case "Number" | "Dimmer" | "Rollershutter":
            return decimal_number(state.partition(" ")[0])
        case "Switch" | "Contact" | "Player":
            return _WORDS[kind].get(state)
        case "Color":
            # Hue, saturation, brightness.
            parts = state.split(",")
            return decimal_number(parts[2]) if len(parts) == 3 else None
        case "DateTime":
            return _unix_time(state)
    return None


def value_name(label: str, item_name: str) -> str:
    """Return the value name of 1.x: the label with `_` for every run of other characters."""
    return _NOT_IN_A_NAME.sub("_", label or item_name)


@functools.lru_cache(maxsize=10_000)
def item_metric(name: str) -> Metric:
    """Return the metric of all items with this value name."""
    return Metric(name, help="State of an item.", labels=("name", "group"))


def _base_type(kind: object) -> str:
    """Return the type without its dimension: `Number:Temperature` is a `Number`."""
    return kind.partition(":")[0] if isinstance(kind, str) else ""


def _texts(values: object) -> list[str]:
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def _unix_time(state: str) -> float | None:
    try:
        time = datetime.fromisoformat(state)
    except ValueError:
        return None
    return time.timestamp() if time.tzinfo is not None else None
