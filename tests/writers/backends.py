"""What remote writers deliver to, well-behaved or not, as a test decides.

Each backend tells which numbers arrived, in order: the suite sends one series whose value is the
number of its tick.
"""

import contextlib
import gzip
import json
import socket
import socketserver
import sqlite3
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import groupby
from pathlib import Path
from typing import Any

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from pollect.support.batches import decode_message
from pollect_writers.prometheus_remote_write.payload import STALE_MARKER
from tests.simulators.daemons import find_program, free_port
from tests.simulators.kafka import KafkaBroker
from tests.simulators.mosquitto import Broker, Listener
from tests.simulators.nats import NatsServer

#: For a request to a target that works, on a busy machine, too: one that was given up too early
#: arrives twice.
PATIENT_SECONDS = 30.0
#: For one to a target that hangs.
HASTY_SECONDS = 1.0
_LISTEN_POLL_SECONDS = 0.01
_LOCK_SECONDS = 0.05
_SLOW_SECONDS = 0.05


class Backend:
    """A target that can be down, hang, or be slow."""

    #: The type of its writer.
    writer: str
    #: Whether the writer shows the present: what is outdated while it waits is neither sent nor
    #: lost.
    present = False
    #: Whether it is a program that may be absent, which skips the test.
    needs_program = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.slow_seconds = 0.0
        #: The time limit of a writer that is started from now on.
        self.timeout_seconds = PATIENT_SECONDS

    @property
    def section(self) -> Mapping[str, Any]:
        """The options that lead the writer here."""
        raise NotImplementedError

    def arrived(self) -> list[int]:
        """Return the numbers that arrived, in order."""
        raise NotImplementedError

    def come_up(self) -> None:
        raise NotImplementedError

    def go_down(self) -> None:
        raise NotImplementedError

    def hang(self) -> None:
        """Take connections from now on, and do nothing with them."""
        raise NotImplementedError

    def slow_down(self) -> None:
        """Take a moment for everything from now on."""
        self.slow_seconds = _SLOW_SECONDS

    def recover(self) -> None:
        """Let go of what hangs: those who waited get no answer."""
        raise NotImplementedError

    def close(self) -> None:
        self.recover()
        self.go_down()


class NetworkBackend(Backend):
    """A server on a port that stays the same when it goes and comes back."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.numbers: list[int] = []
        self._free = threading.Event()
        self._free.set()
        self._server: socketserver.BaseServer | None = None
        self._thread: threading.Thread | None = None
        self._connections: set[socket.socket] = set()

    def arrived(self) -> list[int]:
        return list(self.numbers)

    def take(self, numbers: list[int]) -> None:
        """Keep what arrived; the sender gets its answer afterwards."""
        self.numbers += numbers

    def come_up(self) -> None:
        self._server = self.build_server()
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_LISTEN_POLL_SECONDS,)
        )
        self._thread.start()

    def go_down(self) -> None:
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        self._server = None

    def hang(self) -> None:
        self._free.clear()

    def recover(self) -> None:
        self._free.set()

    def serve(self) -> bool:
        """Hang or be slow; return whether to go on."""
        hung = not self._free.is_set()
        self._free.wait(30)
        time.sleep(self.slow_seconds)
        return not hung

    @contextlib.contextmanager
    def connected(self, connection: socket.socket) -> Iterator[None]:
        self._connections.add(connection)
        try:
            yield
        finally:
            self._connections.discard(connection)

    def build_server(self) -> socketserver.BaseServer:
        raise NotImplementedError


class HttpBackend(NetworkBackend):
    """A server for posts; `errors` are answered first, one each: status, headers, body."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.errors: list[tuple[int, Mapping[str, str], bytes]] = []
        self.requests = 0

    def decode(self, body: bytes) -> list[int]:
        """Return the numbers in a request."""
        raise NotImplementedError

    def partial_answer(self, lost: int) -> tuple[int, bytes]:
        """Return status and body that say that so many numbers were refused."""
        raise NotImplementedError

    def build_server(self) -> socketserver.BaseServer:
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self) -> None:
                with backend.connected(self.connection), contextlib.suppress(OSError):
                    super().handle()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not backend.serve():
                    self.close_connection = True
                    return
                backend.requests += 1
                if backend.errors:
                    status, headers, answer = backend.errors.pop(0)
                else:
                    status, headers, answer = 200, {}, b""
                    if self.headers["Content-Encoding"] == "gzip":
                        body = gzip.decompress(body)
                    backend.take(backend.decode(body))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = False

        return Server(("127.0.0.1", self.port), Handler)


class OtlpBackend(HttpBackend):
    writer = "Otel"

    @property
    def section(self) -> Mapping[str, Any]:
        endpoint = f"http://127.0.0.1:{self.port}/v1/metrics"
        return {"endpoint": endpoint, "timeout": self.timeout_seconds}

    def decode(self, body: bytes) -> list[int]:
        request = ExportMetricsServiceRequest.FromString(body)
        return [
            int(point.as_double)
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.gauge.data_points
        ]

    def partial_answer(self, lost: int) -> tuple[int, bytes]:
        answer = ExportMetricsServiceResponse()
        answer.partial_success.rejected_data_points = lost
        answer.partial_success.error_message = "no more"
        return 200, answer.SerializeToString()


class InfluxBackend(HttpBackend):
    writer = "InfluxDb"

    @property
    def section(self) -> Mapping[str, Any]:
        url = f"http://127.0.0.1:{self.port}"
        return {"url": url, "bucket": "b", "timeout": self.timeout_seconds}

    def decode(self, body: bytes) -> list[int]:
        return [int(float(line.split()[1].split("=")[1])) for line in body.decode().splitlines()]

    def partial_answer(self, lost: int) -> tuple[int, bytes]:
        answer = {"error": f"partial write: points beyond retention policy dropped={lost}"}
        return 400, json.dumps(answer).encode()


class RemoteWriteBackend(HttpBackend):
    writer = "PrometheusRemoteWrite"

    @property
    def section(self) -> Mapping[str, Any]:
        url = f"http://127.0.0.1:{self.port}/api/v1/write"
        return {"url": url, "timeout": self.timeout_seconds}

    def decode(self, body: bytes) -> list[int]:
        request = WriteRequest.FromString(bytes(cramjam.snappy.decompress_raw(body)))
        samples = [sample for series in request.timeseries for sample in series.samples]
        return [
            int(sample.value)
            for sample in sorted(samples, key=lambda sample: sample.timestamp)
            if struct.pack("<d", sample.value) != STALE_MARKER
        ]


class GraphiteBackend(NetworkBackend):
    writer = "Graphite"

    @property
    def section(self) -> Mapping[str, Any]:
        return {"host": "127.0.0.1", "port": self.port, "timeout": self.timeout_seconds}

    def build_server(self) -> socketserver.BaseServer:
        backend = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with backend.connected(self.request), contextlib.suppress(OSError):
                    if not backend.serve():
                        return
                    lines = self.rfile.read().decode().splitlines()
                    backend.take([int(float(line.split()[1])) for line in lines])

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True

        return Server(("127.0.0.1", self.port), Handler)


class FileBackend(Backend):
    """A file in a folder; while the target is down there is something else in its place."""

    @property
    def place(self) -> Path:
        return self.folder / "place"

    @property
    def file(self) -> Path:
        return self.place / "file"

    def come_up(self) -> None:
        if self.place.is_file():
            self.place.unlink()
        stored = self.folder / "stored"
        if stored.exists():
            stored.rename(self.place)
        else:
            self.place.mkdir(exist_ok=True)  # the writer may have been quicker

    def go_down(self) -> None:
        if self.place.is_dir():
            self.place.rename(self.folder / "stored")
        self.place.touch()

    def recover(self) -> None:
        pass


class JsonLinesBackend(FileBackend):
    writer = "JsonLines"

    @property
    def section(self) -> Mapping[str, Any]:
        return {"path": str(self.file)}

    def arrived(self) -> list[int]:
        if not self.file.exists():
            return []
        return [json.loads(line)["value"] for line in self.file.read_text().splitlines()]


class SqliteBackend(FileBackend):
    """Hangs by being locked; is down by being locked, too, once it is there."""

    writer = "Sql"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._lock: sqlite3.Connection | None = None

    @property
    def section(self) -> Mapping[str, Any]:
        return {"path": str(self.file), "timeout": _LOCK_SECONDS}

    def arrived(self) -> list[int]:
        if not self.file.is_file() or not self.file.stat().st_size:
            return []
        with contextlib.closing(sqlite3.connect(self.file)) as database:
            try:
                rows = database.execute("SELECT value FROM pollect_points ORDER BY time_ms")
            except sqlite3.OperationalError:
                return []
            return [int(value) for (value,) in rows]

    def hang(self) -> None:
        self._lock = sqlite3.connect(self.file, isolation_level=None)
        self._lock.execute("BEGIN IMMEDIATE")

    def recover(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def come_up(self) -> None:
        self.recover()
        if not self.place.is_dir():
            super().come_up()

    def go_down(self) -> None:
        if self.file.exists():
            self.hang()
        else:
            super().go_down()

    def close(self) -> None:
        self.recover()


class MosquittoBackend(Backend):
    """Debian's mosquitto, which forgets everything when it goes down; mosquitto_sub is the judge.

    It hangs by SIGSTOP. While it refuses, it knows another password.
    """

    writer = "Mqtt"
    present = True
    needs_program = True
    user, password = "pollect", "of the test"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._passwords = folder / "passwords"
        self._set_password(self.password)
        settings = ["allow_anonymous false", f"password_file {self._passwords}"]
        self.broker = Broker(folder, settings)
        self._listener: Listener | None = None
        #: What listeners saw that ended with their broker.
        self._seen: list[tuple[str, str]] = []
        self._frozen = False
        self._at_full_speed = threading.Event()
        self._brake = threading.Thread(target=self._stop_and_go)

    @property
    def section(self) -> Mapping[str, Any]:
        # Without acknowledgements a hanging broker would look like one that takes everything.
        return {
            "host": "127.0.0.1",
            "port": self.broker.port,
            "user": self.user,
            "password": self.password,
            "qos": 1,
        }

    def arrived(self) -> list[int]:
        """Return the numbers that arrived; a repetition, as after a reconnect, is no arrival."""
        return [int(float(text)) for text, _ in groupby(self.payloads("pollect.ticks/value"))]

    def payloads(self, topic: str) -> list[str]:
        """Return what arrived at a topic, in order."""
        if self._listener is not None and not self._frozen:
            self._listener.catch_up()
        return [payload for where, payload in [*self._seen, *self._heard()] if where == topic]

    def come_up(self) -> None:
        self.broker.start()
        self._listener = Listener(self.broker.port, "-u", "judge", "-P", self.password)

    def go_down(self) -> None:
        if self._listener is not None:
            self._seen += self._heard()
            self._listener.close()
            self._listener = None
        self.broker.stop()

    def kill(self) -> None:
        """End the broker at once, whatever it hangs on."""
        self.broker.kill()
        self.go_down()

    def hang(self) -> None:
        self._frozen = True
        self.broker.freeze()

    def recover(self) -> None:
        if self._brake.is_alive():
            self._at_full_speed.set()
            self._brake.join()
        self._frozen = False
        self.broker.thaw()

    def refuse(self) -> None:
        """Know another password."""
        self._set_password("another")
        self.broker.read_passwords_again()

    def admit(self) -> None:
        self._set_password(self.password)
        self.broker.read_passwords_again()

    def slow_down(self) -> None:
        self._brake.start()

    def _stop_and_go(self) -> None:
        while not self._at_full_speed.wait(_SLOW_SECONDS / 10):
            self.broker.freeze()
            self._at_full_speed.wait(_SLOW_SECONDS)
            self.broker.thaw()

    def _heard(self) -> list[tuple[str, str]]:
        messages = list(self._listener.messages) if self._listener is not None else []
        return [(topic, payload) for _, _, topic, payload in messages]

    def _set_password(self, password: str) -> None:
        command = [find_program("mosquitto_passwd", "mosquitto"), "-b", str(self._passwords)]
        self._passwords.touch(mode=0o600)
        for user, secret in ((self.user, password), ("judge", self.password)):
            subprocess.run([*command, user, secret], check=True)


class BrokerBackend(Backend):
    """A broker that other daemons take the batches from; a client of it is the judge."""

    needs_program = True
    broker: NatsServer | KafkaBroker

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._up = False
        #: What had arrived when it began to hang; None while it does not.
        self._frozen: list[int] | None = None
        #: What had arrived when the broker was last killed.
        self._known: list[int] = []

    def arrived(self) -> list[int]:
        if self._frozen is not None:
            return self._frozen
        return [*self._known, *self._numbers()] if self._up else self._known

    def come_up(self) -> None:
        self.broker.start()
        self._up = True

    def go_down(self) -> None:
        if self._up:
            self._known = self._left_by(self.arrived())
            self.broker.kill()
            self._up = False

    def hang(self) -> None:
        self._frozen = self.arrived()
        self.broker.freeze()

    def recover(self) -> None:
        self._frozen = None
        self.broker.thaw()

    def _left_by(self, numbers: list[int]) -> list[int]:
        """Return what the broker no longer has after it was killed."""
        raise NotImplementedError

    def _numbers(self) -> list[int]:
        return [
            int(sample.value)
            for data in self._contents()
            for sample in decode_message(data).batch.samples
        ]

    def _contents(self) -> list[bytes]:
        raise NotImplementedError


class NatsBackend(BrokerBackend):
    """Keeps everything on disk."""

    writer = "Nats"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.broker: NatsServer = NatsServer(folder)

    @property
    def section(self) -> Mapping[str, Any]:
        return {"servers": [self.broker.url], "timeout": self.timeout_seconds}

    def _left_by(self, numbers: list[int]) -> list[int]:
        return []

    def _contents(self) -> list[bytes]:
        from nats.js.errors import NotFoundError

        try:
            return [message.data for message in self.broker.messages()]
        except NotFoundError:  # nothing was written yet
            return []


class KafkaBackend(BrokerBackend):
    """Keeps everything in memory."""

    writer = "Kafka"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.broker: KafkaBroker = KafkaBroker(folder)

    @property
    def section(self) -> Mapping[str, Any]:
        return {"servers": [self.broker.address], "timeout": self.timeout_seconds}

    def _left_by(self, numbers: list[int]) -> list[int]:
        return numbers

    def _contents(self) -> list[bytes]:
        if "pollect" not in self.broker.topics():
            return []
        return [message.value() for message in self.broker.messages()]


BACKENDS: Mapping[str, type[Backend]] = {
    backend.writer: backend
    for backend in (
        OtlpBackend,
        InfluxBackend,
        RemoteWriteBackend,
        GraphiteBackend,
        JsonLinesBackend,
        SqliteBackend,
        MosquittoBackend,
        NatsBackend,
        KafkaBackend,
    )
}


def _build_write_request() -> Any:
    """Build the message class from its definition, so that our encoder is not its own judge."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="prompb.proto", package="t", syntax="proto3")
    fields: Mapping[str, list[tuple[str, int, Any, str]]] = {
        "Label": [("name", 1, kinds.TYPE_STRING, ""), ("value", 2, kinds.TYPE_STRING, "")],
        "Sample": [("value", 1, kinds.TYPE_DOUBLE, ""), ("timestamp", 2, kinds.TYPE_INT64, "")],
        "TimeSeries": [("labels", 1, None, "Label"), ("samples", 2, None, "Sample")],
        "WriteRequest": [("timeseries", 1, None, "TimeSeries")],
    }
    for name, members in fields.items():
        message = file.message_type.add(name=name)
        for member, number, kind, of in members:
            if kind is None:
                message.field.add(
                    name=member,
                    number=number,
                    label=kinds.LABEL_REPEATED,
                    type=kinds.TYPE_MESSAGE,
                    type_name=f".t.{of}",
                )
            else:
                message.field.add(name=member, number=number, label=kinds.LABEL_OPTIONAL, type=kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.WriteRequest"))


WriteRequest = _build_write_request()
