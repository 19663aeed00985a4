"""Real backends for the writers: Debian's programs on free loopback ports, each with its own files.

Every context manager skips the test when its program is absent, waits until the server answers,
and stops what it started by its process id.
"""

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.simulators.daemons import answers, await_start, find_program, free_port

STOP_SECONDS = 30.0


def fetch(url: str, *, data: Mapping[str, str] | None = None) -> Any:
    """Return the JSON of an answer; None when there is no server or no JSON."""
    body = urllib.parse.urlencode(data).encode() if data is not None else None
    try:
        with urllib.request.urlopen(url, body, timeout=30) as answer:
            text = answer.read()
    except (OSError, urllib.error.URLError):
        return None
    return json.loads(text) if text else {}


class Program:
    """A program that can be killed and started again; its output is added to `log`."""

    def __init__(
        self,
        command: Sequence[str],
        ready: Callable[[], object],
        *,
        log: Path,
        user: str | None = None,
        folder: Path | None = None,
    ) -> None:
        self.log = log
        self._folder = folder or log.parent
        self._command = command
        self._ready = ready
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it is ready."""
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                self._command,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=self._user,
                cwd=self._folder,
                process_group=0,
            )
        self._process = process
        await_start(process, self._ready, self.log)

    def kill(self) -> None:
        """End it at once, and the processes it started, as a power cut does."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it do nothing from now on; the kernel still takes connections for it."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it in order; does nothing when it does not run."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, number)


@contextlib.contextmanager
def running(program: Program) -> Iterator[Program]:
    """Run a program until the block ends."""
    try:
        program.start()
        yield program
    finally:
        program.stop()


class Influx:
    """InfluxDB 1 with one database, which the constructor's user may stop and start again."""

    database = "history"

    def __init__(self, folder: Path) -> None:
        program = find_program("influxd", "influxdb")
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        config = folder / "influx.conf"
        config.write_text(
            f"""
            reporting-disabled = true
            bind-address = "127.0.0.1:{free_port()}"
            [meta]
              dir = "{folder}/meta"
            [data]
              dir = "{folder}/data"
              wal-dir = "{folder}/wal"
            [http]
              bind-address = "127.0.0.1:{self._port}"
            [monitor]
              store-enabled = false
            """
        )
        self.program = Program(
            [program, "-config", str(config)],
            lambda: fetch(f"{self.url}/ping") is not None,
            log=folder / "influx.log",
        )

    @contextlib.contextmanager
    def running(self) -> Iterator["Influx"]:
        with running(self.program):
            self.create_database()
            yield self

    def create_database(self) -> None:
        """Make the database unless it is there."""
        self.query(f"CREATE DATABASE {self.database}")

    def query(self, text: str) -> list[dict[str, Any]]:
        """Return the series of one query, each with `name`, `tags`, `columns` and `values`."""
        answer = fetch(f"{self.url}/query", data={"q": text, "db": self.database, "epoch": "ms"})
        result = answer["results"][0]
        assert "error" not in result, result
        series: list[dict[str, Any]] = result.get("series", [])
        return series


class Prometheus:
    """A Prometheus server that takes remote write."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.write_url = f"{url}/api/v1/write"

    def query(self, expression: str, time: float) -> list[tuple[dict[str, str], float]]:
        """Return the labels and values of an instant query."""
        arguments = urllib.parse.urlencode({"query": expression, "time": time})
        answer = fetch(f"{self.url}/api/v1/query?{arguments}")
        assert answer, "no answer to the query"
        return [(row["metric"], float(row["value"][1])) for row in answer["data"]["result"]]


def build_prometheus(folder: Path) -> tuple[Program, Prometheus]:
    """Return the program, not started yet, and who asks it."""
    program = find_program("prometheus", "prometheus")
    config = folder / "prometheus.yml"
    config.write_text("global: {}\n")
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--web.enable-remote-write-receiver",
    ]
    ready = f"{url}/api/v1/status/runtimeinfo"
    log = folder / "prometheus.log"
    return Program(command, lambda: fetch(ready), log=log), Prometheus(url)


@contextlib.contextmanager
def prometheus(folder: Path) -> Iterator[Prometheus]:
    program, server = build_prometheus(folder)
    with running(program):
        yield server


class VictoriaMetrics(Prometheus):
    """One VictoriaMetrics for several protocols."""

    def __init__(self, url: str, graphite_port: int) -> None:
        super().__init__(url)
        self.graphite_port = graphite_port

    def export(self, selector: str) -> list[dict[str, Any]]:
        """Return whole series, each with `metric`, `values` and `timestamps` in milliseconds."""
        fetch(f"{self.url}/internal/force_flush")
        arguments = urllib.parse.urlencode({"match[]": selector})
        with urllib.request.urlopen(f"{self.url}/api/v1/export?{arguments}", timeout=30) as answer:
            return [json.loads(line) for line in answer]


@contextlib.contextmanager
def victoria_metrics(folder: Path) -> Iterator[VictoriaMetrics]:
    program = find_program("victoria-metrics", "victoria-metrics")
    port, graphite_port = free_port(), free_port()
    address = f"127.0.0.1:{port}"
    command = [
        program,
        f"-storageDataPath={folder / 'data'}",
        "-retentionPeriod=100y",
        f"-httpListenAddr={address}",
        f"-graphiteListenAddr=127.0.0.1:{graphite_port}",
    ]
    log = folder / "victoria.log"
    with running(Program(command, lambda: answers(port) and answers(graphite_port), log=log)):
        yield VictoriaMetrics(f"http://{address}", graphite_port)


class Carbon:
    """Graphite's own daemon; what it stored is read with its own program."""

    def __init__(self, port: int, storage: Path) -> None:
        self.port = port
        self._storage = storage

    def values(self, pattern: str, since: int, until: int) -> list[float]:
        """Return what the one file that matches holds from `since` to `until`."""
        files = list((self._storage / "whisper").rglob(pattern))
        if len(files) != 1:
            return []
        command = [
            find_program("whisper-fetch", "graphite-carbon"),
            "--json",
            f"--from={since}",
            f"--until={until}",
            str(files[0]),
        ]
        answer = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        return [value for value in answer["values"] if value is not None]


@contextlib.contextmanager
def carbon(folder: Path) -> Iterator[Carbon]:
    program = find_program("carbon-cache", "graphite-carbon")
    port = free_port()
    (folder / "storage-schemas.conf").write_text("[all]\npattern = .*\nretentions = 1s:1d\n")
    config = folder / "carbon.conf"
    config.write_text(
        f"""
[cache]
STORAGE_DIR = {folder}
LOCAL_DATA_DIR = {folder}/whisper
CONF_DIR = {folder}
LOG_DIR = {folder}
PID_DIR = {folder}
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {port}
ENABLE_UDP_LISTENER = False
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = {free_port()}
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = {free_port()}
USE_INSECURE_UNPICKLER = False
MAX_CREATES_PER_MINUTE = inf
MAX_UPDATES_PER_SECOND = inf
ENABLE_TAGS = False
TAG_HASH_FILENAMES = False
"""
    )
    command = [program, f"--config={config}", "--nodaemon", "start"]
    with running(Program(command, lambda: answers(port), log=folder / "carbon.log")):
        yield Carbon(port, folder)


class PostgreSql:
    """A fresh database server, run by a user that is not root; `remove` takes its files away.

    `tls` is a file with key and certificate in PEM.
    """

    def __init__(self, tls: Path | None = None) -> None:
        versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        if not versions:
            pytest.skip("needs postgres of Debian's postgresql")
        server, initdb = str(versions[-1]), str(versions[-1].with_name("initdb"))
        user = "postgres" if os.geteuid() == 0 else None
        # Not pytest's folder: other users may not enter that one.
        self._folder = folder = Path(tempfile.mkdtemp(prefix="pollect-postgresql-"))
        self.port = port = free_port()
        own_pem = folder / "server.pem"
        if tls is not None:
            own_pem.touch(0o600)
            own_pem.write_bytes(tls.read_bytes())
        if user is not None:
            entry = pwd.getpwnam(user)
            for path in (folder, *folder.iterdir()):
                os.chown(path, entry.pw_uid, entry.pw_gid)
        data = folder / "data"
        subprocess.run(
            [initdb, "-D", str(data), "-A", "trust", "-U", "pollect", "--no-sync", "-E", "UTF8"],
            check=True,
            capture_output=True,
            user=user,
            cwd=folder,
        )
        command = [server, "-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", "", "-F"]
        if tls is not None:
            command += ["-c", "ssl=on"]
            command += ["-c", f"ssl_cert_file={own_pem}", "-c", f"ssl_key_file={own_pem}"]
        self.url = f"postgresql+psycopg://pollect:not-asked-for@127.0.0.1:{port}/postgres"
        log = folder / "postgresql.log"
        self.program = Program(command, lambda: _answers(port), log=log, user=user)

    def remove(self) -> None:
        shutil.rmtree(self._folder)


@contextlib.contextmanager
def postgresql(tls: Path | None = None) -> Iterator[str]:
    """Give the SQLAlchemy URL of a fresh database."""
    server = PostgreSql(tls)
    try:
        with running(server.program):
            yield server.url
    finally:
        server.remove()


def _answers(port: int) -> bool:
    import psycopg

    try:
        psycopg.connect(host="127.0.0.1", port=port, user="pollect", dbname="postgres").close()
    except psycopg.OperationalError:
        return False
    return True


class Rotel:
    """An OpenTelemetry collector that prints every metric it gets."""

    def __init__(self, endpoint: str, log: Path) -> None:
        self.endpoint = endpoint
        self._log = log

    def output(self) -> str:
        return self._log.read_text(errors="replace")


def build_rotel(folder: Path) -> tuple[Program, Rotel]:
    """Return the program, not started yet, and who reads what it prints."""
    package = pytest.importorskip("rotel", reason="rotel has no wheel for this platform")
    program = str(Path(package.__file__).with_name("rotel-agent"))
    port, log = free_port(), folder / "rotel.log"
    # Its wheel links Python's library without saying where that is.
    command = [
        "env", f"LD_LIBRARY_PATH={sysconfig.get_config_var('LIBDIR')}", program, "start",
        "--otlp-http-endpoint", f"127.0.0.1:{port}",
        "--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}",
        "--exporter", "blackhole",
        "--debug-log", "metrics",
        "--debug-log-verbosity", "detailed",
    ]  # fmt: skip
    endpoint = f"http://127.0.0.1:{port}/v1/metrics"
    return Program(command, lambda: answers(port), log=log), Rotel(endpoint, log)


@contextlib.contextmanager
def rotel(folder: Path) -> Iterator[Rotel]:
    program, collector = build_rotel(folder)
    with running(program):
        yield collector
