"""Answers of HTTP/1.1 as they come off a connection: head, framing and coding of the body.

Protocol: RFC 9112 (syntax and framing) and RFC 9110 (interim answers, section 15.2; codings,
section 8.4). The limits here are our own, wide, and named in the error.
"""

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from pollect.support.http_fields import parse_whole

#: Status line and headers of one answer; servers send 8 KiB at most by default.
MAX_HEAD_BYTES = 1024 * 1024
#: Interim answers (1xx) before the final one.
MAX_INTERIM_ANSWERS = 100

_PREFIX = b"HTTP/"
_STATUS_LINE = re.compile(rb"HTTP/(\d\.\d)[ \t]+(\d{3})(?:[ \t]|\Z)")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_SWITCHING_PROTOCOLS = 101
_WITHOUT_BODY = (204, 304)
_CHUNK_BYTES = 64 * 1024
_QUOTED_BYTES = 40
_GZIP = ("gzip", "x-gzip")
_GZIP_MAGIC = b"\x1f\x8b"
_DECODED = (*_GZIP, "deflate")


class BadMessage(Exception):
    """What a server sent is not HTTP, or more than is accepted; says which in a few words."""


class Incoming(Protocol):
    """The receiving side of a connection; both methods raise `OSError`."""

    #: What was received and not yet taken.
    buffer: bytearray

    def receive(self) -> bool:
        """Append what comes next to the buffer; False when the peer closed."""


class Headers(Mapping[str, str]):
    """The headers of an answer: names whatever their case, equal ones joined by a comma."""

    __slots__ = ("_pairs", "_values")

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs
        self._values: dict[str, str] = {}
        for name, value in pairs:
            key = name.lower()
            before = self._values.get(key)
            self._values[key] = value if before is None else f"{before}, {value}"

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter({name.lower(): name for name, _ in self._pairs}.values())

    def __len__(self) -> int:
        return len(self._values)

    def get_all(self, name: str, default: list[str] | None = None) -> list[str]:
        """Return the values of every header of that name, in order."""
        key = name.lower()
        found = [value for each, value in self._pairs if each.lower() == key]
        return found or default or []


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and headers of the final answer."""

    status: int
    #: 1.1 or 1.0.
    version: float
    headers: Headers


def read_head(incoming: Incoming) -> Head:
    """Return the head of the final answer; interim ones such as 103 Early Hints are passed over.

    Raises `BadMessage` or `OSError`.
    """
    for _ in range(MAX_INTERIM_ANSWERS):
        head = _parse_head(_take_head(incoming))
        if head.status >= 200 or head.status == _SWITCHING_PROTOCOLS:
            return head
    raise BadMessage(f"more than {MAX_INTERIM_ANSWERS} interim answers (1xx) and no final one")


def read_body(
    incoming: Incoming, head: Head, method: str, limit: int, *, cut: bool = False
) -> tuple[bytes, bool]:
    """Return the decoded body of the answer to `method`, and whether the connection can go on.

    A body that is longer than `limit` bytes, decoded or not, is an error, or with `cut` ends
    there. Raises `BadMessage` or `OSError`.
    """
    if method == "HEAD" or head.status in _WITHOUT_BODY or head.status < 200:
        return b"", _is_persistent(head)
    body, over, length = bytearray(), False, _length(head)
    delimited = length is not None or _is_chunked(head)
    for part in _parts(incoming, head, length):
        body += part
        if len(body) > limit:
            over = True
            break
    raw = bytes(body)
    for coding in reversed(_codings(head.headers)):
        raw, cut_off = _decode(raw, coding, limit, whole=not over)
        over = over or cut_off
    if over and not cut:
        raise BadMessage(f"the body is larger than {limit} bytes")
    return raw[:limit], delimited and not over and _is_persistent(head)


def _take_head(incoming: Incoming) -> bytes:
    buffer = incoming.buffer
    searched = 0
    while not (end := _END_OF_HEAD.search(buffer, searched)):
        if not _PREFIX.startswith(bytes(buffer[: len(_PREFIX)])):
            raise BadMessage(f"expected an HTTP answer, got {_quote(buffer)}")
        if len(buffer) > MAX_HEAD_BYTES:
            break
        searched = max(0, len(buffer) - 3)
        if not incoming.receive():
            raise BadMessage("the answer ended too early")
    if end is None or end.start() > MAX_HEAD_BYTES:
        raise BadMessage(f"the headers are larger than {MAX_HEAD_BYTES} bytes")
    head = bytes(buffer[: end.start()])
    del buffer[: end.end()]
    return head


def _parse_head(data: bytes) -> Head:
    first, *lines = data.split(b"\n")
    found = _STATUS_LINE.match(first.rstrip(b"\r"))
    if found is None:
        raise BadMessage(f"expected an HTTP answer, got {_quote(first)}")
    pairs: list[tuple[str, str]] = []
    for line in lines:
        text = line.decode("latin-1").rstrip("\r")
        if text[:1] in (" ", "\t"):
            if pairs:  # a line that goes on, obsolete and still seen
                name, value = pairs[-1]
                pairs[-1] = name, f"{value} {text.strip()}"
            continue
        name, colon, value = text.partition(":")
        if colon:
            pairs.append((name.rstrip(), value.strip()))
    return Head(int(found[2]), float(found[1]), Headers(pairs))


def _is_chunked(head: Head) -> bool:
    codings = head.headers.get("Transfer-Encoding", "").lower().split(",")
    return codings[-1].strip() == "chunked"


def _length(head: Head) -> int | None:
    """Return the announced length in bytes; None without one, or with one that makes no sense."""
    if "Transfer-Encoding" in head.headers:
        return None
    lengths = {text.strip() for text in head.headers.get("Content-Length", "").split(",")}
    if len(lengths) > 1:
        raise BadMessage("the answer has several lengths that differ")
    (text,) = lengths
    return parse_whole(text)


def _is_persistent(head: Head) -> bool:
    tokens = {token.strip() for token in head.headers.get("Connection", "").lower().split(",")}
    if head.status == _SWITCHING_PROTOCOLS or "close" in tokens:
        return False
    return head.version >= 1.1 or "keep-alive" in tokens


def _parts(incoming: Incoming, head: Head, length: int | None) -> Iterator[bytes]:
    if _is_chunked(head):
        yield from _chunks(incoming)
        return
    left = length
    while left is None or left:
        part = _take(incoming, left)
        if not part:
            if left is None:
                return
            raise BadMessage("the answer ended too early")
        left = None if left is None else left - len(part)
        yield part


def _chunks(incoming: Incoming) -> Iterator[bytes]:
    while left := _parse_chunk_size(_take_line(incoming)):
        while left:
            part = _take(incoming, left)
            if not part:
                raise BadMessage("the answer ended too early")
            left -= len(part)
            yield part
        if _take_line(incoming):
            raise BadMessage("expected the end of a chunk")
    trailer = 0
    while line := _take_line(incoming):
        trailer += len(line)
        if trailer > MAX_HEAD_BYTES:
            raise BadMessage(f"the trailers are larger than {MAX_HEAD_BYTES} bytes")


def _parse_chunk_size(line: bytes) -> int:
    text = line.partition(b";")[0].strip()
    if not re.fullmatch(rb"[0-9A-Fa-f]{1,16}", text):
        raise BadMessage(f"expected the size of a chunk, got {_quote(line)}")
    return int(text, 16)


def _take(incoming: Incoming, count: int | None) -> bytes:
    """Return some bytes, at most `count`; empty at the end."""
    buffer = incoming.buffer
    if not buffer and not incoming.receive():
        return b""
    part = bytes(buffer[: _CHUNK_BYTES if count is None else min(count, _CHUNK_BYTES)])
    del buffer[: len(part)]
    return part


def _take_line(incoming: Incoming) -> bytes:
    buffer = incoming.buffer
    while (end := buffer.find(b"\n")) < 0:
        if len(buffer) > MAX_HEAD_BYTES:
            raise BadMessage(f"a line of the body's framing is larger than {MAX_HEAD_BYTES} bytes")
        if not incoming.receive():
            raise BadMessage("the answer ended too early")
    line = bytes(buffer[:end])
    del buffer[: end + 1]
    return line.rstrip(b"\r")


def _codings(headers: Headers) -> list[str]:
    """Return the codings that are to be undone, in the order they were applied."""
    named = f"{headers.get('Content-Encoding', '')},{headers.get('Transfer-Encoding', '')}"
    return [coding for each in named.lower().split(",") if (coding := each.strip()) in _DECODED]


def _decode(data: bytes, coding: str, limit: int, *, whole: bool) -> tuple[bytes, bool]:
    """Return `data` decompressed up to a byte more than `limit`, and whether there was more.

    Data that are `whole` have an end: a server that broke off in the middle of a number would
    otherwise leave another number.
    """
    if not data:
        return data, False
    try:
        if coding in _GZIP:
            return _decompress(data, 16 + zlib.MAX_WBITS, limit, whole)
        try:
            return _decompress(data, zlib.MAX_WBITS, limit, whole)
        except zlib.error:  # some servers leave out the two bytes of zlib
            return _decompress(data, -zlib.MAX_WBITS, limit, whole)
    except zlib.error as error:
        raise BadMessage("the body cannot be decompressed") from error


def _decompress(data: bytes, window: int, limit: int, whole: bool) -> tuple[bytes, bool]:
    text = b""
    while True:
        decompressor = zlib.decompressobj(window)
        text += decompressor.decompress(data, limit + 1 - len(text))
        if len(text) > limit:
            return text, True
        if whole and not decompressor.eof:
            raise BadMessage("the compressed answer ended too early")
        data = decompressor.unused_data
        # Several members in a row are one body; other bytes behind one are padding.
        if not data.startswith(_GZIP_MAGIC) or window < zlib.MAX_WBITS + 16:
            return text, False


def _quote(data: bytes | bytearray) -> str:
    return repr(bytes(data[:_QUOTED_BYTES]).decode("latin-1"))
