"""What `pollect init` suggests of this distribution."""

import socket

import pytest

from pollect.discovery.registry import Registry
from pollect.testing import build_writer
from pollect_writers import suggestions


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_endpoint_gets_a_port_that_is_free(monkeypatch, listener) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        free = reserved.getsockname()[1]
    monkeypatch.setattr(suggestions, "PORTS", [listener, free])
    assert next(suggestions.suggest()).section == {"type": "Prometheus", "port": free}


def test_broker_of_this_host_is_suggested_and_left_to_the_operator(monkeypatch, listener) -> None:
    monkeypatch.setattr(suggestions, "MQTT_PORT", listener)
    endpoint, broker = suggestions.suggest()
    assert not endpoint.caveat
    assert broker.section["port"] == listener
    assert "yours to decide" in broker.caveat
    build_writer(broker.section, Registry().writer_type("Mqtt"))


def test_host_without_a_broker_gets_the_endpoint_only(monkeypatch, listener) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        monkeypatch.setattr(suggestions, "MQTT_PORT", reserved.getsockname()[1])
        assert len(list(suggestions.suggest())) == 1
