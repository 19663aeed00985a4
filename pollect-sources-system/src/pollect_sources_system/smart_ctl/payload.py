"""What `smartctl --json` prints: pure parsing.

Facts are from smartctl(8) and its JSON output since smartmontools 7.0. The exit status is a bit
mask: 1 command line, 2 the device cannot be opened or sleeps, 4 a command failed, 8 the disk is
failing, 16 and 32 an attribute is or was at its threshold, 64 the error log and 128 the self-test
log has entries. From 4 on the output is complete.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias, TypeGuard

from pollect.api import BadResponse
from pollect.support.distinct import Named, tell_apart

#: Name, value if there is one, and the name filters go by.
_NamedValue: TypeAlias = tuple[str, float | None, str]

_QUOTED_CHARACTERS = 80
_LEADING_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_NUMBER = re.compile(r"[+-]?(?:\d{1,300}(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_LEADING_HEX = re.compile(r"0x[0-9a-fA-F]+")
#: `Device is in STANDBY mode, exit(2)`, also SLEEP and IDLE with its variants.
_ASLEEP = re.compile(r"\bin \S+ mode\b")
#: Where an object starts that is a document and not a piece of text.
_OBJECT = re.compile(r"^\{", re.MULTILINE)
#: smartctl's own name for what its database does not know.
_UNKNOWN = "Unknown_Attribute"
#: Members that are objects.
_OBJECTS = (
    "temperature",
    "power_on_time",
    "smart_status",
    "ata_smart_attributes",
    "nvme_smart_health_information_log",
    "scsi_error_counter_log",
)
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
    family: str


@dataclass(frozen=True, slots=True)
class DriveReport:
    """What one run of smartctl tells of one drive."""

    exit_status: int
    #: Raw values as the drive counts. Of two ATA attributes with one name the second has its
    #: number appended: `Program_Fail_Count_181`.
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
    #: What of the report could not be read.
    problems: Sequence[str] = field(default_factory=tuple)

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
    """Return what `smartctl --json -a` printed; raises `BadResponse` if it is not that.

    A member that cannot be read costs only itself and is one of the `problems`.
    """
    document = _parse_json(text)
    run = _members(document, "smartctl")
    messages = [
        str(message.get("string", "")) for message in _items(run, "messages") if _is_object(message)
    ]
    problems: list[str] = []
    table = _ata_table(document, problems)
    values = [
        *((name, parse_raw_value(entry), family) for name, family, entry in table),
        *_flatten(_members(document, "nvme_smart_health_information_log"), problems),
        *_scsi_attributes(document),
    ]
    problems += [
        f"attribute {name}: expected a number, got {_quote(entry.get('raw'))}"
        for name, _, entry in table
        if parse_raw_value(entry) is None
    ]
    problems += [
        f"{name}: expected an object, got {_quote(document[name])}"
        for name in _OBJECTS
        if document.get(name) is not None and not _is_object(document[name])
    ]

    def number(name: str, value: object) -> float | None:
        found = _number(value)
        if found is None and value is not None:
            problems.append(f"{name}: expected a number, got {_quote(value)}")
        return found

    passed = _members(document, "smart_status").get("passed")
    if passed is not None and not isinstance(passed, bool):
        problems.append(f"smart_status: expected true or false, got {_quote(passed)}")
        passed = None
    return DriveReport(
        exit_status=int(number("exit_status", run.get("exit_status")) or 0),
        attributes={
            name: Attribute(value, family) for name, value, family in values if value is not None
        },
        normalized={
            name: rating
            for name, family, entry in table
            if (rating := _normalized(entry, family)) is not None
        },
        passed=passed,
        temperature_celsius=number("temperature", _members(document, "temperature").get("current")),
        power_on_hours=number("power_on_time", _members(document, "power_on_time").get("hours")),
        power_cycles=number("power_cycle_count", document.get("power_cycle_count")),
        model=str(document.get("model_name") or document.get("scsi_model_name") or ""),
        serial=str(document.get("serial_number") or ""),
        firmware=str(document.get("firmware_version") or document.get("scsi_revision") or ""),
        asleep=any(_ASLEEP.search(message) for message in messages),
        messages=messages,
        problems=problems,
    )


def _ata_table(
    document: Mapping[str, Any], problems: list[str]
) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Return name, name for filters and contents of the attributes of an ATA drive."""
    entries = []
    for position, entry in enumerate(
        _items(_members(document, "ata_smart_attributes"), "table"), start=1
    ):
        if _is_object(entry) and (entry.get("name") or entry.get("id") is not None):
            entries.append((str(entry.get("name") or _UNKNOWN), entry))
        else:
            problems.append(f"attribute {position}: expected a name, got {_quote(entry)}")
    names = tell_apart(Named(name, entry.get("id", "")) for name, entry in entries)
    return [(name, family, entry) for name, (family, entry) in zip(names, entries, strict=True)]


def parse_scan(text: str) -> list[ScannedDevice]:
    """Return the drives that `smartctl --scan --json` found; raises `BadResponse`."""
    return [
        ScannedDevice(device["name"], str(device.get("type") or ""))
        for device in _items(_parse_json(text), "devices")
        if _is_object(device) and isinstance(device.get("name"), str)
    ]


def parse_raw_value(entry: Mapping[str, Any]) -> float | None:
    """Return the raw value of an entry of the ATA attribute table.

    `raw.string` comes first, because some drives pack several numbers into `raw.value`:
    `32 (Min/Max 19/41)` has the value 689111072. It may also be `37054h+12m+08.635s`, `0/6`,
    `0x00a1` or `34.5`; the first number counts. Failing that, the normalised value.
    """
    raw = _members(entry, "raw")
    text = str(raw.get("string", "")).strip()
    if match := _LEADING_HEX.match(text):
        return int(match.group(), 16)
    if match := _LEADING_NUMBER.match(text):
        return _number(match.group())
    return _number(raw.get("value", entry.get("value")))


def _normalized(entry: Mapping[str, Any], family: str) -> Normalized | None:
    """Return how the drive rates an attribute, None if it does not: 0 would be the worst."""
    value, worst = _number(entry.get("value")), _number(entry.get("worst"))
    if value is None or worst is None:
        return None
    # An attribute without a threshold cannot fail, as with 0.
    return Normalized(value, worst, _number(entry.get("thresh")) or 0.0, family)


def _flatten(log: Mapping[str, Any], problems: list[str]) -> Iterable[_NamedValue]:
    """Yield the numbers of an NVMe health log.

    A number beyond 53 bits has a twin `KEY_s` with its digits as text, and beyond 64 bits one
    more, `KEY_le`, with its bytes. Lists become `KEY_0`, `KEY_1` and so on.
    """
    for key, value in log.items():
        if any(key.endswith(end) and key.removesuffix(end) in log for end in ("_s", "_le")):
            continue
        if isinstance(value, str | bool) and _number(value) is None:
            problems.append(f"{key}: expected a number, got {_quote(value)}")
        if isinstance(value, list):
            for index, item in enumerate(value):
                yield f"{key}_{index}", _number(item), key
        else:
            yield key, _number(log.get(f"{key}_s", value)), key


def _scsi_attributes(document: Mapping[str, Any]) -> Iterable[_NamedValue]:
    for key in _SCSI_COUNTS:
        yield key, _number(document.get(key)), key
    log = _members(document, "scsi_error_counter_log")
    for operation in log:
        for name, value in _members(log, operation).items():
            full_name = f"scsi_{operation}_{name}"
            yield full_name, _number(value), full_name


def _number(value: object) -> float | None:
    """Return a finite number or the number a text holds; None for anything else."""
    if isinstance(value, str):
        text = value.strip()
        if not _NUMBER.fullmatch(text):  # stricter than float, which takes 1_000 and nan
            return None
        value = int(text) if text.lstrip("+-").isdigit() else float(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:
        return None


def _is_object(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, dict)


def _members(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object in the document; an empty one where there is null or something else."""
    found = document.get(name)
    return found if _is_object(found) else {}


def _items(document: Mapping[str, Any], name: str) -> Sequence[Any]:
    found = document.get(name)
    return found if isinstance(found, list) else ()


def _quote(value: object) -> str:
    return repr(value)[:_QUOTED_CHARACTERS]


def _parse_json(text: str) -> Mapping[str, Any]:
    """Return the document in what smartctl printed.

    Versions 7.1 and 7.2 print lines of plain text in front of it (`Pending defect count:0`).
    """
    text = text.lstrip()
    for start in _OBJECT.finditer(text):
        try:
            document, _ = json.JSONDecoder().raw_decode(text, start.start())
        except (ValueError, RecursionError):
            continue
        if _is_object(document.get("smartctl")):
            return document  # type: ignore[no-any-return]
    quoted = text.strip()[:_QUOTED_CHARACTERS]
    raise BadResponse(f"expected the JSON of smartctl 7.0 or newer, got {quoted!r}")
