"""The processes of a fleet: an engine of one or three nodes, devices, daemons."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pollect.testing.waiting import wait_until
from tests.simulators.daemons import free_port

ROOT = Path(__file__).parents[2]
READY_SECONDS = 60.0


class Process:
    """A program that is started, disturbed, and ended by its id."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        namespace: str = "",
        log: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        inside = ["ip", "netns", "exec", namespace] if namespace else []
        self._command = [*inside, *command]
        self._log = log
        self._environ = {**os.environ, "PYTHONPATH": str(ROOT), **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._log or Path(os.devnull)).open("ab") as sink:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._environ, stdout=sink, stderr=sink
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGKILL)
        self.wait()

    def terminate(self) -> int:
        """Ask to stop, and return the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        if self._process is None:
            return 0
        code = self._process.wait(READY_SECONDS)
        self._process = None
        return code

    def cpu_seconds(self) -> float:
        """CPU time this process has used, in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_megabytes(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


class Engine:
    """etcd: one node, or three of which one may die."""

    def __init__(self, folder: Path, *, address: str, namespace: str = "", nodes: int = 1) -> None:
        self._folder = folder
        self._namespace = namespace
        ports = [(free_port(), free_port()) for _ in range(nodes)]
        cluster = ",".join(
            f"n{number}=http://{address}:{peer}" for number, (_, peer) in enumerate(ports)
        )
        self.endpoints = [f"{address}:{port}" for port, _ in ports]
        self.nodes = []
        for number, (port, peer) in enumerate(ports):
            client, peer_url = f"http://{address}:{port}", f"http://{address}:{peer}"
            command = [
                *("etcd", "--name", f"n{number}", "--data-dir", str(folder / f"n{number}")),
                *("--log-level", "error", "--initial-cluster", cluster),
                *("--listen-client-urls", client, "--advertise-client-urls", client),
                *("--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url),
            ]
            self.nodes.append(Process(command, namespace=namespace))

    @property
    def url(self) -> str:
        return "etcd://" + ",".join(self.endpoints)

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        if self.nodes:
            self.wait_ready()

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()

    def erase(self) -> None:
        for number in range(len(self.nodes)):
            shutil.rmtree(self._folder / f"n{number}", ignore_errors=True)

    def wait_ready(self) -> None:
        def healthy() -> bool:
            return self._control("endpoint", "health", "--cluster").returncode == 0

        wait_until(healthy, "the engine to answer")

    def leader(self) -> int:
        """Return the number of the node that leads."""
        status = self._control("endpoint", "status", "-w", "simple").stdout.splitlines()
        leading = [line.split(",")[0] for line in status if line.split(", ")[4] == "true"]
        return self.endpoints.index(leading[0].strip())

    def _control(self, *words: str) -> subprocess.CompletedProcess[str]:
        inside = ["ip", "netns", "exec", self._namespace] if self._namespace else []
        return subprocess.run(
            [*inside, "etcdctl", "--endpoints", ",".join(self.endpoints), *words],
            env={**os.environ, "ETCDCTL_API": "3"},
            check=False, capture_output=True, text=True,
        )  # fmt: skip


def devices(address: str, port: int, log: Path, *, namespace: str = "") -> Process:
    command = [sys.executable, "-m", "tests.fleet.devices", address, str(port), str(log)]
    return Process(command, namespace=namespace)


def daemon(
    config: Path, log: Path, *, namespace: str = "", environ: Mapping[str, str] | None = None
) -> Process:
    command = [sys.executable, "-m", "pollect", "run", "-c", str(config)]
    return Process(command, namespace=namespace, log=log, environ=environ)
