"""SMA energy meters: datagrams put together from the maker's document, sent by real multicast."""

import socket
import struct
import threading
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

GROUP = "239.12.255.254"
#: 1.x knows no other.
PORT_OF_1X = 9522
LOOPBACK = "127.0.0.1"

#: Asks every device of the maker for an answer.
DISCOVERY = bytes.fromhex("534d4100000402a0ffffffff0000002000000000")

#: Index, type -> number, as an idle house sends them.
IDLE: Mapping[tuple[int, int], int] = {
    (1, 4): 2500,
    (1, 8): 3_600_000 * 12,
    (2, 4): 0,
    (2, 8): 3_600_000 * 7,
    (13, 4): 990,
    (14, 4): 50_010,
    (31, 4): 1100,
    (32, 4): 230_500,
}


def datagram(
    numbers: Mapping[tuple[int, int], int] = IDLE,
    *,
    serial: int = 3_000_000_001,
    susyid: int = 372,
    protocol: int = 0x6069,
    version: bytes = b"\x02\x0d\x06R",
) -> bytes:
    """Return one datagram of a meter."""
    records = b"".join(
        struct.pack("!BBBBQ" if kind == 8 else "!BBBBI", 0, index, kind, 0, number)
        for (index, kind), number in numbers.items()
    )
    records += b"\x90\0\0\0" + version
    extra = b"\0\x03" if protocol == 0x6081 else b""
    body = struct.pack("!H", protocol) + extra + struct.pack("!HII", susyid, serial, 1000) + records
    return b"SMA\0\0\x04\x02\xa0\0\0\0\1" + struct.pack("!HH", len(body), 0x10) + body + bytes(4)


def large_datagram() -> bytes:
    """Return a datagram of 608 bytes with every quantity, as a Home Manager 2.0 sends it."""
    numbers: dict[tuple[int, int], int] = {}
    for phase in range(4):
        for index in (1, 2, 3, 4, 9, 10):
            numbers[index + 20 * phase, 4] = 100 * index + phase
            numbers[index + 20 * phase, 8] = 3_600_000 * (index + 10 * phase)
        if phase:
            numbers[11 + 20 * phase, 4] = 1000 + phase
            numbers[12 + 20 * phase, 4] = 230_000 + phase
        numbers[13 + 20 * phase, 4] = 900 + phase
    numbers[14, 4] = 50_010
    return datagram(numbers)


def as_meter(recorded: bytes, serial: int) -> bytes:
    """Return a recorded datagram as another meter would send it."""
    return recorded[:20] + serial.to_bytes(4, "big") + recorded[24:]


def as_copy_for_charger(recorded: bytes) -> bytes:
    """Return a recorded datagram as a Home Manager repeats it for a charger: 2 bytes more."""
    length = int.from_bytes(recorded[12:14], "big") + 2
    head = recorded[:12] + length.to_bytes(2, "big") + recorded[14:16]
    return head + b"\x60\x81\x00\x03" + recorded[18:]


class Sender:
    """Sends datagrams to the meters' group on loopback, or to this host alone."""

    def __init__(self, port: int, *, group: str = GROUP, interface: str = LOOPBACK) -> None:
        self._address = (group, port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(
            socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface)
        )
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def send(self, *datagrams: bytes) -> None:
        for each in datagrams:
            self._socket.sendto(each, self._address)

    def keep_sending(self, datagrams: Iterable[bytes], pause: float = 0.02) -> None:
        """Send all of these over and over, until the end of the block."""

        def run() -> None:
            while not self._over.wait(pause):
                self.send(*datagrams)

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        self._socket.close()
