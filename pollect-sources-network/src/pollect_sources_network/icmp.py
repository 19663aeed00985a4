"""ICMP echo, RFC 792 and RFC 4443: packets in and out, and the sockets that carry them.

Linux and macOS let unprivileged programs ping with datagram sockets; Linux only the groups named in
`net.ipv4.ping_group_range` (it holds for IPv6, too). Where that is not allowed a raw socket is
tried, which takes root or CAP_NET_RAW.
"""

import socket
import struct
import sys
from dataclasses import dataclass
from typing import Any, TypeAlias

from pollect.api import TargetUnavailable

#: What `getaddrinfo` gives.
Address: TypeAlias = tuple[Any, ...]

_ECHO_REQUEST_4, _ECHO_REPLY_4 = 8, 0
_ECHO_REQUEST_6, _ECHO_REPLY_6 = 128, 129
#: Type, code, checksum, identifier, sequence number.
_HEADER = struct.Struct("!BBHHH")
#: Datagram sockets get one from the kernel instead; replies are known by their payload.
_IDENTIFIER = 0x706F
#: The option that asks for the hop limit; Python names it from 3.14 on.
_IP_RECVTTL = {"linux": 12, "darwin": 24}
_MAX_PACKET_BYTES = 65_535
#: Room for the one control message asked for, the hop limit.
_CONTROL_BYTES = 64

NOT_ALLOWED = (
    "not allowed to send pings: add a group of this process to the range in "
    "net.ipv4.ping_group_range (sysctl -w net.ipv4.ping_group_range='0 2147483647' allows all), "
    "or give it CAP_NET_RAW"
)


@dataclass(frozen=True, slots=True)
class Reply:
    """An echo that came back."""

    sequence: int
    payload: bytes
    #: Hop limit of the packet as it arrived, None if the system does not tell.
    ttl: int | None


class EchoSocket:
    """Sends echo requests and receives the replies of one family.

    Raises `TargetUnavailable` with what to do when the system does not allow it, and `OSError` when
    the family does not exist on this host.
    """

    def __init__(self, family: socket.AddressFamily) -> None:
        self._is_6 = family == socket.AF_INET6
        protocol = socket.IPPROTO_ICMPV6 if self._is_6 else socket.IPPROTO_ICMP
        try:
            self._socket = socket.socket(family, socket.SOCK_DGRAM, protocol)
        except PermissionError:
            try:
                self._socket = socket.socket(family, socket.SOCK_RAW, protocol)
            except PermissionError as error:
                raise TargetUnavailable(NOT_ALLOWED) from error
        self._socket.setblocking(False)
        if self._is_6:
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        elif sys.platform in _IP_RECVTTL:
            self._socket.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL[sys.platform], 1)

    def fileno(self) -> int:
        """Return the descriptor, for `select`."""
        return self._socket.fileno()

    def send(self, address: Address, sequence: int, payload: bytes) -> None:
        """Send one request to an address as `getaddrinfo` gives it; raises `OSError`."""
        kind = _ECHO_REQUEST_6 if self._is_6 else _ECHO_REQUEST_4
        self._socket.sendto(build_request(kind, _IDENTIFIER, sequence, payload), address)

    def receive(self) -> Reply | None:
        """Return the next reply, None for a packet that is something else.

        Raises `BlockingIOError` when there is nothing, or another `OSError`.
        """
        control: list[tuple[int, int, bytes]]
        packet, control, _, _ = self._socket.recvmsg(_MAX_PACKET_BYTES, _CONTROL_BYTES)
        if not self._is_6 and packet[:1] and packet[0] >> 4 == 4:
            # A raw socket, and any on macOS, has the IP header in front, whose length is in units
            # of four bytes; an echo reply itself begins with 0.
            packet = packet[(packet[0] & 0x0F) * 4 :]
        parsed = parse_reply(packet, _ECHO_REPLY_6 if self._is_6 else _ECHO_REPLY_4)
        if parsed is None:
            return None
        return Reply(*parsed, ttl=_read_ttl(control))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def build_request(kind: int, identifier: int, sequence: int, payload: bytes) -> bytes:
    """Return an echo request; the checksum of one for IPv6 is put in by the kernel."""
    blank = _HEADER.pack(kind, 0, 0, identifier, sequence) + payload
    return blank[:2] + struct.pack("!H", checksum(blank)) + blank[4:]


def parse_reply(packet: bytes, kind: int) -> tuple[int, bytes] | None:
    """Return sequence number and payload; None when it is not an echo reply."""
    if len(packet) < _HEADER.size:
        return None
    found, _, _, _, sequence = _HEADER.unpack_from(packet)
    return (sequence, packet[_HEADER.size :]) if found == kind else None


def checksum(data: bytes) -> int:
    """Return the checksum of the Internet (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _read_ttl(control: list[tuple[int, int, bytes]]) -> int | None:
    for level, kind, data in control:
        is_ttl = (level, kind) in (
            (socket.IPPROTO_IP, socket.IP_TTL),
            (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT),
        )
        if is_ttl:
            return int.from_bytes(data, sys.byteorder)
    return None
