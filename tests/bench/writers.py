"""What remote writers cost: CPU per sample, from the outbox to a receiver that takes everything.

The receiver is a process of its own, or the kernel's disk cache: only our CPU counts. Runs alone
as well: `python -m tests.bench.writers`.
"""

import asyncio
import contextlib
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from pollect.api import Batch, Kind, Metric, SourceId
from pollect.delivery.outbox import Outbox
from pollect.engine.clock import SystemClock
from pollect.testing import build_writer
from tests.bench.process import peer
from tests.bench.table import OURS, Row, format_table
from tests.simulators.mosquitto import Broker, running

SOURCES = 100
SAMPLES_OF_SOURCE = 100
TICK_SECONDS = 10
#: The first tick makes connections, tables and remembered names.
WARM_UP_TICKS = 1
MEASURED_TICKS = 4
DELIVERY_LIMIT_SECONDS = 30.0
POLL_SECONDS = 0.002
HTTP_SERVER, SINK = "http", "sink"

VALUE = Metric("value", help="A number.", unit="bytes", labels=("device",))
TOTAL = Metric("total", help="A sum.", unit="bytes", kind=Kind.COUNTER, labels=("device",))

#: Where a writer delivers to, as options of its section; receivers end with the block.
Target = Callable[[], AbstractContextManager[Mapping[str, Any]]]


def build_tick(number: int) -> list[Batch]:
    """Return what all sources bring at one tick: equal series, new values."""
    moment = time.time() + number * TICK_SECONDS
    dice = random.Random(number)
    return [
        Batch(
            SourceId("bench", "Meter", f"m{source}"),
            [
                metric.sample(dice.random() * 1e6, f"d{device}")
                for device in range(SAMPLES_OF_SOURCE // 2)
                for metric in (VALUE, TOTAL)
            ],
            moment,
            (("site", "attic"),),
        )
        for source in range(SOURCES)
    ]


def cpu_per_sample(section: Mapping[str, Any], folder: Path) -> float:
    """Return the median over the ticks, in microseconds."""
    clock = SystemClock()
    ticks = [build_tick(number) for number in range(WARM_UP_TICKS + MEASURED_TICKS)]
    writer = build_writer(section, clock=clock, config_dir=folder, state_dir=folder)
    outbox = Outbox(writer, clock=clock)
    outbox.start()
    try:
        used = [_cpu_of_tick(outbox, batches) for batches in ticks]
    finally:
        outbox.stop()
        outbox.join(DELIVERY_LIMIT_SECONDS)
    return 1e6 * statistics.median(used[WARM_UP_TICKS:]) / (SOURCES * SAMPLES_OF_SOURCE)


def _cpu_of_tick(outbox: Outbox, batches: Sequence[Batch]) -> float:
    wanted = outbox.status().written_samples + sum(map(len, batches))
    limit = time.monotonic() + DELIVERY_LIMIT_SECONDS
    began = time.process_time()
    outbox.deliver(batches)
    while (status := outbox.status()).written_samples < wanted:
        if status.lost_samples or status.reason or time.monotonic() > limit:
            raise RuntimeError(f"{outbox.name}: {status.reason or 'samples did not arrive'}")
        time.sleep(POLL_SECONDS)
    return time.process_time() - began


async def serve(protocol: str) -> None:
    """Take everything until standard input ends, after printing the port."""
    handle = _answer_posts if protocol == HTTP_SERVER else _take_all
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await asyncio.to_thread(sys.stdin.read)


async def _answer_posts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, OSError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            size = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(size))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    writer.close()


async def _take_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(65_536):
            pass
    writer.close()


@contextlib.contextmanager
def receiver(protocol: str, options: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield `options` with the receiver's port in place of `{port}`, and as `port` for a sink."""
    with peer("tests.bench.writers", protocol) as (port,):
        filled = {
            key: value.format(port=port) if isinstance(value, str) else value
            for key, value in options.items()
        }
        yield filled if protocol == HTTP_SERVER else {**filled, "port": port}


@contextlib.contextmanager
def broker() -> Iterator[Mapping[str, Any]]:
    with tempfile.TemporaryDirectory() as folder, running(Broker(Path(folder))) as found:
        yield {"host": "127.0.0.1", "port": found.port}


#: Microseconds, by row.
GOALS = {
    "JsonLines": 2,
    "PrometheusRemoteWrite": 3,
    "Graphite": 3.5,
    "InfluxDb": 4.5,
    "Otel": 6,
    "Otel, spooled": 5,
    "Sql (SQLite)": 6,
    "Mqtt": 15,
}


def targets() -> dict[str, tuple[str, Target]]:
    """Return what can be measured here: the row, the writer's type, and where it delivers to."""
    otel = partial(receiver, HTTP_SERVER, {"endpoint": "http://127.0.0.1:{port}/v1/metrics"})
    influx = {"url": "http://127.0.0.1:{port}", "bucket": "bench"}
    remote_write = {"url": "http://127.0.0.1:{port}/api/v1/write"}
    found: dict[str, tuple[str, Target]] = {
        "Otel": ("Otel", otel),
        "Otel, spooled": ("Otel", lambda: _spooled(otel())),
        "InfluxDb": ("InfluxDb", partial(receiver, HTTP_SERVER, influx)),
        "PrometheusRemoteWrite": (
            "PrometheusRemoteWrite",
            partial(receiver, HTTP_SERVER, remote_write),
        ),
        "Graphite": ("Graphite", partial(receiver, SINK, {"host": "127.0.0.1"})),
        "JsonLines": ("JsonLines", lambda: contextlib.nullcontext({"path": "lines"})),
        "Sql (SQLite)": ("Sql", lambda: contextlib.nullcontext({"path": "database"})),
    }
    if shutil.which("mosquitto"):
        found["Mqtt"] = ("Mqtt", broker)
    return found


@contextlib.contextmanager
def _spooled(target: AbstractContextManager[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    with target as options:
        yield {**options, "spool": True}


def run() -> list[Row]:
    """Measure every remote writer."""
    rows = []
    for what, (writer, target) in targets().items():
        with tempfile.TemporaryDirectory() as folder, target() as options:
            figure = cpu_per_sample({"type": writer, **options}, Path(folder))
        rows.append(Row(f"CPU per sample, {what}", "us", {OURS: figure}, goal=GOALS.get(what)))
    return rows


if __name__ == "__main__":
    if sys.argv[1:]:
        asyncio.run(serve(sys.argv[1]))
    else:
        print(format_table("remote writers", run()))
