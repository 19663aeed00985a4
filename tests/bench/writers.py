"""CPU that one sample costs in each remote writer, and in a spool before it."""

import contextlib
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pollect.api import Batch, Metric, SourceId
from pollect.engine.clock import SystemClock
from pollect.engine.spool import SpoolBuffer
from pollect.testing import build_writer
from tests.bench.table import OURS, Row

SAMPLES = 1000
#: The first deliveries fill caches, as the first ticks of a daemon do.
WARM_UP, DELIVERIES = 3, 30

#: Takes whatever comes, in a process of its own so that its CPU does not count.
SINK = """
import socketserver, sys

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while line := self.rfile.readline():
            if not line.startswith(b"POST "):
                while self.rfile.read1(65536):
                    pass
                return
            length = 0
            while (header := self.rfile.readline()).strip():
                name, _, value = header.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            self.rfile.read(length)
            self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")

class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

with Server(("127.0.0.1", 0), Handler) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
"""

METRIC = Metric("value", help="A number.", labels=("name", "place"))


def run() -> list[Row]:
    """Measure every writer that delivers to a server or a file."""
    rows = []
    with sink() as port, tempfile.TemporaryDirectory() as folder:
        url = f"http://127.0.0.1:{port}"
        sections: Sequence[dict[str, Any]] = (
            {"type": "Otel", "endpoint": f"{url}/v1/metrics"},
            {"type": "InfluxDb", "url": url, "bucket": "b"},
            {"type": "PrometheusRemoteWrite", "url": f"{url}/api/v1/write"},
            {"type": "Graphite", "host": "127.0.0.1", "port": port},
            {"type": "JsonLines", "path": f"{folder}/lines"},
            {"type": "Sql", "path": f"{folder}/history.sqlite"},
        )
        for section in sections:
            writer = build_writer(section, clock=SystemClock())
            writer.open()
            figure = cpu_per_sample(lambda batch: writer.write([batch]))  # noqa: B023
            writer.close()
            rows.append(Row(f"CPU per sample, {section['type']}", "us", {OURS: figure}))
        spool = SpoolBuffer(
            Path(folder) / "spool.sqlite",
            samples=10 * SAMPLES,
            age=3600.0,
            clock=SystemClock(),
            log=logging.getLogger("bench"),
        )

        def through_spool(batch: Batch) -> None:
            spool.put(batch)
            spool.peek(SAMPLES)
            spool.ack()

        rows.append(Row("CPU per sample, spool", "us", {OURS: cpu_per_sample(through_spool)}))
        spool.close()
    return rows


def cpu_per_sample(deliver: Callable[[Batch], None]) -> float:
    """Return the microseconds of CPU that a sample takes."""
    began = 0.0
    for number in range(WARM_UP + DELIVERIES):
        if number == WARM_UP:
            began = time.process_time()
        deliver(batch(number))
    return 1e6 * (time.process_time() - began) / (DELIVERIES * SAMPLES)


def batch(number: int) -> Batch:
    """Return the batch of one tick: always the same series, with other values."""
    samples = [
        METRIC.sample(number + index / 7, f"series-{index}", "cellar") for index in range(SAMPLES)
    ]
    return Batch(SourceId("bench", "Many"), samples, 1_700_000_000.0 + number)


@contextlib.contextmanager
def sink() -> Iterator[int]:
    """Run the sink and give its port."""
    process = subprocess.Popen([sys.executable, "-c", SINK], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
