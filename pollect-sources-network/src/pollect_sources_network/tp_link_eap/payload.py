"""What the data of an access point says, as samples. Pure.

Missing parts yield no value: no model has all of them. What is there and cannot be read is added to
`problems`.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from pollect.api import (
    DETAIL,
    Headline,
    Kind,
    Metric,
    Sample,
)

TOTAL_CLIENTS = Metric(
    "total_clients", help="Clients of all radios together.", headline=Headline("clients")
)
_RADIO_LABELS = ("wifi", "direction")
PACKETS = Metric("packets", help="Packets of a radio.", kind=Kind.COUNTER, labels=_RADIO_LABELS)
BYTES = Metric(
    "bytes",
    help="Bytes of a radio.",
    unit="bytes",
    kind=Kind.COUNTER,
    labels=_RADIO_LABELS,
    headline=[Headline("received", {"direction": "rx"}), Headline("sent", {"direction": "tx"})],
)
ERRORS = Metric("errors", help="Errors of a radio.", kind=Kind.COUNTER, labels=_RADIO_LABELS)
DROPPED = Metric(
    "dropped",
    help="Packets that a radio dropped.",
    kind=Kind.COUNTER,
    labels=_RADIO_LABELS,
    panel=DETAIL,
)
CLIENTS = Metric("clients", help="Clients of a radio.", labels=("wifi",), panel=DETAIL)
SSID_CLIENTS = Metric(
    "ssid_clients", help="Clients of a network on a radio.", labels=("ssid", "wifi"), panel=DETAIL
)
CHANNEL = Metric("channel", help="Channel of a radio.", labels=("wifi",), panel=DETAIL)
TX_POWER = Metric(
    "tx_power_dbm",
    help="Transmission power of a radio in dBm.",
    unit="dBm",
    labels=("wifi",),
    panel=DETAIL,
)
CPU = Metric("cpu_percent", help="Load of the processor in percent.", unit="percent", panel=DETAIL)
MEMORY = Metric("memory_percent", help="Memory in use in percent.", unit="percent", panel=DETAIL)
UPTIME = Metric(
    "uptime", help="Seconds since the access point started.", unit="seconds", panel=DETAIL
)

#: In the order of the firmware's numbers.
RADIOS = ("2ghz", "5ghz", "5ghz2", "6ghz")

_UPTIME = re.compile(r"(?:(\d+) days? )?(\d+):(\d+):(\d+)")
#: Not the 1 of `1,234`.
_LEADING_NUMBER = re.compile(r"-?\d+(\.\d+)?(?![.,]?\d)", re.ASCII)


def parse_traffic(
    data: Mapping[str, Any], problems: list[str], radio: str, *, details: bool
) -> Iterator[Sample]:
    """Yield the counters of one radio."""
    metrics = [(PACKETS, "packets"), (BYTES, "bytes"), (ERRORS, "errors")]
    if details:
        metrics.append((DROPPED, "dropped"))
    for metric, name in metrics:
        for direction in ("rx", "tx"):
            number = _number(data, f"{direction}_{name}", problems)
            if number is not None:
                yield metric.sample(number, radio, direction)


def parse_users(users: list[Any], problems: list[str]) -> Iterator[Sample]:
    """Yield the clients of each radio, and of each network on it, from the list of all."""
    found = [lower_keys(user) for user in users if _is_object(user)]
    problems += [f"expected a client, got {user!r:.60}" for user in users if not _is_object(user)]
    places = [(str(user.get("ssid") or ""), radio_of(user.get("radio"))) for user in found]
    for user, (_, radio) in zip(found, places, strict=True):
        # A client that is about to leave has neither.
        if user.get("radio") is not None and not radio:
            problems.append(f"expected a radio of a client, got {user['radio']!r:.60}")
    for radio, count in Counter(radio for _, radio in places if radio).items():
        yield CLIENTS.sample(count, radio)
    for (ssid, radio), count in Counter(place for place in places if all(place)).items():
        yield SSID_CLIENTS.sample(count, ssid, radio)


def parse_radio(data: Mapping[str, Any], problems: list[str], radio: str) -> Iterator[Sample]:
    """Yield channel and power; the channel reads `44  / 5220MHz`."""
    for metric, key in ((CHANNEL, "channel"), (TX_POWER, "power")):
        number = _number(data, key, problems)
        if number is not None:
            yield metric.sample(number, radio)


def parse_device(data: Mapping[str, Any], problems: list[str]) -> Iterator[Sample]:
    """Yield load and uptime; the uptime reads `0 days 05:49:13`."""
    data = lower_keys(data)
    for metric, key in ((CPU, "cpu"), (MEMORY, "memory")):
        number = _number(data, key, problems)
        if number is not None:
            yield metric.sample(number)
    uptime = data.get("uptime")
    match = _UPTIME.match(str(uptime))
    if uptime not in (None, "") and not match:
        problems.append(f"uptime: expected days and hours, got {uptime!r:.60}")
    if match:
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        yield UPTIME.sample(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def _is_object(value: object) -> bool:
    return isinstance(value, Mapping)


def _number(data: Mapping[str, Any], key: str, problems: list[str]) -> float | None:
    value = data.get(key)
    number = leading_number(value)
    if number is None and value not in (None, ""):
        problems.append(f"{key}: expected a number, got {value!r:.60}")
    return number


def lower_keys(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return `data` with its keys in lower case: firmware has `SSID` and `ssid`."""
    return {key.lower(): value for key, value in data.items()}


def leading_number(value: object) -> float | None:
    """Return the number a value is or begins with, None if there is none."""
    if not isinstance(value, int | float):
        match = _LEADING_NUMBER.match(str(value).strip())
        value = float(match[0]) if match else math.nan
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # JSON knows integers of any length
        return None


def radio_of(value: object) -> str:
    """Return our name of a radio, given as its number or as its band; empty if unknown."""
    text = str(value).strip().lower()
    if text in ("0", "1", "2", "3"):
        return RADIOS[int(text)]
    band = text[:1]
    return {"2": "2ghz", "5": "5ghz2" if "-2" in text else "5ghz", "6": "6ghz"}.get(band, "")
