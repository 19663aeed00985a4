"""What writers deliver to, each a process that can be killed and started again on its port.

Every sample of a run has a number of its own; a peer tells which numbers it has.
"""

import re
import sys
import time
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.outages.transports import KafkaTransport, NatsTransport, Transport
from tests.simulators.daemons import answers, find_program, free_port
from tests.simulators.mosquitto import Broker, Listener
from tests.writers import servers

#: Below this every metric name of a run begins.
COLLECTION = "outages"


class Peer:
    """A target; raises `pytest.skip.Exception` when its program is not installed."""

    #: The type of its writer.
    writer: str
    #: What it is.
    program: str
    #: Whether the writer shows the present: what is outdated while it waits is not sent.
    present = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def section(self) -> Mapping[str, Any]:
        """The options that lead the writer here."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it, for the first time or after `kill`; returns when it answers."""
        raise NotImplementedError

    def kill(self) -> None:
        """End it at once."""
        raise NotImplementedError

    def found(self) -> list[int]:
        """Return the numbers it has, those that it has twice twice; it must run."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop it and remove what it left outside its folder."""
        raise NotImplementedError


class ProgramPeer(Peer):
    """A peer that is one program."""

    server: servers.Program

    def start(self) -> None:
        self.server.start()

    def kill(self) -> None:
        self.server.kill()

    def close(self) -> None:
        self.server.stop()


class _RecorderPeer(ProgramPeer):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port()
        self._file = folder / "arrived"
        command = [sys.executable, "-m", "tests.outages.receiver", self.writer, str(self.port)]
        self.server = servers.Program(
            [*command, str(self._file)],
            lambda: answers(self.port),
            log=folder / "receiver.log",
            folder=Path.cwd(),
        )

    def found(self) -> list[int]:
        return [int(line) for line in self._file.read_text().splitlines()]


class OtlpPeer(_RecorderPeer):
    writer = "Otel"
    program = "receiver of OTLP's protobuf classes"

    @property
    def section(self) -> Mapping[str, Any]:
        return {"endpoint": f"http://127.0.0.1:{self.port}/v1/metrics"}


class GraphitePeer(_RecorderPeer):
    writer = "Graphite"
    program = "receiver of plain text"

    @property
    def section(self) -> Mapping[str, Any]:
        return {"host": "127.0.0.1", "port": self.port}


class RotelPeer(ProgramPeer):
    """A collector that prints what it gets, which is all it keeps."""

    writer = "Otel"
    program = "rotel"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.server, self._rotel = servers.build_rotel(folder)

    @property
    def section(self) -> Mapping[str, Any]:
        return {"endpoint": self._rotel.endpoint}

    def found(self) -> list[int]:
        return [int(float(value)) for value in re.findall(r"\bValue: (\S+)", self._rotel.output())]


class InfluxPeer(ProgramPeer):
    writer = "InfluxDb"
    program = "influxd 1.6"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._influx = servers.Influx(folder)
        self.server = self._influx.program

    @property
    def section(self) -> Mapping[str, Any]:
        return {"url": self._influx.url, "version": 1, "database": self._influx.database}

    def start(self) -> None:
        super().start()
        self._influx.create_database()

    def found(self) -> list[int]:
        series = self._influx.query(f"SELECT * FROM /^{COLLECTION}/")
        return [
            int(row[columns.index("value")])
            for columns, rows in ((one["columns"], one["values"]) for one in series)
            for row in rows
        ]


class PrometheusPeer(ProgramPeer):
    writer = "PrometheusRemoteWrite"
    program = "prometheus"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.server, self._prometheus = servers.build_prometheus(folder)

    @property
    def section(self) -> Mapping[str, Any]:
        return {"url": self._prometheus.write_url}

    def found(self) -> list[int]:
        query = urllib.parse.urlencode(
            {"query": f'{{__name__=~"{COLLECTION}.*"}}[1h]', "time": time.time()}
        )
        answer = servers.fetch(f"{self._prometheus.url}/api/v1/query?{query}")
        return [
            int(float(value))
            for series in answer["data"]["result"]
            for _, value in series["values"]
        ]


class PostgreSqlPeer(ProgramPeer):
    writer = "Sql"
    program = "PostgreSQL"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._database = servers.PostgreSql()
        self.server = self._database.program

    @property
    def section(self) -> Mapping[str, Any]:
        return {"url": self._database.url}

    def found(self) -> list[int]:
        import psycopg

        address = self._database.url.replace("+psycopg", "")
        with psycopg.connect(address) as database:
            rows = database.execute("SELECT value FROM pollect_points").fetchall()
        return [int(value) for (value,) in rows]

    def close(self) -> None:
        super().close()
        self._database.remove()


class MosquittoPeer(Peer):
    """A broker that forgets everything when it is killed, and mosquitto_sub beside it."""

    writer = "Mqtt"
    program = "mosquitto"
    present = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for name, package in (("mosquitto", "mosquitto"), ("mosquitto_sub", "mosquitto-clients")):
            find_program(name, package)
        self._broker = Broker(folder)
        self._listeners: list[Listener] = []

    @property
    def section(self) -> Mapping[str, Any]:
        return {"host": "127.0.0.1", "port": self._broker.port, "qos": 1}

    def start(self) -> None:
        self._broker.start()
        self._listeners.append(Listener(self._broker.port))

    def kill(self) -> None:
        self._broker.kill()
        self._listeners[-1].close()
        self._broker.stop()

    def found(self) -> list[int]:
        self._listeners[-1].catch_up()
        return [
            int(float(payload))
            for listener in self._listeners
            for _, _, topic, payload in listener.messages
            if topic.startswith(f"{COLLECTION}.") and payload
        ]

    def close(self) -> None:
        if self._listeners:
            self._listeners[-1].close()
        self._broker.stop()


class _TransportPeer(Peer):
    """A broker from which other daemons take the batches; its own client is the judge."""

    transport: type[Transport]

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._transport = self.transport(folder)
        self._prepared = False

    @property
    def section(self) -> Mapping[str, Any]:
        self._prepare()
        return self._transport.options

    def start(self) -> None:
        self._prepare()
        self._transport.broker.start()

    def kill(self) -> None:
        self._transport.broker.kill()

    def found(self) -> list[int]:
        return self._transport.numbers()

    def close(self) -> None:
        if self._prepared:
            self._transport.close()

    def _prepare(self) -> None:
        if not self._prepared:
            self._prepared = True
            self._transport.prepare()


class NatsPeer(_TransportPeer):
    writer = "Nats"
    program = NatsTransport.program
    transport = NatsTransport


class KafkaPeer(_TransportPeer):
    writer = "Kafka"
    program = KafkaTransport.program
    transport = KafkaTransport


PEERS: tuple[type[Peer], ...] = (
    MosquittoPeer,
    InfluxPeer,
    OtlpPeer,
    RotelPeer,
    GraphitePeer,
    PrometheusPeer,
    PostgreSqlPeer,
    NatsPeer,
    KafkaPeer,
)
