"""What `smartctl --json` prints: pure parsing.

Facts are from smartctl(8) and its JSON output since smartmontools 7.0. The exit status is a bit
mask: 1 command line, 2 the device cannot be opened or sleeps, 4 a command failed, 8 the disk is
failing, 16 and 32 an attribute is or was at its threshold, 64 the error log and 128 the self-test
log has entries. From 4 on the output is complete.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from pollect.api import BadResponse

#: Name, value if there is one, and the name filters go by.
_NamedValue: TypeAlias = tuple[str, float | None, str]

_QUOTED_CHARACTERS = 80
_LEADING_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_LEADING_HEX = re.compile(r"0x[0-9a-fA-F]+")
#: `Device is in STANDBY mode, exit(2)`, also SLEEP and IDLE with its variants.
_ASLEEP = re.compile(r"\bin \S+ mode\b")
#: Members of a SAS drive that stand at the top level.
_SCSI_COUNTS = ("scsi_grown_defect_list", "scsi_percentage_used_endurance_indicator")


class Attribute(NamedTuple):
    """One raw value of a drive."""

    value: float
    #: The name filters go by: that of the list, for an item of a list.
    family: str


class Normalized(NamedTuple):
    """How an ATA drive rates an attribute; higher is better."""

    value: float
    worst: float
    threshold: float


@dataclass(frozen=True, slots=True)
class DriveReport:
    """What one run of smartctl tells of one drive."""

    exit_status: int
    #: Raw values as the drive counts. ATA drives may name two attributes alike: the last counts.
    attributes: Mapping[str, Attribute]
    normalized: Mapping[str, Normalized]
    passed: bool | None
    temperature_celsius: float | None
    power_on_hours: float | None
    power_cycles: float | None
    model: str
    serial: str
    firmware: str
    asleep: bool
    messages: Sequence[str] = field(default_factory=tuple)

    @property
    def has_data(self) -> bool:
        """Whether the drive answered at all."""
        readings = (self.passed, self.temperature_celsius, self.power_on_hours)
        return bool(self.attributes) or any(reading is not None for reading in readings)


class ScannedDevice(NamedTuple):
    """One entry of `smartctl --scan --json`."""

    name: str
    type: str


def parse_report(text: str) -> DriveReport:
    """Return what `smartctl --json -a` printed; raises `BadResponse` if it is not that."""
    document = _parse_json(text)
    run = document["smartctl"]
    messages = [str(message.get("string", "")) for message in run.get("messages", ())]
    table = document.get("ata_smart_attributes", {}).get("table", ())
    values = [
        *((entry["name"], parse_raw_value(entry), entry["name"]) for entry in table),
        *_flatten(document.get("nvme_smart_health_information_log", {})),
        *_scsi_attributes(document),
    ]
    return DriveReport(
        exit_status=int(run.get("exit_status", 0)),
        attributes={
            name: Attribute(value, family) for name, value, family in values if value is not None
        },
        normalized={entry["name"]: _normalized(entry) for entry in table},
        passed=document.get("smart_status", {}).get("passed"),
        temperature_celsius=document.get("temperature", {}).get("current"),
        power_on_hours=document.get("power_on_time", {}).get("hours"),
        power_cycles=document.get("power_cycle_count"),
        model=str(document.get("model_name") or document.get("scsi_model_name") or ""),
        serial=str(document.get("serial_number") or ""),
        firmware=str(document.get("firmware_version") or document.get("scsi_revision") or ""),
        asleep=any(_ASLEEP.search(message) for message in messages),
        messages=messages,
    )


def parse_scan(text: str) -> list[ScannedDevice]:
    """Return the drives that `smartctl --scan --json` found; raises `BadResponse`."""
    found = _parse_json(text).get("devices", ())
    return [ScannedDevice(device["name"], device.get("type", "")) for device in found]


def parse_raw_value(entry: Mapping[str, Any]) -> float | None:
    """Return the raw value of an entry of the ATA attribute table.

    `raw.string` comes first, because some drives pack several numbers into `raw.value`:
    `32 (Min/Max 19/41)` has the value 689111072. It may also be `37054h+12m+08.635s`, `0/6`,
    `0x00a1` or `34.5`; the first number counts. Failing that, the normalised value.
    """
    raw = entry.get("raw", {})
    text = str(raw.get("string", "")).strip()
    if match := _LEADING_HEX.match(text):
        return int(match.group(), 16)
    if match := _LEADING_NUMBER.match(text):
        return _number(match.group())
    return _number(raw.get("value", entry.get("value")))


def _normalized(entry: Mapping[str, Any]) -> Normalized:
    return Normalized(*(float(entry.get(name) or 0) for name in ("value", "worst", "thresh")))


def _flatten(log: Mapping[str, Any]) -> Iterable[_NamedValue]:
    """Yield the numbers of an NVMe health log.

    A number beyond 53 bits has a twin `KEY_s` with its digits as text, and beyond 64 bits one
    more, `KEY_le`, with its bytes. Lists become `KEY_0`, `KEY_1` and so on.
    """
    for key, value in log.items():
        if any(key.endswith(end) and key.removesuffix(end) in log for end in ("_s", "_le")):
            continue
        if isinstance(value, list):
            for index, item in enumerate(value):
                yield f"{key}_{index}", _number(item), key
        else:
            yield key, _number(log.get(f"{key}_s", value)), key


def _scsi_attributes(document: Mapping[str, Any]) -> Iterable[_NamedValue]:
    for key in _SCSI_COUNTS:
        yield key, _number(document.get(key)), key
    for operation, counters in document.get("scsi_error_counter_log", {}).items():
        for name, value in counters.items():
            full_name = f"scsi_{operation}_{name}"
            yield full_name, _number(value), full_name


def _number(value: object) -> float | None:
    """Return a number or the number a text holds; None for anything else."""
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            try:
                return float(value)
            except ValueError:
                return None
    return value if isinstance(value, int | float) else None


def _parse_json(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        quoted = text.strip()[:_QUOTED_CHARACTERS]
        raise BadResponse(f"expected the JSON of smartctl 7.0 or newer, got {quoted!r}") from error
    if not isinstance(document, dict) or "smartctl" not in document:
        raise BadResponse(f"expected the JSON of smartctl, got {text[:_QUOTED_CHARACTERS]!r}")
    return document
