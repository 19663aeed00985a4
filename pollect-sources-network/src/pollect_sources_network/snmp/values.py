"""What an agent's values mean as numbers and as labels."""

import struct
from typing import TypeAlias

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


def text_of(value: Value) -> str:
    """Return a value as a label: text if it is printable UTF-8, else hex pairs (`00:1b:21`)."""
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


def _opaque_number(value: bytes) -> float | None:
    if len(value) == 7 and value.startswith(_OPAQUE_FLOAT):
        return float(struct.unpack(">f", value[3:])[0])
    if len(value) == 11 and value.startswith(_OPAQUE_DOUBLE):
        return float(struct.unpack(">d", value[3:])[0])
    return None
