"""What pollect reports of an X.509 certificate, read from its DER encoding.

RFC 5280, section 4.1 gives the structure and X.690 the encoding. A few fields are needed, so this
small reader spares the library `cryptography`, which has no wheel for the oldest Raspberry Pi.
Signatures are not its business: whether a certificate can be trusted is for TLS to say.
"""

import base64
import contextlib
import hashlib
import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pollect.api import BadResponse

_BOOLEAN = 0x01
_INTEGER = 0x02
_BIT_STRING = 0x03
_OCTET_STRING = 0x04
_OBJECT_ID = 0x06
_UTC_TIME = 0x17
_GENERALIZED_TIME = 0x18
_SEQUENCE = 0x30
_SET = 0x31
_VERSION = 0xA0
_EXTENSIONS = 0xA3

#: Text types; T61 is used as Latin-1 by everybody who ever used it.
_TEXT_ENCODINGS = {
    0x0C: "utf-8",
    0x12: "ascii",
    0x13: "ascii",
    0x14: "latin-1",
    0x16: "ascii",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}

_ATTRIBUTES = {
    "2.5.4.3": "CN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "street",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "emailAddress",
}
_SUBJECT_ALT_NAME = "2.5.29.17"

_RSA = "1.2.840.113549.1.1.1"
_ELLIPTIC_CURVE = "1.2.840.10045.2.1"
_KEYS = {"1.3.101.112": "Ed25519", "1.3.101.113": "Ed448", "1.2.840.10040.4.1": "DSA"}
_CURVES = {
    "1.2.840.10045.3.1.7": "P-256",
    "1.3.132.0.34": "P-384",
    "1.3.132.0.35": "P-521",
}

_ALT_EMAIL, _ALT_DNS, _ALT_URI, _ALT_ADDRESS = 0x81, 0x82, 0x86, 0x87

_PEM_BLOCK = re.compile(rb"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----(.+?)-----END ", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Certificate:
    """The facts of one certificate."""

    #: As `CN=example.org, O=Example`, in the order of the certificate.
    subject: str
    issuer: str
    #: Hexadecimal, as browsers show it.
    serial: str
    #: Unix time in seconds.
    not_before: float
    not_after: float
    #: Names and addresses the certificate is for.
    alt_names: tuple[str, ...]
    #: As `RSA 2048` or `EC P-256`.
    key: str
    fingerprint_sha256: str


def parse_certificate(der: bytes) -> Certificate:
    """Read one certificate; raises `BadResponse` when it is none."""
    try:
        return _parse(der)
    except (ValueError, IndexError, StopIteration) as error:
        raise BadResponse(f"not a certificate: {error or 'it ends too early'}") from error


def earliest_expiry(chain: Iterable[bytes]) -> float | None:
    """Return when the first certificate of a chain in DER expires, Unix time in seconds.

    A certificate that cannot be read is passed over; None when there is no other.
    """
    ends = []
    for der in chain:
        with contextlib.suppress(BadResponse):
            ends.append(parse_certificate(der).not_after)
    return min(ends, default=None)


def split_pem(data: bytes) -> list[bytes]:
    """Return the certificates of a PEM file in DER, in their order; a DER file is one itself.

    Raises `BadResponse` when there is none.
    """
    if data[:1] == bytes([_SEQUENCE]):
        return [data]
    try:
        found = [base64.b64decode(block) for block in _PEM_BLOCK.findall(data)]
    except ValueError as error:
        raise BadResponse("the certificate file is damaged") from error
    if not found:
        raise BadResponse("expected a certificate in PEM or DER")
    return found


def _parse(der: bytes) -> Certificate:
    fields = _children(_body(_children(_body(_children(der), _SEQUENCE)), _SEQUENCE))
    tag, value = next(fields)
    if tag == _VERSION:
        tag, value = next(fields)
    serial = int.from_bytes(_expect(tag, value, _INTEGER), "big", signed=True)
    _body(fields, _SEQUENCE)  # the signature algorithm
    issuer = _read_name(_body(fields, _SEQUENCE))
    validity = _children(_body(fields, _SEQUENCE))
    not_before, not_after = _read_time(*next(validity)), _read_time(*next(validity))
    subject = _read_name(_body(fields, _SEQUENCE))
    key = _read_key(_body(fields, _SEQUENCE))
    alt_names: tuple[str, ...] = ()
    for tag, value in fields:
        if tag == _EXTENSIONS:
            alt_names = _read_alt_names(_body(_children(value), _SEQUENCE))
    return Certificate(
        subject=subject,
        issuer=issuer,
        serial=f"{serial:x}",
        not_before=not_before,
        not_after=not_after,
        alt_names=alt_names,
        key=key,
        fingerprint_sha256=hashlib.sha256(der).hexdigest(),
    )


def _children(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of every element in `data`."""
    position = 0
    while position < len(data):
        tag, length = data[position], data[position + 1]
        position += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[position : position + size], "big")
            position += size
        if position + length > len(data):
            raise ValueError("it ends too early")
        yield tag, data[position : position + length]
        position += length


def _expect(tag: int, value: bytes, wanted: int) -> bytes:
    if tag != wanted:
        raise ValueError(f"expected element {wanted:#04x}, got {tag:#04x}")
    return value


def _body(elements: Iterator[tuple[int, bytes]], wanted: int) -> bytes:
    return _expect(*next(elements), wanted)


def _read_object_id(value: bytes) -> str:
    numbers, current = [], 0
    for byte in value:
        current = current << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(current)
            current = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(str(number) for number in (first, numbers[0] - 40 * first, *numbers[1:]))


def _read_name(data: bytes) -> str:
    parts = []
    for tag, relative in _children(data):
        for inner_tag, attribute in _children(_expect(tag, relative, _SET)):
            elements = _children(_expect(inner_tag, attribute, _SEQUENCE))
            kind = _read_object_id(_body(elements, _OBJECT_ID))
            text_tag, text = next(elements)
            value = text.decode(_TEXT_ENCODINGS.get(text_tag, "latin-1"), errors="replace")
            parts.append(f"{_ATTRIBUTES.get(kind, kind)}={value}")
    return ", ".join(parts)


def _read_time(tag: int, value: bytes) -> float:
    """Return Unix time; RFC 5280 wants `YYMMDDHHMMSSZ` until 2049 and four year digits after."""
    text = value.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError(f"expected a time, got element {tag:#04x}")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _read_key(data: bytes) -> str:
    elements = _children(data)
    algorithm = _children(_body(elements, _SEQUENCE))
    kind = _read_object_id(_body(algorithm, _OBJECT_ID))
    if kind == _ELLIPTIC_CURVE:
        tag, curve = next(algorithm)
        name = _read_object_id(curve) if tag == _OBJECT_ID else "of its own"
        return f"EC {_CURVES.get(name, name)}"
    if kind == _RSA:
        bits = _body(elements, _BIT_STRING)[1:]
        modulus = _body(_children(_body(_children(bits), _SEQUENCE)), _INTEGER)
        return f"RSA {int.from_bytes(modulus, 'big').bit_length()}"
    return _KEYS.get(kind, kind)


def _read_alt_names(extensions: bytes) -> tuple[str, ...]:
    for tag, extension in _children(extensions):
        elements = _children(_expect(tag, extension, _SEQUENCE))
        if _read_object_id(_body(elements, _OBJECT_ID)) != _SUBJECT_ALT_NAME:
            continue
        value_tag, value = next(elements)
        if value_tag == _BOOLEAN:  # whether it is critical
            value_tag, value = next(elements)
        names = _body(_children(_expect(value_tag, value, _OCTET_STRING)), _SEQUENCE)
        return tuple(_read_alt_name(*name) for name in _children(names))
    return ()


def _read_alt_name(tag: int, value: bytes) -> str:
    if tag == _ALT_ADDRESS and len(value) in (4, 16):
        return str(ipaddress.ip_address(value))
    if tag in (_ALT_EMAIL, _ALT_DNS, _ALT_URI):
        return value.decode("ascii", errors="replace")
    return value.hex()
