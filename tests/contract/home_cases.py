"""How to put each home source to the contract; see `cases`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pollect.testing import SourceCase, serve_http
from tests.simulators import evcc


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
            "type": "Openhab",
            "url": "http://localhost",
            "token": "oh.pollect.secret",
            "timeout": 1,
        },
        target=items,
        at=lambda host, port: {"url": f"http://{host}:{port}"},
    ),
]
