"""Messages of a Porsche Mobile Charger Connect: JSON text, `{interface, path, name, args}`.

Values of `args` are JSON once more, as text; older firmware sends plain numbers. The charger sends
a part of its state at a time, mostly one value. The fields are those that antpts/ha-pmcc and
arisada/webconnect_mqtt list; the maker has published nothing.
"""

import json
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from pollect.api import BadResponse
from pollect_sources_home.numbers import decimal_number, json_number

#: Which value of the charger: one of `FIELDS`.
Field: TypeAlias = str
#: The key of what may also be a plain number.
_PLAIN = "value"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a field stands: interface, path, key in `args`, and key in what that holds."""

    interface: str
    path: str
    argument: str
    key: str


def _of_session(key: str) -> _Place:
    return _Place("de.bebro.WebServer", "", "swaggerCurrentSession", key)


def _of_phase(number: int) -> _Place:
    return _Place("de.bebro.iCAN", "", f"activePowerL{number}", _PLAIN)


_PLACES: dict[Field, _Place] = {
    "soc": _of_session("soc"),
    "start_soc": _of_session("startSoc"),
    "ev": _of_session("evChargingRatekW"),
    "session_energy": _of_session("energySumKwh"),
    "session_duration": _of_session("duration"),
    "charging_rate": _of_session("chargingRate"),
    "target_soc": _of_session("evTargetSoc"),
    "range_km": _of_session("totalRange"),
    "l1": _of_phase(1),
    "l2": _of_phase(2),
    "l3": _of_phase(3),
    "total_energy": _Place("de.bebro.WebServer", "", "cumulativeChargingData", "totalEnergy"),
    "wifi_signal": _Place(
        "de.bebro.ConnectionManager",
        "WifiNetStatus/NetworkStatus",
        "wifi_signal_strength",
        _PLAIN,
    ),
}
#: Below zero means that the car does not share it.
_NEVER_NEGATIVE = ("soc", "start_soc", "target_soc", "range_km")


def parse_message(
    text: str | bytes, problems: MutableMapping[Field, str]
) -> dict[Field, float | None]:
    """Return the fields that a message changes; None for one that has no value any more.

    Units are those of the charger: percent, kW (`ev`, `charging_rate`), W (`l1` to `l3`), kWh, km,
    seconds, dBm. A message about anything else is empty. `problems` gets what cannot be read of a
    field, which has no value then and costs no other. Raises `BadResponse` for what is not a
    message.
    """
    message = _load(text)
    arguments = message.get("args") if isinstance(message, dict) else None
    if not isinstance(arguments, dict) or "interface" not in message:
        raise BadResponse(f"expected a message with interface and args, got {text!r:.80}")
    source = message["interface"], str(message.get("path") or "").strip("/")
    changed: dict[Field, float | None] = {}
    for field, place in _PLACES.items():
        if (place.interface, place.path) == source and place.argument in arguments:
            try:
                content = _content(arguments[place.argument], place.key)
                if place.key in content:
                    changed[field] = _number(field, content[place.key])
            except BadResponse as error:
                changed[field] = None
                problems[field] = f"{place.argument} ({place.key}): {error}"
    return changed


def _content(argument: Any, key: str) -> Mapping[str, Any]:
    """Return what an argument holds; a plain number stands for an object with key `value`."""
    if isinstance(argument, str):
        argument = _load(argument)
    if isinstance(argument, dict):
        return argument
    if key != _PLAIN and argument is not None:
        raise BadResponse(f"expected an object, got {argument!r:.80}")
    # No object any more: the session is over.
    return {key: argument}


def _number(field: Field, value: Any) -> float | None:
    """Return the number, None for an empty value; raises `BadResponse` for anything else."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        number = decimal_number(value)
    else:
        number = None if isinstance(value, bool) else json_number(value)
    if number is None:
        raise BadResponse(f"expected a number, got {value!r:.40}")
    return None if number < 0 and field in _NEVER_NEGATIVE else number


def _load(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadResponse(f"expected JSON, got {text!r:.80}") from error
