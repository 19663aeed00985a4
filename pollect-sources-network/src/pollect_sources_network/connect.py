"""TCP connections with one time limit, measured; shared by the sources that only knock."""

import contextlib
import socket
import time
from dataclasses import dataclass
from typing import Literal, TypeAlias

#: The smallest time a socket can be given; zero would make it non-blocking.
SHORTEST_SECONDS = 0.001
#: What a source asks of the engine beyond its own limit, so that it can report a failure itself.
#: Name resolution has no limit of its own, and gives up after 5 s by default.
ROOM_SECONDS = 6.0

IpProtocol: TypeAlias = Literal["any", 4, 6]

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

    def receive(self, sock: socket.socket, limit: int = 4096) -> bytes:
        """Receive something; empty when the peer closed. Raises `OSError`."""
        sock.settimeout(self.left())
        return sock.recv(limit)

    def send(self, sock: socket.socket, data: bytes) -> None:
        """Send all of `data`; raises `OSError`."""
        sock.settimeout(self.left())
        sock.sendall(data)


def connect(
    host: str, port: int, deadline: Deadline, ip_protocol: IpProtocol = "any"
) -> Connection:
    """Connect to the first address of `host` that accepts.

    Raises `socket.gaierror`, `TimeoutError`, or the `OSError` of the last address.
    """
    # Round trips are measured on the real clock: what they measure does not stand still.
    begin = time.monotonic()
    try:
        found = socket.getaddrinfo(host, port, _FAMILIES[ip_protocol], socket.SOCK_STREAM)
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, "not a usable host name") from error
    resolved = time.monotonic()
    failure: OSError = OSError("the name has no address")
    for untried, (family, kind, protocol, _, address) in zip(
        range(len(found), 0, -1), found, strict=True
    ):
        sock = socket.socket(family, kind, protocol)
        try:
            # An address that swallows everything leaves the next one its share.
            sock.settimeout(deadline.left() / untried)
            # A reset, unlike a refusal, comes from a peer that had accepted.
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return Connection(sock, str(address[0]), resolved - begin, time.monotonic() - resolved)
    raise failure


def split_host_port(text: str) -> tuple[str, int]:
    """Split `host:port` or `[address]:port`; raises `ValueError`."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    number = int(port)
    if not colon or not host or not 0 < number < 65536:
        raise ValueError(f"expected host:port, got {text!r}")
    return host, number
