"""Tunnels through a SOCKS proxy: version 5 (RFC 1928, users by RFC 1929), 4 and 4A."""

import ipaddress
import socket

from pollect.errors import AuthenticationFailed, BadResponse, TargetUnavailable
from pollect.support.connect import Deadline, resolve
from pollect.support.proxies import Proxy, authority, read_exactly

_NO_AUTHENTICATION, _USER_AND_PASSWORD = 0, 2
_CONNECT = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_GRANTED_BY_4 = 90
_REFUSED_USER_BY_4 = (92, 93)
#: Replies of version 5, RFC 1928, section 6.
_REPLIES = {
    1: "general failure",
    2: "not allowed by its rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "no answer in time",
    7: "command not supported",
    8: "kind of address not supported",
}


def open_socks(sock: socket.socket, proxy: Proxy, host: str, port: int, deadline: Deadline) -> None:
    """Have `proxy` connect `sock` to `host`; errors as of `open_tunnel`."""
    address = _address_of(host)
    if address is None and proxy.scheme in ("socks4", "socks5"):
        family = 4 if proxy.scheme == "socks4" else "any"
        found = resolve(host, port, socket.SOCK_STREAM, family)  # type: ignore[arg-type]
        address = ipaddress.ip_address(str(found[0][-1][0]).partition("%")[0])
    if proxy.scheme.startswith("socks4"):
        _open_version_4(sock, proxy, host, address, port, deadline)
    else:
        _open_version_5(sock, proxy, host, address, port, deadline)


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address | None


def _address_of(host: str) -> _Address:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _open_version_4(
    sock: socket.socket, proxy: Proxy, host: str, address: _Address, port: int, deadline: Deadline
) -> None:
    if address is not None and address.version != 4:
        raise TargetUnavailable(f"{proxy}: SOCKS 4 cannot reach IPv6 addresses")
    # An address that cannot be says that the name follows.
    packed = b"\0\0\0\1" if address is None else address.packed
    name = b"" if address is not None else host.encode("ascii") + b"\0"
    request = bytes([4, _CONNECT]) + port.to_bytes(2) + packed + proxy.user.encode() + b"\0" + name
    deadline.send(sock, request)
    reply = read_exactly(sock, 8, deadline, proxy)
    if reply[0] != 0:
        raise BadResponse(f"{proxy}: expected a SOCKS 4 answer, got {reply!r}")
    if reply[1] in _REFUSED_USER_BY_4:
        raise AuthenticationFailed(f"{proxy} refuses this user")
    if reply[1] != _GRANTED_BY_4:
        raise TargetUnavailable(f"{proxy} cannot reach {authority(host, port)}")


def _open_version_5(
    sock: socket.socket, proxy: Proxy, host: str, address: _Address, port: int, deadline: Deadline
) -> None:
    methods = [_NO_AUTHENTICATION, *([_USER_AND_PASSWORD] if proxy.user else [])]
    deadline.send(sock, bytes([5, len(methods), *methods]))
    version, method = read_exactly(sock, 2, deadline, proxy)
    if version != 5:
        raise BadResponse(f"{proxy}: expected a SOCKS 5 answer, got version {version}")
    if method == _USER_AND_PASSWORD and proxy.user:
        user, password = proxy.user.encode()[:255], proxy.password.encode()[:255]
        deadline.send(sock, b"\1" + bytes([len(user)]) + user + bytes([len(password)]) + password)
        if read_exactly(sock, 2, deadline, proxy)[1] != 0:
            raise AuthenticationFailed(f"{proxy} refuses these credentials")
    elif method != _NO_AUTHENTICATION:
        wrong = "refuses these credentials" if proxy.user else "asks for credentials"
        raise AuthenticationFailed(f"{proxy} {wrong}")
    if address is None:
        name = host.encode("ascii")
        if len(name) > 255:
            raise TargetUnavailable(f"{host!r} is not a usable host name")
        target = bytes([_NAME, len(name)]) + name
    else:
        target = bytes([_IPV4 if address.version == 4 else _IPV6]) + address.packed
    deadline.send(sock, bytes([5, _CONNECT, 0]) + target + port.to_bytes(2))
    _, reply, _, kind = read_exactly(sock, 4, deadline, proxy)
    if reply:
        reason = _REPLIES.get(reply, f"reply {reply}")
        raise TargetUnavailable(f"{proxy} cannot reach {authority(host, port)}: {reason}")
    lengths = {_IPV4: 4, _IPV6: 16}
    length = read_exactly(sock, 1, deadline, proxy)[0] if kind == _NAME else lengths.get(kind, 0)
    read_exactly(sock, length + 2, deadline, proxy)
