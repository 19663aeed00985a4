"""Sockets with one time limit, measured: for HTTP and for sources with protocols of their own."""

import contextlib
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from pollect.errors import ConfigError, TargetUnavailable
from pollect.support.options import IpProtocol

#: The smallest time a socket can be given; zero would make it non-blocking.
SHORTEST_SECONDS = 0.001
#: What a source asks of the engine beyond its own limit, so that it can report a failure itself.
#: Name resolution has no limit of its own, and gives up after 5 s by default.
ROOM_SECONDS = 6.0

ResultT = TypeVar("ResultT")
#: What `getaddrinfo` gives: family, kind, protocol, canonical name, address.
Found: TypeAlias = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]

_FAMILIES = {"any": socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}


@dataclass(slots=True)
class Connection:
    """An open connection and how long it took, in seconds."""

    sock: socket.socket
    address: str
    resolve_seconds: float
    connect_seconds: float


class Deadline:
    """A point in time that all steps of a probe share."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds left; raises `TimeoutError` when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return max(left, SHORTEST_SECONDS)

    def within(self, seconds: float | None) -> "Deadline":
        """Return the deadline of one step that may take `seconds`, and never longer than this."""
        left = self.left()
        return Deadline(left if seconds is None else min(seconds, left))

    def receive(self, sock: socket.socket, limit: int = 4096) -> bytes:
        """Receive something; empty when the peer closed. Raises `OSError`."""
        sock.settimeout(self.left())
        return sock.recv(limit)

    def send(self, sock: socket.socket, data: bytes) -> None:
        """Send all of `data`; raises `OSError`."""
        sock.settimeout(self.left())
        sock.sendall(data)


class SharedLimit:
    """Seconds for one answer, and for all the requests of a probe together.

    `where` is the peer, for the error.
    """

    def __init__(self, where: str, answer_seconds: float) -> None:
        self._where = where
        self._answer_seconds = answer_seconds
        self.begin(answer_seconds)

    def begin(self, seconds: float) -> None:
        """Let the requests from now on take so long, all together."""
        self._seconds = seconds
        self._deadline = Deadline(seconds)

    def left(self) -> float:
        """Return the seconds of the next request; raises `TargetUnavailable` if there are none."""
        try:
            return min(self._deadline.left(), self._answer_seconds)
        except TimeoutError as error:
            raise TargetUnavailable(f"{self._where}: no end after {self._seconds:g} s") from error


def connect(
    host: str,
    port: int,
    deadline: Deadline,
    ip_protocol: IpProtocol = "any",
    source_address: str = "",
) -> Connection:
    """Connect by TCP to the first address of `host` that accepts.

    `source_address` is the address of this host to come from, empty for any. Raises
    `socket.gaierror`, `TimeoutError`, or the `OSError` of the last address.
    """
    # Round trips are measured on the real clock: what they measure does not stand still.
    begin = time.monotonic()
    found = resolve(host, port, socket.SOCK_STREAM, ip_protocol, source_address)
    resolved = time.monotonic()

    def attempt(candidate: Found, seconds: float) -> tuple[socket.socket, str]:
        return open_socket(candidate, seconds, source_address), str(candidate[-1][0])

    sock, address = try_each(found, deadline, attempt)
    return Connection(sock, address, resolved - begin, time.monotonic() - resolved)


def try_each(
    found: Sequence[Found], deadline: Deadline, attempt: Callable[[Found, float], ResultT]
) -> ResultT:
    """Return what `attempt` made of the first address that did not fail.

    It is given the address and its seconds: one that swallows everything leaves the next its share.
    Raises the `OSError` of the last address.
    """
    failure: OSError = OSError("the name has no address")
    for untried, candidate in zip(range(len(found), 0, -1), found, strict=True):
        try:
            return attempt(candidate, deadline.left() / untried)
        except OSError as error:
            failure = error
    raise failure


def resolve(
    host: str,
    port: int,
    kind: socket.SocketKind,
    ip_protocol: IpProtocol = "any",
    source_address: str = "",
) -> Sequence[Found]:
    """Return the addresses of `host`, those only that `source_address` can reach, if it is given.

    Raises `socket.gaierror`.
    """
    family = _FAMILIES[ip_protocol]
    if source_address:
        family = socket.AF_INET6 if ":" in source_address else socket.AF_INET
    if (address := _literal(host, port, family)) is not None:
        return [(address[0], kind, 0, "", address[1])]
    try:
        return socket.getaddrinfo(host, port, family, kind)
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, "not a usable host name") from error


def _literal(
    host: str, port: int, family: int
) -> tuple[socket.AddressFamily, tuple[Any, ...]] | None:
    """Return an address that stands for itself, without the lock and the files of a look-up."""
    for kind, address in (
        (socket.AF_INET, (host, port)),
        (socket.AF_INET6, (host, port, 0, 0)),
    ):
        if family in (socket.AF_UNSPEC, kind) and (":" in host) == (kind == socket.AF_INET6):
            with contextlib.suppress(OSError, ValueError):
                socket.inet_pton(kind, host)
                return kind, address
    return None


def open_socket(found: Found, seconds: float, source_address: str = "") -> socket.socket:
    """Return a socket connected to one address within `seconds`; raises `OSError`."""
    family, kind, protocol, _, address = found
    sock = socket.socket(family, kind, protocol)
    try:
        if source_address:
            # An address of IPv6 may name its interface, which takes more than the text.
            own = socket.getaddrinfo(source_address, 0, family, kind, 0, socket.AI_NUMERICHOST)
            sock.bind(own[0][4])
        sock.settimeout(seconds)
        # A reset, unlike a refusal, comes from a peer that had accepted.
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def is_tls_error(error: BaseException | None) -> bool:
    """Whether TLS failed. Without TLS nothing of it is imported, which takes 4 MB."""
    ssl = sys.modules.get("ssl")
    return ssl is not None and isinstance(error, ssl.SSLError)


def describe_failure(error: OSError) -> str:
    """Say in a few words why a connection failed; without any address."""
    if is_tls_error(error):
        reason = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)
        return f"TLS failed: {reason.replace('_', ' ').lower() if reason.isupper() else reason}"
    reason = _without_address(error) or error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename else reason  # one of the TLS files


def _without_address(error: OSError) -> str:
    """Return the reasons of asyncio, which names each address that it tried; empty for others."""
    if "Connect call failed" not in str(error):
        return ""
    numbers = [int(number) for number in re.findall(r"\[Errno (\d+)\]", str(error))]
    return ", ".join(dict.fromkeys(map(os.strerror, numbers)))


def split_host_port(text: str) -> tuple[str, int]:
    """Split `host:port` or `[address]:port`; raises `ValueError`."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    number = int(port)
    if not colon or not host or not 0 < number < 65536:
        raise ValueError(f"expected host:port, got {text!r}")
    return host, number


def check_server_name(name: str, *, key: str = "serverName") -> None:
    """Raise `ConfigError` unless TLS can ask for a server by this name."""
    try:
        name.encode("idna")
        usable = "\0" not in name
    except UnicodeError:
        usable = False
    if not usable:
        raise ConfigError(f"expected a host name, got {name!r}", key=key)
