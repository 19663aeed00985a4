"""The HTTP server of `HttpIngress`: bounded in connections, bytes and time.

Answers are those of pollect 1.x, `{"status": ...}` or `{"error": ...}`.
"""

import base64
import contextlib
import hmac
import io
import json
import logging
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from pollect_sources_network.http_ingress.payload import Refused, decompress

#: How long a connection over the limit waits for a place before it is turned away.
_PLACE_SECONDS = 1.0
#: How long the threads of broken connections may take to end.
_STOP_SECONDS = 2.0
#: How long to wait when the process has no file descriptor left for a connection.
_RETRY_SECONDS = 0.1
#: Of a body that is refused unread, so much is still taken: a client that is writing while the
#: connection closes never sees the answer.
_DISCARD_BYTES = 8 * 1024 * 1024
_CHUNK_LINE_BYTES = 256

#: Method and body of a push -> the word for `status`; raises `Refused`.
Accept = Callable[[str, bytes], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a client may do."""

    body_bytes: int
    #: For a handshake, and for a request from its first byte to its last.
    read_seconds: float
    connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a push must show: the token or the user and the password, or nothing at all."""

    token: str = field(default="", repr=False)
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def challenges(self) -> tuple[str, ...]:
        """How a client may identify itself, as values of `WWW-Authenticate`."""
        bearer = ("Bearer",) if self.token else ()
        return (*bearer, 'Basic realm="pollect"') if self.user else bearer

    def permits(self, authorization: str) -> bool:
        """Tell whether the value of this header will do; a near miss takes no longer."""
        if not self.challenges:
            return True
        scheme, _, given = authorization.strip().partition(" ")
        user = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        secrets = {"bearer": self.token, "basic": self.user and user}
        expected = secrets.get(scheme.lower(), "")
        right = hmac.compare_digest(given.strip().encode(errors="replace"), expected.encode())
        return right and bool(expected)


class IngressServer(socketserver.TCPServer):
    """Listens as soon as it is built; `start()` begins to answer, `stop()` ends everything.

    Raises `OSError` when the address is in use.
    """

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self,
        host: str,
        port: int,
        accept: Accept,
        limits: Limits,
        log: logging.Logger,
        *,
        access: Access = Access(),
        paths: Collection[str] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.accept = accept
        self.limits = limits
        self.log = log
        self.access = access
        #: Where requests are taken; everywhere if there are none.
        self.paths = paths
        self._answers: dict[int, int] = {}
        self._places = threading.BoundedSemaphore(limits.connections)
        self._lock = threading.Lock()
        self._open: dict[Any, threading.Thread] = {}
        self._stopping = threading.Event()
        super().__init__((host, port), _Handler)
        if tls is not None:
            # The handshake is up to the handler: here a silent client would keep out all others.
            self.socket = tls.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._serve, name="http-ingress", daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        port: int = self.socket.getsockname()[1]
        return port

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Close the port and all connections; returns when all threads have ended."""
        self._stopping.set()
        self._wake()
        self._thread.join(_STOP_SECONDS)
        self.server_close()
        with self._lock:
            left = dict(self._open)
        for connection, thread in left.items():
            _shut_down(connection)
            thread.join(_STOP_SECONDS)

    def count_answer(self, status: int) -> None:
        """Take note of an answer."""
        with self._lock:
            self._answers[status] = self._answers.get(status, 0) + 1

    def answers(self) -> dict[int, int]:
        """Return the number of answers so far by status."""
        with self._lock:
            return dict(self._answers)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            # With `::` clients of both families are served.
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, address = self.socket.accept()
            except OSError:
                self._stopping.wait(_RETRY_SECONDS)
                continue
            if self._stopping.is_set():
                connection.close()
            elif self._places.acquire(timeout=_PLACE_SECONDS):
                self._handle(connection, address)
            else:
                self._turn_away(connection)

    def _handle(self, connection: socket.socket, address: Any) -> None:
        thread = threading.Thread(
            target=self._talk, args=(connection, address), name="http-ingress-client", daemon=True
        )
        with self._lock:
            self._open[connection] = thread
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads
            self.log.warning("turned %s away: no thread for it", address[0])
            self._forget(connection)

    def _talk(self, connection: socket.socket, address: Any) -> None:
        try:
            connection.settimeout(self.limits.read_seconds)
            if isinstance(connection, ssl.SSLSocket):
                connection.do_handshake()
            _Handler(connection, address, self)
        except OSError as error:
            self.log.debug("connection of %s: %s", address[0], error)
        finally:
            self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        _shut_down(connection)
        connection.close()
        with self._lock:
            del self._open[connection]
        self._places.release()

    def _turn_away(self, connection: socket.socket) -> None:
        self.count_answer(503)
        body = json.dumps({"error": "too many connections"})
        head = f"HTTP/1.1 503 Service Unavailable\r\nContent-Length: {len(body)}\r\n"
        with connection, contextlib.suppress(OSError):
            connection.setblocking(False)
            connection.sendall(f"{head}Connection: close\r\n\r\n{body}".encode())

    def _wake(self) -> None:
        """Make the serving thread look up from `accept()`."""
        _shut_down(self.socket)
        host, port, *_ = self.socket.getsockname()
        # Where shutting down does not wake it, a visitor does.
        local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        with contextlib.suppress(OSError):
            socket.create_connection((local, port), _RETRY_SECONDS).close()


class _Handler(BaseHTTPRequestHandler):
    """One connection with one or many requests."""

    protocol_version = "HTTP/1.1"
    server_version = "pollect"
    sys_version = ""
    disable_nagle_algorithm = True
    #: An answer leaves in one piece.
    wbufsize = -1
    server: IngressServer

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._incoming = _Incoming(self.connection)
        self.rfile = io.BufferedReader(self._incoming)

    def handle_one_request(self) -> None:
        self._incoming.allow(self.server.limits.read_seconds)
        super().handle_one_request()

    def tell_alive(self) -> None:
        """Answer that the source runs, as 1.x did to every method but POST."""
        try:
            self._check_path()
            self._answer(200, status="alive", close=self._has_body())
        except Refused as refused:
            self._answer(refused.status, error=str(refused), close=self._has_body())

    do_GET = do_HEAD = do_OPTIONS = do_PATCH = do_TRACE = tell_alive

    def take_push(self) -> None:
        """Take values in; `PUT` is the same, `DELETE` takes them away."""
        unread = True
        try:
            self._check_path()
            self._authorize()
            body = self._read_body()
            unread = False
            if "/json" not in (kind := self._header("Content-Type")) and "+json" not in kind:
                raise Refused("content-type must be json")
            encoding = self._header("Content-Encoding")
            if encoding == "gzip":
                body = decompress(body, self.server.limits.body_bytes)
            elif encoding not in ("", "identity"):
                raise Refused(f"content-encoding {encoding[:20]} is not known, gzip is")
            self._answer(200, status=self.server.accept(self.command, body))
        except Refused as refused:
            self.log_message("%s", refused)
            self._answer(refused.status, error=str(refused), close=unread)

    do_POST = do_PUT = do_DELETE = take_push

    def handle_expect_100(self) -> bool:
        # Who asks before sending a body is told at once when it is not wanted.
        try:
            self._check_path()
            self._authorize()
            self._announced_length()
        except Refused:
            return True
        return super().handle_expect_100()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a request that is not HTTP in JSON, too; a method of any name is one."""
        if code == 501:
            self.tell_alive()
            return
        self._answer(code, error=message or "bad request", close=True)

    def log_message(self, format: str, *args: Any) -> None:
        self.server.log.debug("%s: %s", self.client_address[0], format % args)

    def _header(self, name: str) -> str:
        return str(self.headers.get(name, "")).strip().lower()

    def _has_body(self) -> bool:
        return self._header("Content-Length") not in ("", "0") or bool(
            self._header("Transfer-Encoding")
        )

    def _check_path(self) -> None:
        paths = self.server.paths
        if paths and self.path.partition("?")[0] not in paths:
            raise Refused("nothing is taken at this path", status=404)

    def _authorize(self) -> None:
        if not self.server.access.permits(str(self.headers.get("Authorization", ""))):
            raise Refused("unauthorized", status=401)

    def _announced_length(self) -> int | None:
        """Return the length of the body in bytes, None for one in chunks."""
        if self._header("Transfer-Encoding") == "chunked":
            return None
        text = self._header("Content-Length")
        if not text:
            raise Refused("the length of the body is missing", status=411)
        if not text.isascii() or not text.isdecimal():
            raise Refused("the length of the body is no number")
        length = int(text)
        if length > self.server.limits.body_bytes:
            raise self._too_large()
        return length

    def _too_large(self) -> Refused:
        limit = self.server.limits.body_bytes
        return Refused(f"the body is larger than {limit} bytes", status=413)

    def _read_body(self) -> bytes:
        length = self._announced_length()
        if length is None:
            return self._read_chunks()
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionError("the client went away in the middle of the body")
        return body

    def _read_chunks(self) -> bytes:
        body = b""
        while True:
            line = self.rfile.readline(_CHUNK_LINE_BYTES)
            try:
                size = int(line.partition(b";")[0], 16)
            except ValueError as error:
                raise Refused("the body is not in chunks as announced") from error
            if size < 0 or len(body) + size > self.server.limits.body_bytes:
                raise self._too_large()
            body += self.rfile.read(size)
            if size == 0:
                while self.rfile.readline(_CHUNK_LINE_BYTES).strip():
                    pass
                return body
            self.rfile.readline(_CHUNK_LINE_BYTES)

    def _answer(self, code: int, *, close: bool = False, **content: str) -> None:
        self.server.count_answer(code)
        data = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if code == 401:
            for challenge in self.server.access.challenges:
                self.send_header("WWW-Authenticate", challenge)
        if close or self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        self.wfile.flush()
        if close:
            self._discard_rest()

    def _discard_rest(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            left = _DISCARD_BYTES
            while left > 0 and (chunk := self.rfile.read1(65_536)):
                left -= len(chunk)


class _Incoming(io.RawIOBase):
    """What a client sends, within a time limit for each request as a whole."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._end = 0.0

    def allow(self, seconds: float) -> None:
        """Give the client this many seconds from now on."""
        self._end = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the client is too slow")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
