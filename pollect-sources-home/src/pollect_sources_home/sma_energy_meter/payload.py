"""Datagrams of SMA's Speedwire protocol that carry the measurements of an energy meter.

Maker's document "SMA Energy Meter Protocol" (EMETER-Protokoll-TI-en). Big endian: `SMA\\0`, fields
of length, tag and content, an empty field at the end. The field with tag 0x0010 holds a protocol
id, SUSyID, serial number, a ticker in milliseconds, and records: channel, index, type, tariff and a
value of 4 bytes, or 8 for counters. A Sunny Home Manager 2.0 sends the same once more to a charger
of the maker, with another id and a word after it.
"""

import enum
import struct
from dataclasses import dataclass
from typing import Final

from pollect.api import BadResponse

MULTICAST_GROUP: Final = "239.12.255.254"
PORT: Final = 9522

#: Protocol ids of measurements -> bytes between the id and the SUSyID.
_MEASUREMENTS: Final = {0x6069: 0, 0x6081: 2}
_FIELD_TAG: Final = 0x0010
_START: Final = struct.Struct("!4sHH4xHHH")
_DEVICE: Final = struct.Struct("!HII")
_FOUR: Final = struct.Struct("!II")
_EIGHT: Final = struct.Struct("!IQ")
_END: Final = bytes(4)

_AVERAGE, _COUNTER = 4, 8
#: Channel 144, index, type and tariff 0: the version of the meter's software.
_VERSION: Final = 0x9000_0000
_WATT_SECONDS_PER_KWH: Final = 3_600_000

#: Index of a phase's first quantity minus that of the sums.
_PHASE_STEP: Final = 20
_PHASES: Final = ("0", "1", "2", "3")
_POWERS: Final = {
    1: "wirkleistung_positive",
    2: "wirkleistung_negative",
    3: "blindleistung_positive",
    4: "blindleistung_negative",
    9: "scheinleistung_positive",
    10: "scheinleistung_negative",
}


class Foreign(enum.Enum):
    """What comes to the same port and is not a measurement."""

    DISCOVERY = "discovery"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a record means: value name, phase, and what to divide its number by."""

    name: str
    phase: str
    divisor: int
    is_counter: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """One datagram: who sent it, and its raw numbers."""

    protocol: int
    susyid: int
    serial: int
    ticker_ms: int
    #: As `2.13.6.R`; empty if the meter does not say.
    version: str
    numbers: tuple[tuple[Quantity, int], ...]


def _quantities() -> dict[int, Quantity]:
    """Return what each record head means: channel 0, index, type and tariff 0."""
    found = {}

    def add(index: int, kind: int, quantity: Quantity) -> None:
        found[index << 16 | kind << 8] = quantity

    for number, phase in enumerate(_PHASES):
        offset = number * _PHASE_STEP
        for index, name in _POWERS.items():
            counter = Quantity(f"{name}_sum", phase, _WATT_SECONDS_PER_KWH, is_counter=True)
            add(index + offset, _AVERAGE, Quantity(name, phase, 10))
            add(index + offset, _COUNTER, counter)
        if number:
            add(11 + offset, _AVERAGE, Quantity("strom", phase, 1000))
            add(12 + offset, _AVERAGE, Quantity("spannung", phase, 1000))
        add(13 + offset, _AVERAGE, Quantity("leistungsfaktor", phase, 1000))
    add(14, _AVERAGE, Quantity("netzfrequenz", "0", 1000))
    return found


_QUANTITIES: Final = _quantities()


def parse_datagram(data: bytes) -> Reading | Foreign:
    """Return what a datagram says; units as in the table of the maker, before any division.

    Records that are not known are passed over. Raises `BadResponse` for measurements that are
    truncated or whose lengths contradict each other.
    """
    if not data.startswith(b"SMA\0") or len(data) < _START.size:
        return Foreign.OTHER
    _, group_length, _, length, tag, protocol = _START.unpack_from(data)
    if group_length != 4:
        return Foreign.OTHER
    if tag != _FIELD_TAG:
        return Foreign.DISCOVERY
    if protocol not in _MEASUREMENTS:
        # An answer to a discovery has a short field of this tag further on, and not here.
        return Foreign.OTHER
    end = _START.size - 2 + length
    start = _START.size + _MEASUREMENTS[protocol]
    if data[end : end + 4] != _END or start + _DEVICE.size > end:
        raise BadResponse(f"expected {end + 4} bytes of measurements, got {len(data)}")
    susyid, serial, ticker = _DEVICE.unpack_from(data, start)
    numbers, version = _parse_records(data[start + _DEVICE.size : end])
    return Reading(protocol, susyid, serial, ticker, version, numbers)


def _parse_records(records: bytes) -> tuple[tuple[tuple[Quantity, int], ...], str]:
    numbers, version, offset = [], "", 0
    while offset < len(records):
        try:
            head, value = _FOUR.unpack_from(records, offset)
            offset += _FOUR.size
            if head & 0xFF00 == _COUNTER << 8:
                offset -= _FOUR.size
                _, value = _EIGHT.unpack_from(records, offset)
                offset += _EIGHT.size
        except struct.error as error:
            raise BadResponse(f"the last record ends after {len(records)} bytes") from error
        quantity = _QUANTITIES.get(head)
        if quantity is not None:
            numbers.append((quantity, value))
        elif head == _VERSION:
            version = _format_version(value)
    return tuple(numbers), version


def _format_version(value: int) -> str:
    major, minor, build, revision = value.to_bytes(4, "big")
    letter = chr(revision) if chr(revision).isascii() and chr(revision).isalnum() else str(revision)
    return f"{major}.{minor}.{build}.{letter}"
