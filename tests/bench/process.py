"""Start a daemon, wait until it answers, and read what the kernel says of it."""

import contextlib
import http.client
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

START_LIMIT_SECONDS = 30.0
POLL_SECONDS = 0.002
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def peer(module: str, *arguments: str) -> Iterator[Sequence[int]]:
    """Run a module as a peer in a process of its own, and yield the ports that it prints.

    It is to end when its standard input does.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield [int(port) for port in process.stdout.readline().split()]
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(10)


class Daemon:
    """A process under measurement that serves HTTP on a loopback port."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, path: str) -> None:
        self.process = process
        self.port = port
        self.path = path
        #: Seconds from the start of the process to the end of its first answer.
        self.first_answer_seconds = 0.0
        self.first_answer = b""

    def get(self) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", self.path)
            return connection.getresponse().read()
        finally:
            connection.close()

    def resident_mb(self, *, children: bool = True) -> float:
        """Return the resident memory of the process and its children in MB (10^6 bytes)."""
        total = 0
        for pid in self._tree() if children else [self.process.pid]:
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1]) * 1024
        return total / 1e6

    def threads(self) -> int:
        """Return how many threads the process has."""
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def open_files(self) -> int:
        """Return how many files and sockets the process has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def cpu_seconds(self) -> float:
        """Return the CPU time used so far by the process and its children."""
        total = 0
        for pid in self._tree():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
        return total / _CLOCK_TICKS

    def cpu_percent(self, seconds: float) -> float:
        """Return the share of one core used over the next `seconds`."""
        used, began = self.cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        return 100 * (self.cpu_seconds() - used) / (time.monotonic() - began)

    def scrape_ms(self, times: int = 30) -> float:
        """Return the median duration of a scrape over one kept connection in ms."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        durations = []
        for _ in range(times):
            began = time.perf_counter()
            connection.request("GET", self.path)
            connection.getresponse().read()
            durations.append(1000 * (time.perf_counter() - began))
        connection.close()
        return statistics.median(durations)

    def stop_seconds(self) -> float:
        """Send SIGTERM; return the seconds until the process is gone."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        return time.monotonic() - began

    def _tree(self) -> list[int]:
        pids = [self.process.pid]
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                pids.extend(map(int, (task / "children").read_text().split()))
        return pids


@contextlib.contextmanager
def daemon(
    command: Sequence[str],
    port: int,
    *,
    path: str = "/metrics",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[Daemon]:
    """Run `command` until the block ends; ready when it answers on `port`."""
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    measured = Daemon(process, port, path)
    try:
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended with code {process.returncode}")
            if time.monotonic() - began > START_LIMIT_SECONDS:
                raise RuntimeError(f"{command[0]} does not answer on port {port}")
            try:
                measured.first_answer = measured.get()
                break
            except OSError:
                time.sleep(POLL_SECONDS)
        measured.first_answer_seconds = time.monotonic() - began
        yield measured
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
