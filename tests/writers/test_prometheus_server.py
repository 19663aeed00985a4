"""Debian's Prometheus and promtool judge what `Prometheus` shows."""

import json
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pollect.api import Batch, Kind, Metric, Outcome, SourceId, SourceStatus, WriterStatus
from pollect.engine.selfmetrics import describe_sources, describe_writers
from pollect_writers.prometheus.exposition import Exposition, join_text
from tests.writers.prometheus_scraper import build_prometheus, request, serving
from tests.writers.test_prometheus_text import log

pytestmark = pytest.mark.integration

PATIENCE_SECONDS = 20.0


def program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed; `make services` installs it")
    return path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Prometheus:
    """A Prometheus server that scrapes one endpoint every 200 ms."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"

    def get(self, path: str, **query: str) -> Any:
        url = f"{self.address}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)["data"]

    def wait_for(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return the series of a query as soon as there are any."""
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            try:
                found = self.get("/api/v1/query", query=expression)["result"]
            except OSError:
                found = []
            if found:
                return [(series["metric"], float(series["value"][1])) for series in found]
            time.sleep(0.05)
        raise AssertionError(f"no answer to {expression} within {PATIENCE_SECONDS} s")


@contextmanager
def scraping(folder: Path, target: int, job: str = "") -> Iterator[Prometheus]:
    port = free_port()
    config = folder / "prometheus.yml"
    config.write_text(
        f"""
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
- job_name: pollect
  static_configs: [{{targets: ["127.0.0.1:{target}"]}}]
{job}"""
    )
    server = subprocess.Popen(
        [
            program("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Prometheus(port)
    finally:
        server.terminate()
        server.wait(timeout=20)


def test_prometheus_scrapes_everything(tmp_path: Path) -> None:
    load = Metric(help="Load.", labels=("time",))
    sent = Metric("sent", help="Bytes sent.", kind=Kind.COUNTER, labels=("nic",))
    source = SourceId("pollect", "LoadAvg")
    with serving(build_prometheus(processMetrics=True)) as writer:
        writer.write([Batch(source, [load.sample(0.5, 'Ä\\"\n'), sent.sample(7, "e0")], 0.0)])
        with scraping(tmp_path, writer.port) as prometheus:
            ((labels, value),) = prometheus.wait_for("pollect_LoadAvg")
            assert (labels["time"], value) == ('Ä\\"\n', 0.5)
            assert prometheus.wait_for("pollect_LoadAvg_sent")[0][1] == 7
            assert prometheus.wait_for("process_resident_memory_bytes")
            (target,) = prometheus.get("/api/v1/targets")["activeTargets"]
            assert (target["health"], target["lastError"]) == ("up", "")
            writer.write([Batch(source, [], 0.0)])
            assert prometheus.wait_for("absent(pollect_LoadAvg)")


def promtool(text: str) -> tuple[int, str]:
    done = subprocess.run(
        [program("promtool"), "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_promtool_has_nothing_to_say_about_the_self_metrics() -> None:
    sources = [
        SourceStatus(
            SourceId("pollect", "Http", "web"),
            Outcome.OK,
            last_success=1.0,
            duration_seconds=0.1,
            probes={Outcome.OK: 3},
        )
    ]
    exposition = Exposition(log)
    for batch in (describe_sources(sources, 0.0), describe_writers([WriterStatus("Mqtt")], 0.0)):
        exposition.put(batch)
    assert promtool(b"".join(join_text(exposition.blocks())).decode()) == (0, "")


def test_promtool_has_nothing_to_say_about_process_and_python() -> None:
    with serving(build_prometheus(processMetrics=True)) as writer:
        assert promtool(request(writer).text) == (0, "")


@pytest.mark.parametrize("odd", ["1abc", "My Src", "a/b", "Wärme%", "a.b-c!", "__x", "x:y"])
def test_promtool_reads_every_name(odd: str) -> None:
    exposition = Exposition(log)
    metric = Metric(odd, help=odd, labels=(odd,))
    exposition.put(Batch(SourceId(odd, odd, odd), [metric.sample(1, odd)], 0.0))
    broken, style_only = 1, 3
    code, output = promtool(b"".join(join_text(exposition.blocks())).decode())
    assert code in (0, style_only), (broken, output)
