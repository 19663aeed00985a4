"""OAuth in the operator's browser: PKCE, `state`, and a server on loopback for the redirect.

RFC 8252 sections 7.3 and 8 (OAuth of native apps).
"""

import html
import os
import queue
import socket
import socketserver
import sys
import threading
import webbrowser
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from pollect.errors import AuthenticationFailed, BadResponse, ConfigError
from pollect.plugin import AuthorizationCode
from pollect.support.oauth import AuthorizationRequest

_LOOPBACK = {"localhost": ("127.0.0.1", "::1"), "127.0.0.1": ("127.0.0.1",), "::1": ("::1",)}
#: A browser opens connections that it does not use.
_IDLE_SECONDS = 5.0
#: Set where a browser has a place to appear.
_SCREENS = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")

_PAGE = "<!doctype html><meta charset=utf-8><title>pollect</title><p>{text}</p>"


class BrowserFlow:
    """One sign-in. In its `with` block it listens, if the redirect leads to this machine."""

    def __init__(self, url: str, redirect_uri: str, parameters: Mapping[str, str]) -> None:
        self._redirect_uri = redirect_uri
        self._request = AuthorizationRequest(redirect_uri, parameters)
        #: What the browser is to open.
        self.address = f"{url}{'&' if '?' in url else '?'}{urlencode(self._request.parameters)}"
        self._found: queue.Queue[AuthorizationCode | AuthenticationFailed] = queue.Queue()
        self._servers: list[ThreadingHTTPServer] = []

    @property
    def listens(self) -> bool:
        """Whether the browser's answer arrives by itself."""
        return bool(self._servers)

    def open_browser(self) -> None:
        """Open the page, if this machine has a screen, or `BROWSER` names what to start.

        A text browser would take the terminal, and no such page works in it.
        """
        if sys.platform == "darwin" or any(os.environ.get(name) for name in _SCREENS):
            # Some browsers only return when they are closed.
            threading.Thread(target=self._open, daemon=True).start()

    def _open(self) -> None:
        with suppress(OSError, webbrowser.Error):  # the address is on the screen
            webbrowser.open(self.address)

    def arrived(self, timeout: float) -> AuthorizationCode | None:
        """Return what came within `timeout` seconds; raises `AuthenticationFailed`."""
        try:
            found = self._found.get(timeout=timeout) if timeout else self._found.get_nowait()
        except queue.Empty:
            return None
        if isinstance(found, AuthenticationFailed):
            raise found
        return found

    def paste(self, text: str) -> str:
        """Take an address or a bare code; return what is wrong with it, or nothing."""
        if "?" not in text and "=" not in text:
            self._found.put(self._request.answer(text))
            return ""
        return self.take(text.partition("?")[2] or text)

    def take(self, query: str) -> str:
        """Take the query of a redirect; return what is wrong with it, or nothing."""
        values = {name: found[-1] for name, found in parse_qs(query.partition("#")[0]).items()}
        try:
            self._found.put(self._request.take(values))
        except AuthenticationFailed as error:
            self._found.put(error)
        except BadResponse as error:
            return str(error)
        return ""

    def __enter__(self) -> Self:
        parts = urlsplit(self._redirect_uri)
        if parts.scheme != "http" or parts.hostname not in _LOOPBACK:
            return self
        addresses, port = _LOOPBACK[parts.hostname], parts.port or 80
        failure: OSError | None = None
        for address in addresses:
            try:
                self._servers.append(_Server(address, port, parts.path or "/", self))
            except OSError as error:  # no IPv6 here, or the port is taken
                failure = failure or error
        if not self._servers:
            reason = failure.strerror if failure else "no address"
            raise ConfigError(
                f"cannot listen on port {port} of the redirect URL {self._redirect_uri}: {reason}",
                hint="end what uses the port, or register another redirect URL",
            )
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    """Takes the redirect at one path of one address."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: str, port: int, path: str, flow: BrowserFlow) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.path = path
        self.flow = flow
        super().__init__((address, port), _Handler)

    def server_bind(self) -> None:
        # Without the look-up of a name, which may take long where there is no resolver.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.path, self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Do nothing: a browser that hangs up is nothing to report."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _IDLE_SECONDS
    server: _Server

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path != self.server.path:
            self._answer(404, "There is nothing here.")
            return
        problem = self.server.flow.take(query)
        if problem:
            self._answer(400, f"pollect: {problem}.")
        else:
            self._answer(200, "pollect has its answer; this page can be closed.")

    def _answer(self, status: int, text: str) -> None:
        page = _PAGE.format(text=html.escape(text)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the query holds the code."""
