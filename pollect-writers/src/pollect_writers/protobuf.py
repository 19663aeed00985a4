"""The wire format of protocol buffers, as far as pushed metrics need it.

Encoding: https://protobuf.dev/programming-guides/encoding/. The messages here are small and built
of pieces that repeat at every tick, which no library lets one keep.
"""

from functools import lru_cache

_LENGTH_DELIMITED = 2


def encode_varint(number: int) -> bytes:
    """Encode a number that is not negative, seven bits a byte, the lowest first."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


@lru_cache(4096)
def varint(number: int) -> bytes:
    """Return what `encode_varint` does, remembered: for tags and lengths, which repeat."""
    return encode_varint(number)


def tag(field: int, wire_type: int = _LENGTH_DELIMITED) -> bytes:
    """Return what a field begins with."""
    return varint(field << 3 | wire_type)


def delimited(content: bytes) -> bytes:
    """Return content behind its length."""
    return varint(len(content)) + content


def message(field: int, content: bytes) -> bytes:
    """Return a field that holds a message, text or bytes."""
    return tag(field) + delimited(content)


def text(field: int, value: str) -> bytes:
    """Return a field that holds text; empty text is not a field."""
    return message(field, value.encode()) if value else b""
