"""How to put each type to the contract: one line, or a few, for every source and writer.

What a case starts comes from `tests/simulators/`; a promise that a type cannot keep stands in its
`exempt`, with the reason.
"""

import os
import socket
import tempfile
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dns.message

from pollect.api import Roots
from pollect.testing import SourceCase, WriterCase, serve_http, serve_udp
from pollect.testing.programs import stand_in
from tests.contract.cloud_cases import CLOUD_SOURCES
from tests.contract.home_cases import HOME_SOURCES
from tests.contract.home_push_cases import PUSH_SOURCES
from tests.simulators import kafka, nats
from tests.simulators.certificates import Authority
from tests.simulators.daemons import free_port
from tests.simulators.fritz_box import FritzBox
from tests.simulators.mosquitto import Broker, running
from tests.simulators.ping import may_ping
from tests.simulators.snmp_agent import COUNTER32, SimulatedAgent
from tests.simulators.tcp import listen, serve_tcp
from tests.simulators.tp_link_eap import AccessPoint, new_data

IN_OCTETS = "1.3.6.1.2.1.2.2.1.10.1"


@contextmanager
def web_page() -> Iterator[Mapping[str, Any]]:
    with serve_http({"*": "hello"}) as server:
        yield {"url": server.url}


@contextmanager
def tls_server() -> Iterator[Mapping[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        tls = Authority(Path(folder)).server("127.0.0.1")
        with serve_tcp(listen, tls=tls) as peer:
            yield {"url": f"https://{peer.address}"}


@contextmanager
def resolver() -> Iterator[Mapping[str, Any]]:
    def reply(query: bytes) -> bytes:
        return dns.message.make_response(dns.message.from_wire(query)).to_wire()

    with serve_udp(reply) as server:
        yield {"server": server.host, "port": server.port}


@contextmanager
def pushed_value() -> Iterator[Mapping[str, Any]]:
    """A client that pushes a value as soon as the port is open."""
    port, over = free_port(), threading.Event()

    def push() -> None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/",
            b'{"metrics": {"queue": {"value": 1, "labels": {"site": "n"}}}}',
            {"Content-Type": "application/json", "Authorization": "Bearer a-token-of-the-test"},
        )
        while not over.wait(0.02):
            with suppress(OSError):
                urllib.request.urlopen(request, timeout=1).close()
                return

    client = threading.Thread(target=push)
    client.start()
    try:
        yield {"port": port}
    finally:
        over.set()
        client.join()


@contextmanager
def fritz_box() -> Iterator[Mapping[str, Any]]:
    with FritzBox() as box:
        yield {"ip": box.host, "port": box.port}


@contextmanager
def access_point() -> Iterator[Mapping[str, Any]]:
    with AccessPoint(new_data()) as point:
        yield {"url": point.url}


@contextmanager
def name_server() -> Iterator[Mapping[str, Any]]:
    statistics = {
        "boot-time": "2026-01-01T00:00:00Z",
        "qtypes": {"A": 5},
        "views": {"_default": {"resolver": {"stats": {}, "cachestats": {}, "cache": {"A": 1}}}},
    }
    with serve_http({"/json/v1/server": statistics}) as server:
        yield {"url": server.url}


@contextmanager
def snmp_agent() -> Iterator[Mapping[str, Any]]:
    with SimulatedAgent({IN_OCTETS: (COUNTER32, 5)}) as agent:
        yield {"host": agent.address}


@contextmanager
def certificate() -> Iterator[Mapping[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        file = Authority(Path(folder)).write_pem(Path(folder, "all.pem"), "127.0.0.1")
        yield {"cert": str(file), "key": str(file)}


@contextmanager
def mqtt_broker() -> Iterator[Mapping[str, Any]]:
    with tempfile.TemporaryDirectory() as folder, running(Broker(Path(folder))) as broker:
        yield {"host": "127.0.0.1", "port": broker.port}


@contextmanager
def nats_server(*, stream: bool = False) -> Iterator[Mapping[str, Any]]:
    """A server with JetStream; the source waits for a stream, which the writer makes itself."""
    with tempfile.TemporaryDirectory() as folder, nats.running(nats.NatsServer(Path(folder))) as it:

        async def make(client: Any, jetstream: Any) -> None:
            await jetstream.add_stream(name="pollect", subjects=["pollect.>"])

        if stream:
            it.ask(make)
        yield {"servers": [it.url]}


@contextmanager
def kafka_broker(*, topic: bool = False) -> Iterator[Mapping[str, Any]]:
    """A broker; the source waits for a topic, which the writer makes itself."""
    with tempfile.TemporaryDirectory() as folder:
        with kafka.running(kafka.KafkaBroker(Path(folder))) as broker:
            if topic:
                broker.make_topic()
            yield {"servers": [broker.address]}


#: Not for the real broker, which lets in whoever says nothing.
KAFKA_PASSWORD = {"password": "hush-password"}
ENDPOINT = {"bind": "127.0.0.1", "port": 0, "auth": {"token": "a-token-of-the-test"}}


@contextmanager
def post_office(option: str, path: str = "") -> Iterator[Mapping[str, Any]]:
    """A server that takes whatever is posted; `option` leads to its `path`."""
    with serve_http({"*": ""}) as server:
        yield {option: server.url + path}


@contextmanager
def mail_box() -> Iterator[Mapping[str, Any]]:
    """A server that takes the messages of Notify."""
    with serve_http({"*": ""}) as server:
        yield {"to": [f"json://me:hush-password@{server.address}/"]}


@contextmanager
def patient_reader() -> Iterator[Mapping[str, Any]]:
    """A server that reads until the client is done."""
    with serve_tcp(listen) as peer:
        yield {"host": peer.host, "port": peer.port}


@contextmanager
def own_file() -> Iterator[Mapping[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        yield {"path": f"{folder}/file"}


@contextmanager
def answering(stdout: str) -> Iterator[Mapping[str, Any]]:
    """A program that prints this, whatever it is asked."""
    with stand_in("program", stdout=stdout) as program:
        yield {"command": str(program.path)}


HOST = Path(__file__).parent / "host"
FAKE_HOST = Roots(proc=HOST / "proc", sys=HOST / "sys")


@contextmanager
def local_traffic() -> Iterator[Mapping[str, Any]]:
    """Datagrams from this host to itself, while the source counts."""
    over = threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:

        def send() -> None:
            while not over.wait(0.02):
                sender.sendto(b"hello", ("127.0.0.1", 9))

        traffic = threading.Thread(target=send)
        traffic.start()
        try:
            yield {}
        finally:
            over.set()
            traffic.join()


A_FAILURE_IS_A_VALUE = "reports `success` 0 instead"
A_CHECK_REPORTS = dict.fromkeys(
    (
        *("target_absent", "target_silent", "target_stalls"),
        *("target_trickles", "target_talks_rubbish"),
    ),
    A_FAILURE_IS_A_VALUE,
)

SOURCES = [
    SourceCase(section={"type": "Dummy", "value": 1, "count": 2}),
    SourceCase(section={"type": "DiskUsage"}),
    SourceCase(section={"type": "Interface"}),
    SourceCase(section={"type": "IO"}),
    SourceCase(section={"type": "LoadAvg"}),
    SourceCase(section={"type": "MemoryUsage"}),
    SourceCase(section={"type": "Process", "procRegex": f"python.*pytest|{os.getpid()}"}),
    SourceCase(
        section={"type": "K8sNamespaceTraffic", "hideLocalhostTraffic": False},
        target=local_traffic,
        exempt={} if os.geteuid() == 0 else {"samples_are_declared": "needs root"},
    ),
    SourceCase(section={"type": "Cpu", "perCore": True}),
    SourceCase(section={"type": "Swap"}),
    SourceCase(section={"type": "Uptime"}),
    SourceCase(section={"type": "Pressure"}),
    SourceCase(section={"type": "MdRaid"}, roots=FAKE_HOST),
    SourceCase(section={"type": "Container"}, roots=FAKE_HOST),
    SourceCase(
        section={"type": "Sensors"},
        target=lambda: answering('{"acpitz-acpi-0": {"temp1": {"temp1_input": 27.8}}}'),
    ),
    SourceCase(
        section={"type": "SmartCtl", "devices": ["null"]},
        target=lambda: answering('{"smartctl": {}, "temperature": {"current": 30}}'),
    ),
    SourceCase(
        section={"type": "SystemdUnit", "units": ["nginx"]},
        target=lambda: answering("Id=nginx.service\nActiveState=active\nNRestarts=0\n"),
    ),
    SourceCase(
        section={"type": "Zfs"},
        target=lambda: answering("tank\t1000\t400\t600\t12\t40\t1.00\tONLINE\n"),
    ),
    SourceCase(
        section={"type": "Http", "url": "http://localhost", "timeout": 1},
        target=web_page,
        at=lambda host, port: {"url": f"http://{host}:{port}"},
        exempt=A_CHECK_REPORTS,
    ),
    SourceCase(
        section={
            "type": "HttpIngress",
            "bind": "127.0.0.1",
            "port": 0,
            "token": "a-token-of-the-test",
            "metrics": {"queue": {"labels": ["site"]}},
        },
        target=pushed_value,
    ),
    SourceCase(
        section={"type": "TcpTime", "host": "localhost", "port": 1, "timeout": 1, "details": True},
        target=patient_reader,
        at=lambda host, port: {"host": host, "port": port},
        exempt=A_CHECK_REPORTS,
    ),
    SourceCase(
        section={"type": "Dns", "server": "localhost", "query": "www.example.test", "timeout": 1},
        target=resolver,
        at=lambda host, port: {"server": host, "port": port},
        protocol="udp",
        exempt=A_CHECK_REPORTS,
    ),
    SourceCase(
        section={"type": "Ping", "host": "127.0.0.1", "count": 2, "spacing": 0.01, "details": True},
        exempt={} if may_ping() else {"samples_are_declared": "not allowed to ping here"},
    ),
    SourceCase(
        section={
            "type": "Certificate",
            "url": "https://localhost",
            "timeout": 1,
            "details": True,
            "filePassword": "password of a file",
        },
        target=tls_server,
        at=lambda host, port: {"url": f"https://{host}:{port}"},
        exempt=A_CHECK_REPORTS,
    ),
    SourceCase(
        section={
            "type": "Fritz",
            "timeout": 1,
            "details": True,
            "user": "fritz1234",
            "password": "secret of the box",
        },
        target=fritz_box,
        at=lambda host, port: {"ip": host, "port": port},
    ),
    SourceCase(
        section={
            "type": "TpLinkEap",
            "url": "http://localhost",
            "user": "admin",
            "password": "eap secret",
            "timeout": 1,
            "details": True,
        },
        target=access_point,
        at=lambda host, port: {"url": f"http://{host}:{port}"},
    ),
    SourceCase(
        section={"type": "Bind", "url": "http://localhost", "timeout": 1, "details": True},
        target=name_server,
        at=lambda host, port: {"url": f"http://{host}:{port}"},
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
    SourceCase(
        section={"type": "Kafka", "timeout": 0.3},
        target=lambda: kafka_broker(topic=True),
        at=lambda host, port: {"servers": [f"{host}:{port}"], "user": "me", **KAFKA_PASSWORD},
        protocol="tcp",
    ),
    SourceCase(
        section={"type": "Nats", "timeout": 0.3, "user": "me", "password": "hush-password"},
        target=lambda: nats_server(stream=True),
        at=lambda host, port: {"servers": [f"nats://{host}:{port}"]},
        protocol="tcp",
    ),
    *HOME_SOURCES,
    *PUSH_SOURCES,
    *CLOUD_SOURCES,
]

WRITERS = [
    WriterCase(section={"type": "DryRun"}),
    WriterCase(section={"type": "InMemory"}),
    WriterCase(section={"type": "ParallelInMemory"}),
    WriterCase(section={"type": "Prometheus", **ENDPOINT}),
    WriterCase(section={"type": "Web", **ENDPOINT}),
    WriterCase(
        section={"type": "PrometheusSsl", "cert": "absent.pem", "key": "absent.pem", **ENDPOINT},
        target=certificate,
    ),
    WriterCase(
        section={"type": "Mqtt", "user": "me", "password": "hush-password"},
        target=mqtt_broker,
        at=lambda host, port: {"host": host, "port": port},
        protocol="tcp",
    ),
    WriterCase(
        section={"type": "Nats", "timeout": 0.3, "user": "me", "password": "hush-password"},
        target=nats_server,
        at=lambda host, port: {"servers": [f"nats://{host}:{port}"]},
        protocol="tcp",
    ),
    WriterCase(
        section={"type": "Kafka", "timeout": 0.3},
        target=kafka_broker,
        at=lambda host, port: {"servers": [f"{host}:{port}"], "user": "me", **KAFKA_PASSWORD},
        protocol="tcp",
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
    WriterCase(
        section={
            "type": "Notify",
            "to": ["json://me:hush-password@127.0.0.1:9/"],
            "rules": [{"metric": "*", "above": -1e300}],
            "wait": 0,
            "timeout": 0.3,
        },
        target=mail_box,
        at=lambda host, port: {"to": [f"json://me:hush-password@{host}:{port}/"]},
    ),
]
