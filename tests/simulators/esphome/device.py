"""An ESPHome device: the real program that `make firmware` builds, and one made of messages.

Both speak the native API in plaintext. `NoiseTerminator` stands in front of either and encrypts.
"""

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from aioesphomeapi import api_pb2

from pollect.testing import TcpServer, wait_until
from tests.simulators.daemons import answers
from tests.tools.firmware import PORT, PROGRAM

#: The library's definitions; they are made at run time, so that no type checker knows them.
messages: Any = api_pb2

HELLO, LOGIN, DISCONNECT, PING, DEVICE_INFO, LIST, SUBSCRIBE = 1, 3, 5, 7, 9, 11, 20
#: Messages by their number, as far as the simulated device sends them.
SENT_IDS = {
    "HelloResponse": 2,
    "DisconnectResponse": 6,
    "PingResponse": 8,
    "DeviceInfoResponse": 10,
    "ListEntitiesBinarySensorResponse": 12,
    "ListEntitiesCoverResponse": 13,
    "ListEntitiesFanResponse": 14,
    "ListEntitiesLightResponse": 15,
    "ListEntitiesSensorResponse": 16,
    "ListEntitiesSwitchResponse": 17,
    "ListEntitiesDoneResponse": 19,
    "BinarySensorStateResponse": 21,
    "CoverStateResponse": 22,
    "FanStateResponse": 23,
    "LightStateResponse": 24,
    "SensorStateResponse": 25,
    "SwitchStateResponse": 26,
    "ListEntitiesClimateResponse": 46,
    "ClimateStateResponse": 47,
    "ListEntitiesNumberResponse": 49,
    "NumberStateResponse": 50,
    "ListEntitiesSelectResponse": 52,
    "SelectStateResponse": 53,
}


class Firmware:
    """The real program, to be started, frozen and stopped."""

    def __init__(self, folder: Path) -> None:
        self.host = "127.0.0.1"
        self.port = int(PORT.read_text())
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it; ready when this returns."""
        self._process = subprocess.Popen(
            [PROGRAM],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(self._folder)},  # where it keeps its preferences
        )
        wait_until(lambda: answers(self.port), "the ESPHome program")

    def stop(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Keep its connections open and answer nothing more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def running_firmware(folder: Path) -> Iterator[Firmware]:
    """Run the real program; skips where it was not built."""
    if not PROGRAM.exists():
        pytest.skip("the ESPHome program is not built; `make firmware` does it")
    firmware = Firmware(folder)
    firmware.start()
    try:
        yield firmware
    finally:
        firmware.stop()


def frame(number: int, payload: bytes) -> bytes:
    """Return one message as it goes over the wire in plaintext."""
    return b"\0" + _varint(len(payload)) + _varint(number) + payload


def encode(message: Any) -> bytes:
    """Return one message of the library's definitions as it goes over the wire."""
    return frame(SENT_IDS[type(message).__name__], message.SerializeToString())


class SimulatedDevice(TcpServer):
    """Answers each request with the bytes it is given; other requests are taken without a word."""

    def __init__(self, replies: Mapping[int, bytes]) -> None:
        super().__init__(self._converse)
        self.replies = {
            PING: encode(messages.PingResponse()),
            DISCONNECT: encode(messages.DisconnectResponse()),
            LOGIN: frame(4, b""),
            **replies,
        }
        self.requests: list[int] = []
        self._talking: list[socket.socket] = []

    def push(self, *messages: Any | bytes) -> None:
        """Send messages to everyone who subscribed."""
        data = b"".join(m if isinstance(m, bytes) else encode(m) for m in messages)
        for connection in self._talking:
            connection.sendall(data)

    def _converse(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            while (first := stream.read(1)) == b"\0":
                length, number = _read_varint(stream), _read_varint(stream)
                stream.read(length)
                self.requests.append(number)
                connection.sendall(self.replies.get(number, b""))
                if number == SUBSCRIBE:
                    self._talking.append(connection)
                if number == DISCONNECT:
                    return
        if first:
            # As the firmware does with a client that wants encryption.
            connection.sendall(b"\x01\0\x13\x01Bad indicator byte")


def device_replies(
    entities: Iterable[Any], states: Iterable[Any], *, name: str = "pollect-sim", **about: Any
) -> dict[int, bytes]:
    """Return the replies of a device with these entities and states."""
    hello = messages.HelloResponse(api_version_major=1, api_version_minor=10, name=name)
    described = {
        "esphome_version": "2026.10.0",
        "model": "Host",
        "mac_address": "06:35:69:AB:F6:79",
    }
    device = messages.DeviceInfoResponse(name=name, **{**described, **about})
    listed = [*entities, messages.ListEntitiesDoneResponse()]
    return {
        HELLO: encode(hello),
        DEVICE_INFO: encode(device),
        LIST: b"".join(map(encode, listed)),
        SUBSCRIBE: b"".join(map(encode, states)),
    }


def recorded_replies(session: str) -> dict[int, bytes]:
    """Return the replies of a recorded session: lines of hex, `>` from the client, `<` to it."""
    replies: dict[int, bytes] = {}
    asked = 0
    for line in session.splitlines():
        direction, _, text = line.partition(" ")
        if direction == ">":
            asked = bytes.fromhex(text)[2]
        elif direction == "<":
            replies[asked] = replies.get(asked, b"") + bytes.fromhex(text)
    return replies


class NoiseTerminator(TcpServer):
    """Speaks the encrypted protocol to clients, and plaintext to the device behind it.

    While it is not `locked` it also lets plaintext through, as a device with `encryption: {}` does
    until a client gives it a key.
    """

    def __init__(self, host: str, port: int, key: bytes, *, locked: bool = True) -> None:
        super().__init__(self._terminate)
        self.locked = locked
        self._behind = (host, port)
        self._key = key

    def _terminate(self, client: socket.socket) -> None:
        first = client.recv(1, socket.MSG_PEEK)
        with socket.create_connection(self._behind) as device:
            if first == b"\0" and not self.locked:
                self._pipe(client, device)
            elif first == b"\0":
                client.sendall(_noise_frame(b"\x01Bad indicator byte"))
            elif first == b"\1":
                self._encrypted(client, device)

    def _pipe(self, client: socket.socket, device: socket.socket) -> None:
        def forward() -> None:
            _copy(device, client)

        with _beside(forward, device):
            _copy(client, device)

    def _encrypted(self, client: socket.socket, device: socket.socket) -> None:
        from cryptography.exceptions import InvalidTag
        from noise.connection import NoiseConnection

        noise = NoiseConnection.from_name(b"Noise_NNpsk0_25519_ChaChaPoly_SHA256")
        noise.set_as_responder()
        noise.set_psks(psk=self._key)
        noise.set_prologue(b"NoiseAPIInit\0\0")
        noise.start_handshake()
        with client.makefile("rb") as stream:
            _read_noise_frame(stream)
            client.sendall(_noise_frame(b"\x01pollect-host\0" + b"063569abf679\0"))
            try:
                noise.read_message(_read_noise_frame(stream)[1:])
            except InvalidTag:
                client.sendall(_noise_frame(b"\x01Handshake MAC failure"))
                return
            client.sendall(_noise_frame(b"\0" + noise.write_message()))

            def encrypt() -> None:
                with device.makefile("rb") as plain:
                    while plain.read(1):
                        length, number = _read_varint(plain), _read_varint(plain)
                        head = number.to_bytes(2, "big") + length.to_bytes(2, "big")
                        client.sendall(_noise_frame(noise.encrypt(head + plain.read(length))))
                client.shutdown(socket.SHUT_RDWR)

            with _beside(encrypt, device):
                while payload := _read_noise_frame(stream):
                    message = noise.decrypt(payload)
                    device.sendall(frame(int.from_bytes(message[:2], "big"), message[4:]))


@contextmanager
def _beside(work: Any, device: socket.socket) -> Iterator[None]:
    """Run `work` in a thread until the block ends, and with it the device's connection."""

    def run() -> None:
        with suppress(OSError):
            work()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        with suppress(OSError):
            device.shutdown(socket.SHUT_RDWR)
        thread.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    while data := source.recv(65_536):
        target.sendall(data)
    target.shutdown(socket.SHUT_RDWR)


def _noise_frame(payload: bytes) -> bytes:
    return b"\x01" + len(payload).to_bytes(2, "big") + payload


def _read_noise_frame(stream: Any) -> bytes:
    head = stream.read(3)
    return bytes(stream.read(int.from_bytes(head[1:], "big"))) if len(head) == 3 else b""


def _varint(number: int) -> bytes:
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])


def _read_varint(stream: BinaryIO) -> int:
    number = shift = 0
    while True:
        group = stream.read(1)
        if not group:
            raise ConnectionError("the client went away")
        number |= (group[0] & 0x7F) << shift
        shift += 7
        if group[0] < 0x80:
            return number
