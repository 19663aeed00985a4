"""Proxies: which one the environment names for a URL; `tunnels` leads through them.

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

from pollect.errors import BadResponse, ConfigError
from pollect.support.connect import Deadline
from pollect.support.urls import redact_url

#: Where clients look for a proxy whose URL names no port.
PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}


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
