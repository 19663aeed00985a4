"""Connections that requests go over: made, measured, kept for the next one, and closed."""

import select
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pollect.support._http.message import Head, read_body, read_head
from pollect.support.connect import Deadline, connect
from pollect.support.options import IpProtocol
from pollect.support.proxies import Proxy, authority
from pollect.support.tunnels import connect_to, open_tunnel

if TYPE_CHECKING:
    import ssl

DEFAULT_PORTS = {"http": 80, "https": 443}
_RECEIVE_BYTES = 64 * 1024
#: A body up to here goes out in one packet with its head.
_JOINED_BYTES = 64 * 1024
#: What may be sent again when a kept connection turns out to be closed, RFC 9110, section 9.2.2.
_REPEATABLE = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")
_KEPT_PER_ORIGIN = 10


class Origin(NamedTuple):
    """Whom a URL leads to; requests of one origin share connections and credentials."""

    scheme: str
    #: In ASCII; an address of IPv6 without brackets.
    host: str
    port: int

    @property
    def header(self) -> str:
        """Content of the header `Host`."""
        host = self.host.partition("%")[0]  # the zone of an address is our own affair
        if self.port == DEFAULT_PORTS[self.scheme]:
            return f"[{host}]" if ":" in host else host
        return authority(host, self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of connections, see `HttpClient`."""

    verify: bool = True
    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    server_name: str = ""
    ip_protocol: IpProtocol = "any"
    keep_alive: bool = True
    connect_seconds: float | None = None
    read_seconds: float | None = None
    max_body_bytes: int = 10 * 1024 * 1024
    cut_body: bool = False


@dataclass(slots=True)
class Exchange:
    """One request and its answer. Connecting took no time if the connection was there already.

    Behind a proxy resolving and connecting are those of the proxy, and `tls_seconds` has the
    time of its CONNECT.
    """

    resolve_seconds: float = 0.0
    connect_seconds: float = 0.0
    tls_seconds: float = 0.0
    #: Connection ready until first byte of the answer.
    processing_seconds: float = 0.0
    #: First byte until last byte of the answer.
    transfer_seconds: float = 0.0
    #: The address connected to.
    address: str = ""
    #: The version of HTTP in the answer.
    http_version: float = 0.0
    #: As OpenSSL names it, `TLSv1.3`; empty without TLS.
    tls_version: str = ""
    #: The certificates the server sent in DER, its own first; empty without TLS.
    certificates: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """A request as it goes out, but for the line it begins with."""

    method: str
    #: Path and query, encoded.
    target: str
    headers: Iterable[tuple[str, str]]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    head: Head
    body: bytes
    exchange: Exchange


class Pool:
    """Makes connections, and keeps those that can be used again. May be shared by threads."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._idle: dict[tuple[Origin, Proxy | None], list[_Connection]] = {}
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None

    def exchange(
        self, origin: Origin, message: Message, proxy: Proxy | None, deadline: Deadline
    ) -> Answer:
        """Send a request and return the whole answer.

        Raises `BadMessage`, `OSError`, or the `ProbeError` of a proxy.
        """
        key = origin, proxy
        connection = self._take(key)
        if connection is not None:
            try:
                return self._use(connection, key, message, deadline)
            except _Stale:
                if message.method not in _REPEATABLE:
                    raise
        limit = deadline.within(self._options.connect_seconds)
        made = _connect(origin, proxy, self._options, self._tls_context, limit)
        return self._use(made, key, message, deadline)

    def close(self) -> None:
        """Close the connections that are kept."""
        with self._lock:
            idle, self._idle = self._idle, {}
        for kept in idle.values():
            for connection in kept:
                connection.close()

    def _take(self, key: tuple[Origin, Proxy | None]) -> "_Connection | None":
        while self._idle:
            with self._lock:
                kept = self._idle.get(key)
                if not kept:
                    return None
                connection = kept.pop()
            if connection.is_quiet():
                return connection
            connection.close()
        return None

    def _use(
        self,
        connection: "_Connection",
        key: tuple[Origin, Proxy | None],
        message: Message,
        deadline: Deadline,
    ) -> Answer:
        try:
            answer = connection.exchange(message, deadline)
        except BaseException:
            connection.close()
            raise
        if connection.is_reusable:
            with self._lock:
                kept = self._idle.setdefault(key, [])
                if len(kept) < _KEPT_PER_ORIGIN:
                    kept.append(connection)
                    return answer
        connection.close()
        return answer

    def _tls_context(self) -> "ssl.SSLContext":
        if self._tls is None:
            from pollect.support.tls import build_ssl_context  # 4 MB, for those who use it

            options = self._options
            self._tls = build_ssl_context(
                verify=options.verify,
                ca_file=options.ca_file,
                client_cert=options.client_cert,
                client_key=options.client_key,
                alpn=("http/1.1",),
            )
        return self._tls


class _Stale(ConnectionResetError):
    """A connection that was kept had been closed by the server before it answered."""


class _Connection:
    """One connection, to an origin or to the proxy that leads there."""

    def __init__(self, sock: socket.socket, options: Options, exchange: Exchange) -> None:
        self._sock = sock
        self._options = options
        self._exchange = exchange
        #: What stands before the path, and what goes out before the headers, for a proxy.
        self._target_prefix, self._proxy_header = "", ""
        self._deadline = Deadline(0)
        self._received_at = 0.0
        self._is_used = False
        self.buffer = bytearray()
        #: Whether another request may follow.
        self.is_reusable = False

    def pass_through(self, proxy: Proxy, origin: Origin) -> None:
        """Name the origin in every request: the proxy at the other end passes them on."""
        self._target_prefix = f"http://{origin.header}"
        if proxy.authorization:
            self._proxy_header = f"Proxy-Authorization: {proxy.authorization}\r\n"

    def exchange(self, message: Message, deadline: Deadline) -> Answer:
        """Send one request and read its answer."""
        exchange, self._exchange = self._exchange, self._next_exchange()
        self._deadline = deadline
        self.is_reusable = False
        ready_at = time.monotonic()
        try:
            self._send(message, deadline)
            first = self.receive()
        except ConnectionError as error:
            raise self._dropped(error) from error
        first_at = self._received_at
        if not first:
            raise self._dropped(None)
        head = read_head(self)
        options = self._options
        body, self.is_reusable = read_body(
            self, head, message.method, options.max_body_bytes, cut=options.cut_body
        )
        self._is_used = True
        self.is_reusable = self.is_reusable and options.keep_alive and not self.buffer
        exchange.processing_seconds = first_at - ready_at
        exchange.transfer_seconds = self._received_at - first_at
        exchange.http_version = head.version
        return Answer(head, body, exchange)

    def receive(self) -> bool:
        """Append what comes next to the buffer; False when the peer closed."""
        sock = self._sock
        left, wait = self._deadline.left(), self._options.read_seconds
        sock.settimeout(left if wait is None else min(left, wait))
        data = sock.recv(_RECEIVE_BYTES)
        self._received_at = time.monotonic()
        self.buffer += data
        return bool(data)

    def is_quiet(self) -> bool:
        """Whether the server neither closed a kept connection nor said anything unasked."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Close it; may be called again."""
        with suppress(OSError):
            self._sock.close()

    def _send(self, message: Message, deadline: Deadline) -> None:
        target = f"{self._target_prefix}{message.target}"
        lines = "".join([f"{name}: {value}\r\n" for name, value in message.headers])
        head = encode_header(
            f"{message.method} {target} HTTP/1.1\r\n{self._proxy_header}{lines}\r\n"
        )
        sock, body = self._sock, message.body
        if len(body) <= _JOINED_BYTES:
            deadline.send(sock, head + body)
            return
        deadline.send(sock, head)
        # A server that refuses a large body may answer and close before it has read all.
        with suppress(ConnectionError):
            deadline.send(sock, body)

    def _next_exchange(self) -> Exchange:
        now = self._exchange
        return Exchange(
            address=now.address, tls_version=now.tls_version, certificates=now.certificates
        )

    def _dropped(self, error: Exception | None) -> ConnectionError:
        if self._is_used:
            return _Stale("remote end closed connection without response")
        if isinstance(error, ConnectionError) and not isinstance(error, BrokenPipeError):
            return error
        return ConnectionResetError("remote end closed connection without response")


def _connect(
    origin: Origin,
    proxy: Proxy | None,
    options: Options,
    tls_context: "Callable[[], ssl.SSLContext]",
    deadline: Deadline,
) -> _Connection:
    """Connect, through the proxy if there is one, and shake hands."""
    is_tls = origin.scheme == "https"
    if is_tls or (proxy is not None and proxy.scheme == "https"):
        tls_context()  # a missing file is found before the other side is troubled
    if proxy is not None:
        made = connect_to(proxy, deadline, options.ip_protocol)
    else:
        made = connect(origin.host, origin.port, deadline, options.ip_protocol)
    exchange = Exchange(made.resolve_seconds, made.connect_seconds, address=made.address)
    sock = made.sock
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begin = time.monotonic()
        if proxy is not None and proxy.scheme == "https":
            sock = _wrap(tls_context(), sock, proxy.host, deadline)
        if proxy is not None and (is_tls or proxy.is_socks):
            open_tunnel(sock, proxy, origin.host, origin.port, deadline)
        if is_tls:
            sock = _wrap(tls_context(), sock, options.server_name or origin.host, deadline)
            _note_tls(sock, exchange)
    except BaseException:
        sock.close()
        raise
    if is_tls or proxy is not None:
        exchange.tls_seconds = time.monotonic() - begin
    connection = _Connection(sock, options, exchange)
    if proxy is not None and not (is_tls or proxy.is_socks):
        connection.pass_through(proxy, origin)
    return connection


def _wrap(
    context: "ssl.SSLContext", sock: socket.socket, name: str, deadline: Deadline
) -> socket.socket:
    """Return `sock` with TLS over it, whether or not it has some already."""
    import ssl

    name = name.rstrip(".").partition("%")[0]
    sock.settimeout(deadline.left())
    if not isinstance(sock, ssl.SSLSocket):
        from pollect.support.tls import shake_hands

        return shake_hands(context, sock, name)
    from pollect.support._http.layered import LayeredSocket

    layered: Any = LayeredSocket(context, sock, name)  # all of a socket that is used here
    return layered  # type: ignore[no-any-return]


def _note_tls(sock: socket.socket, exchange: Exchange) -> None:
    from pollect.support.tls import presented_certificates

    tls: Any = getattr(sock, "tls_object", sock)
    exchange.tls_version = tls.version() or ""
    exchange.certificates = presented_certificates(tls)


def encode_header(text: str) -> bytes:
    """Return a head as bytes; what is beyond Latin-1 goes as UTF-8, and what is no text as `?`."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode(errors="replace")
