"""Debian's Prometheus and promtool judge what `Prometheus` and `PrometheusSsl` show."""

import contextlib
import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest

from pollect.api import Batch, Kind, Metric, Outcome, SourceId, SourceStatus, WriterStatus
from pollect.engine.selfmetrics import describe_sources, describe_writers
from pollect.testing.waiting import wait_until
from pollect_writers.prometheus.auth import PasswordHash
from pollect_writers.prometheus.exposition import Exposition, join_text
from pollect_writers.prometheus.writer import PrometheusSslWriter, PrometheusWriter
from tests.simulators.certificates import Authority
from tests.simulators.daemons import find_program, free_port, run_daemon
from tests.writers.prometheus_scraper import build_prometheus, request, serving
from tests.writers.test_prometheus_text import log

pytestmark = pytest.mark.integration

PATIENCE_SECONDS = 60.0
PASSWORD = "of the test"


class Scraped(NamedTuple):
    """A Prometheus server that scrapes a plain endpoint and one with TLS and a password."""

    address: str
    plain: PrometheusWriter
    secure: PrometheusWriter

    def get(self, path: str, **query: str) -> Any:
        url = f"{self.address}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]

    def wait_for(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return the series of a query as soon as there are any."""
        found = wait_until(
            lambda: self.get("/api/v1/query", query=expression)["result"],
            expression,
            limit_seconds=PATIENCE_SECONDS,
        )
        return [(series["metric"], float(series["value"][1])) for series in found]


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    folder = tmp_path_factory.mktemp("prometheus")
    authority = Authority(folder)
    pem = authority.write_pem(folder / "all.pem", "127.0.0.1")
    auth = {"users": {"ann": str(PasswordHash.of(PASSWORD))}}
    port = free_port()
    with ExitStack() as stack:
        plain = stack.enter_context(serving(build_prometheus(processMetrics=True)))
        secure = stack.enter_context(
            serving(build_prometheus(PrometheusSslWriter, cert=str(pem), key=str(pem), auth=auth))
        )
        config = folder / "prometheus.yml"
        config.write_text(
            f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: plain
  static_configs: [{{targets: ["127.0.0.1:{plain.port}"]}}]
- job_name: secure
  scheme: https
  tls_config: {{ca_file: {authority.ca_file}}}
  basic_auth: {{username: ann, password: {PASSWORD}}}
  static_configs: [{{targets: ["127.0.0.1:{secure.port}"]}}]
"""
        )
        command = [
            find_program("prometheus", "prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        stack.enter_context(run_daemon(command, folder, port))
        scraped = Scraped(f"http://127.0.0.1:{port}", plain, secure)
        # It listens before it is ready for questions.
        wait_until(lambda: _is_ready(scraped), "Prometheus", limit_seconds=PATIENCE_SECONDS)
        yield scraped


def _is_ready(scraped: Scraped) -> bool:
    try:
        scraped.get("/api/v1/targets")
    except OSError:
        return False
    return True


def test_prometheus_scrapes_everything(scraped: Scraped) -> None:
    load = Metric(help="Load.", labels=("time",))
    sent = Metric("sent", help="Bytes sent.", kind=Kind.COUNTER, labels=("nic",))
    source = SourceId("pollect", "LoadAvg")
    free = Metric("free_bytes", help="Bytes free.", unit="bytes")
    samples = [load.sample(0.5, 'Ä\\"\n'), sent.sample(7, "e0"), free.sample(5)]
    scraped.plain.write([Batch(source, samples, 0.0)])
    ((labels, value),) = scraped.wait_for("pollect_LoadAvg")
    assert (labels["time"], value) == ('Ä\\"\n', 0.5)
    assert scraped.wait_for("pollect_LoadAvg_sent")[0][1] == 7
    assert scraped.wait_for("pollect_LoadAvg_free_bytes")[0][1] == 5
    (free_as_read,) = scraped.get("/api/v1/metadata")["pollect_LoadAvg_free_bytes"]
    assert free_as_read == {"type": "gauge", "help": "Bytes free.", "unit": "bytes"}
    assert scraped.wait_for("process_resident_memory_bytes")
    scraped.plain.write([Batch(source, [], 0.0)])
    assert scraped.wait_for("absent(pollect_LoadAvg)")


def test_prometheus_scrapes_over_tls_with_a_password(scraped: Scraped) -> None:
    scraped.secure.write([Batch(SourceId("pollect", "Up"), [Metric().sample(3)], 0.0)])
    assert scraped.wait_for("pollect_Up")[0][1] == 3


def test_prometheus_finds_nothing_wrong(scraped: Scraped) -> None:
    assert scraped.wait_for("count(up == 1) == 2")

    def found() -> set[tuple[str, str]]:
        """Return what it thinks of the targets; on a busy machine a scrape may come too late."""
        targets = scraped.get("/api/v1/targets")["activeTargets"]
        return {(target["health"], target["lastError"]) for target in targets}

    with contextlib.suppress(AssertionError):
        wait_until(lambda: found() == {("up", "")}, limit_seconds=PATIENCE_SECONDS)
    assert found() == {("up", "")}


def promtool(text: str) -> tuple[int, str]:
    done = subprocess.run(
        [find_program("promtool", "prometheus"), "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        timeout=150,
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
