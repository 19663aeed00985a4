"""Twenty minutes with failing sources, peers that restart, and reloads: what grows?"""

import itertools
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.bench.process import Daemon, daemon, free_port
from tests.bench.table import OURS, Row

SECONDS = 20 * 60.0
RELOADS = 40
#: The peer is up for this long, and then away for as long.
PEER_SECONDS = 15.0
#: How often the daemon is looked at and scraped.
LOOK_SECONDS = 2.0
#: Until then caches fill, and memory finds its shape among batches that come and go.
SETTLED_SHARE = 0.5

CONFIG = """\
tickTime: 1
writers:
  - {{type: Prometheus, bind: 127.0.0.1, port: {port}}}
  - {{type: InfluxDb, url: "http://127.0.0.1:{peer}/", bucket: b, org: o, token: t}}
  - {{type: PrometheusRemoteWrite, url: "http://127.0.0.1:{peer}/", spool: true}}
executors:
  - collection: bench
    sources:
      - {{type: LoadAvg}}
      - {{type: MemoryUsage}}
      - {{type: Process, procRegex: python}}
      - {{type: Http, name: restarts, url: "http://127.0.0.1:{peer}/", timeout: 2}}
      - {{type: Http, name: hangs, url: "http://127.0.0.1:{peer}/hang", timeout: 2}}
      - {{type: TcpTime, name: restarts, host: 127.0.0.1, port: {peer}, timeout: 2}}
      - {{type: Http, name: refused, url: "http://127.0.0.1:9/", timeout: 2}}
      - {{type: TcpTime, name: refused, host: 127.0.0.1, port: 9, timeout: 2}}
      - {{type: Zfs, name: fails, command: [/bin/false]}}
"""
#: Comes and goes with every other reload.
MORE = "      - {type: Dummy, name: sometimes, value: 1}\n"


class Peer(BaseHTTPRequestHandler):
    """Answers what an Http source or a writer asks, late where it is to hang."""

    def do_GET(self) -> None:
        if self.path == "/hang":
            time.sleep(PEER_SECONDS)
        self._answer(200)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(204)

    def _answer(self, status: int) -> None:
        with suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def restarting_peer(port: int) -> Iterator[Callable[[float], None]]:
    """Yield what starts and kills the peer on `port`, to be called with the seconds that passed."""
    process: subprocess.Popen[bytes] | None = None

    def end() -> None:
        nonlocal process
        if process is not None:
            process.kill()
            process.wait()
            process = None

    def tend(seconds: float) -> None:
        nonlocal process
        wanted = seconds // PEER_SECONDS % 2 == 0
        if wanted and process is None:
            process = subprocess.Popen([sys.executable, "-m", __spec__.name, str(port)])
        elif not wanted:
            end()

    try:
        yield tend
    finally:
        end()


def run() -> list[Row]:
    """Return what grows by the hour."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yml"
        port, peer = free_port(), free_port()
        variants = itertools.cycle([CONFIG.format(port=port, peer=peer) + MORE,
                                    CONFIG.format(port=port, peer=peer)])  # fmt: skip
        config.write_text(next(variants))
        pollect = str(Path(sys.executable).with_name("pollect"))
        with (
            restarting_peer(peer) as tend,
            daemon([pollect, "run", "-c", str(config)], port, env={"STATE_DIRECTORY": folder})
            as running,
        ):  # fmt: skip
            looks = list(_look(running, tend, lambda: config.write_text(next(variants))))
    times, memory, threads, files = zip(*looks, strict=True)
    return [
        Row("growth of memory per hour", "MB", {OURS: _slope(times, memory)}, goal=1.0),
        Row("more threads", "", {OURS: _difference(threads)}, goal=0),
        Row("more open files", "", {OURS: _difference(files)}, goal=0),
        Row("resident memory at the end", "MB", {OURS: memory[-1]}),
    ]


def _look(
    running: Daemon, tend: Callable[[float], None], change: Callable[[], object]
) -> Iterator[tuple[float, float, int, int]]:
    """Yield hours, memory, threads and open files from when all has settled."""
    began, reloads = time.monotonic(), 0
    while (seconds := time.monotonic() - began) < SECONDS:
        tend(seconds)
        if seconds >= (reloads + 0.5) * SECONDS / RELOADS:
            reloads += 1
            change()
            running.process.send_signal(signal.SIGHUP)
        running.get()
        if seconds > SETTLED_SHARE * SECONDS:
            # A child between fork and exec seems to have all the memory of its parent.
            memory = running.resident_mb(children=False)
            yield seconds / 3600, memory, running.threads(), running.open_files()
        if int(seconds / 60) > int((seconds - LOOK_SECONDS) / 60):
            print(f"{seconds / 60:.0f} min ...", file=sys.stderr, flush=True)
        time.sleep(LOOK_SECONDS)


def _slope(times: tuple[float, ...], values: tuple[float, ...]) -> float:
    return statistics.linear_regression(times, values).slope


def _difference(values: tuple[int, ...]) -> float:
    """Return by how much the last third has more than the first: what comes and goes is in both."""
    third = len(values) // 3
    return max(values[-third:]) - max(values[:third])


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Peer).serve_forever()
