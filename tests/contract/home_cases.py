"""How to put each home source to the contract; see `cases`."""

import atexit
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pollect.testing import FakeClock, SourceCase, serve_http
from tests.simulators import evcc, plex, sma
from tests.simulators.viessmann import Viessmann
from tests.simulators.zodiac import Zodiac


@contextmanager
def charge_controller() -> Iterator[Mapping[str, Any]]:
    with evcc.Evcc(evcc.STATE) as server:
        yield {"host": server.address}


@contextmanager
def meter_camera() -> Iterator[Mapping[str, Any]]:
    fields = {"value": "521.17", "raw": "521.17", "pre": "521.1", "error": "no error"}
    with serve_http({"/json": {"main": {**fields, "rate": "0.02378"}}}) as camera:
        yield {"host": camera.host, "port": camera.port}


@contextmanager
def items() -> Iterator[Mapping[str, Any]]:
    item = {"name": "Kitchen", "label": "Kitchen", "type": "Number:Temperature", "state": "20 °C"}
    with serve_http({"/rest/items": [item]}) as server:
        yield {"url": server.url}


#: Of the accounts below, as if they had signed in; gone at the end.
STATE = tempfile.TemporaryDirectory()
atexit.register(STATE.cleanup)
SIGNED_IN = Path(STATE.name, "viessmann_token.json")
SIGNED_IN.write_text('{"access_token": "a-token-of-the-test", "expires_in": 4000000000}')
SIGNED_IN.chmod(0o600)


HOMEMATIC_ROOM = {
    "home": {"connected": True, "dutyCycle": 8.0},
    "devices": {
        "A": {
            "label": "Wall",
            "functionalChannels": {
                "1": {
                    "functionalChannelType": "WALL_MOUNTED_THERMOSTAT_PRO_CHANNEL",
                    "actualTemperature": 20.5,
                    "setPointTemperature": 21.0,
                    "humidity": 45,
                }
            },
        }
    },
    "groups": {"g": {"type": "META", "label": "Hall", "channels": [{"deviceId": "A"}]}},
}


@contextmanager
def homematic_cloud() -> Iterator[Mapping[str, Any]]:
    with serve_http({}) as cloud:
        state = {"/hmip/home/getCurrentState": HOMEMATIC_ROOM}
        cloud.routes = {**state, "/getHost": {"urlREST": cloud.url}}
        yield {"lookupUrl": f"{cloud.url}/getHost"}


@contextmanager
def heating_cloud() -> Iterator[Mapping[str, Any]]:
    with Viessmann(only_token="a-token-of-the-test") as cloud:
        yield cloud.options


@contextmanager
def media_server() -> Iterator[Mapping[str, Any]]:
    with plex.PlexServer(token="plex secret") as server:
        yield {"url": server.url}


@contextmanager
def pool_cloud() -> Iterator[Mapping[str, Any]]:
    # Both clocks stand still at the same moment.
    with Zodiac(clock=FakeClock().time) as cloud:
        yield cloud.options


@contextmanager
def inverter() -> Iterator[Mapping[str, Any]]:
    with sma.Inverter(sma.by_day()) as server:
        yield {"host": server.host, "port": server.port}


HOME_SOURCES: list[SourceCase] = [
    SourceCase(
        section={
            "type": "AiOnTheEdge",
            "host": "localhost",
            "user": "admin",
            "password": "camera secret",
            "timeout": 1,
            "details": True,
        },
        target=meter_camera,
        at=lambda host, port: {"host": host, "port": port},
    ),
    SourceCase(
        section={"type": "Evcc", "host": "localhost:7070", "timeout": 1, "details": True},
        target=charge_controller,
        at=lambda host, port: {"host": f"{host}:{port}"},
    ),
    SourceCase(
        section={
            "type": "HomematicIp",
            "accessPoint": "3014F711A000000BAD0C0DED",
            "authToken": "homematic secret",
            "timeout": 1,
            "details": True,
        },
        target=homematic_cloud,
        at=lambda host, port: {"lookupUrl": f"http://{host}:{port}/getHost"},
        interval=60.0,
    ),
    SourceCase(
        section={
            "type": "Openhab",
            "url": "http://localhost",
            "token": "oh.pollect.secret",
            "timeout": 1,
        },
        target=items,
        at=lambda host, port: {"url": f"http://{host}:{port}"},
    ),
    SourceCase(
        section={
            "type": "Plex",
            "url": "http://localhost",
            "token": "plex secret",
            "timeout": 1,
            "details": True,
        },
        target=media_server,
        at=lambda host, port: {"url": f"http://{host}:{port}"},
    ),
    SourceCase(
        section={"type": "SmaPvModbus", "host": "localhost", "timeout": 0.3, "details": True},
        target=inverter,
        at=lambda host, port: {"host": host, "port": port},
        protocol="tcp",
    ),
    SourceCase(
        section={
            "type": "Viessmann",
            "client_id": "client-of-the-test",
            "user": "owner@example.org",
            "password": "heating secret",
            "tokenFile": str(SIGNED_IN),
            "timeout": 1,
            "details": True,
        },
        target=heating_cloud,
        at=lambda host, port: {
            "apiUrl": f"http://{host}:{port}/iot",
            "identityUrl": f"http://{host}:{port}/idp/v3",
        },
        interval=90.0,
    ),
    SourceCase(
        section={
            "type": "ZodiacPool",
            "user": "owner@example.org",
            "password": "splash",
            "timeout": 1,
            "details": True,
        },
        target=pool_cloud,
        at=lambda host, port: {
            "usersUrl": f"http://{host}:{port}",
            "devicesUrl": f"http://{host}:{port}",
        },
        interval=30.0,
    ),
]
