"""From what an agent says to what is reported: numbers, states, and parts of texts."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from pollect.api import ConfigError, Metric, Sample
from pollect_sources_network.snmp.rates import CounterBits
from pollect_sources_network.snmp.values import Display, Value, number_of, text_of

STATE_LABEL = "state"

#: Returns a value as a number, None if it is none.
Reader: TypeAlias = Callable[[Value], float | None]
Octets: TypeAlias = Literal["text", "bigEndian", "littleEndian", "dateAndTime"]


class Conversion(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """From what the agent says to the number that is reported."""

    scale: Annotated[float, Meta(description="Factor of the value.")] = 1.0
    offset: Annotated[float, Meta(description="Added to the value after `scale`.")] = 0.0
    counter_bits: Annotated[
        CounterBits,
        Meta(
            description="Width of a counter with `mode: rate`: 32 or 64, `auto` to see from the "
            "values, `none` for a value that may fall."
        ),
    ] = "auto"
    map: Annotated[
        dict[str, float], Meta(description="Numbers for texts or for other numbers.")
    ] = {}
    extract: Annotated[
        str,
        Meta(
            description="Regular expression that finds the number in a text: its first group, or "
            "all of it."
        ),
    ] = ""
    octets: Annotated[
        Octets,
        Meta(
            description="What an octet string holds: `text` with a decimal number, an integer in "
            "one of the two byte orders, or `dateAndTime` (SNMPv2-TC), reported as Unix time in "
            "seconds."
        ),
    ] = "text"
    display: Annotated[
        Display,
        Meta(
            description="How `map`, `states` and `extract` see an octet string: `mac` and `hex` as "
            "octets, `ip` as an address, `text`, or `dateAndTime` (ISO 8601); `auto` as text where "
            "it is printable, as octets where the MIB says so."
        ),
    ] = "auto"
    states: Annotated[
        dict[str, str],
        Meta(
            description="Words for numbers or texts. Reports 1 for the word that holds and 0 for "
            f"the others, in place of the value, with the word in the label `{STATE_LABEL}`."
        ),
    ] = {}


def build_reader(entry: Conversion, key: str) -> Reader:
    """Return what makes a number of a value; raises `ConfigError` below `key`."""
    if entry.extract and entry.octets != "text":
        raise ConfigError("is for octets that are text", key=f"{key}.extract")
    if entry.octets == "dateAndTime":
        return time_of
    if entry.octets != "text":
        order: Literal["big", "little"] = "big" if entry.octets == "bigEndian" else "little"
        return lambda value: integer_of(value, order)
    if not entry.extract:
        return number_of
    pattern, display = compile_pattern(entry.extract, f"{key}.extract"), entry.display
    return lambda value: number_of(part_of(text_of(value, display), pattern, otherwise="").encode())


def check_states(entry: Conversion, key: str, labels: tuple[str, ...], *, is_one: bool) -> None:
    """Raise `ConfigError` below `key` for states that cannot be reported.

    `is_one`: the entry reports a value that is neither a rate nor a sum.
    """
    if not entry.states:
        return
    if not is_one or entry.map or entry.extract or entry.octets != "text":
        raise ConfigError("a value with states is one object, not a number", key=f"{key}.states")
    if STATE_LABEL in labels:
        raise ConfigError(f"there is a label {STATE_LABEL!r} already", key=f"{key}.states")


def compile_pattern(text: str, key: str) -> re.Pattern[str]:
    """Return a regular expression; raises `ConfigError` for `key`."""
    try:
        return re.compile(text)
    except re.error as error:
        raise ConfigError(f"expected a regular expression: {error}", key=key) from error


def part_of(text: str, pattern: re.Pattern[str] | None, *, otherwise: str | None = None) -> str:
    """Return the part of a text that a pattern finds: its first group, or all that matches.

    `otherwise` is for a text in which it finds nothing; by default the text itself.
    """
    found = pattern.search(text) if pattern is not None else None
    if found is None:
        return text if otherwise is None else otherwise
    return (found[1] if found.re.groups else found[0]) or ""


def state_samples(
    metric: Metric,
    states: Mapping[str, str],
    value: Value,
    labels: tuple[str, ...],
    display: Display = "auto",
) -> list[Sample]:
    """Return a sample for each state, 1 for the one that `value` means.

    A value that means none of them is a state of its own, called by what the agent says.
    """
    text = text_of(value, display)
    current = states.get(text, text)
    words = dict.fromkeys((*states.values(), current))
    return [Sample(metric, float(word == current), (*labels, word)) for word in words]


def integer_of(value: Value, order: Literal["big", "little"]) -> float | None:
    """Return octets as an unsigned integer; other values as they are."""
    if not isinstance(value, bytes):
        return number_of(value)
    return int.from_bytes(value, order) if value else None


def time_of(value: Value) -> float | None:
    """Return the Unix time in seconds of a DateAndTime (RFC 2579, section 2).

    Eight octets are year, month, day, hour, minute, second and tenths; three more are the zone.
    Without a zone it is the time of a device that has none, taken for UTC as snmp_exporter does.
    """
    if not isinstance(value, bytes) or len(value) not in (8, 11):
        return None
    month, day, hour, minute, second, tenths = value[2:8]
    zone = UTC
    try:
        if len(value) == 11:
            ahead = timedelta(hours=value[9], minutes=value[10])
            zone = timezone(-ahead if value[8:9] == b"-" else ahead)
        year = int.from_bytes(value[:2], "big")
        # A leap second is the last one of its minute here.
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=zone)
    except ValueError:
        return None
    return moment.timestamp() + tenths / 10
