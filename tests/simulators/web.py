"""HTTP servers whose answers a test decides."""

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Message
    body: bytes


@dataclass(frozen=True)
class Answer:
    body: bytes | str = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Route = Answer | str | bytes | Callable[[Request], Answer]


@dataclass
class WebServer:
    """A running server; `requests` are those it got, in order."""

    url: str
    port: int
    requests: list[Request]


@contextlib.contextmanager
def serve_http(
    routes: Mapping[str, Route], *, tls: ssl.SSLContext | None = None
) -> Iterator[WebServer]:
    """Answer each path (without its query) as `routes` says, with 404 otherwise."""
    requests: list[Request] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, self.path, self.headers, body)
            requests.append(request)
            route = routes.get(self.path.partition("?")[0], Answer("not found", 404))
            reply = route(request) if callable(route) else route
            if not isinstance(reply, Answer):
                reply = Answer(reply)
            data = reply.body.encode() if isinstance(reply.body, str) else reply.body
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: object, client_address: object) -> None:
            """Keep quiet: clients that break off are part of the tests."""

        def finish_request(self, request: object, client_address: object) -> None:
            # The handshake belongs in the thread of the connection.
            if tls is not None:
                request.settimeout(10.0)  # type: ignore[attr-defined]
                request = tls.wrap_socket(request, server_side=True)  # type: ignore[arg-type]
            try:
                super().finish_request(request, client_address)  # type: ignore[arg-type]
            finally:
                request.close()  # type: ignore[attr-defined]

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        port = server.server_address[1]
        scheme = "http" if tls is None else "https"
        try:
            yield WebServer(f"{scheme}://127.0.0.1:{port}", port, requests)
        finally:
            server.shutdown()
            thread.join()
