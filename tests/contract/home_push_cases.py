"""How to put home sources whose devices speak by themselves to the contract; see `cases`."""

import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pollect.testing import SourceCase
from tests.simulators.certificates import Authority
from tests.simulators.daemons import free_port
from tests.simulators.esphome.device import (
    NoiseTerminator,
    SimulatedDevice,
    device_replies,
    messages,
)
from tests.simulators.pmcc import Charger
from tests.simulators.sma_energy_meter import LOOPBACK, Sender, datagram


@contextmanager
def esp_home_device() -> Iterator[Mapping[str, Any]]:
    entity = messages.ListEntitiesSensorResponse(name="Porch", key=1, device_class="temperature")
    state = messages.SensorStateResponse(key=1, state=4.5)
    with SimulatedDevice(device_replies([entity], [state])) as device:
        with NoiseTerminator(device.host, device.port, bytes(32)) as terminator:
            yield {"host": terminator.host, "port": terminator.port}


@contextmanager
def charger() -> Iterator[Mapping[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        with Charger(Authority(Path(folder)).self_signed(Path(folder))) as server:
            yield {"host": server.address}


@contextmanager
def energy_meter() -> Iterator[Mapping[str, Any]]:
    port = free_port(socket.SOCK_DGRAM)
    with Sender(port) as sender:
        sender.keep_sending([datagram()])
        yield {"port": port}


PUSH_SOURCES: list[SourceCase] = [
    SourceCase(
        section={
            "type": "EspHome",
            "host": "localhost",
            "psk": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "timeout": 2,
            "details": True,
        },
        target=esp_home_device,
        at=lambda host, port: {"host": host, "port": port},
        protocol="tcp",
    ),
    SourceCase(
        section={"type": "Pmcc", "host": "localhost", "timeout": 2, "details": True},
        target=charger,
        at=lambda host, port: {"host": f"{host}:{port}"},
        protocol="tcp",
    ),
    SourceCase(
        section={"type": "SmaEnergyMeter", "hostIp": LOOPBACK, "timeout": 1, "details": True},
        target=energy_meter,
        at=lambda host, port: {"hostIp": host, "port": port},
        protocol="udp",
    ),
]
