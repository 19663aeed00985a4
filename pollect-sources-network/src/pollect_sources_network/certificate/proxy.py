"""Tunnels through an HTTP proxy: the method CONNECT of RFC 9110, section 9.3.6."""

import base64
import socket
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from pollect.api import AuthenticationFailed, BadResponse, ProbeError, TargetUnavailable
from pollect.support.connect import Deadline, connect
from pollect.support.urls import check_url
from pollect_sources_network.certificate.dialogue import MAX_LINES, Dialogue

#: Where clients look for a proxy whose URL names no port.
PROXY_PORT = 80
#: tinyproxy answers with the first to wrong credentials, and with the second to none.
_UNAUTHORIZED = (401, 407)
_FORBIDDEN = 403


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where tunnels begin; credentials show in no text of it."""

    host: str
    port: int
    #: Content of the header `Proxy-Authorization`, empty for none.
    authorization: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"the proxy {_authority(self.host, self.port)}"


def parse_proxy(url: str, *, key: str = "proxy") -> Proxy:
    """Read `http://user:password@host:port`; raises `ConfigError` with `key`."""
    parts = urlsplit(check_url(url, key=key, schemes=("http",)))
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return Proxy(parts.hostname or "", parts.port or PROXY_PORT, authorization)


def open_tunnel(proxy: Proxy, host: str, port: int, deadline: Deadline) -> socket.socket:
    """Return a connection that `proxy` passes on to `host`, whose name it resolves itself.

    Raises `AuthenticationFailed` when it wants other credentials, `TargetUnavailable` when it is
    not there or cannot or will not connect, `BadResponse` when it is no proxy, or `OSError`.
    """
    try:
        authority = _authority(host.encode("idna").decode(), port)
    except UnicodeError as error:
        raise TargetUnavailable(f"{host!r} is not a usable host name") from error
    try:
        sock = connect(proxy.host, proxy.port, deadline).sock
    except OSError as error:
        raise TargetUnavailable(f"{proxy}: {error}") from error
    try:
        _request_tunnel(Dialogue(sock, deadline), proxy, authority)
    except BaseException:
        sock.close()
        raise
    return sock


def _request_tunnel(talk: Dialogue, proxy: Proxy, authority: str) -> None:
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    talk.send("\r\n".join([*lines, "", ""]).encode())
    answer = talk.read_line()
    version, _, status = answer.decode("latin-1").partition(" ")
    if not version.startswith("HTTP/1.") or not status[:3].isdecimal():
        raise BadResponse(f"{proxy}: expected an answer of HTTP, got {answer[:80]!r}")
    code = int(status[:3])
    if code // 100 != 2:
        raise _refusal(proxy, authority, code, status)
    for _ in range(MAX_LINES):
        if not talk.read_line():
            return
    raise BadResponse(f"{proxy}: the answer does not end")


def _refusal(proxy: Proxy, authority: str, code: int, status: str) -> ProbeError:
    if code in _UNAUTHORIZED:
        wrong = "refuses these credentials" if proxy.authorization else "asks for credentials"
        return AuthenticationFailed(f"{proxy} {wrong}, with status {code}")
    if code == _FORBIDDEN:
        return TargetUnavailable(f"{proxy} forbids {authority}, with status {code}")
    return TargetUnavailable(f"{proxy} has no way to {authority}: {status[:80]!r}")


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
