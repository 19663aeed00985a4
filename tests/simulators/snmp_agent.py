"""A small SNMP agent, versions 1 and 2c (RFC 1157, RFC 3416), that misbehaves on request.

Values are `(tag, value)` by OID; a real UDP server in a thread of its own.
"""

import bisect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pollect.testing import UdpServer

INTEGER, OCTETS, NULL, OID, SEQUENCE = 0x02, 0x04, 0x05, 0x06, 0x30
IP_ADDRESS, COUNTER32, GAUGE32, TICKS, OPAQUE, COUNTER64 = 0x40, 0x41, 0x42, 0x43, 0x44, 0x46
NO_SUCH_OBJECT, END_OF_VIEW = 0x80, 0x82
GET, GET_NEXT, RESPONSE, GET_BULK = 0xA0, 0xA1, 0xA2, 0xA5
TOO_BIG, NO_SUCH_NAME, GEN_ERR = 1, 2, 5

UPTIME = "1.3.6.1.2.1.1.3.0"

Tagged = tuple[int, Any]


class SimulatedAgent(UdpServer):
    """Answers on a port of 127.0.0.1 while the `with` block lasts."""

    def __init__(
        self,
        values: Mapping[str, Tagged] | None = None,
        *,
        community: str = "public",
        host: str = "127.0.0.1",
    ) -> None:
        super().__init__(self._reply, host=host)
        self.values: dict[str, Tagged] = dict(values or {})
        self.community = community
        #: Requests as (PDU tag, OIDs), in order.
        self.requests: list[tuple[int, list[str]]] = []
        #: More variables than this in a request get the error tooBig.
        self.too_big_above = 10_000
        #: More variables than this are dropped in silence.
        self.silent_above = 10_000
        #: Datagrams to drop before the next answer.
        self.drop = 0
        #: The names in the order of a walk; made again when there are more or fewer.
        self._order: list[tuple[tuple[int, ...], str]] = []
        #: In place of an answer, given the right one.
        self.mangle: Callable[[bytes], Iterator[bytes]] | None = None

    def _reply(self, request: bytes) -> bytes | Iterator[bytes] | None:
        answer = self.answer(request)
        return self.mangle(answer) if self.mangle and answer else answer

    def answer(self, request: bytes) -> bytes | None:
        """Return the response to one message, None for none."""
        [(_, message)] = decode_all(request)
        (_, version), (_, community), (kind, pdu) = decode_all(message)
        if community.decode() != self.community:
            return None
        (_, request_id), _, (_, third), (_, bindings) = decode_all(pdu)
        oids = [decode_oid(decode_all(binding)[0][1]) for _, binding in decode_all(bindings)]
        self.requests.append((kind, oids))
        if self.drop or len(oids) > self.silent_above:
            self.drop = max(self.drop - 1, 0)
            return None
        is_v1 = to_int(version) == 0
        status, index = 0, 0
        found: list[tuple[str, Tagged]] = []
        if len(oids) > self.too_big_above:
            status = TOO_BIG
        elif kind == GET_BULK:
            found = self._bulk(oids, to_int(third))
        else:
            for position, oid in enumerate(oids, start=1):
                name, value = (oid, self._get(oid)) if kind == GET else self._next(oid)
                if is_v1 and value[0] in (NO_SUCH_OBJECT, END_OF_VIEW, COUNTER64):
                    status, index = NO_SUCH_NAME, position
                    found = [(each, (NULL, None)) for each in oids]
                    break
                found.append((name, value))
        body = (
            encode(INTEGER, request_id)
            + encode(INTEGER, from_int(status))
            + encode(INTEGER, from_int(index))
            + encode(SEQUENCE, b"".join(map(encode_binding, found)))
        )
        return encode(
            SEQUENCE,
            encode(INTEGER, version) + encode(OCTETS, community) + encode(RESPONSE, body),
        )

    def _get(self, oid: str) -> Tagged:
        return self.values.get(oid, (NO_SUCH_OBJECT, None))

    def _next(self, oid: str) -> tuple[str, Tagged]:
        if len(self._order) != len(self.values):
            self._order = sorted((oid_key(name), name) for name in self.values)
        place = bisect.bisect_right(self._order, oid_key(oid), key=lambda entry: entry[0])
        if place == len(self._order):
            return oid, (END_OF_VIEW, None)
        name = self._order[place][1]
        return name, self.values[name]

    def _bulk(self, oids: list[str], repetitions: int) -> list[tuple[str, Tagged]]:
        found, [oid] = [], oids
        for _ in range(repetitions):
            oid, value = self._next(oid)
            found.append((oid, value))
            if value[0] == END_OF_VIEW:
                break
        return found


def read_recording(text: str) -> dict[str, Tagged]:
    """Return the objects in a recording of snmpsim (`.snmprec`): `OID|TAG|VALUE`, a line each.

    The tag is the one of BER in decimal; `x` behind it means that the value is in hex.
    """
    values: dict[str, Tagged] = {}
    for line in text.splitlines():
        oid, _, rest = line.partition("|")
        kind, _, value = rest.partition("|")
        tag = int(kind.removesuffix("x")) if kind.removesuffix("x").isdigit() else 0
        if not tag:  # a comment, or a value that changes with time
            continue
        content: Any = bytes.fromhex(value) if kind.endswith("x") else value.encode()
        if tag in (INTEGER, COUNTER32, GAUGE32, TICKS, COUNTER64):
            content = int(value)
        elif tag == OID:
            content = value.lstrip(".")
        elif tag == IP_ADDRESS:
            content = ".".join(map(str, content)) if kind.endswith("x") else value
        values[oid] = (tag, content)
    return values


def oid_key(oid: str) -> tuple[int, ...]:
    return tuple(map(int, oid.split(".")))


def encode(tag: int, content: bytes) -> bytes:
    """Return one BER element."""
    if len(content) < 0x80:
        return bytes((tag, len(content))) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def decode_all(data: bytes) -> list[tuple[int, bytes]]:
    """Return the elements that follow each other in `data` as (tag, content)."""
    found = []
    while data:
        tag, length, start = data[0], data[1], 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(data[2:start], "big")
        found.append((tag, data[start : start + length]))
        data = data[start + length :]
    return found


def encode_binding(binding: tuple[str, Tagged]) -> bytes:
    oid, (tag, value) = binding
    return encode(SEQUENCE, encode(OID, encode_oid(oid)) + encode(tag, encode_value(tag, value)))


def encode_value(tag: int, value: Any) -> bytes:
    if tag == INTEGER:
        return from_int(value)
    if tag in (COUNTER32, GAUGE32, TICKS, COUNTER64):
        return b"\0" + from_int(value) if from_int(value)[0] & 0x80 else from_int(value)
    if tag == OID:
        return encode_oid(value)
    if tag == IP_ADDRESS:
        return bytes(map(int, value.split(".")))
    return value or b""


def from_int(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def to_int(content: bytes) -> int:
    return int.from_bytes(content, "big", signed=True)


def encode_oid(oid: str) -> bytes:
    first, second, *rest = oid_key(oid)
    content = bytearray()
    for arc in (first * 40 + second, *rest):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(arc & 0x7F | 0x80)
        content += bytes(reversed(septets))
    return bytes(content)


def decode_oid(content: bytes) -> str:
    arcs, arc = [], 0
    for octet in content:
        arc = arc << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - first * 40, *arcs[1:])))
