"""`pollect rules`: what real promtool makes of the rules, and of their generated tests."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pollect.derived.daemon_rules import _limited
from pollect.derived.promql import duration, regex_of, selector
from tests.e2e.command import call
from tests.simulators.daemons import find_program

SOURCES = """
executors:
  - collection: home
    sources:
      - {type: DiskUsage, inodes: true}
      - {type: MdRaid}
      - {type: Zfs}
      - {type: Pressure}
      - {type: SmartCtl}
      - {type: Certificate, url: "https://localhost:1"}
      - {type: Certificate, urls: ["https://localhost:1"], name: all}
      - {type: Http, url: "http://localhost:1", name: "web[1]"}
writers:
  - {type: Prometheus, port: 8000, bind: 127.0.0.1}
"""
OWN_RULES = """
  - type: Notify
    to: "json://127.0.0.1:9/"
    rules:
      - {source: "home/Http*", state: down, for: 1m}
      - {metric: "home_Disk*", labels: {type: free, disk: _}, below: 5e9, for: 10m, repeat: 12h}
      - {metric: "home_Disk*", labels: {type: free, disk: "_v*"}, below: 1e9}
      - {metric: "home_Smart*", absent: true, for: 1h}
      - {metric: "foo_*", labels: {a: "b*"}, above: 3, keepFor: 5m}
      - {metric: "foo_*", above: 5, name: 'Too "much"', summary: "{{ it }}"}
      - {metric: "*_total", grows: 10m, labels: {device: "sd[!a-c]?"}}
      - {metric: "home_Pressure*", labels: {resource: io}, mute: true}
      - {source: "home/Zfs", mute: true}
      - defaults
"""


def promtool(*arguments: str | Path) -> str:
    program = find_program("promtool", "prometheus")
    done = subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=150
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def generate(folder: Path, config: str) -> tuple[Path, Path]:
    file = folder / "config.yml"
    file.write_text(config)
    rules, tests = folder / "pollect-rules.yml", folder / "tests.yml"
    for target, options in ((rules, []), (tests, ["--test"])):
        done = call("rules", *options, file, folder=folder)
        assert done.returncode == 0, done.stderr
        target.write_text(done.stdout)
    return rules, tests


def expressions(rules: Path) -> dict[str, str]:
    (group,) = yaml.safe_load(rules.read_text())["groups"]
    return {rule["alert"]: rule["expr"] for rule in group["rules"]}


@pytest.mark.parametrize("config", [SOURCES, SOURCES + OWN_RULES], ids=["shipped", "own"])
def test_promtool_takes_the_rules_and_each_fires_and_is_silent(tmp_path: Path, config: str) -> None:
    rules, tests = generate(tmp_path, config)

    assert "SUCCESS" in promtool("check", "rules", rules)
    promtool("test", "rules", tests)
    cases = yaml.safe_load(tests.read_text())["tests"]
    fired: dict[str, set[bool]] = {}
    for case in cases:
        (test,) = case["alert_rule_test"]
        fired.setdefault(test["alertname"], set()).add(bool(test["exp_alerts"]))
    assert fired == {name: {True, False} for name in expressions(rules)}


def test_what_ships_is_that_of_the_configured_sources(tmp_path: Path) -> None:
    names = expressions(generate(tmp_path, SOURCES)[0])

    assert {"SourceDown", "SourceTroubled", "WriterDown", "SamplesLost"} <= names.keys()
    assert {"DiskFull", "ArrayDegraded", "PoolNotOnline", "DrivePendingSectors"} <= names.keys()
    assert "BackupOld" not in names
    assert names["DiskFull"] == (
        'home_DiskUsage{type="free"} / ignoring(type) home_DiskUsage{type="total"} < 0.05'
    )


def test_what_an_earlier_rule_decides_is_left_out_of_later_ones(tmp_path: Path) -> None:
    names = expressions(generate(tmp_path, SOURCES + OWN_RULES)[0])

    assert names["DiskFull"] == (
        'home_DiskUsage{type="free"} / ignoring(type) home_DiskUsage{type="total"} < 0.05'
        ' unless ignoring(type) home_DiskUsage{type="free", disk="_"}'
        ' unless ignoring(type) home_DiskUsage{type="free", disk=~"_v.*"}'
    )
    assert "unless" not in names["CpuPressure"]
    assert not {"IoPressure", "PoolFull"} & names.keys(), "nothing is left of them"


SHAPED = """
executors:
  - collection: home
    sources:
      - type: DiskUsage
        renameLabels: {type: kind, disk: mount}
        metrics: {rename: {"": bytes}}
      - {type: DiskUsage, name: sum, dropLabels: [type], metrics: {include: [""]}}
      - type: SmartCtl
        metrics: {rename: {exit_status: status}, scale: {exit_status: 0.5, passed: -1}}
      - {type: LoadAvg, metrics: {rename: {"": load}, scale: {"": 1000}}}
writers:
  - {type: Prometheus, port: 8000, bind: 127.0.0.1}
"""


def test_rules_speak_of_names_labels_and_units_as_they_are_exposed(tmp_path: Path) -> None:
    rules, tests = generate(tmp_path, SHAPED)
    promtool("check", "rules", rules)
    promtool("test", "rules", tests)
    names = expressions(rules)
    assert names["DiskFull"] == (
        'home_DiskUsage_bytes{kind="free"} / ignoring(kind) home_DiskUsage_bytes{kind="total"}'
        " < 0.05"
    )
    assert names["DriveSelfTestFailed"] == "home_SmartCtl_status > 63.5"
    assert names["DriveFailing"] == "home_SmartCtl_passed > -1.0"
    assert not any("home_DiskUsage_sum" in expression for expression in names.values())


def test_two_runs_give_the_same_bytes(tmp_path: Path) -> None:
    runs = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        runs.append([file.read_bytes() for file in generate(folder, SOURCES + OWN_RULES)])

    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    ("pattern", "regex"),
    [
        ("a.b*", r"a\.b.*"),
        ("sd[a-c]?", "sd[a-c]."),
        ("[!x]", "[^x]"),
        ("a[", r"a\["),
        ("(a|b)+", r"\(a\|b\)\+"),
    ],
)
def test_shell_patterns_become_those_of_prometheus(pattern: str, regex: str) -> None:
    assert regex_of(pattern) == regex


def test_selectors_quote_what_has_a_meaning() -> None:
    labels: Any = {"a": 'say "x\\y"', "b": "*"}

    assert selector("m", labels) == r'm{a="say \"x\\y\""}'
    assert duration(5430) == "1h30m30s"


DAEMON = """
{fleet}
executors:
  - collection: fast
    tickTime: 5
    sources:
      - {{type: LoadAvg}}
      - {{type: Uptime, name: "a[1]*"}}
  - collection: slow
    tickTime: 60
    sources:
      - {{type: LoadAvg}}
      - {{type: Http, url: "http://localhost:1", timeout: 30}}
writers:
  - {{type: Prometheus, port: 8000, bind: 127.0.0.1}}
  - {{type: Mqtt, host: localhost, buffer: {{samples: 1000}}}}
"""


@pytest.mark.parametrize(
    ("fleet", "names"),
    [
        ("", set()),
        ("fleet: {shard: {index: 0, count: 2}}", {"ShardWithoutOwner", "ShardWithTwoOwners"}),
        (
            'fleet: {engine: "etcd://127.0.0.1:2379"}',
            {
                "ShardWithoutOwner",
                "ShardWithTwoOwners",
                "ConfigsDiffer",
                "FleetWithoutEngine",
            },
        ),
    ],
    ids=["alone", "shard", "lease"],
)
def test_the_daemon_itself_is_watched(tmp_path: Path, fleet: str, names: set[str]) -> None:
    rules, tests = generate(tmp_path, DAEMON.format(fleet=fleet))

    promtool("check", "rules", rules)
    promtool("test", "rules", tests)
    always = {
        *("DaemonGone", "SourceDown", "SourceTroubled", "SourceStale", "ProbeNearDeadline"),
        *("SeriesDropped", "WriterDown", "SamplesLost", "BufferFilling", "ReloadFailed"),
    }
    assert expressions(rules).keys() == always | names


def test_limits_of_the_daemon_s_rules_come_from_the_config(tmp_path: Path) -> None:
    found = expressions(generate(tmp_path, DAEMON.format(fleet=""))[0])
    duration, success = "pollect_source_probe_duration_seconds", "pollect_source_last_success"

    fast = f'{success}_timestamp_seconds{{collection="fast"}}'

    assert found["BufferFilling"] == "pollect_writer_buffered_samples > 500"
    assert f'{duration}{{collection="fast"}} > 8' in found["ProbeNearDeadline"]
    assert f'{duration}{{collection="slow", type="Http"}} > ' in found["ProbeNearDeadline"]
    assert f"timestamp({fast}) - {fast} > 35" in found["SourceStale"]


def test_without_metrics_of_its_own_nothing_watches_the_daemon(tmp_path: Path) -> None:
    rules, _ = generate(tmp_path, "selfMetrics: false\n" + DAEMON.format(fleet=""))

    assert expressions(rules) == {}


def test_what_a_plugin_s_deadline_gets_wrong_costs_only_its_limit(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "Hasty.py").write_text(
        "from pollect.api import Source, SourceConfig\n"
        "class HastySource(Source[SourceConfig]):\n"
        "    def deadline_seconds(self): raise OSError('no')\n"
    )
    config = (
        "executors:\n- collection: c\n  sources: [{type: plugins.Hasty}]\n"
        "writer: {type: Prometheus, port: 0}\n"
    )
    found = expressions(generate(tmp_path, config)[0])

    assert found["ProbeNearDeadline"] == "pollect_source_probe_duration_seconds > 8"


def test_sources_with_one_limit_are_chosen_together_and_no_others() -> None:
    def of(collection: str, type: str, name: str = "") -> tuple[tuple[str, str], ...]:
        return (("collection", collection), ("type", type), ("name", name))

    same = {of("a", "Cpu"): 1.0, of("b", "Swap"): 1.0}
    assert list(_limited("m", same)) == [("m", 1.0)]
    mixed = {
        of("a", "Cpu"): 1.0,
        of("b", "Swap"): 1.0,
        of("b", "x.Tide"): 1.0,
        of("b", "Http", "a"): 1.0,
        of("b", "Http", "[b]*"): 2.0,
        of("b", "Ping"): 2.0,
    }
    assert list(_limited("m", mixed)) == [
        ('m{collection="a"}', 1.0),
        (r'm{collection="b", type=~"Swap|x\\.Tide"}', 1.0),
        ('m{collection="b", type="Ping"}', 2.0),
        ('m{collection="b", type="Http", name="a"}', 1.0),
        ('m{collection="b", type="Http", name="[b]*"}', 2.0),
    ]
