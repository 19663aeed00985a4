"""`shutdownTimeout`: what waits at the end is delivered within it, or counted as lost."""

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pollect.testing.waiting import wait_until
from tests.e2e.command import Daemon, scrape, start
from tests.simulators.daemons import free_port
from tests.writers.backends import OtlpBackend

CONFIG = """
tickTime: 0.05
shutdownTimeout: {timeout}
writers:
  - {{type: Otel, endpoint: "{endpoint}", timeout: 60, selfMetrics: false}}
  - {{type: Prometheus, bind: 127.0.0.1, port: {port}}}
executors:
  - collection: house
    sources: [{{type: Dummy, count: 1}}]
"""
#: What a stop takes besides, on a busy machine; the request itself would take a minute.
MARGIN_SECONDS = 20.0


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[OtlpBackend]:
    backend = OtlpBackend(tmp_path)
    backend.come_up()
    backend.hang()
    yield backend
    backend.close()


def write_config(backend: OtlpBackend, port: int, *, timeout: float) -> Path:
    file = backend.folder / "config.yml"
    endpoint = backend.section["endpoint"]
    file.write_text(CONFIG.format(timeout=timeout, endpoint=endpoint, port=port))
    return file


def wait_for_waiting(daemon: Daemon, port: int, samples: int) -> None:
    daemon.wait_for("listening on")
    pattern = re.compile(r'^pollect_writer_buffered_samples\{writer="Otel"\} (\S+)', re.MULTILINE)

    def waiting() -> bool:
        found = pattern.search(scrape(port))
        return found is not None and float(found[1]) >= samples

    wait_until(waiting, f"{samples} samples that wait")


def test_target_that_hangs_holds_up_the_end_no_longer_than_the_timeout(
    backend: OtlpBackend,
) -> None:
    port = free_port()
    config = write_config(backend, port, timeout=0.5)
    with start("run", "-c", config, folder=backend.folder) as daemon:
        wait_for_waiting(daemon, port, 5)
        began = time.monotonic()
        assert daemon.stop() == 0
        assert 0.5 <= time.monotonic() - began < 0.5 + MARGIN_SECONDS
    lost = re.search(r"(\d+) samples lost: not delivered before the end", daemon.output)
    assert lost is not None
    assert int(lost[1]) >= 5
    backend.recover()
    assert backend.arrived() == []


def test_what_waits_is_delivered_when_the_target_answers_within_the_timeout(
    backend: OtlpBackend,
) -> None:
    port = free_port()
    config = write_config(backend, port, timeout=60)
    with start("run", "-c", config, folder=backend.folder) as daemon:
        wait_for_waiting(daemon, port, 5)
        daemon.send(signal.SIGTERM)
        daemon.wait_for("stopping")
        backend.recover()
        assert daemon.wait() == 0
    assert "samples lost" not in daemon.output
    arrived = backend.arrived()
    assert len(arrived) >= 5
    assert arrived == list(range(1, len(arrived) + 1)), "all, in order, once"
