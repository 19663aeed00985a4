"""Contexts, engine ids, and agents that answer from another address than the one asked."""

import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from pollect.api import ConfigError, MissingDependency, TargetUnavailable
from pollect.testing import build_source, serve_udp
from pollect_sources_network.snmp.config import parse_engine_id
from pollect_sources_network.snmp.get import SnmpGetSource
from pollect_sources_network.snmp.table import SnmpTableSource
from tests.simulators.snmp_agent import (
    COUNTER64,
    INTEGER,
    OCTETS,
    TICKS,
    UPTIME,
    SimulatedAgent,
    Tagged,
)
from tests.simulators.snmpd import needs_snmpd, run_snmpd
from tests.sources_network.driver import opened
from tests.sources_network.test_snmp_snmpd import every_backend, needs_programs

REPORT = 0xA8
ENGINE_ID = "80001f8804706f6c6c656374"
OTHER_ENGINE_ID = "80001f88046f74686572"
#: What the VLAN has and the device around it has not: BRIDGE-MIB, and a name of its own.
PORTS = "1.3.6.1.2.1.17.1.2.0"
LEARNED = "1.3.6.1.2.1.17.4.3.1.2"
BRIDGE: dict[str, Tagged] = {
    UPTIME: (TICKS, 100),
    PORTS: (INTEGER, 7),
    **{f"{LEARNED}.{row}": (INTEGER, row * 2) for row in range(1, 61)},
}
USER: dict[str, Any] = {
    "snmpVersion": 3,
    "username": "reader",
    "authPassPhrase": "authphrase",
    "privacyPassPhrase": "privphrase",
    "timeout": 0.5,
}
COLUMNS = {"columns": [{"name": "port", "oid": LEARNED}]}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A device with an engine id of its own; another agent serves its context `vlan-7`."""
    with SimulatedAgent(BRIDGE) as bridge:
        settings = (
            f"exactEngineID 0x{ENGINE_ID}\n"
            "createUser reader SHA authphrase AES privphrase\nrouser reader priv\n"
            "view everything included .1\ngroup readers usm reader\n"
            "access readers vlan-7 usm priv exact everything none none\n"
            f"proxy -Cn vlan-7 -v 2c -c public {bridge.address} .1.3.6.1.2.1.17\n"
        )
        with run_snmpd(tmp_path_factory.mktemp("snmpd"), settings) as host:
            yield host


def section(host: str, **more: Any) -> dict[str, Any]:
    return {"host": host, "metrics": [{"name": "ports", "oid": PORTS}], **USER, **more}


def probe(config: dict[str, Any], source_type: type[Any] = SnmpGetSource) -> dict[str, float]:
    with opened(config, source_type) as source:
        return source.series()


@pytest.mark.integration
@needs_snmpd
@needs_programs
@pytest.mark.parametrize("backend", ["auto", "snmpget"])
def test_the_objects_of_a_context_are_read(host: str, backend: str) -> None:
    assert probe(section(host, contextName="vlan-7", backend=backend)) == {"ports": 7}


@pytest.mark.integration
@needs_snmpd
@needs_programs
def test_the_tables_of_a_context_are_walked(host: str) -> None:
    config = {"host": host, "contextName": "vlan-7", **USER, **COLUMNS}
    found = probe(config, SnmpTableSource)
    assert found == {f'port{{index="{row}"}}': row * 2 for row in range(1, 61)}


def test_without_the_program_a_context_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingDependency, match="apt install snmp") as caught:
        probe(section("127.0.0.1", contextName="vlan-7"))
    assert caught.value.package == "snmp"


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"contextName": "vlan-7"}, "contextName"),
        ({"unconnected": True}, "unconnected"),
        ({"host": "tcp:switch"}, "host"),
    ],
)
def test_the_native_backend_refuses_what_it_cannot_do(change: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match="the native backend") as failure:
        build_source(section("switch", backend="native") | change, SnmpGetSource)
    assert failure.value.key == key


@pytest.mark.integration
@needs_snmpd
def test_a_context_that_does_not_exist_is_hinted_at(host: str) -> None:
    with pytest.raises(TargetUnavailable, match="pass phrase or context either"):
        probe(section(host, contextName="vlan-9", timeout=0.2, retries=0))


@pytest.mark.integration
@needs_snmpd
@every_backend
def test_an_engine_id_is_taken_from_the_config(host: str, backend: dict[str, Any]) -> None:
    metrics = [{"name": "uptime", "oid": "sysUpTime.0"}]
    with opened(section(host, engineId=ENGINE_ID, metrics=metrics, **backend), SnmpGetSource) as s:
        assert s.series().keys() == s.series().keys() == {"uptime"}


@every_backend
def test_an_engine_id_in_the_config_is_not_asked_for(backend: dict[str, Any]) -> None:
    with serve_udp(lambda _: None) as agent:
        config = section(agent.address, engineId=ENGINE_ID, timeout=0.1, retries=0, **backend)
        with pytest.raises(TargetUnavailable):
            probe(config)
        assert bytes.fromhex(ENGINE_ID) in agent.received[0]


@pytest.mark.integration
@needs_snmpd
def test_the_engine_id_of_another_agent_is_hinted_at(host: str) -> None:
    with pytest.raises(TargetUnavailable, match="or engine id either"):
        probe(section(host, engineId=OTHER_ENGINE_ID, timeout=0.2, retries=0))


@pytest.mark.parametrize(
    "text", ["80001f8803aabbcc", "0x80001F8803AABBCC", "80:00:1f:88:03:aa:bb:cc"]
)
def test_every_way_to_write_an_engine_id_is_understood(text: str) -> None:
    assert parse_engine_id(text) == bytes.fromhex("80001f8803aabbcc")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"engineId": "8000"}, "engineId"),
        ({"engineId": "not hexadecimal"}, "engineId"),
        ({"engineId": "00" * 33}, "engineId"),
        ({"engineId": ENGINE_ID, "snmpVersion": "2c"}, "engineId"),
        ({"contextName": "vlan-7", "snmpVersion": 1}, "contextName"),
    ],
)
def test_mistakes_in_the_config_name_their_key(change: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as failure:
        build_source(section("switch") | change, SnmpGetSource)
    assert failure.value.key == key


class RoundaboutAgent(SimulatedAgent):
    """Answers from a port of its own, as devices with several addresses do."""

    def __enter__(self) -> "RoundaboutAgent":
        super().__enter__()
        return self

    def _serve(self, bound: socket.socket) -> None:
        with closing(socket.socket(bound.family, socket.SOCK_DGRAM)) as sender:
            sender.bind((self.host, 0))
            while True:
                datagram, peer = bound.recvfrom(65_535)
                answer = self.answer(datagram) if datagram else None
                if answer is None:
                    return
                sender.sendto(answer, peer)


@pytest.fixture
def roundabout() -> Iterator[RoundaboutAgent]:
    name = {"1.3.6.1.2.1.1.5.0": (OCTETS, b"switch"), "1.3.6.1.2.1.1.2.0": (COUNTER64, 2**40)}
    with RoundaboutAgent(BRIDGE | name) as agent:
        yield agent


def agent_section(agent: SimulatedAgent, version: int | str, **more: Any) -> dict[str, Any]:
    return {"host": agent.address, "snmpVersion": version, "timeout": 5, "retries": 0, **more}


GET = {"metrics": [{"name": "ports", "oid": PORTS, "oidLabels": {"name": "sysName.0"}}]}


@pytest.mark.parametrize("version", [1, "2c"])
def test_answers_from_another_address_count_when_the_config_says_so(
    roundabout: RoundaboutAgent, version: int | str
) -> None:
    get = agent_section(roundabout, version, unconnected=True, **GET)
    assert probe(get) == {'ports{name="switch"}': 7}
    table = agent_section(roundabout, version, unconnected=True, **COLUMNS)
    assert len(probe(table, SnmpTableSource)) == 60


def test_answers_from_another_address_are_ignored_otherwise(roundabout: RoundaboutAgent) -> None:
    with pytest.raises(TargetUnavailable, match="no answer within"):
        probe(agent_section(roundabout, "2c", timeout=0.3, **GET))


def test_a_silent_agent_is_unavailable_on_an_unconnected_socket_too() -> None:
    with serve_udp(lambda _: None) as agent:
        config = {"host": agent.address, "unconnected": True, "timeout": 0.1, "retries": 1, **GET}
        with pytest.raises(TargetUnavailable, match=r"no answer within 0\.1 s; .*community"):
            probe(config)
        assert len(agent.received) == 2


@pytest.mark.parametrize("rubbish", [b"garbage", b"", b"\x30\x82\xff\xff\x02", b"\x00" * 1500])
def test_rubbish_on_an_unconnected_socket_is_no_answer(rubbish: bytes) -> None:
    with serve_udp(lambda _: rubbish) as peer:
        config = {"host": peer.address, "unconnected": True, "timeout": 0.1, "retries": 0, **GET}
        with pytest.raises(TargetUnavailable, match="no answer within"):
            probe(config)


def test_agents_with_an_ipv6_address_are_read_over_an_unconnected_socket_too() -> None:
    with SimulatedAgent(BRIDGE, host="::1") as agent:
        config = {**agent_section(agent, "2c", unconnected=True, **GET), "host": "::1"}
        assert probe(config | {"port": agent.port}) == {'ports{name=""}': 7}


def test_an_address_that_the_system_refuses_is_unavailable() -> None:
    config = {"host": "255.255.255.255", "unconnected": True, "timeout": 5, "retries": 0, **GET}
    with pytest.raises(TargetUnavailable, match="255\\.255\\.255\\.255"):
        probe(config)


@pytest.mark.parametrize("version", [1, "2c"])
def test_objects_that_do_not_exist_leave_the_others(version: int | str) -> None:
    metrics = [
        {"name": "absent", "oid": "1.3.6.1.4.1.99999.1.0"},
        {"name": "ports", "oid": PORTS},
        {"name": "uptime", "oid": "sysUpTime.0"},
    ]
    with SimulatedAgent(BRIDGE) as agent:
        config = agent_section(agent, version, unconnected=True, metrics=metrics)
        assert probe(config) == {"ports": 7, "uptime": 100}


def test_a_walk_that_does_not_go_forward_ends() -> None:
    with SimulatedAgent(BRIDGE) as agent:
        agent._next = lambda oid: (f"{LEARNED}.1", (INTEGER, 1))  # type: ignore[method-assign]
        config = agent_section(agent, "2c", unconnected=True, **COLUMNS)
        with pytest.raises(Exception, match="not increasing"):
            probe(config, SnmpTableSource)
