"""What `HttpIngress` answers: bounded in connections, bytes and time.

Answers are those of pollect 1.x, `{"status": ...}` or `{"error": ...}`.
"""

import base64
import errno
import json
import logging
import re
import socket
import ssl
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus

from pollect.support import http_server
from pollect.support.allowed_hosts import AllowedHosts
from pollect.support.http_server import Head, HttpServer, Request, Response, is_token
from pollect_sources_network.http_ingress.payload import Refused, decompress

#: Pushes that are unpacked and read at the same time: each may take a multiple of its size.
_THREADS = 4
_PUSHES = ("POST", "PUT", "DELETE")
#: `text/json` was enough for 1.x; the suffix is that of RFC 6839. What a page can send without
#: asking first (`text/plain` and forms) is none of them, whatever its parameters say.
_JSON_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+/(?:[!#$%&'*+.^_`|~0-9a-z-]+\+)?json")

#: Method and body of a push -> the word for `status`; raises `Refused`.
Accept = Callable[[str, bytes], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a client may do."""

    body_bytes: int
    #: For a handshake, for a request from its first byte to its last, and between two.
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
        """Whether the value of this header will do; a near miss takes no longer."""
        if not self.challenges:
            return True
        scheme, _, given = authorization.strip().partition(" ")
        match scheme.lower():
            case "bearer":
                return is_token(given.strip(), self.token)
            case "basic" if self.user:
                # All are compared, for the time to tell nothing.
                matches = [is_token(given.strip(), text) for text in self._basic_credentials()]
                return any(matches)
        return False

    def _basic_credentials(self) -> list[str]:
        """Return user and password as clients send them, who disagree on the encoding."""
        text = f"{self.user}:{self.password}"
        encoded = [text.encode()]
        with suppress(UnicodeEncodeError):
            encoded.append(text.encode("latin-1"))
        return [base64.b64encode(each).decode() for each in encoded]


class IngressServer:
    """Listens as soon as it is built; `start()` begins to answer, `stop()` ends everything.

    Raises `OSError` when the address is in use.
    """

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
        hosts: AllowedHosts | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`paths`: where requests are taken; everywhere if there are none."""
        self._accept = accept
        self._body_bytes = limits.body_bytes
        self._log = log
        self._access = access
        self._paths = paths
        self._tls = tls
        self._lock = threading.Lock()
        self._answers: dict[int, int] = {}
        self.listener = http_server.listen(host, port)
        self._server = HttpServer(
            self.listener,
            self._answer,
            wrap=self._wrap if tls is not None else None,
            limits=http_server.Limits(
                connections=limits.connections,
                threads=_THREADS,
                body_bytes=limits.body_bytes,
                idle_seconds=limits.read_seconds,
                request_seconds=limits.read_seconds,
                send_seconds=limits.read_seconds,
            ),
            hosts=hosts,
            screen=self._screen,
            refuse=self._refuse,
            answered=self._count,
            name="http-ingress",
        )

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.port

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()

    def stop(self) -> None:
        """Close the port and all connections; returns when all threads have ended."""
        self._server.close()

    def answers(self) -> dict[int, int]:
        """Return the number of answers so far by status."""
        with self._lock:
            return dict(self._answers)

    def _count(self, status: HTTPStatus) -> None:
        with self._lock:
            self._answers[status] = self._answers.get(status, 0) + 1

    def _wrap(self, connection: socket.socket) -> ssl.SSLSocket:
        if self._tls is None:
            raise OSError(errno.EINVAL, "no certificate was loaded")
        return self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)

    def _screen(self, head: Head) -> Response | None:
        """Refuse by its head what is not wanted, so that its body is not even read."""
        path = head.target.partition("?")[0]
        if self._paths and path not in self._paths:
            return self._refuse(HTTPStatus.NOT_FOUND, "nothing is taken at this path")
        if head.method not in _PUSHES:
            return None
        if head.headers.get("sec-fetch-site", "").lower() == "cross-site":
            return self._refuse(HTTPStatus.FORBIDDEN, "web pages of other sites may not push")
        if not self._access.permits(head.headers.get("authorization", "")):
            return self._refuse(HTTPStatus.UNAUTHORIZED, "unauthorized")
        if head.length is not None and "content-length" not in head.headers:
            reason = "the length of the body is missing"
            return self._refuse(HTTPStatus.LENGTH_REQUIRED, reason)
        return None

    def _answer(self, request: Request) -> Response:
        if request.method not in _PUSHES:
            # As 1.x did to every method but POST.
            return _format(HTTPStatus.OK, {"status": "alive"})
        try:
            body = self._read_json(request)
            answer = {"status": self._accept(request.method, body)}
        except Refused as refused:
            self._log.debug("%s: %s", request.peer, refused)
            return self._refuse(HTTPStatus(refused.status), str(refused))
        return _format(HTTPStatus.OK, answer, earns_trust=True)

    def _read_json(self, request: Request) -> bytes:
        """Return the body unpacked; raises `Refused` unless it says that it is JSON."""
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if _JSON_TYPE.fullmatch(media_type) is None:
            raise Refused("content-type must be json")
        match request.headers.get("content-encoding", "").lower():
            case "gzip":
                return decompress(request.body, self._body_bytes)
            case "" | "identity":
                return request.body
            case encoding:
                raise Refused(f"content-encoding {encoding[:20]} is not supported, gzip is")

    def _refuse(self, status: HTTPStatus, reason: str) -> Response:
        challenges = self._access.challenges if status is HTTPStatus.UNAUTHORIZED else ()
        return _format(status, {"error": reason}, challenges)


def _format(
    status: HTTPStatus,
    content: Mapping[str, str],
    challenges: Collection[str] = (),
    *,
    earns_trust: bool = False,
) -> Response:
    return Response(
        json.dumps(content).encode(),
        "application/json",
        status,
        [("WWW-Authenticate", challenge) for challenge in challenges],
        earns_trust=earns_trust,
    )
