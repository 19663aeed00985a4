"""What `pollect init` suggests of this distribution."""

import socket

import pytest

from pollect.discovery.registry import Registry
from pollect.testing import build_source
from pollect_sources_network import suggestions


@pytest.fixture
def ports(monkeypatch):
    """Let resolver and statistics channel be where two sockets are that do not listen yet."""
    with socket.socket() as resolver, socket.socket() as statistics:
        for server, name in ((resolver, "DNS_PORT"), (statistics, "BIND_STATISTICS_PORT")):
            server.bind(("127.0.0.1", 0))
            monkeypatch.setattr(suggestions, name, server.getsockname()[1])
        monkeypatch.setattr(suggestions, "ADDRESSES", ("127.0.0.1",))
        yield resolver, statistics


def test_host_without_a_resolver_gets_nothing(ports) -> None:
    assert list(suggestions.suggest()) == []


def test_resolver_and_its_statistics_are_suggested(ports) -> None:
    for server in ports:
        server.listen()
    found = list(suggestions.suggest())
    assert [item.section["type"] for item in found] == ["Dns", "Bind"]
    registry = Registry()
    for item in found:
        build_source(item.section, registry.source_type(item.section["type"]))
