"""A Porsche Mobile Charger Connect, as public clients describe it: no device was at hand.

TLS with a certificate of its own making, a websocket at `/ws` for whoever sends an `Origin`, and
the whole state in single messages after the connection is made.
"""

import json
import selectors
import socket
import ssl
import threading
from collections.abc import Iterable
from typing import Any

from websockets.http11 import Request
from websockets.server import ServerProtocol

from pollect.testing import TcpServer

SESSION = {
    "startSoc": 40,
    "soc": 55,
    "evChargingRatekW": 7.2,
    "energySumKwh": 3.25,
    "duration": 1860,
    "chargingType": "AC",
    "sessionId": 17,
    "endSoc": -1,
    "evTargetSoc": 80,
    "chargingRate": 7.36,
    "totalRange": 231,
    "vehicleModel": "unknown",
}


def message(interface: str, name: str, path: str = "/", **arguments: Any) -> str:
    """Return a message; arguments of some interfaces are JSON once more, as text."""
    encoded = interface.rpartition(".")[2] in ("WebServer", "iCAN", "SCC")
    args = {key: json.dumps(value) if encoded else value for key, value in arguments.items()}
    return json.dumps({"interface": interface, "path": path, "name": name, "args": args})


def session(**changes: Any) -> str:
    return message(
        "de.bebro.WebServer",
        "swaggerCurrentSessionChanged",
        swaggerCurrentSession={**SESSION, **changes},
    )


def power(phase: int, watts: float) -> str:
    value: dict[str, Any] = {f"activePowerL{phase}": {"value": watts}}
    return message("de.bebro.iCAN", f"activePowerL{phase}Changed", **value)


def total_energy(kwh: float) -> str:
    data = {"totalEnergy": kwh, "totalTime": "71:02:03"}
    return message(
        "de.bebro.WebServer", "cumulativeChargingDataChanged", cumulativeChargingData=data
    )


def wifi(dbm: int) -> str:
    return message(
        "de.bebro.ConnectionManager",
        "wifi_signal_strength",
        "/WifiNetStatus/NetworkStatus",
        wifi_signal_strength=dbm,
    )


CHARGING = (
    session(),
    power(1, 2310),
    power(2, 2305.5),
    power(3, 0),
    total_energy(812.5),
    wifi(-61),
)


class Conversation:
    """One websocket, as the charger sees it."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._protocol = ServerProtocol()
        self._lock = threading.Lock()
        self.request: Request | None = None

    def shake_hands(self) -> bool:
        """Answer the client's request; tells whether it became a websocket."""
        while self.request is None:
            if not self._receive():
                return False
        is_ours = self.request.path == "/ws" and "Origin" in self.request.headers
        with self._lock:
            if is_ours:
                answer = self._protocol.accept(self.request)
            else:
                answer = self._protocol.reject(404, "nothing here\n")
            self._protocol.send_response(answer)
            self._flush()
        return is_ours

    def send(self, message: str | bytes) -> None:
        """Send a message; bytes go as text, be they text or not."""
        data = message.encode() if isinstance(message, str) else message
        with self._lock:
            self._protocol.send_text(data)
            self._flush()

    def say_goodbye(self) -> None:
        with self._lock:
            self._protocol.send_close(1001)
            self._flush()

    def listen(self) -> None:
        """Answer pings until the client goes."""
        while self._receive():
            pass

    def _receive(self) -> bool:
        data = self._socket.recv(65_536)
        with self._lock:
            if not data:
                self._protocol.receive_eof()
                return False
            self._protocol.receive_data(data)
            for event in self._protocol.events_received():
                if isinstance(event, Request):
                    self.request = event
            self._flush()
            return not self._protocol.close_expected()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._socket.sendall(data)


class Charger(TcpServer):
    """Sends `first` to everyone who connects, and `push` to everyone who is there."""

    def __init__(self, tls: ssl.SSLContext, first: Iterable[str | bytes] = CHARGING) -> None:
        super().__init__(self._converse, tls=tls)
        self.first = list(first)
        #: How many connections to drop before they are answered.
        self.drops = 0
        #: Path and origin of each websocket.
        self.requests: list[tuple[str, str | None]] = []
        self._conversations: list[Conversation] = []

    def push(self, *messages: str | bytes) -> None:
        for conversation in list(self._conversations):
            for each in messages:
                conversation.send(each)

    def say_goodbye(self) -> None:
        """Close every websocket as the protocol wants it, as when the charger goes to sleep."""
        for conversation in list(self._conversations):
            conversation.say_goodbye()

    def _converse(self, sock: socket.socket) -> None:
        if self.drops:
            self.drops -= 1
            sock.recv(1)
            return
        conversation = Conversation(sock)
        if not conversation.shake_hands() or conversation.request is None:
            return
        request = conversation.request
        self.requests.append((request.path, request.headers.get("Origin")))
        self._conversations.append(conversation)
        try:
            for each in self.first:
                conversation.send(each)
            conversation.listen()
        finally:
            self._conversations.remove(conversation)


class Valve(TcpServer):
    """Stands between a client and a server, and can let nothing through any more in silence."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(self._forward)
        self.shut = False
        self._behind = (host, port)

    def _forward(self, client: socket.socket) -> None:
        with socket.create_connection(self._behind) as server, selectors.DefaultSelector() as both:
            both.register(client, selectors.EVENT_READ, server)
            both.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in both.select():
                    data = key.fileobj.recv(65_536)  # type: ignore[union-attr]
                    if not data:
                        return
                    if not self.shut:
                        key.data.sendall(data)
