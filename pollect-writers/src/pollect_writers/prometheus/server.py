"""A small HTTP/1.1 server for pages that are ready: GET, keep-alive, one thread a connection.

The standard library's `http.server` would do it too, for 8 MiB and 24 ms more at the start: it
brings the mail parser, an HTTP client and TLS along.

A client that says nothing, or reads nothing, holds nobody up: its thread waits for it alone, and
when all places are taken, the connection that was of no use for longest is closed for a new one.
"""

import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

if TYPE_CHECKING:
    from ssl import SSLSocket

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
#: Bytes of a request line with all its headers.
MAX_REQUEST = 16 * 1024
#: Seconds a connection may rest between two requests; Prometheus scrapes every minute or so.
IDLE_SECONDS = 300.0
#: Seconds for a TLS handshake, and for a request from its first byte to its end.
REQUEST_SECONDS = 5.0
#: Seconds a client may take to read one answer.
SEND_SECONDS = 30.0
#: Bytes up to which head and body are sent together; above, copying costs more than a call.
ONE_PIECE = 64 * 1024
_CLOSE_SECONDS = 2.0
_END_OF_HEAD = b"\r\n\r\n"
_ALLOWED = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: Mapping[str, Sequence[str]]
    #: Names in lower case.
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Response:
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


class BadRequest(Exception):
    """What arrived is no HTTP request that this server takes."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


Handler = Callable[[Request], Response]
#: Puts TLS over a connection, without the handshake yet.
Wrap = Callable[[socket.socket], "SSLSocket"]


class HttpServer:
    """Answers requests with what `handler` returns; `handler` is called from many threads."""

    def __init__(
        self,
        listener: socket.socket,
        handler: Handler,
        *,
        wrap: Wrap | None = None,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._listener = listener
        listener.setblocking(False)
        self._handler = handler
        self._wrap = wrap
        self._max_connections = max_connections
        self._lock = threading.Lock()
        #: The least recently useful first.
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._closed = False
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._accept, name="pollect-http", daemon=True)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop listening and drop all connections."""
        self._closed = True
        self._wake.close()
        if self._thread.ident is not None:
            self._thread.join()
        self._woken.close()
        self._listener.close()
        with self._lock:
            connections = dict(self._connections)
        for connection in connections:
            _shut(connection)
        until = time.monotonic() + _CLOSE_SECONDS
        for thread in connections.values():
            thread.join(max(0.0, until - time.monotonic()))

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._woken in ready:
                    return
                try:
                    connection, _ = self._listener.accept()
                except OSError as error:  # the client is gone already, or no descriptor is free
                    log.debug("no connection accepted: %s", error)
                    time.sleep(0.01)
                    continue
                self._admit(connection)

    def _admit(self, plain: socket.socket) -> None:
        try:
            plain.settimeout(REQUEST_SECONDS)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            secure = self._wrap(plain) if self._wrap is not None else None
        except OSError as error:  # gone again, or the certificate cannot be read
            log.warning("connection refused: %s", error)
            plain.close()
            return
        connection = secure or plain
        thread = threading.Thread(
            target=self._serve, args=(connection, secure), name="pollect-http-client", daemon=True
        )
        with self._lock:
            if len(self._connections) >= self._max_connections:
                oldest = next(iter(self._connections))
                del self._connections[oldest]
                _shut(oldest)
            self._connections[connection] = thread
        try:
            thread.start()
        except RuntimeError as error:  # the system has no thread left, now
            log.warning("connection refused: %s", error)
            with self._lock:
                self._connections.pop(connection, None)
            connection.close()

    def _serve(self, connection: socket.socket, secure: "SSLSocket | None") -> None:
        try:
            if secure is not None:
                secure.do_handshake()
            rest: bytes | None = b""
            while rest is not None and not self._closed:
                rest = self._answer_one(connection, rest)
                with self._lock:
                    if connection in self._connections:
                        self._connections[connection] = self._connections.pop(connection)
        except OSError as error:  # gone, silent for too long, or no TLS
            log.debug("connection ended: %s", error)
        finally:
            with self._lock:
                self._connections.pop(connection, None)
            connection.close()

    def _answer_one(self, connection: socket.socket, rest: bytes) -> bytes | None:
        """Answer one request; return what came after it, None when the connection is over."""
        try:
            head, rest = _receive_head(connection, rest)
            if not head:
                return None
            request, keep_alive = parse_request(head)
        except BadRequest as error:
            request, keep_alive = Request("GET", "", {}, {}), False
            response = Response(f"{error}\n".encode(), status=error.status)
        else:
            response = self._respond(request)
        connection.settimeout(SEND_SECONDS)
        answer = _format_head(response, keep_alive)
        body = response.body if request.method != "HEAD" else b""
        if len(body) < ONE_PIECE:
            connection.sendall(answer + body)
        else:
            connection.sendall(answer)
            connection.sendall(body)
        return rest if keep_alive else None

    def _respond(self, request: Request) -> Response:
        if request.method not in _ALLOWED:
            return Response(
                b"this server answers GET, HEAD and OPTIONS\n",
                status=HTTPStatus.METHOD_NOT_ALLOWED,
                headers={"Allow": ", ".join(_ALLOWED)},
            )
        if request.method == "OPTIONS":
            return Response(b"", headers={"Allow": ", ".join(_ALLOWED)})
        return self._handler(request)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; `::` takes IPv4 as well. Raises `OSError`."""
    # As bytes an address needs no tables of Unicode for foreign domain names, 0.2 MB.
    name = host.encode() if host.isascii() else host
    family = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((host, port), family=family, backlog=128, dualstack_ipv6=both)
    except OSError as error:
        if error.errno is None:
            raise
        # Python adds the address to the words, which whoever reports them does as well.
        raise OSError(error.errno, os.strerror(error.errno)) from error


def parse_request(head: bytes) -> tuple[Request, bool]:
    """Turn the head of a request into a `Request`, and whether the connection stays open.

    Raises `BadRequest`. RFC 9112, sections 2 to 6; bodies are not taken.
    """
    first, *lines = head.decode("latin-1").split("\r\n")
    try:
        method, target, version = first.split(" ")
    except ValueError:
        raise BadRequest(HTTPStatus.BAD_REQUEST) from None
    if not version.startswith("HTTP/1."):
        raise BadRequest(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise BadRequest(HTTPStatus.BAD_REQUEST)
        name, value = name.strip().lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    path, _, query = target.partition("?")
    wish = headers.get("connection", "").lower()
    keep_alive = wish == "keep-alive" if version == "HTTP/1.0" else "close" not in wish
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        # The body would be taken for the next request.
        keep_alive = False
    request = Request(method, unquote(path), parse_qs(query, keep_blank_values=True), headers)
    return request, keep_alive


def _receive_head(connection: socket.socket, received: bytes) -> tuple[bytes, bytes]:
    """Return a request without its empty line, and what came after it.

    The request is empty when the client ended the connection instead.
    """
    until: float | None = None
    while _END_OF_HEAD not in received:
        if len(received) > MAX_REQUEST:
            raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if received and until is None:
            until = time.monotonic() + REQUEST_SECONDS
        seconds = IDLE_SECONDS if until is None else until - time.monotonic()
        if seconds <= 0:
            raise BadRequest(HTTPStatus.REQUEST_TIMEOUT)
        connection.settimeout(seconds)
        chunk = connection.recv(MAX_REQUEST)
        if not chunk:
            return b"", b""
        received += chunk
    head, _, rest = received.lstrip(b"\r\n").partition(_END_OF_HEAD)
    return head, rest


def _format_head(response: Response, keep_alive: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {response.status.value} {response.status.phrase}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
        *(f"{name}: {value}" for name, value in response.headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _shut(connection: socket.socket) -> None:
    """End a connection whose thread may be waiting on it."""
    with suppress(OSError):
        # Not the method of a TLS connection, which would pull the rug from under its thread.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
