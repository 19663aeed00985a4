"""How to put each type to the contract: one line, or a few, for every source and writer.

What a case starts comes from `tests/simulators/`; a promise that a type cannot keep stands in its
`exempt`, with the reason.
"""

import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pollect.testing import SourceCase, WriterCase, serve_http
from tests.simulators.certificates import Authority
from tests.simulators.snmp_agent import COUNTER32, SimulatedAgent
from tests.simulators.tcp import Peer, serve_tcp

IN_OCTETS = "1.3.6.1.2.1.2.2.1.10.1"


@contextmanager
def web_page() -> Iterator[Mapping[str, Any]]:
    with serve_http({"*": "hello"}) as server:
        yield {"url": server.url}


@contextmanager
def snmp_agent() -> Iterator[Mapping[str, Any]]:
    with SimulatedAgent({IN_OCTETS: (COUNTER32, 5)}) as agent:
        yield {"host": agent.address}


@contextmanager
def certificate() -> Iterator[Mapping[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "all.pem")
        leaf = Authority(Path(folder)).issue("127.0.0.1")
        leaf.private_key_and_cert_chain_pem.write_to_path(file)
        yield {"cert": str(file), "key": str(file)}


ENDPOINT = {"bind": "127.0.0.1", "port": 0, "auth": {"token": "a-token-of-the-test"}}


@contextmanager
def post_office(option: str, path: str = "") -> Iterator[Mapping[str, Any]]:
    """A server that takes whatever is posted; `option` leads to its `path`."""
    with serve_http({"*": ""}) as server:
        yield {option: server.url + path}


@contextmanager
def patient_reader() -> Iterator[Mapping[str, Any]]:
    """A server that reads until the client is done."""

    def read(connection: socket.socket, peer: Peer) -> None:
        while connection.recv(65_536):
            pass

    with serve_tcp(read) as peer:
        yield {"host": peer.host, "port": peer.port}


@contextmanager
def own_file() -> Iterator[Mapping[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        yield {"path": f"{folder}/file"}


A_FAILURE_IS_A_VALUE = "reports `success` 0 instead"

SOURCES = [
    SourceCase(section={"type": "Dummy", "value": 1, "count": 2}),
    SourceCase(section={"type": "DiskUsage"}),
    SourceCase(section={"type": "Interface"}),
    SourceCase(section={"type": "IO"}),
    SourceCase(section={"type": "LoadAvg"}),
    SourceCase(section={"type": "MemoryUsage"}),
    SourceCase(section={"type": "Process", "procRegex": f"python.*pytest|{os.getpid()}"}),
    SourceCase(
        section={"type": "Http", "url": "http://localhost", "timeout": 1},
        target=web_page,
        at=lambda host, port: {"url": f"http://{host}:{port}"},
        exempt={
            "target_absent": A_FAILURE_IS_A_VALUE,
            "target_silent": A_FAILURE_IS_A_VALUE,
            "target_talks_rubbish": "any page will do",
        },
    ),
    SourceCase(
        section={
            "type": "SnmpGet",
            "host": "localhost",
            "snmpVersion": "2c",
            "communityString": "public",
            "timeout": 0.2,
            "details": True,
            "metrics": [
                {"name": "octets", "oid": "IF-MIB::ifInOctets.1"},
                {"name": "throughput", "oid": "IF-MIB::ifInOctets.1", "mode": "rate"},
            ],
        },
        target=snmp_agent,
        at=lambda host, port: {"host": f"{host}:{port}"},
        protocol="udp",
    ),
    SourceCase(
        section={
            "type": "SnmpTable",
            "host": "localhost",
            "snmpVersion": "2c",
            "communityString": "public",
            "timeout": 0.2,
            "preset": "interfaces",
        },
        target=snmp_agent,
        at=lambda host, port: {"host": f"{host}:{port}"},
        protocol="udp",
    ),
]

WRITERS = [
    WriterCase(section={"type": "DryRun"}),
    WriterCase(section={"type": "InMemory"}),
    WriterCase(section={"type": "ParallelInMemory"}),
    WriterCase(section={"type": "Prometheus", **ENDPOINT}),
    WriterCase(
        section={"type": "PrometheusSsl", "cert": "absent.pem", "key": "absent.pem", **ENDPOINT},
        target=certificate,
    ),
    WriterCase(
        section={"type": "Otel", "timeout": 0.3, "headers": {"Authorization": "hush-header"}},
        target=lambda: post_office("endpoint", "/v1/metrics"),
        at=lambda host, port: {"endpoint": f"http://{host}:{port}/v1/metrics"},
    ),
    WriterCase(
        section={"type": "InfluxDb", "timeout": 0.3, "bucket": "b", "token": "hush-token"},
        target=lambda: post_office("url"),
        at=lambda host, port: {"url": f"http://{host}:{port}"},
    ),
    WriterCase(
        section={
            "type": "PrometheusRemoteWrite",
            "timeout": 0.3,
            "user": "me",
            "password": "hush-password",
        },
        target=lambda: post_office("url", "/api/v1/write"),
        at=lambda host, port: {"url": f"http://{host}:{port}/api/v1/write"},
    ),
    WriterCase(
        section={"type": "Graphite", "timeout": 0.3},
        target=patient_reader,
        at=lambda host, port: {"host": host, "port": port},
        protocol="tcp",
        exempt={"target_silent": "whoever reads all lines and closes has taken them"},
    ),
    WriterCase(section={"type": "JsonLines"}, target=own_file),
    WriterCase(section={"type": "Sql"}, target=own_file),
]
