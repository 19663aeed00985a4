"""Probes on demand, as Prometheus asks for them, and service discovery."""

import gzip
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from pollect.testing.http import HttpResponse, serve_http
from pollect.testing.servers import absent_port, serve_tcp, stay_silent
from pollect.testing.waiting import wait_until
from tests.e2e.command import PROMPT_SECONDS, Daemon, call, scrape, start
from tests.simulators.daemons import find_program, free_port, run_daemon
from tests.simulators.snmp_agent import GAUGE32, SimulatedAgent

MODULES = """\
  http_2xx:
    type: Http
    timeout: 60
    details: true
    allow: [127.0.0.0/8, "*.test"]
  tcp_connect: {type: TcpTime, timeout: 60, allow: 127.0.0.1}
  if_mib:
    type: SnmpGet
    collection: snmp
    snmpVersion: 2c
    metrics: [{oid: 1.3.6.1.4.1.1.0, name: load}]
    allow: 127.0.0.0/8
  hang: {type: extensions.Hang, allow: "*", concurrency: 2}
  broken: {type: extensions.Broken, allow: "*"}
  asynchronous: {type: extensions.Later, allow: "*"}
  awaits: {type: extensions.Awaits, allow: "*", concurrency: 1}
"""
HANG = """\
import threading
from pollect.api import Source, SourceConfig
class HangConfig(SourceConfig, frozen=True, kw_only=True):
    host: str
class Hang(Source):
    config_type = HangConfig
    target_option = "host"
    def probe(self):
        threading.Event().wait()
"""
BROKEN = HANG.replace("Hang", "Broken").replace("threading.Event().wait()", "raise SystemExit(3)")
LATER = """\
import asyncio
from pollect.api import Metric, Source, SourceConfig
VALUE = Metric("value", help="A number.", labels=("host",))
class LaterConfig(SourceConfig, frozen=True, kw_only=True):
    host: str
class Later(Source):
    config_type = LaterConfig
    target_option = "host"
    metrics = (VALUE,)
    async def probe(self):
        await asyncio.sleep(0)
        return [VALUE.sample(7, self.config.host)]
"""
AWAITS = LATER.replace("Later", "Awaits").replace("asyncio.sleep(0)", "asyncio.Event().wait()")


@contextmanager
def running(
    folder: Path, *, writer: str = "", inventory: object = (), modules: str = MODULES
) -> Iterator[tuple[Daemon, int]]:
    port = free_port()
    (folder / "extensions").mkdir(exist_ok=True)
    for name, text in (("Hang", HANG), ("Broken", BROKEN), ("Later", LATER), ("Awaits", AWAITS)):
        (folder / "extensions" / f"{name}.py").write_text(text)
    (folder / "targets.json").write_text(json.dumps(list(inventory)))  # type: ignore[call-overload]
    config = folder / "config.yml"
    config.write_text(
        "labels: {site: lab}\n"
        f"writer: {{type: Prometheus, bind: 127.0.0.1, port: {port}{writer}}}\n"
        "executors:\n  - collection: net\n    sources:\n      - {type: Dummy, value: 1}\n"
        "      - {type: TcpTime, name: all, targets: {file: targets.json}}\n"
        f"probes:\n{modules}"
    )
    with start("run", "-c", config, folder=folder) as daemon:
        daemon.wait_for("listening")
        yield daemon, port


def ask(
    port: int, path: str = "/probe", headers: Mapping[str, str] | None = None, **query: str
) -> tuple[int, str]:
    """Return status and text of an answer."""
    url = f"http://127.0.0.1:{port}{path}?{urlencode(query)}"
    request = urllib.request.Request(url, headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    inventory = [{"targets": ["a:1", "b:2"], "labels": {"rack": "r1", "__meta_x": "y"}}]
    with running(tmp_path_factory.mktemp("probes"), inventory=inventory) as (_, port):
        yield port


def test_a_probe_shows_the_values_of_one_target(endpoint: int) -> None:
    with serve_http({"/": "fine"}) as web:
        status, text = ask(endpoint, target=web.address, module="http_2xx")
    assert status == 200
    lines = text.splitlines()
    assert "probe_success 1.0" in lines
    assert 'pollect_Http_status_code{site="lab"} 200.0' in lines
    assert "# TYPE probe_success gauge" in lines
    (duration,) = (line for line in lines if line.startswith("probe_duration_seconds "))
    assert 0 < float(duration.split()[1]) < 30
    assert "pollect_Http" not in scrape(endpoint)


def test_a_target_that_fails_is_no_success(endpoint: int) -> None:
    with serve_http({}) as web:
        status, text = ask(endpoint, target=f"{web.url}/none", module="http_2xx")
    assert (status, "probe_success 0.0\n" in text) == (200, True)
    assert 'pollect_Http_status_code{site="lab"} 404.0' in text
    with absent_port() as port:
        status, text = ask(endpoint, target=f"127.0.0.1:{port}", module="tcp_connect")
    assert (status, "probe_success 0.0\n" in text) == (200, True)


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ({"module": "http_2xx"}, 400, "name one target"),
        ({"target": "127.0.0.1"}, 400, "name one module, there are: http_2xx, tcp_connect"),
        ({"target": "127.0.0.1", "module": "no"}, 400, "no module 'no'; there are: http_2xx"),
        ({"target": "evil.example", "module": "http_2xx"}, 403, "list it in `allow`"),
        ({"target": "http://169.254.169.254/", "module": "http_2xx"}, 403, "169.254.169.254"),
        ({"target": "http://2852039166/", "module": "http_2xx"}, 403, "list it in `allow`"),
        ({"target": "http://[::ffff:10.0.0.1]/", "module": "http_2xx"}, 403, "list it"),
        ({"target": "http://127.0.0.1@evil/", "module": "http_2xx"}, 400, "put credentials"),
        ({"target": "http://evil\\@127.0.0.1/", "module": "http_2xx"}, 400, "a backslash"),
        ({"target": "http://evil/#@127.0.0.1", "module": "http_2xx"}, 403, "list it"),
        ({"target": "file:///etc/passwd", "module": "http_2xx"}, 400, "not a file"),
        ({"target": "/etc/passwd", "module": "http_2xx"}, 400, "expected a host"),
        ({"target": "ftp://127.0.0.1/", "module": "http_2xx"}, 400, "expected a URL like http"),
        ({"target": "127.0.0.1", "module": "tcp_connect"}, 400, "port: expected a port"),
        ({"target": "127.0.0.2:1", "module": "tcp_connect"}, 403, "127.0.0.2"),
        ({"target": "x" * 3000, "module": "http_2xx"}, 400, "at most 2,048"),
    ],
)
def test_what_may_not_be_probed_is_refused_in_words(endpoint, query, status, words) -> None:
    found, text = ask(endpoint, **query)
    assert (found, words in text) == (status, True), text


def led_to(location: str) -> HttpResponse:
    return HttpResponse(status=302, headers={"Location": location})


@pytest.mark.parametrize("host", ["localhost", "[::1]", "[::ffff:10.0.0.1]", "2852039166"])
def test_a_redirect_to_what_may_not_be_probed_is_not_followed(endpoint: int, host: str) -> None:
    with serve_http({}) as inside:
        inside.routes = {"/": "secret", "/allowed": led_to(f"http://{host}:{inside.port}/")}
        with serve_http({"/": led_to(f"{inside.url}/allowed")}) as web:
            status, text = ask(endpoint, target=web.address, module="http_2xx")
        assert [request.path for request in inside.requests] == ["/allowed"]
    assert (status, "probe_success 0.0\n" in text) == (200, True)


def test_a_redirect_to_what_may_be_probed_is_followed(endpoint: int) -> None:
    with serve_http({"/": "fine"}) as other, serve_http({"/": led_to(other.url)}) as web:
        text = ask(endpoint, target=web.address, module="http_2xx")[1]
    assert "probe_success 1.0\n" in text


@pytest.mark.parametrize("seconds", ["soon", "nan", "-1", "0", "inf"])
def test_a_timeout_that_makes_no_sense_is_refused(endpoint: int, seconds: str) -> None:
    headers = {"X-Prometheus-Scrape-Timeout-Seconds": seconds}
    status, text = ask(endpoint, target="127.0.0.1", module="http_2xx", headers=headers)
    assert (status, "expected seconds above 0" in text) == (400, True)


def test_a_probe_ends_before_the_scraper_gives_up(endpoint: int) -> None:
    headers = {"X-Prometheus-Scrape-Timeout-Seconds": "1.5"}
    with serve_tcp(stay_silent) as silent:
        begin = time.monotonic()
        status, text = ask(endpoint, target=silent.address, module="http_2xx", headers=headers)
    assert time.monotonic() - begin < PROMPT_SECONDS, "the module alone allows 60 seconds"
    assert (status, "probe_success 0.0\n" in text) == (200, True)


def test_a_source_on_the_event_loop_can_be_asked(endpoint: int) -> None:
    _, text = ask(endpoint, target="there", module="asynchronous")
    assert 'pollect_extensions_Later_value{host="there",site="lab"} 7.0' in text
    assert "probe_success 1.0\n" in text


def test_a_probe_that_raises_anything_is_no_success(endpoint: int) -> None:
    assert "probe_success 0.0\n" in ask(endpoint, target="there", module="broken")[1]


def test_probes_that_hang_take_their_places_and_nothing_else(tmp_path: Path) -> None:
    with running(tmp_path) as (daemon, port):
        headers = {"X-Prometheus-Scrape-Timeout-Seconds": "1"}
        for _ in range(2):
            status, text = ask(port, target="x", module="hang", headers=headers)
            assert (status, "probe_success 0.0\n" in text) == (200, True)
        status, text = ask(port, target="x", module="hang")
        assert (status, "2 probes of hang run already" in text) == (503, True)
        with serve_http({"/": "fine"}) as web:
            assert "probe_success 1.0\n" in ask(port, target=web.address, module="http_2xx")[1]
        shown = scrape(port)
        assert 'pollect_probe_requests_total{module="hang",outcome="timed_out"} 2.0' in shown
        assert 'pollect_probe_requests_total{module="hang",outcome="busy"} 1.0' in shown
        assert 'pollect_probe_running{module="hang"} 2.0' in shown
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.output


def test_a_probe_that_awaits_for_too_long_gives_its_place_back(endpoint: int) -> None:
    headers = {"X-Prometheus-Scrape-Timeout-Seconds": "1"}
    assert "probe_success 0.0\n" in ask(endpoint, target="x", module="awaits", headers=headers)[1]
    wait_until(lambda: 'pollect_probe_running{module="awaits"} 0.0' in scrape(endpoint))
    assert ask(endpoint, target="x", module="awaits", headers=headers)[0] == 200


def test_probes_that_wait_keep_no_scrape_waiting(tmp_path: Path) -> None:
    """The server has 8 threads; 20 probes that wait take none of them."""
    modules = MODULES.replace("concurrency: 2", "concurrency: 20")
    with running(tmp_path, modules=modules) as (_, port):
        headers = {"X-Prometheus-Scrape-Timeout-Seconds": "25"}

        def hang() -> None:
            with suppress(OSError):  # the daemon ends first
                ask(port, target="x", module="hang", headers=headers)

        threads = [threading.Thread(target=hang) for _ in range(20)]
        for thread in threads:
            thread.start()
        wait_until(lambda: 'running{module="hang"} 20.0' in scrape(port), limit_seconds=60)
        assert any(thread.is_alive() for thread in threads)
    for thread in threads:
        thread.join(30)


def test_discovery_lists_the_targets_of_inventories(endpoint: int) -> None:
    status, text = ask(endpoint, "/sd")
    labels = {
        "rack": "r1",
        "__meta_x": "y",
        "__meta_pollect_collection": "net",
        "__meta_pollect_type": "TcpTime",
    }
    assert (status, json.loads(text)) == (200, [{"targets": ["a:1", "b:2"], "labels": labels}])
    url = f"http://127.0.0.1:{endpoint}/sd"
    request = urllib.request.Request(url, headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.headers["Content-Type"] == "application/json"
        assert gzip.decompress(answer.read()).decode() == text


def test_both_want_the_password_and_a_known_host(tmp_path: Path) -> None:
    with running(tmp_path, writer=", auth: {token: hunter2}") as (_, port):
        for path in ("/probe", "/sd"):
            token = {"Authorization": "Bearer hunter2"}
            for headers, status in (
                ({}, 401), (token, 200), ({**token, "Host": "evil.example"}, 403),
            ):  # fmt: skip
                module = "tcp_connect"
                found, _ = ask(port, path, headers, target="127.0.0.1:1", module=module)
                assert found == status


def test_without_probes_every_path_shows_the_metrics(tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "config.yml"
    config.write_text(
        f"writer: {{type: Prometheus, bind: 127.0.0.1, port: {port}}}\n"
        "executors: [{collection: a, sources: [{type: Dummy, value: 1}]}]\n"
    )
    with start("run", "-c", config, folder=tmp_path) as daemon:
        daemon.wait_for("listening")
        wait_until(lambda: "a_Dummy 1.0\n" in scrape(port), limit_seconds=60)
        for path in ("/probe", "/sd"):
            assert "a_Dummy 1.0\n" in ask(port, path)[1]


def test_check_looks_at_modules(tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    config.write_text(
        "writer: {type: DryRun}\nexecutors: [{collection: a, sources: [{type: Dummy, value: 1}]}]\n"
        'probes:\n  a: {type: TcpTime, expect: "(", allow: x}\n'
    )
    done = call("check", config)
    assert done.returncode == 2
    assert f"{config}:4:22: probes.a.expect: expected a regular expression" in done.stderr


PROMETHEUS = """\
global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}
scrape_configs:
- job_name: blackbox
  metrics_path: /probe
  params: {{module: [http_2xx]}}
  scrape_timeout: 20s
  scrape_interval: 20s
  static_configs: [{{targets: ["{web}", "http://{web}/none"]}}]
  relabel_configs: &relabel
  - source_labels: [__address__]
    target_label: __param_target
  - source_labels: [__param_target]
    target_label: instance
  - target_label: __address__
    replacement: "{pollect}"
- job_name: snmp
  metrics_path: /probe
  params: {{module: [if_mib], auth: [public_v2]}}
  scrape_timeout: 20s
  scrape_interval: 20s
  static_configs: [{{targets: ["{agent}"]}}]
  relabel_configs: *relabel
- job_name: discovered
  metrics_path: /probe
  params: {{module: [tcp_connect]}}
  http_sd_configs: [{{url: "http://{pollect}/sd", refresh_interval: 1s}}]
  relabel_configs: *relabel
"""


@pytest.mark.integration
def test_prometheus_probes_as_with_blackbox_and_snmp_exporter(tmp_path: Path) -> None:
    with (
        serve_http({"/": "fine"}) as web,
        SimulatedAgent({"1.3.6.1.4.1.1.0": (GAUGE32, 42)}) as agent,
        running(tmp_path, inventory=[{"targets": [web.address], "labels": {"rack": "r1"}}]) as (
            _,
            pollect,
        ),
    ):
        (tmp_path / "prometheus.yml").write_text(
            PROMETHEUS.format(web=web.address, agent=agent.address, pollect=f"127.0.0.1:{pollect}")
        )
        port = free_port()
        command = [
            find_program("prometheus", "prometheus"),
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        with run_daemon(command, tmp_path, port):

            def value(series: str) -> float | None:
                status, text = ask(port, "/api/v1/query", query=series)
                found: Any = json.loads(text)["data"]["result"] if status == 200 else []
                return float(found[0]["value"][1]) if found else None

            def wait_for(series: str) -> None:
                wait_until(lambda: value(series) is not None, series, limit_seconds=60)

            for series, expected in {
                f'probe_success{{job="blackbox",instance="{web.address}"}}': 1,
                f'probe_success{{job="blackbox",instance="http://{web.address}/none"}}': 0,
                f'snmp_SnmpGet_load{{job="snmp",instance="{agent.address}"}}': 42,
                'probe_success{job="snmp"}': 1,
                f'probe_success{{job="discovered",rack="r1",instance="{web.address}"}}': 1,
                'up{job="discovered"}': 1,
            }.items():
                wait_for(series)
                assert value(series) == expected, series
