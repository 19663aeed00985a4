"""A real etcd on 127.0.0.1, alone or as one of several, with a folder of its own."""

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from pollect.fleet.etcd import Endpoint
from tests.simulators.daemons import free_port

PROGRAM = shutil.which("etcd")

needs_etcd = pytest.mark.skipif(
    PROGRAM is None, reason="etcd is not installed (make services installs it)"
)


class EtcdServer:
    """One node; `start` and `kill` may be called again and again."""

    def __init__(
        self, folder: Path, arguments: Sequence[str] = (), *, tls: Path | None = None
    ) -> None:
        self.folder = folder
        self._tls = tls
        self.port = free_port()
        self.peer_port = free_port()
        self.health_port = free_port()
        self._arguments = list(arguments)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint("127.0.0.1", self.port)

    def start(self) -> None:
        scheme = "https" if self._tls else "http"
        url, peer = f"{scheme}://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.peer_port}"
        files = ("--cert-file", str(self._tls), "--key-file", str(self._tls))
        self._process = subprocess.Popen(
            [
                *(str(PROGRAM), "--data-dir", str(self.folder), "--log-level", "error"),
                *("--listen-client-urls", url, "--advertise-client-urls", url),
                *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
                *("--listen-metrics-urls", f"http://127.0.0.1:{self.health_port}"),
                *(files if self._tls else ()),
                *(self._arguments or ("--initial-cluster", f"default={peer}")),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait_ready()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def erase(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait_ready(self) -> None:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen(
                    f"http://127.0.0.1:{self.health_port}/health", timeout=1
                ) as answer:
                    if json.load(answer)["health"] == "true":
                        return
            except (OSError, urllib.error.URLError, ValueError):
                pass
            time.sleep(0.05)
        raise AssertionError("etcd does not get ready")


@contextmanager
def running_etcd(folder: Path) -> Iterator[EtcdServer]:
    server = EtcdServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()
