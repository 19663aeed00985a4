"""`pollect dashboard`: judged by a real Prometheus, by Grafana's SDK and by Grafana's types."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pollect.derived.dashboard import grafana_unit
from pollect.units import UNITS
from tests.e2e.command import call
from tests.simulators.daemons import free_port

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


def queries(board: dict[str, Any], instance: str = ".*") -> Iterator[tuple[str, str, str]]:
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            filled = target["expr"].replace("$__rate_interval", "10s")
            filled = filled.replace("$instance", instance)
            yield panel["title"], filled, target.get("legendFormat", "")


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quickstart")
    text = QUICKSTART.read_text("utf-8")
    assert "port: 8000" in text
    file = folder / "config.yml"
    file.write_text(
        text.replace("port: 8000", f"port: {free_port()}\n  bind: 127.0.0.1").replace(
            "tickTime: 5", "tickTime: 1"
        )
    )
    return file


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
