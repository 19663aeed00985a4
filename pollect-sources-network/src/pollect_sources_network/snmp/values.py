"""What an agent's values mean as numbers and as labels."""

import ipaddress
import struct
from collections.abc import Callable
from typing import Literal, TypeAlias

from pollect_sources_network.snmp.oids import ADDRESS_COLUMNS

#: Integers of all kinds, strings and Opaque as bytes, addresses and OIDs as text.
Value: TypeAlias = int | float | bytes | str | None

#: Opaque that wraps a float or a double (draft-perkins-float, as net-snmp sends it).
_OPAQUE_FLOAT = b"\x9f\x78\x04"
_OPAQUE_DOUBLE = b"\x9f\x79\x08"


def number_of(value: Value) -> float | None:
    """Return a value as a number, None if it is none.

    Text counts when it is a decimal number (`1.71`); addresses and OIDs do not.
    """
    if type(value) is int or type(value) is float:
        return value
    if not isinstance(value, bytes):
        return None
    opaque = _opaque_number(value)
    if opaque is not None:
        return opaque
    try:
        text = value.decode("ascii").strip()
        # float() also takes what no device means as a number: nan, infinity, 1_000
        return float(text) if text[-1:].isdigit() and "_" not in text else None
    except ValueError:
        return None


#: How octets are shown: `auto` is text where it is printable, and hex pairs elsewhere.
Display: TypeAlias = Literal["auto", "mac", "hex", "ip", "text", "dateAndTime"]


def display_of(oid: str, display: Display = "auto") -> Display:
    """Return how the values of an object or column are shown.

    Objects of the type PhysAddress (SNMPv2-TC, RFC 2579) are octets even when these are printable.
    """
    if display != "auto":
        return display
    is_address = any(oid == each or oid.startswith(f"{each}.") for each in ADDRESS_COLUMNS)
    return "mac" if is_address else "auto"


def text_of(value: Value, display: Display = "auto") -> str:
    """Return a value as a label, octets as `display` says."""
    if display == "auto" or not isinstance(value, bytes):
        return _plain_text(value)
    return _DISPLAYS[display](value)


def _plain_text(value: Value) -> str:
    """Return text if it is printable UTF-8, else hex pairs (`00:1b:21`)."""
    if value is None:
        return ""
    if not isinstance(value, bytes):
        return str(value)
    opaque = _opaque_number(value)
    if opaque is not None:
        return str(opaque)
    try:
        # Agents written in C often send the terminating zero along.
        text = value.decode("utf-8").removesuffix("\0")
    except UnicodeDecodeError:
        return value.hex(":")
    if text.isprintable():
        return text
    without_breaks = " ".join(text.split())
    return without_breaks if without_breaks.isprintable() else value.hex(":")


def _as_address(value: bytes) -> str:
    """Return an InetAddress (RFC 4001), with the zone that some have behind it."""
    length = {4: 4, 8: 4, 16: 16, 20: 16}.get(len(value))
    if length is None:
        return value.hex(":")
    zone = f"%{int.from_bytes(value[length:], 'big')}" if len(value) > length else ""
    return f"{ipaddress.ip_address(value[:length])}{zone}"


def _as_text(value: bytes) -> str:
    text = value.decode("utf-8", errors="replace").rstrip("\0")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _as_date(value: bytes) -> str:
    """Return a DateAndTime (RFC 2579) in the form of ISO 8601."""
    if len(value) not in (8, 11):
        return value.hex(":")
    year, (month, day, hour, minute, second, _) = int.from_bytes(value[:2], "big"), value[2:8]
    text = f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
    return f"{text}{chr(value[8])}{value[9]:02}:{value[10]:02}" if len(value) == 11 else text


_DISPLAYS: dict[str, Callable[[bytes], str]] = {
    "mac": lambda value: value.hex(":"),
    "hex": bytes.hex,
    "ip": _as_address,
    "text": _as_text,
    "dateAndTime": _as_date,
}


def _opaque_number(value: bytes) -> float | None:
    if len(value) == 7 and value.startswith(_OPAQUE_FLOAT):
        return float(struct.unpack(">f", value[3:])[0])
    if len(value) == 11 and value.startswith(_OPAQUE_DOUBLE):
        return float(struct.unpack(">d", value[3:])[0])
    return None
