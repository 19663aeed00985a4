"""Dashboards and rules of three whole configs: what they are, and that they stay what they are."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pollect.cli.rules import LINE_WIDTH, load_plan
from pollect.derived import rule_tests, rules
from pollect.derived.dashboard import dashboard_of
from pollect.discovery.registry import Registry
from pollect.engine.plan import Plan
from tests.simulators.daemons import find_program

HERE = Path(__file__).parent / "derived"
CONFIGS = {
    "quickstart": Path(__file__).parents[3] / "examples" / "quickstart.yml",
    "home": HERE / "home.yml",
    "everything": HERE / "everything.yml",
}


@pytest.fixture(scope="module", params=CONFIGS)
def config(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def plan(config: str) -> Plan:
    return load_plan(str(CONFIGS[config]))


def dashboard_text(plan: Plan) -> str:
    """Return a dashboard with a line for each panel, so that a difference is easy to read."""
    board = dashboard_of(plan)
    panels = ",\n".join(json.dumps(panel, ensure_ascii=False) for panel in board.pop("panels"))
    head = json.dumps(board, indent=1, ensure_ascii=False).removesuffix("\n}")
    return f'{head},\n "panels": [\n{panels}\n]}}\n'


def rules_text(plan: Plan) -> str:
    document = rules.as_document(rules.rules_of(plan))
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=LINE_WIDTH)


def test_the_dashboard_is_the_one_that_was_reviewed(
    config: str, plan: Plan, golden: Callable[[str, str], None]
) -> None:
    text = dashboard_text(plan)
    assert text == dashboard_text(load_plan(str(CONFIGS[config]))), "two runs differ"
    golden(f"{config}.dashboard.json", text)


def test_the_rules_are_those_that_were_reviewed(
    config: str, plan: Plan, golden: Callable[[str, str], None]
) -> None:
    text = rules_text(plan)
    assert text == rules_text(load_plan(str(CONFIGS[config]))), "two runs differ"
    golden(f"{config}.rules.yml", text)


def test_promtool_sees_every_rule_fire_and_stay_silent(plan: Plan, tmp_path: Path) -> None:
    found = rules.rules_of(plan)
    (tmp_path / "rules.yml").write_text(rules_text(plan))
    tests = rule_tests.as_document(found, "rules.yml")
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(tests, sort_keys=False))
    program = find_program("promtool", "prometheus")
    for command in (["check", "rules", "rules.yml"], ["test", "rules", "tests.yml"]):
        done = subprocess.run(
            [program, *command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    outcomes: dict[str, set[bool]] = {}
    for case in tests["tests"]:
        (test,) = case["alert_rule_test"]
        outcomes.setdefault(test["alertname"], set()).add(bool(test["exp_alerts"]))
    assert outcomes == {rule.name: {True, False} for rule in found}


def test_everything_has_every_source() -> None:
    plan = load_plan(str(CONFIGS["everything"]))
    types = {source.id.type for executor in plan.executors for source in executor.sources}
    assert types == {*Registry().sources}


def test_no_panel_is_twice_on_a_dashboard(plan: Plan) -> None:
    panels: list[dict[str, Any]] = dashboard_of(plan)["panels"]
    asked = [panel["targets"][0]["expr"] for panel in panels if panel.get("targets")]
    assert len(asked) == len(set(asked))
    places = [tuple(panel["gridPos"].items()) for panel in panels]
    assert len(places) == len(set(places))
