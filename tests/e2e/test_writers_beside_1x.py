"""1.x and pollect on one config: the same topics and values at one broker, the same over TLS."""

import re
import ssl
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from pollect.testing.waiting import wait_until
from tests.e2e.beside_1x import LABEL, Series, needs_1x, old_pollect, under_our_python
from tests.e2e.command import start
from tests.simulators.certificates import Authority
from tests.simulators.daemons import free_port
from tests.simulators.mosquitto import Broker, listening, running

pytestmark = [pytest.mark.integration, needs_1x()]

EXECUTORS = """\
tickTime: 1
executors:
  - collection: Pollect
    sources:
      - {type: LoadAvg}
      - {type: MemoryUsage, name: Main, labels: {site: Cellar 1, rack: r/1}}
      - {type: DiskUsage, disks: ["/", "/tmp"]}
      - {type: Dummy, value: 5}
      - {type: Dummy, name: "n-1!", value: 0.52, labels: {aB: C}}
"""
#: Values that do not change from one second to the next.
CONSTANT = re.compile(r"pollect\.(dummy|memoryusage.*/total|diskusage.*/total).*")


EVERY_TYPE = {"loadavg", "memoryusage", "diskusage", "dummy"}


def types_of(topics: Iterable[str]) -> set[str]:
    return {match[1] for topic in topics if (match := re.match(r"pollect\.(\w+)", topic))}


def test_the_same_topics_and_values_at_one_broker(tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    last = "pollect.dummy.n-1!/ab/c"
    with running(Broker(tmp_path)) as broker, listening(broker.port) as listener:
        config.write_text(f"writer: {{type: Mqtt, port: {broker.port}}}\n{EXECUTORS}")
        with old_pollect(config):
            wait_until(
                lambda: last in (seen := listener.latest()) and types_of(seen) >= EVERY_TYPE,
                "values of 1.x",
            )
        old = listener.latest()
        listener.messages.clear()
        with start("run", "-c", config, folder=tmp_path):
            wait_until(lambda: set(old) <= set(listener.latest()), "values of pollect")
        new = {t: v for t, v in listener.latest().items() if not t.startswith("pollect/")}
    assert set(new) == set(old)
    constant = {topic for topic in old if CONSTANT.fullmatch(topic)}
    assert last in constant
    assert {topic: new[topic] for topic in constant} == {topic: old[topic] for topic in constant}
    assert "." in old["pollect.loadavg/time/short"]


def series_over_tls(port: int, authority: Authority) -> Series:
    context = ssl.create_default_context(cafile=str(authority.ca_file))
    # 1.x answers 500 to whom sends no Accept header.
    request = urllib.request.Request(f"https://127.0.0.1:{port}/", headers={"Accept": "text/plain"})
    with urllib.request.urlopen(request, timeout=30, context=context) as answer:
        lines = [line for line in answer.read().decode().splitlines() if line[:1] != "#"]
    series = (line.rpartition(" ")[0].partition("{") for line in lines)
    return {(name, tuple(sorted(LABEL.findall(labels)))) for name, _, labels in series}


def test_the_same_series_over_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    leaf = authority.issue("127.0.0.1")
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    config, port = tmp_path / "config.yml", free_port()
    files = f"key: {tmp_path / 'key.pem'}, cert: {tmp_path / 'cert.pem'}"
    config.write_text(f"writer: {{type: PrometheusSsl, port: {port}, {files}}}\n{EXECUTORS}")

    wanted = {"Pollect_LoadAvg", "Pollect_MemoryUsage_Main", "Pollect_Dummy_n_1"}

    def complete() -> Series:
        with suppress(OSError):
            found = series_over_tls(port, authority)
            if wanted | {"Pollect_Dummy", "Pollect_DiskUsage"} <= {name for name, _ in found}:
                return found
        return set()

    with old_pollect(config):
        old = wait_until(complete, "values of 1.x")
    with start("run", "-c", config, folder=tmp_path):
        new = wait_until(complete, "values of pollect")
    assert under_our_python(old) - new == set()
