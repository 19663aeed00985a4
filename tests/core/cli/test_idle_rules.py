"""`pollect check` names the rules of Notify that nothing in the config can meet."""

from pathlib import Path

import pytest

from tests.e2e.command import call

CONFIG = """\
writers:
  - type: Notify
    to: ["json://127.0.0.1:1/"]
    rules:
      - defaults
      - {rule}
executors:
  - collection: home
    sources:
      - {{type: LoadAvg}}
      - {{type: Http, url: "http://a/"}}
      - {{type: Openhab, url: "http://h/"}}
      - {{type: DiskUsage, metrics: {{rename: {{"": bytes}}}}, renameLabels: {{disk: mount}}}}
"""


def check(folder: Path, rule: str) -> list[str]:
    file = folder / "config.yml"
    file.write_text(CONFIG.format(rule=rule))
    done = call("check", file.name, folder=folder)
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()


@pytest.mark.parametrize(
    ("rule", "warning"),
    [
        ("{source: home/Nope, state: down}", ".source: no source here matches 'home/Nope'"),
        ("{source: home/Nope, mute: true}", ".source: no source here matches 'home/Nope'"),
        (
            "{metric: home_LoadAverage, above: 5}",
            ".metric: no source here has a metric 'home_LoadAverage'",
        ),
        ("{metric: home_Disk*_gone, absent: true}", ".metric: no source here has a metric"),
        (
            "{metric: home_LoadAvg, labels: {tyme: short}, above: 5}",
            ".labels.tyme: home_LoadAvg has no such label (it has time)",
        ),
        (
            "{metric: home_DiskUsage_bytes, labels: {disk: _}, below: 5}",
            ".labels.disk: home_DiskUsage_bytes has no such label (it has mount, type)",
        ),
        (
            "{metric: home_LoadAvg, source: home/Http, above: 1}",
            ".source: no source that matches 'home/Http' has a metric 'home_LoadAvg'",
        ),
        ("{metric: pollect_Cpu, below: 1}", ".metric: no source here has a metric 'pollect_Cpu'"),
    ],
)
def test_a_rule_that_nothing_can_meet_is_named(tmp_path: Path, rule: str, warning: str) -> None:
    (line,) = check(tmp_path, rule)
    assert line.startswith("warning: config.yml:6:")
    assert f"writers[0].rules[1]{warning}" in line


def test_each_of_several_idle_rules_has_its_place(tmp_path: Path) -> None:
    rules = "{source: home/Nope, state: down}\n      - {metric: home_Nope, above: 5}"
    assert [line.partition(": no")[0] for line in check(tmp_path, rules)] == [
        "warning: config.yml:6:10: writers[0].rules[1].source",
        "warning: config.yml:7:10: writers[0].rules[2].metric",
    ]


@pytest.mark.parametrize(
    "rule",
    [
        '{source: "*/Http*", mute: true}',
        '{source: "*", state: troubled}',
        "{metric: home_DiskUsage_bytes, labels: {mount: _}, below: 5}",
        '{metric: "home_*", above: 5}',
        # Only the device knows what it has.
        "{metric: home_Openhab_kitchen, labels: {room: hall}, above: 5}",
        # Of pollect itself, and perhaps of a plugin.
        "{metric: pollect_writer_up, below: 1}",
        "{metric: pollect_of_a_plugin, below: 1}",
    ],
)
def test_a_rule_that_may_be_met_is_not(tmp_path: Path, rule: str) -> None:
    assert check(tmp_path, rule) == []
