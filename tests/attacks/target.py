"""The daemon under attack, and what the kernel says of it meanwhile."""

import contextlib
import json
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pollect_writers.prometheus.auth import PasswordHash
from tests.e2e.command import start
from tests.simulators.daemons import answers, free_port

TOKEN = "of-the-attack"
LOOK_SECONDS = 0.05
WARM_UP_SECONDS = 3.0
START_SECONDS = 30.0


class Figures:
    """The most that a process had of each while it was watched."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")
        self.threads = self.files = 0
        self.megabytes = 0.0

    def look(self) -> None:
        text = (self._folder / "status").read_text()
        self.threads = max(self.threads, int(re.findall(r"Threads:\s+(\d+)", text)[0]))
        resident = int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) * 1024 / 1e6
        self.megabytes = max(self.megabytes, resident)
        self.files = max(self.files, len(list((self._folder / "fd").iterdir())))


class Target:
    """A running daemon with an endpoint on `port` and whatever else its config has."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        self.port = port

    def scrape(self) -> str:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/metrics")
        request.add_header("Authorization", f"Bearer {TOKEN}")
        with urllib.request.urlopen(request, timeout=20) as answer:
            text: str = answer.read().decode()
            return text

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the series of this name that have these labels."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        lines = [
            line for line in self.scrape().splitlines() if line.startswith((name + "{", name + " "))
        ]
        return sum(
            float(line.rpartition(" ")[2])
            for line in lines
            if all(label in line for label in wanted)
        )

    def now(self) -> Figures:
        figures = Figures(self.pid)
        figures.look()
        return figures

    @contextlib.contextmanager
    def watched(self) -> Iterator[Figures]:
        """Look at the process all the time until the block ends."""
        figures = Figures(self.pid)
        over = threading.Event()

        def watch() -> None:
            while not over.wait(LOOK_SECONDS):
                figures.look()

        thread = threading.Thread(target=watch)
        figures.look()
        thread.start()
        try:
            yield figures
        finally:
            over.set()
            thread.join()

    def worst_scrape(self, seconds: float) -> float:
        """Scrape for so long, with the token; return the seconds that the slowest one took."""
        worst, until = 0.0, time.monotonic() + seconds
        while time.monotonic() < until:
            began = time.monotonic()
            self.scrape()
            worst = max(worst, time.monotonic() - began)
            time.sleep(0.1)
        return worst


@contextlib.contextmanager
def target(folder: Path, sources: Sequence[Mapping[str, Any]], **writer: Any) -> Iterator[Target]:
    """Run a daemon with `sources` at a tick of a second, and LoadAvg beside them."""
    port = free_port()
    auth = {"users": {"ann": str(PasswordHash.of("right"))}, "token": TOKEN}
    endpoint = {"type": "Prometheus", "port": port, "bind": "127.0.0.1", "auth": auth, **writer}
    config = {
        "tickTime": 1,
        "writer": endpoint,
        "stateDir": str(folder / "state"),
        "executors": [{"collection": "a", "sources": [{"type": "LoadAvg"}, *sources]}],
    }
    file = folder / "config.json"
    file.write_text(json.dumps(config))
    with start("run", "-c", file, folder=folder) as daemon:
        until = time.monotonic() + START_SECONDS
        while not answers(port):
            if time.monotonic() > until or daemon.process.poll() is not None:
                raise RuntimeError(daemon.output)
            time.sleep(0.05)
        time.sleep(WARM_UP_SECONDS)
        yield Target(daemon.process.pid, port)


@contextlib.contextmanager
def flood(kind: str, port: int, count: int, name: str = "flood") -> Iterator[None]:
    """Keep so many connections open until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.attacks.flood", kind, str(port), str(count), "--name", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(30)
