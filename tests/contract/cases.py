"""How to put each type to the contract: one line, or a few, for every source and writer.

What a case starts comes from `tests/simulators/`; a promise that a type cannot keep stands in its
`exempt`, with the reason.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pollect.testing import SourceCase, WriterCase, serve_http
from tests.simulators.certificates import Authority
from tests.simulators.snmp_agent import COUNTER32, SimulatedAgent

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
]
