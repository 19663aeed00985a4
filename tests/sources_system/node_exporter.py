"""Debian's prometheus-node-exporter as a second opinion on the kernel's numbers."""

import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

PROGRAM = "prometheus-node-exporter"
START_SECONDS = 60.0


class NodeExporter:
    """A running instance."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/metrics"

    def scrape(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        with urllib.request.urlopen(self._url, timeout=30) as answer:
            text = answer.read().decode()
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """Return the one series of this name that has these labels among its own."""
        wanted = set(labels.items())
        found = [
            value
            for (series, own), value in self.scrape().items()
            if series == name and wanted <= own
        ]
        assert len(found) == 1, f"{len(found)} series {name}{labels}"
        return found[0]


@contextmanager
def run_node_exporter(*arguments: str) -> Iterator[NodeExporter]:
    if shutil.which(PROGRAM) is None:
        pytest.skip(f"{PROGRAM} is not installed (make services)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [PROGRAM, f"--web.listen-address=127.0.0.1:{port}", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    exporter = NodeExporter(port)
    try:
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                exporter.scrape()
                break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None, f"{PROGRAM} ended with {process.returncode}"
                assert time.monotonic() < until, f"{PROGRAM} does not answer"
                time.sleep(0.02)
        yield exporter
    finally:
        process.kill()
        process.wait()
