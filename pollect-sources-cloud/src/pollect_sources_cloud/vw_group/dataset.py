"""The values of a car in a delivery of the portal. Pure.

A delivery is `{"vin", "user_id", "Data": [{"key", "dataFieldName", "value", "timestampUtc"?}]}`;
all values are texts. Newer cars have dotted names, older ones flat ones, some with two underscores
for one. Names, units and meanings: the data dictionary of the portal.
"""

import io
import json
import math
import re
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pollect.api import BadResponse

MAX_JSON_BYTES = 32 * 1024 * 1024
#: What control units send instead of a value that they do not know.
UNKNOWN_NUMBERS = frozenset((32766.0, 32767.0, 65535.0))
UNKNOWN_WORDS = frozenset(
    ("null", "none", "nan", "n/a", "unknown", "invalid", "unavailable", "unsupported")
)
KILOMETRES_PER_MILE = 1.609344
ZERO_CELSIUS_IN_KELVIN = 273.15

#: Value -> the fields it is taken from, the first that has a number.
PLAIN = {
    "tankLevel": ("fuel_level_current_level", "tank_current_level"),
    "oilLevelPercent": ("oil_level_actual_level",),
    "range.adblue": ("scr_range",),
    "soc": ("battery_state_report.soc", "state_of_charge", "battery_level_HV.value"),
}
#: Countdowns: negative until they are due.
COUNTDOWNS = {
    "inspection_due_km": "maintenance_interval_distance_until_inspection",
    "inspection_due_days": "maintenance_interval_time_until_inspection",
    "oil_service_due_km": "maintenance_interval_distance_until_oil_change",
    "oil_service_due_days": "maintenance_interval_time_until_oil_change",
}
_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_LOCKED = {"true": 1.0, "locked": 1.0, "false": 0.0, "unlocked": 0.0}


#: So far clocks of cars and portals may be ahead of ours.
CLOCK_ERROR_SECONDS = 3600.0
#: Numbers below are no times in seconds, but dates as in 20260131, or nothing.
EARLIEST_TIME = 946_684_800.0  # 2000


@dataclass(frozen=True)
class Measurement:
    """The values of a car, and Unix time in seconds of the newest; None if it names none."""

    values: dict[str, float]
    time: float | None = None
    #: What could not be read.
    problems: tuple[str, ...] = ()


class Fields:
    """The fields of a delivery that have a value; `now` is Unix time in seconds."""

    def __init__(self, data: list[Any], now: float) -> None:
        self._texts: dict[str, list[str]] = defaultdict(list)
        self.times: list[float] = []
        self.problems: list[str] = []
        for entry in data:
            if not isinstance(entry, dict) or not isinstance(entry.get("dataFieldName"), str):
                self.problems.append(f"expected a field with a name, got {entry!r:.60}")
                continue
            name = re.sub("_+", "_", entry["dataFieldName"].strip())
            value = entry.get("value")
            text = "" if value is None or isinstance(value, list | dict) else str(value).strip()
            if text and text.lower() not in UNKNOWN_WORDS:
                self._texts[name].append(text)
            stamps = [entry.get("timestampUtc")]
            if name.rpartition(".")[2] == "car_captured_time":
                stamps.append(text)
            # A time to come would make all that follows look old.
            times = filter(None, map(moment, stamps))
            self.times += (time for time in times if time <= now + CLOCK_ERROR_SECONDS)

    def text(self, *names: str) -> Iterator[str]:
        """Yield the values of these fields, in this order."""
        for name in names:
            yield from self._texts.get(name, ())

    def number(self, *names: str) -> float | None:
        """Return the first number that is known."""
        for name in names:
            for text in self.text(name):
                number = _finite(text)
                if number is None:
                    self.problems.append(f"{name}: expected a number, got {text[:40]!r}")
                elif number not in UNKNOWN_NUMBERS:
                    return number
        return None

    def word(self, meanings: Mapping[str, float], *names: str) -> float | None:
        """Return what the first text that has a meaning means."""
        for name in names:
            for text in self.text(name):
                if text.lower() in meanings:
                    return meanings[text.lower()]
                expected = ", ".join(meanings)
                self.problems.append(f"{name}: expected one of {expected}, got {text[:40]!r}")
        return None


def unpack(content: bytes, where: str) -> Any:
    """Return the JSON in a delivery; raises `BadResponse` that names `where` it is from."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(".json")]
            if not names:
                raise BadResponse(f"{where}: expected a JSON file in the ZIP, got none")
            with archive.open(names[0]) as file:
                text = file.read(MAX_JSON_BYTES + 1)
        if len(text) > MAX_JSON_BYTES:
            raise BadResponse(f"{where}: larger than {MAX_JSON_BYTES} bytes")
        return json.loads(text)
    except (
        zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, KeyError,
        RecursionError,
    ) as error:  # fmt: skip
        # RuntimeError is a password or a method that zipfile does not know.
        raise BadResponse(f"{where}: expected a ZIP with JSON in it: {error}") from error


def parse_delivery(delivery: Any, where: str, now: float) -> Measurement:
    """Return the values in a delivery; raises `BadResponse` when it is not one.

    `now` is Unix time in seconds.
    """
    data = delivery.get("Data") if isinstance(delivery, dict) else None
    if not isinstance(data, list):
        raise BadResponse(f"{where}: expected an object with a list 'Data'")
    fields = Fields(data, now)
    values = {name: fields.number(*sources) for name, sources in PLAIN.items()}
    values["kilometers"] = _kilometers(fields)
    kelvins = fields.number("outside_temperature")
    if kelvins is not None and kelvins <= 0:
        fields.problems.append(f"outside_temperature: expected tenths of K, got {kelvins:g}")
    elif kelvins is not None:
        values["temp.outsite"] = round(kelvins / 10 - ZERO_CELSIUS_IN_KELVIN, 2)
    for name, source in COUNTDOWNS.items():
        left = fields.number(source)
        values[name] = None if left is None else 0.0 - left
    values |= _ranges(fields, has_engine=_has_engine(values))
    values["doors_locked"] = fields.word(_LOCKED, "locked", "lock_state")
    known = {name: number for name, number in values.items() if number is not None}
    problems = tuple(dict.fromkeys(fields.problems))
    return Measurement(known, max(fields.times, default=None), problems)


def moment(text: object) -> float | None:
    """Return Unix time in seconds of a time as text, in ISO 8601 or as a number; None for none."""
    if not isinstance(text, str | int | float) or isinstance(text, bool):
        return None
    number = _finite(str(text))
    if number is not None and number >= EARLIEST_TIME:
        return number / 1000 if number > 1e11 else number
    try:
        found = datetime.fromisoformat(str(text).strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _kilometers(fields: Fields) -> float | None:
    distance = fields.number("mileage.value")
    if distance is None:
        return fields.number("mileage")
    unit = next(fields.text("mileage.unit"), "").lower()
    in_miles = "mile" in unit or unit in ("1", "mi")
    return distance * KILOMETRES_PER_MILE if in_miles else distance


def _has_engine(values: dict[str, float | None]) -> bool:
    """Whether the car burns something: it has a tank with something in it, or oil."""
    return bool(values["tankLevel"]) or values["oilLevelPercent"] is not None


def _ranges(fields: Fields, *, has_engine: bool) -> dict[str, float | None]:
    primary = fields.number("cruising_range_primary_engine")
    secondary = fields.number("cruising_range_secondary_engine")
    total = fields.number("cruising_range_combined")
    if total is None and (primary is not None or secondary is not None):
        total = (primary or 0.0) + (secondary or 0.0)
    fuel, electric = (primary, secondary) if has_engine else (None, primary)
    return {"range.total": total, "range.fuel": fuel, "range.electric": electric}


def _finite(text: str) -> float | None:
    if not _DECIMAL.fullmatch(text.strip()):  # stricter than float, which takes 1_000 and nan
        return None
    number = float(text)
    return number if math.isfinite(number) else None
