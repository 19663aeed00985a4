"""An evcc on a port of 127.0.0.1: its state by HTTP, and as first message of its websocket."""

import base64
import hashlib
import json
import socket
import struct
from contextlib import suppress
from typing import Any

from pollect.testing import HttpResponse, HttpServer

_WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

STATE: dict[str, Any] = {
    "version": "0.315.0",
    "siteTitle": "Home",
    "interval": 10,
    "gridConfigured": True,
    "homePower": 541.5,
    "pvPower": 8475,
    "pvEnergy": 12.25,
    "tariffGrid": 0.28,
    "tariffCo2": None,
    "grid": {"power": -3366.5, "powers": [-1100, -1133, -1133.5], "currents": [4.8, 4.9, 4.9]},
    "battery": {
        "power": 629,
        "soc": 51,
        "capacity": 13.4,
        "devices": [
            {"name": "db:66", "title": "Cellar", "power": 600, "soc": 51},
            {"name": "db:67", "title": "", "power": 29},
        ],
    },
    "pv": [{"title": "Roof", "power": 8000}, {"name": "db:101", "power": 475}, {"power": None}],
    "statistics": {"30d": {"solarPercentage": 73.4, "chargedKWh": 490.8}},
    "loadpoints": [
        {
            "title": "Carport",
            "mode": "pv",
            "charging": True,
            "chargePower": 3600,
            "chargeTotalImport": 5408.296,
            "chargeCurrents": [15.7, 0, 0],
            "chargeVoltages": [229.8, 0, 0],
            "vehicleTitle": "a name that is not exported",
            "planTime": None,
        },
        {"title": "Carport", "charging": False, "chargePower": 0},
        {"charging": False, "chargePower": 0},
    ],
}


class Evcc(HttpServer):
    """Serves `state`, which may be changed at any time."""

    def __init__(self, state: dict[str, Any]) -> None:
        super().__init__({"/api/state": lambda _: HttpResponse(self.state)})
        self.state: dict[str, Any] = state

    def welcome(self) -> dict[str, Any]:
        """Return the state as the websocket sends it: a key for each value of a loadpoint."""
        flat = {key: value for key, value in self.state.items() if key != "loadpoints"}
        for number, loadpoint in enumerate(self.state.get("loadpoints", [])):
            flat |= {f"loadpoints.{number}.{key}": value for key, value in loadpoint.items()}
        return flat

    def _handle(self, connection: socket.socket) -> None:
        if connection.recv(8, socket.MSG_PEEK | socket.MSG_WAITALL) == b"GET /ws ":
            self._talk_websocket(connection)
        else:
            super()._handle(connection)

    def _talk_websocket(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        lines = dict(line.partition(b": ")[::2] for line in head.split(b"\r\n"))
        key = {name.lower(): value for name, value in lines.items()}[b"sec-websocket-key"]
        accept = base64.b64encode(hashlib.sha1(key + _WEBSOCKET_GUID).digest())
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        message = json.dumps(self.welcome()).encode()
        # A text frame of one piece, its length in two bytes.
        connection.sendall(b"\x81\x7e" + struct.pack(">H", len(message)) + message)
        with suppress(OSError):
            connection.recv(4096)
