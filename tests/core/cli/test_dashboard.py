"""`pollect dashboard`: judged by a real Prometheus, by Grafana's SDK and by Grafana's types."""

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from pollect.derived.dashboard import grafana_unit
from pollect.testing import serve_http, serve_udp
from pollect.testing.waiting import wait_until
from pollect.units import UNITS
from tests.e2e.command import call, start
from tests.simulators.certificates import Authority
from tests.simulators.daemons import find_program, free_port
from tests.simulators.snmpd import needs_snmpd, run_snmpd

ROOT = Path(__file__).parents[3]
QUICKSTART = ROOT / "examples" / "quickstart.yml"
#: One of each source, so one of each kind of panel.
EVERYTHING = Path(__file__).parent / "derived" / "everything.yml"
#: Prometheus needs two scrapes for a rate.
PATIENCE_SECONDS = 40.0


def dashboard(config: Path, *options: str) -> dict[str, Any]:
    done = call("dashboard", *options, config)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def queries(board: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            filled = target["expr"].replace("$__rate_interval", "10s").replace("$instance", ".*")
            yield panel["title"], filled, target.get("legendFormat", "")


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quickstart")
    text = QUICKSTART.read_text("utf-8")
    assert "port: 8000" in text
    file = folder / "config.yml"
    port = free_port()
    file.write_text(
        text.replace("port: 8000", f"port: {port}\n  bind: 127.0.0.1").replace(
            "tickTime: 5", "tickTime: 1"
        )
    )
    write_prometheus_config(folder, port)
    return file


def write_prometheus_config(folder: Path, port: int) -> None:
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        f"- {{job_name: pollect, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}\n"
    )


#: What can be read here, with all it can say; the rest of the daemon is in the quickstart.
PEERS = """
tickTime: 1
writers:
  - {{type: Prometheus, port: {port}, bind: 127.0.0.1}}
  - {{type: JsonLines, file: values.jsonl}}
executors:
  - collection: here
    sources:
      - {{type: Cpu, perCore: true}}
      - {{type: LoadAvg, perCpu: true}}
      - {{type: MemoryUsage, details: true}}
      - {{type: DiskUsage, disks: [/], inodes: true, readonly: true}}
      - {{type: Interface, errors: true, includeTotal: true, state: true, include: [lo]}}
      - {{type: Process, procRegex: pollect run, details: true, total: true}}
      - {{type: Uptime}}
  - collection: peers
    sources:
      - {{type: Http, url: "http://127.0.0.1:{port}/-/healthy", details: true, name: plain}}
      - {{type: Http, url: ["{tls}/", "{tls}/other"], details: true, verify: false}}
      - {{type: Certificate, urls: ["{tls}/"], details: true}}
      - {{type: TcpTime, host: 127.0.0.1, port: {port}, details: true}}
      - {{type: Dns, server: 127.0.0.1, port: {dns}, query: example.org}}
      # The agent gives no port an alias, and Prometheus drops labels that are empty.
      - type: SnmpTable
        host: "{snmp}"
        communityString: public
        preset: interfaces
        dropLabels: [alias]
      - type: SnmpGet
        host: "{snmp}"
        communityString: public
        details: true
        metrics: [{{name: ports, oid: 1.3.6.1.2.1.2.1.0}}]
      - type: HttpIngress
        port: {push}
        bind: 127.0.0.1
        metrics: {{queue: {{labels: [site]}}}}
        labels: {{room: attic}}
"""


@contextmanager
def peers(folder: Path) -> Iterator[Path]:
    """Start what the config asks for, and yield it."""
    import dns.message

    def resolve(query: bytes) -> bytes:
        return dns.message.make_response(dns.message.from_wire(query)).to_wire()

    port, push = free_port(), free_port()
    with (
        serve_http({"*": "hello"}, tls=Authority(folder).server("127.0.0.1")) as web,
        serve_udp(resolve) as resolver,
        run_snmpd(folder) as agent,
    ):
        file = folder / "config.yml"
        file.write_text(
            PEERS.format(port=port, push=push, tls=web.url, dns=resolver.port, snmp=agent)
        )
        write_prometheus_config(folder, port)
        yield file


def push_a_value(config: Path) -> None:
    port = yaml.safe_load(config.read_text())["executors"][1]["sources"][-1]["port"]
    body = b'{"metrics": {"queue": {"value": 1, "labels": {"site": "n"}}}}'
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/", body, {"Content-Type": "application/json"}
    )

    def pushed() -> bool:
        try:
            urllib.request.urlopen(request, timeout=5).close()
        except OSError:
            return False
        return True

    wait_until(pushed, "a port to push to")


@pytest.mark.timeout(300)
def test_every_panel_shows_something_of_the_quickstart(quickstart: Path) -> None:
    assert panels_without_a_series(quickstart) == []


@pytest.mark.timeout(300)
@needs_snmpd
def test_every_panel_shows_something_of_what_is_all_around(tmp_path: Path) -> None:
    with peers(tmp_path) as config:
        empty = panels_without_a_series(config, push_a_value)

    assert not empty, "\n".join(expression for _, expression in empty)


def panels_without_a_series(
    config: Path, prepare: Callable[[Path], None] = lambda config: None
) -> list[tuple[str, str]]:
    """Return the panels that stay empty, though a real Prometheus scrapes the real daemon."""
    folder, port = config.parent, free_port()
    command = [
        find_program("prometheus", "prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    board = dashboard(config)
    with start("run", "-c", config, folder=folder) as daemon:
        daemon.wait_for("listening on")
        prepare(config)
        log = (folder / "prometheus.log").open("wb")
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            until = time.monotonic() + PATIENCE_SECONDS
            missing = dict.fromkeys(queries(board))
            while missing and time.monotonic() < until:
                time.sleep(0.5)
                missing = {one: None for one in missing if not _is_shown(port, *one[1:])}
        finally:
            server.terminate()
            server.wait()
            log.close()
    return [one[:2] for one in missing]


def _is_shown(port: int, expression: str, legend: str) -> bool:
    arguments = urllib.parse.urlencode({"query": expression})
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{port}/api/v1/query?{arguments}", timeout=5
        ) as answer:
            found = json.load(answer)["data"]["result"]
    except OSError:
        return False
    labels = [part.strip("{}") for part in legend.split() if part.startswith("{{")]
    return bool(found) and all(
        any(label in series["metric"] for series in found) for label in labels
    )


def test_the_sdk_of_grafana_reads_it_without_loss() -> None:
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    board = dashboard(EVERYTHING)
    read = Dashboard.from_json(board)
    again = json.loads(JSONEncoder(sort_keys=True).encode(read))

    assert list(_lost(board, again, "")) == []


def _lost(before: Any, after: Any, place: str) -> Iterator[str]:
    """Yield where something of a document is not in another."""
    if isinstance(before, dict):
        for key, value in before.items():
            if value is None:
                continue
            if not isinstance(after, dict) or key not in after:
                yield f"{place}.{key}"
            else:
                yield from _lost(value, after[key], f"{place}.{key}")
    elif isinstance(before, list):
        if not isinstance(after, list) or len(before) != len(after):
            yield place
        else:
            for number, (one, other) in enumerate(zip(before, after, strict=True)):
                yield from _lost(one, other, f"{place}[{number}]")
    elif before != after:
        yield f"{place}: {before!r} became {after!r}"


@pytest.mark.timeout(300)
def test_grafanas_own_types_accept_it(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    (tmp_path / "package.json").write_text('{"private": true}')
    install = [npm, "install", "--no-audit", "--no-fund", "--silent"]
    done = subprocess.run(
        [*install, "@grafana/schema@13", "typescript@5"],
        cwd=tmp_path, check=False, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    if done.returncode != 0:
        pytest.skip(f"npm cannot install @grafana/schema: {done.stderr[-200:]}")
    board = json.dumps(dashboard(EVERYTHING), indent=1)
    (tmp_path / "board.ts").write_text(
        'import type { Dashboard } from "@grafana/schema";\n'
        # The members of an enum of texts are no texts to TypeScript.
        "type Plain<T> = T extends string ? `${T}`"
        " : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;\n"
        f"export const board: Plain<Dashboard> = {board};\n"
    )
    check = ["--noEmit", "--strict", "--skipLibCheck", "--moduleResolution", "bundler"]
    done = subprocess.run(
        ["node_modules/.bin/tsc", *check, "--module", "esnext", "board.ts"],
        cwd=tmp_path, check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout


def test_two_runs_give_the_same_bytes(quickstart: Path) -> None:
    assert call("dashboard", quickstart).stdout == call("dashboard", quickstart).stdout


def test_an_import_replaces_the_one_before(quickstart: Path) -> None:
    board, other = dashboard(quickstart), dashboard(quickstart, "--title", "This host")

    assert board["uid"] == other["uid"]
    assert (board["title"], other["title"]) == ("pollect: pollect", "This host")
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)


def test_queries_are_those_of_the_names_that_are_exposed(tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    config.write_text(
        "writers: [{type: Prometheus, port: 8000}]\n"
        "executors:\n"
        "- collection: home\n"
        "  sources:\n"
        "  - type: DiskUsage\n"
        "    metrics: {rename: {'': bytes}, scale: {'': 0.001}}\n"
        "    renameLabels: {disk: mount}\n"
    )
    board = dashboard(config)
    legends = {expression: legend for _, expression, legend in queries(board)}
    assert legends['home_DiskUsage_bytes{instance=~".*"}'] == "{{mount}} {{type}}"
    assert 'home_DiskUsage{instance=~".*"}' not in legends
    (panel,) = (panel for panel in board["panels"] if panel["title"] == "bytes")
    assert panel["fieldConfig"]["defaults"]["unit"] == "short", "the unit is the operator's now"


def test_what_a_config_switches_off_has_no_panel(tmp_path: Path) -> None:
    file = tmp_path / "config.yml"
    text = (
        "selfMetrics: false\n"
        "writer: {type: Prometheus, port: 0}\n"
        "executors:\n- collection: c\n  sources:\n"
        "  - {type: DiskUsage, inodes: INODES}\n"
        "  - {type: Pressure, metrics: {exclude: [ratio]}}\n"
    )

    def titles(inodes: str) -> list[str]:
        file.write_text(text.replace("INODES", inodes))
        return [panel["title"] for panel in dashboard(file)["panels"]]

    assert titles("true") == [
        *("c/DiskUsage", "DiskUsage", "inodes"),
        *("c/Pressure", "seconds_total"),
    ]
    assert "inodes" not in titles("false")


def panels(tmp_path: Path, sources: str) -> dict[str, dict[str, Any]]:
    """Return the panels of some sources by their titles."""
    file = tmp_path / "config.yml"
    file.write_text(
        "selfMetrics: false\nwriter: {type: Prometheus, port: 0}\n"
        f"executors:\n- collection: c\n  sources:\n{sources}"
    )
    return {panel["title"]: panel for panel in dashboard(file)["panels"]}


def query(panel: dict[str, Any]) -> tuple[str, str]:
    (target,) = panel["targets"]
    return target["expr"], target["legendFormat"]


def test_several_targets_of_a_source_are_told_apart(tmp_path: Path) -> None:
    found = panels(tmp_path, '  - {type: Http, url: ["http://a", "http://b"]}\n')

    assert query(found["success"])[1] == "{{url}}"
    assert query(panels(tmp_path, "  - {type: Http, url: http://a}\n")["success"])[1] == "success"


def test_only_what_the_options_of_a_source_let_come_is_drawn(tmp_path: Path) -> None:
    table = "  - {type: SnmpTable, host: localhost, communityString: c, preset: ups}\n"
    found = panels(tmp_path, table)

    assert "battery_charge_percent" in found
    assert not {"in_bytes", "sys_uptime_seconds", "values"} & found.keys()
    assert "phase_seconds" not in panels(tmp_path, "  - {type: Http, url: http://a}\n")


def test_states_moments_and_descriptions_are_no_curves(tmp_path: Path) -> None:
    found = panels(tmp_path, "  - {type: Certificate, url: https://a, details: true}\n")

    assert found["cert_valid"]["type"] == "state-timeline"
    mapping = found["cert_valid"]["fieldConfig"]["defaults"]["mappings"][0]["options"]
    assert {key: (one["text"], one["color"]) for key, one in mapping.items()} == {
        "0": ("no", "red"),
        "1": ("yes", "green"),
    }
    assert found["cert_not_after"]["type"] == "stat"
    assert query(found["cert_not_after"])[0].endswith(" * 1000")
    assert found["cert_not_after"]["fieldConfig"]["defaults"]["unit"] == "dateTimeFromNow"
    assert found["cert_info"]["type"] == "table"
    assert found["cert_expire_days"]["type"] == "timeseries"


@pytest.mark.parametrize("unit", UNITS)
def test_every_unit_has_one_in_grafana(unit: str) -> None:
    assert grafana_unit(unit)
    assert grafana_unit(unit) != "none"
