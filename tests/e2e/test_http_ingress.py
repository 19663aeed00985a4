"""Through the real command: pushed values, static labels, and a reload."""

import contextlib
import json
import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path

from pollect.testing.waiting import wait_until
from tests.e2e.command import scrape, start
from tests.simulators.daemons import answers, free_port

CONFIG = """\
tickTime: 0.2
writer: {{type: Prometheus, port: {port}}}
executors:
  - collection: house
    sources:
      - type: HttpIngress
        bind: 127.0.0.1
        port: {ingress}
        labels: {{dc: home}}
        metrics: {metrics}
"""


def push(port: int, **metrics: object) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/",
        json.dumps({"metrics": metrics}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert json.load(answer) == {"status": "metrics updated"}


def test_pushes_go_on_after_probes_with_static_labels_and_over_a_reload(tmp_path: Path) -> None:
    port, ingress = free_port(), free_port()
    jobs = {"type": "counter", "labels": ["host"]}
    entry = {"value": 2, "labels": {"host": "a"}}
    file = tmp_path / "config.yml"
    file.write_text(CONFIG.format(port=port, ingress=ingress, metrics=json.dumps({"jobs": jobs})))

    def wait_for_sum(value: float) -> None:
        line = f'house_HttpIngress_jobs{{dc="home",host="a"}} {value}\n'
        wait_until(lambda: line in scrape(port), line)

    with start("run", "-c", file, folder=tmp_path) as daemon:
        daemon.wait_for("listening on")
        wait_until(lambda: answers(ingress), "the port of the source")
        for total in (2.0, 4.0, 6.0):
            push(ingress, jobs=entry)
            wait_for_sum(total)
        metrics = json.dumps({"jobs": jobs, "load": {}})
        file.write_text(CONFIG.format(port=port, ingress=ingress, metrics=metrics))
        daemon.send(signal.SIGHUP)
        daemon.wait_for("reloaded")

        def is_pushed() -> bool:
            # The port is free for a moment while the new source takes the place of the old one.
            with contextlib.suppress(ConnectionError, urllib.error.URLError):
                push(ingress, jobs=entry, load={"value": 0.5})
                return True
            return False

        wait_until(is_pushed, "the port of the new source")
        wait_for_sum(8.0)
        assert 'house_HttpIngress_load{dc="home"} 0.5' in scrape(port)
        assert daemon.stop() == 0


def test_a_port_in_use_is_told_and_taken_as_soon_as_it_is_free(tmp_path: Path) -> None:
    port = free_port()
    file = tmp_path / "config.yml"
    metrics = json.dumps({"jobs": {}})
    with socket.create_server(("127.0.0.1", 0)) as other:
        ingress = other.getsockname()[1]
        file.write_text(CONFIG.format(port=port, ingress=ingress, metrics=metrics))
        with start("run", "-c", file, folder=tmp_path) as daemon:
            daemon.wait_for(f"127.0.0.1 port {ingress}: the port is in use")
            assert daemon.stop() == 0
        with start("run", "-c", file, folder=tmp_path) as daemon:
            daemon.wait_for("the port is in use")
            other.close()
            wait_until(lambda: accepts(ingress), "the port to be taken")
            push(ingress, jobs={"value": 1})
            assert daemon.stop() == 0


def accepts(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    return False
