"""The socket that hears the meters: joined to their group, and never sending anything."""

import contextlib
import selectors
import socket
import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from types import TracebackType
from typing import Self

from pollect.api import TargetUnavailable
from pollect_sources_home.sma_energy_meter.payload import MULTICAST_GROUP

#: Linux: hear only the groups that this socket joined, not those of every program on the host.
_IP_MULTICAST_ALL = 49
#: Longer than any datagram of a meter, and any that one frame of Ethernet carries.
_DATAGRAM_BYTES = 2048


class Listener:
    """A UDP socket on all addresses, in the meters' group on one interface.

    `interface` is the address of that interface, None for the one the system would choose. Bound to
    an interface's own address, a socket gets no multicast on Linux. Raises `TargetUnavailable` when
    the port or the interface cannot be used now.
    """

    def __init__(self, port: int, *, interface: IPv4Address | None, multicast: bool) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._wake, self._waker = socket.socketpair()
        try:
            self._listen(port, interface, multicast)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def datagrams(self, ends: float | None = None) -> Iterator[bytes]:
        """Yield each datagram as it comes, until `wake()` or the monotonic time `ends`."""
        # Not select.select: a daemon may have more than 1024 files open.
        with selectors.DefaultSelector() as selector:
            for each in (self._socket, self._wake):
                selector.register(each, selectors.EVENT_READ)
            while True:
                left = None if ends is None else ends - time.monotonic()
                if left is not None and left <= 0:
                    return
                ready = selector.select(left)
                if any(key.fileobj is self._wake for key, _ in ready):
                    return
                # A datagram whose checksum is wrong vanishes between the selector and here.
                with contextlib.suppress(BlockingIOError):
                    yield self._socket.recv(_DATAGRAM_BYTES)

    def wake(self) -> None:
        """End `datagrams`, from another thread; once is enough for good."""
        with contextlib.suppress(OSError):
            self._waker.send(b"!")

    def close(self) -> None:
        """Leave the group and free the port."""
        for each in (self._socket, self._wake, self._waker):
            each.close()

    def _listen(self, port: int, interface: IPv4Address | None, multicast: bool) -> None:
        self._socket.setblocking(False)
        self._waker.setblocking(False)
        # SO_REUSEPORT would make the kernel share unicast datagrams out among the programs.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind(("", port))
        except OSError as error:
            raise TargetUnavailable(
                f"cannot listen on UDP port {port}: {error.strerror}"
            ) from error
        if not multicast:
            return
        with contextlib.suppress(OSError):  # another system than Linux
            self._socket.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
        membership = socket.inet_aton(MULTICAST_GROUP) + (interface or IPv4Address(0)).packed
        try:
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        except OSError as error:
            where = f"the interface with address {interface}" if interface else "any interface"
            hint = (
                "is the network up, and is hostIp an address of this host?"
                if interface
                else "is the network up? without a default route set hostIp"
            )
            raise TargetUnavailable(
                f"cannot join {MULTICAST_GROUP} on {where}: {error.strerror}; {hint}"
            ) from error
