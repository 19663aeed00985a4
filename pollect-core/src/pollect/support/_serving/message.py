"""Requests as bytes: heads and bodies, read as strictly as RFC 9112 asks for.

Where a request could be read in two ways it is refused: a proxy in front may have read it in the
other one (RFC 9112, section 11.2, request smuggling).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from urllib.parse import parse_qs, unquote

import msgspec

#: Bytes of a chunk's size with its extensions, and of all trailers.
_MAX_CHUNK_LINE = 256
_MAX_TRAILERS = 8 * 1024
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTENT_LENGTH = re.compile(r"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n\0]*)?")
#: A value may hold any byte but these; bytes beyond ASCII are opaque (RFC 9110, 5.5).
_FORBIDDEN = re.compile(r"[\0\r\n]")
_LATIN_1 = "latin-1"


class BadRequest(Exception):
    """What arrived is not a request that this server takes; the text says why."""

    def __init__(self, status: HTTPStatus, reason: str = "") -> None:
        super().__init__(reason or status.phrase)
        self.status = status


def _is_there() -> bool:
    return False


class Request(msgspec.Struct, frozen=True):
    method: str
    path: str
    query: Mapping[str, Sequence[str]]
    #: Names in lower case. Values are decoded as Latin-1, which loses no byte.
    headers: Mapping[str, str]
    body: bytes = b""
    #: Address of the client.
    peer: str = ""
    #: Whether the client has closed the connection, so that work for it is in vain.
    is_gone: Callable[[], bool] = _is_there


class Head(msgspec.Struct, frozen=True):
    """What stands in front of a body."""

    method: str
    target: str
    headers: Mapping[str, str]
    keep_alive: bool
    #: Bytes of the body, None for one in chunks.
    length: int | None
    #: A body follows, whatever its length is.
    has_body: bool

    def request(self, body: bytes, peer: str, is_gone: Callable[[], bool]) -> Request:
        path, _, query = self.target.partition("?")
        fields = parse_qs(query, keep_blank_values=True)
        return Request(self.method, unquote(path), fields, self.headers, body, peer, is_gone)


def parse_head(head: bytes) -> Head:
    """Read a request line with its headers, without the empty line; raises `BadRequest`."""
    first, *lines = head.decode(_LATIN_1).split("\r\n")
    try:
        method, target, version = first.split(" ")
    except ValueError:
        raise BadRequest(HTTPStatus.BAD_REQUEST) from None
    if _TOKEN.fullmatch(method) is None or _FORBIDDEN.search(target) or not target:
        raise BadRequest(HTTPStatus.BAD_REQUEST)
    if re.fullmatch(r"HTTP/1\.[0-9]", version) is None:
        if re.fullmatch(r"[A-Z]+/[0-9.]+", version) is None:
            raise BadRequest(HTTPStatus.BAD_REQUEST)
        raise BadRequest(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    headers = _parse_headers(lines)
    wish = headers.get("connection", "").lower()
    keep_alive = wish == "keep-alive" if version == "HTTP/1.0" else "close" not in wish
    length, has_body = _framing(headers, version)
    return Head(method, target, headers, keep_alive, length, has_body)


def _parse_headers(lines: Sequence[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        # Also refuses a folded line, which begins with a blank, and a blank before the colon.
        if not colon or _TOKEN.fullmatch(name) is None or _FORBIDDEN.search(value):
            raise BadRequest(HTTPStatus.BAD_REQUEST, "a header is malformed")
        name, value = name.lower(), value.strip(" \t")
        if name in headers and name in ("host", "content-length", "authorization"):
            raise BadRequest(HTTPStatus.BAD_REQUEST, f"more than one {name} header")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _framing(headers: Mapping[str, str], version: str) -> tuple[int | None, bool]:
    coding = headers.get("transfer-encoding")
    length = headers.get("content-length")
    if coding is not None:
        if length is not None:
            raise BadRequest(
                HTTPStatus.BAD_REQUEST, "expected either content-length or transfer-encoding"
            )
        if version == "HTTP/1.0":
            raise BadRequest(HTTPStatus.BAD_REQUEST, "HTTP/1.0 has no transfer-encoding")
        if coding.lower() != "chunked":
            raise BadRequest(HTTPStatus.NOT_IMPLEMENTED, "the only transfer-encoding is chunked")
        return None, True
    if length is None:
        return 0, False
    if _CONTENT_LENGTH.fullmatch(length) is None:
        raise BadRequest(HTTPStatus.BAD_REQUEST, "the length of the body is not a number")
    return int(length), int(length) > 0


class BodyReader:
    """Collects a body from what arrives, up to `limit` bytes."""

    def __init__(self, length: int | None, limit: int) -> None:
        """Raises `BadRequest` for a length over the limit."""
        self._limit = limit
        self._chunked = length is None
        #: Bytes still to come: of the body, or of the chunk with its line end.
        self._left = length or 0
        self._in_chunk = False
        self._in_trailers = False
        self._trailers = 0
        self._body = bytearray()
        if length is not None and length > limit:
            raise self._too_large()

    @property
    def body(self) -> bytes:
        return bytes(self._body)

    def __len__(self) -> int:
        return len(self._body)

    def feed(self, received: bytearray) -> bool:
        """Take from `received` what is part of the body; return whether that was all.

        Raises `BadRequest` for a body that is malformed or too large.
        """
        if not self._chunked:
            taken = received[: self._left]
            del received[: len(taken)]
            self._body += taken
            self._left -= len(taken)
            return self._left == 0
        while True:
            if self._in_trailers:
                return self._skip_trailers(received)
            if not self._in_chunk:
                line = self._line(received, _MAX_CHUNK_LINE)
                if line is None:
                    return False
                self._begin_chunk(line)
                continue
            if not self._take_chunk(received):
                return False

    def _begin_chunk(self, line: bytes) -> None:
        match = _CHUNK_SIZE.fullmatch(line)
        if match is None:
            raise BadRequest(HTTPStatus.BAD_REQUEST, "the body is not in chunks as announced")
        size = int(match[1], 16)
        if len(self._body) + size > self._limit:
            raise self._too_large()
        self._left = size
        self._in_chunk = size > 0
        self._in_trailers = size == 0

    def _take_chunk(self, received: bytearray) -> bool:
        taken = received[: self._left]
        del received[: len(taken)]
        self._body += taken
        self._left -= len(taken)
        if self._left or len(received) < 2:
            return False
        if received[:2] != b"\r\n":
            raise BadRequest(HTTPStatus.BAD_REQUEST, "the body is not in chunks as announced")
        del received[:2]
        self._in_chunk = False
        return True

    def _skip_trailers(self, received: bytearray) -> bool:
        while (line := self._line(received, _MAX_TRAILERS - self._trailers)) is not None:
            if not line:
                return True
            self._trailers += len(line) + 2
        return False

    def _line(self, received: bytearray, limit: int) -> bytes | None:
        end = received.find(b"\r\n", 0, limit + 2)
        if end < 0:
            if len(received) > limit:
                raise BadRequest(HTTPStatus.BAD_REQUEST, "the body is not in chunks as announced")
            return None
        line = bytes(received[:end])
        del received[: end + 2]
        return line

    def _too_large(self) -> BadRequest:
        return BadRequest(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {self._limit} bytes"
        )


class Response(msgspec.Struct, frozen=True):
    #: The text, whole or in pieces; pieces that several answers share are in memory once.
    body: bytes | Sequence[bytes]
    content_type: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK
    #: A sequence of pairs may name a header more than once.
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = ()
    #: Whoever got this answer keeps its connection longer than strangers when places are short.
    earns_trust: bool = False
    #: End the connection after this answer.
    close: bool = False

    @property
    def pieces(self) -> Sequence[bytes]:
        return (self.body,) if isinstance(self.body, bytes) else self.body


class Later(msgspec.Struct, frozen=True):
    """What a handler returns when the answer takes long: it is made in a thread for such work.

    There is one such thread, for memory as well: what a library frees stays with its thread.
    """

    make: Callable[[], "Response | Pending"]


class Pending(msgspec.Struct, frozen=True):
    """What a handler returns when the answer comes from somewhere else, some time.

    `begin` is given what sends it, to be called once, in any thread.
    """

    begin: Callable[[Callable[[Response], None]], None]


def format_head(response: Response, keep_alive: bool) -> bytes:
    headers = response.headers
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    lines = [
        f"HTTP/1.1 {response.status.value} {response.status.phrase}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {sum(map(len, response.pieces))}",
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
        *(f"{name}: {value}" for name, value in pairs),
    ]
    return "\r\n".join([*lines, "", ""]).encode(_LATIN_1)
