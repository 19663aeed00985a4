"""Tunnels through proxies: CONNECT of HTTP (RFC 9110, section 9.3.6), and SOCKS."""

import socket

from pollect.errors import AuthenticationFailed, BadResponse, ProbeError, TargetUnavailable
from pollect.support.connect import Connection, Deadline, connect
from pollect.support.options import IpProtocol
from pollect.support.proxies import Proxy, authority, read_exactly

#: tinyproxy answers with the first to wrong credentials, and with the second to none.
_UNAUTHORIZED = (401, 407)
_FORBIDDEN = 403
_MAX_HEAD_BYTES = 8 * 1024


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
            raise BadResponse(f"{proxy}: expected an HTTP answer, got {head[:80]!r}")
    _, _, status = head.split(b"\n", 1)[0].decode("latin-1").strip().partition(" ")
    if not status[:3].isdecimal():
        raise BadResponse(f"{proxy}: expected an HTTP answer, got {head[:80]!r}")
    code = int(status[:3])
    if code // 100 != 2:
        raise _refusal(proxy, target, code, status)


def _refusal(proxy: Proxy, target: str, code: int, status: str) -> ProbeError:
    if code in _UNAUTHORIZED:
        wrong = "refuses these credentials" if proxy.authorization else "asks for credentials"
        return AuthenticationFailed(f"{proxy} {wrong}, with status {code}")
    if code == _FORBIDDEN:
        return TargetUnavailable(f"{proxy} forbids {target}, with status {code}")
    return TargetUnavailable(f"{proxy} cannot reach {target}: {status[:80]!r}")
