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
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pollect.api import BadResponse

MAX_JSON_BYTES = 32 * 1024 * 1024
#: What control units send instead of a value that they do not know.
UNKNOWN_NUMBERS = frozenset((32766.0, 32767.0, 65535.0))
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
_LOCKED = {"true": 1.0, "locked": 1.0, "false": 0.0, "unlocked": 0.0}


@dataclass(frozen=True)
class Measurement:
    """The values of a car, and Unix time in seconds of the newest; None if it names none."""

    values: dict[str, float]
    time: float | None = None


class Fields:
    """The fields of a delivery that have a value."""

    def __init__(self, data: list[Any]) -> None:
        self._texts: dict[str, list[str]] = defaultdict(list)
        self.times: list[float] = []
        for entry in data:
            if not isinstance(entry, dict) or not isinstance(entry.get("dataFieldName"), str):
                continue
            name = re.sub("_+", "_", entry["dataFieldName"].strip())
            value = entry.get("value")
            text = "" if value is None or isinstance(value, list | dict) else str(value).strip()
            if text and text.lower() != "null":
                self._texts[name].append(text)
            stamps = [entry.get("timestampUtc")]
            if name.rpartition(".")[2] == "car_captured_time":
                stamps.append(text)
            self.times += filter(None, map(moment, stamps))

    def text(self, *names: str) -> Iterator[str]:
        """Yield the values of these fields, in this order."""
        for name in names:
            yield from self._texts.get(name, ())

    def number(self, *names: str) -> float | None:
        """Return the first number that is known."""
        return next(filter(lambda n: n is not None, map(_number, self.text(*names))), None)


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


def parse_delivery(delivery: Any, where: str) -> Measurement:
    """Return the values in a delivery; raises `BadResponse` when it is not one."""
    data = delivery.get("Data") if isinstance(delivery, dict) else None
    if not isinstance(data, list):
        raise BadResponse(f"{where}: expected an object with a list 'Data'")
    fields = Fields(data)
    values = {name: fields.number(*sources) for name, sources in PLAIN.items()}
    values["kilometers"] = _kilometers(fields)
    kelvins = fields.number("outside_temperature")
    if kelvins is not None:
        values["temp.outsite"] = round(kelvins / 10 - ZERO_CELSIUS_IN_KELVIN, 2)
    for name, source in COUNTDOWNS.items():
        left = fields.number(source)
        values[name] = None if left is None else 0.0 - left
    values |= _ranges(fields, has_engine=_has_engine(values))
    values["doors_locked"] = next(
        (
            _LOCKED[text.lower()]
            for text in fields.text("locked", "lock_state")
            if text.lower() in _LOCKED
        ),
        None,
    )
    known = {name: number for name, number in values.items() if number is not None}
    return Measurement(known, max(fields.times, default=None))


def moment(text: object) -> float | None:
    """Return Unix time in seconds of a time as text, in ISO 8601 or as a number; None for none."""
    if not isinstance(text, str | int | float) or isinstance(text, bool):
        return None
    number = _finite(str(text))
    if number is not None:
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


def _number(text: str) -> float | None:
    number = _finite(text)
    return None if number is None or number in UNKNOWN_NUMBERS else number


def _finite(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
