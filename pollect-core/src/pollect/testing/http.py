"""An HTTP server for tests: a table of paths and what they answer.

    with serve_http({"/status": "tips=10", "/api": {"power": 5}}) as device:
        source = build_source({"type": "RainGauge", "host": device.address})

A path answers with text, bytes, data (sent as JSON), an `HttpResponse`, a `Misbehaviour`, or a
function of the request that returns one of these. Keys are tried from special to general:
`POST /path?query`, `/path?query`, `POST /path`, `/path`, `*`; without any the answer is 404.
"""

import enum
import json
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from pollect.testing.servers import LOOPBACK, RUBBISH, TcpServer, stay_silent

#: Between two bytes of a body that trickles.
TRICKLE_SECONDS = 0.05


class Misbehaviour(enum.Enum):
    """Ways of an HTTP server to be broken."""

    #: Takes the request and never answers.
    SILENT = enum.auto()
    #: Closes the connection instead of answering.
    HANG_UP = enum.auto()
    #: Answers in no protocol at all.
    RUBBISH = enum.auto()
    #: Promises a body and sends it so slowly that it never ends.
    TRICKLE = enum.auto()
    #: Ends the connection in the middle of the body.
    CUT_SHORT = enum.auto()


@dataclass(frozen=True)
class HttpRequest:
    """One request as it came."""

    method: str
    #: Path and query as sent.
    target: str
    headers: Message
    body: bytes = b""

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """Query parameters; the last of equal names."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def form(self) -> dict[str, str]:
        """The body as a form; the last of equal names."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class HttpResponse:
    """An answer that is more than a body with status 200. `body` is text, bytes or JSON data."""

    body: Any = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> tuple[str, bytes]:
        """Return content type and bytes of the body."""
        match self.body:
            case bytes():
                return "application/octet-stream", self.body
            case str():
                return "text/plain; charset=utf-8", self.body.encode()
            case data:
                return "application/json", json.dumps(data).encode()


Answer: TypeAlias = Any
Routes: TypeAlias = Mapping[str, Answer] | Callable[[HttpRequest], Answer]


class HttpServer(TcpServer):
    """Serves `routes` and remembers the requests. See the text of this module."""

    def __init__(
        self, routes: Routes, *, tls: ssl.SSLContext | None = None, host: str = LOOPBACK
    ) -> None:
        super().__init__(self._handle, tls=tls, host=host)
        #: May be replaced at any time, for the requests to come.
        self.routes = routes
        #: Every request that came, in order.
        self.requests: list[HttpRequest] = []

    @property
    def url(self) -> str:
        """`http://host:port` or `https://host:port`, without a slash at the end."""
        return f"{'https' if self._tls else 'http'}://{self.address}"

    def answer(self, request: HttpRequest) -> "HttpResponse | Misbehaviour":
        """Return what the routes say to a request."""
        found: Answer = self.routes
        if isinstance(found, Mapping):
            method, target, path = request.method, request.target, request.path
            keys = (f"{method} {target}", target, f"{method} {path}", path, "*")
            missing = HttpResponse(f"nothing at {target}", status=404)
            found = next((found[key] for key in keys if key in found), missing)
        while callable(found):
            found = found(request)
        return found if isinstance(found, HttpResponse | Misbehaviour) else HttpResponse(found)

    def _handle(self, connection: socket.socket) -> None:
        _Handler(connection, connection.getpeername(), self)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    """Speaks HTTP/1.1, with connections kept alive."""

    protocol_version = "HTTP/1.1"
    #: Headers and body are two writes; the second would wait 40 ms for the client's kernel.
    disable_nagle_algorithm = True
    server: HttpServer  # type: ignore[assignment]

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65_537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = HttpRequest(self.command, self.path, self.headers, body)
        self.server.requests.append(request)
        answer = self.server.answer(request)
        if isinstance(answer, Misbehaviour):
            self._misbehave(answer)
        else:
            self._respond(answer)
        self.wfile.flush()

    def _respond(self, response: HttpResponse) -> None:
        content_type, body = response.encoded()
        headers = {"Content-Type": content_type, "Content-Length": str(len(body))}
        given = {name.title(): value for name, value in response.headers.items()}
        self.send_response(response.status)
        for name, value in (headers | given).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _misbehave(self, how: Misbehaviour) -> None:
        self.close_connection = True
        match how:
            case Misbehaviour.SILENT:
                stay_silent(self.connection)
            case Misbehaviour.RUBBISH:
                self.wfile.write(RUBBISH)
            case Misbehaviour.CUT_SHORT:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegin")
            case Misbehaviour.TRICKLE:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                self._trickle()

    def _trickle(self) -> None:
        self.connection.settimeout(TRICKLE_SECONDS)
        while True:
            self.wfile.write(b" ")
            try:
                if not self.connection.recv(1):
                    return
            except TimeoutError:
                continue

    def log_message(self, format: str, *args: Any) -> None:
        pass


def serve_http(
    routes: Routes, *, tls: ssl.SSLContext | None = None, host: str = LOOPBACK
) -> HttpServer:
    """Return an HTTP server (for `with`) that answers as `routes` say."""
    return HttpServer(routes, tls=tls, host=host)
