"""Proxies: which one the environment names for a URL, and tunnels through them.

The variables are those of curl and of pollect 1.x: `http_proxy`, `https_proxy`, `all_proxy` and
`no_proxy`, in either case; the lower one wins.
"""

import base64
import ipaddress
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from pollect.errors import (
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    ProbeError,
    TargetUnavailable,
)
from pollect.support.connect import Connection, Deadline, IpProtocol, connect
from pollect.support.urls import redact_url

#: Where clients look for a proxy whose URL names no port.
PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
#: tinyproxy answers with the first to wrong credentials, and with the second to none.
_UNAUTHORIZED = (401, 407)
_FORBIDDEN = 403
_MAX_HEAD_BYTES = 8 * 1024


@dataclass(frozen=True, slots=True)
class Proxy:
    """Whom to connect through; its credentials show in no text of it."""

    scheme: str
    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def authorization(self) -> str:
        """Content of the header `Proxy-Authorization`, empty for none."""
        if not self.user and not self.password:
            return ""
        pair = f"{self.user}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS and not HTTP."""
        return self.scheme.startswith("socks")

    def __str__(self) -> str:
        return f"the proxy {authority(self.host, self.port)}"


def parse_proxy(url: str, *, key: str = "proxy") -> Proxy:
    """Read `http://user:password@host:port`; without a scheme it is http.

    Raises `ConfigError` with `key`.
    """
    text = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in PORTS or port == 0:
        expected = "http, https, socks4, socks4a, socks5 or socks5h"
        raise ConfigError(
            f"expected the URL of a proxy ({expected}), got {redact_url(url)!r}", key=key
        )
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Proxy(parts.scheme, host, port or PORTS[parts.scheme], user, password)


class ProxyChoice:
    """The proxy for each host: the one given, or what the environment named at the start."""

    def __init__(self, url: str | None, environ: Mapping[str, str] = os.environ) -> None:
        """`url`: None takes the environment's, the empty text means none at all.

        A URL that makes no sense is found out by `find`, since the environment is not the config.
        """
        self._urls: dict[str, str] = {}
        self._exempt: list[str] = []
        if url is None:
            for scheme in ("http", "https", "all"):
                self._urls[scheme] = _variable(environ, f"{scheme}_proxy")
            self._exempt = [
                entry
                for each in _variable(environ, "no_proxy").split(",")
                if (entry := each.strip())
            ]
        elif url:
            self._urls["all"] = url
        self._is_none = not any(self._urls.values())

    def find(self, scheme: str, host: str, port: int) -> Proxy | None:
        """Return the proxy for a target, None for none. Raises `ConfigError`."""
        if self._is_none:
            return None
        url = self._urls.get(scheme) or self._urls.get("all")
        if not url or any(_matches(entry, host, port) for entry in self._exempt):
            return None
        return parse_proxy(url)


def connect_to(proxy: Proxy, deadline: Deadline, ip_protocol: IpProtocol = "any") -> Connection:
    """Connect to a proxy. Raises `TargetUnavailable` when it is not there, or `TimeoutError`."""
    try:
        return connect(proxy.host, proxy.port, deadline, ip_protocol)
    except TimeoutError:
        raise
    except OSError as error:
        raise TargetUnavailable(f"{proxy}: {error.strerror or error}") from error


def connect_through(
    proxy: Proxy, host: str, port: int, deadline: Deadline, ip_protocol: IpProtocol = "any"
) -> socket.socket:
    """Return a connection that `proxy` passes on to `host`; errors as of `open_tunnel`."""
    sock = connect_to(proxy, deadline, ip_protocol).sock
    try:
        open_tunnel(sock, proxy, host, port, deadline)
    except BaseException:
        sock.close()
        raise
    return sock


def open_tunnel(
    sock: socket.socket, proxy: Proxy, host: str, port: int, deadline: Deadline
) -> None:
    """Ask `proxy`, at the other end of `sock`, to pass everything on to `host`.

    It resolves the name itself, but for `socks4` and `socks5`, which are given an address. Raises
    `AuthenticationFailed` when it wants other credentials, `TargetUnavailable` when it cannot or
    will not connect, `BadResponse` when it is not such a proxy, or `OSError`.
    """
    try:
        name = host.encode("idna").decode() if not host.isascii() else host
    except UnicodeError as error:
        raise TargetUnavailable(f"{host!r} is not a usable host name") from error
    if proxy.is_socks:
        from pollect.support._socks import open_socks

        open_socks(sock, proxy, name, port, deadline)
    else:
        _connect_by_http(sock, proxy, authority(name, port), deadline)


def authority(host: str, port: int) -> str:
    """Return `host:port`, with brackets around an address of IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def read_exactly(sock: socket.socket, count: int, deadline: Deadline, where: object) -> bytes:
    """Return `count` bytes and not one more; raises `BadResponse` when the peer closed."""
    data = b""
    while len(data) < count:
        part = deadline.receive(sock, count - len(data))
        if not part:
            raise BadResponse(f"{where}: it closed the connection")
        data += part
    return data


def _connect_by_http(sock: socket.socket, proxy: Proxy, target: str, deadline: Deadline) -> None:
    """Send CONNECT, RFC 9110, section 9.3.6."""
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    deadline.send(sock, "\r\n".join([*lines, "", ""]).encode())
    head = b""
    while not head.endswith((b"\r\n\r\n", b"\n\n")):
        # One by one, since what follows the head belongs to the target.
        head += read_exactly(sock, 1, deadline, proxy)
        if len(head) > _MAX_HEAD_BYTES:
            raise BadResponse(f"{proxy}: the answer does not end")
        if not b"HTTP/1.".startswith(head[:7]):
            raise BadResponse(f"{proxy}: expected an answer of HTTP, got {head[:80]!r}")
    _, _, status = head.split(b"\n", 1)[0].decode("latin-1").strip().partition(" ")
    if not status[:3].isdecimal():
        raise BadResponse(f"{proxy}: expected an answer of HTTP, got {head[:80]!r}")
    code = int(status[:3])
    if code // 100 != 2:
        raise _refusal(proxy, target, code, status)


def _refusal(proxy: Proxy, target: str, code: int, status: str) -> ProbeError:
    if code in _UNAUTHORIZED:
        wrong = "refuses these credentials" if proxy.authorization else "asks for credentials"
        return AuthenticationFailed(f"{proxy} {wrong}, with status {code}")
    if code == _FORBIDDEN:
        return TargetUnavailable(f"{proxy} forbids {target}, with status {code}")
    return TargetUnavailable(f"{proxy} has no way to {target}: {status[:80]!r}")


def _variable(environ: Mapping[str, str], name: str) -> str:
    return (environ.get(name) or environ.get(name.upper()) or "").strip()


def _matches(entry: str, host: str, port: int) -> bool:
    """Whether `no_proxy` exempts a host by `entry`: a name with all below it, an address, a net."""
    if entry == "*":
        return True
    if (address := _parse_net(host.partition("%")[0])) is not None:
        net = _parse_net(entry.strip("[]"))
        is_within = net is not None and address[0] in net
        return is_within or entry == authority(host, port)
    name, _, wanted = entry.partition(":")
    if wanted and wanted != str(port):
        return False
    name, host = name.lstrip("*").lstrip(".").lower(), host.rstrip(".").lower()
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _parse_net(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
