"""Rules of alerts: what fits, what decides, and what a config must not say."""

from collections.abc import Sequence
from typing import Any

import pytest

from pollect.api import Alert, ConfigError, Metric, SourceId
from pollect.config.sections import convert_section
from pollect.support.alerts import Rule, compile_rules

DISK = SourceId("home", "DiskUsage")
FULL = Alert("DiskFull", "it is full", below=0.05, labels={"type": "free"}, lasting_seconds=60)
SPACE = Metric(unit="bytes", labels=("disk", "type"), alert=FULL)
FREE = {"disk": "_", "type": "free"}


def rule(**options: Any) -> Rule:
    return convert_section(Rule, options, strict=True)


def limits(rules: Sequence[Rule | str], labels: dict[str, str] = FREE) -> list[tuple[str, float]]:
    found = compile_rules(rules).of_series(DISK, "home_DiskUsage", labels, SPACE)
    return [(condition.what, condition.limit) for condition in found]


def test_the_first_rule_that_fits_a_series_decides() -> None:
    rules = [
        rule(metric="home_Disk*", labels={"disk": "_"}, below="5e9"),
        rule(metric="home_DiskUsage", below=1),
    ]

    assert limits(rules) == [("below", 5e9)]
    assert limits(rules, {"disk": "_var", "type": "free"}) == [("below", 1.0)]


def test_too_much_and_too_little_are_decided_separately() -> None:
    rules = [rule(metric="*", above=80), rule(metric="*", below=5), rule(metric="*", above=90)]

    assert limits(rules) == [("above", 80.0), ("below", 5.0)]


def test_defaults_come_last_wherever_they_stand() -> None:
    own = rule(metric="home_DiskUsage", below=1e9)

    assert limits(["defaults"]) == [("below", 0.05)]
    assert limits(["defaults", own]) == limits([own, "defaults"]) == [("below", 1e9)]
    assert limits(["defaults"], {"disk": "_", "type": "used"}) == []


def test_what_is_muted_is_never_worth_a_message() -> None:
    assert limits([rule(metric="*", labels={"disk": "_"}, mute=True), "defaults"]) == []
    muted = compile_rules([rule(source="home/*", mute=True), "defaults"])
    assert muted.of_source(DISK) == []
    assert [found.what for found in muted.of_source(SourceId("lab", "Ping"))] == [
        "down",
        "troubled",
    ]


def test_durations_are_those_of_prometheus() -> None:
    found = compile_rules([rule(state="down", **{"for": "1h30m", "repeat": "12h"})]).of_source(DISK)

    assert (found[0].for_seconds, found[0].repeat_seconds) == (5400.0, 43200.0)


@pytest.mark.parametrize(
    ("options", "key", "problem"),
    [
        ({"metric": "a"}, "rules[0]", "no condition"),
        ({"above": 1}, "rules[0].metric", "required option missing"),
        ({"state": "down", "metric": "a"}, "rules[0].state", "takes no metric"),
        ({"metric": "a", "above": 1, "for": "soon"}, "rules[0].for", "expected a duration"),
        ({"metric": "a", "above": 1, "repeat": 0}, "rules[0].repeat", "above 0"),
        ({"metric": "a", "grows": "x"}, "rules[0].grows", "expected a duration"),
        ({"metric": "a", "above": 1, "below": 2}, "rules[0].below", "every value"),
        ({"metric": "a", "absent": True, "above": 2}, "rules[0].absent", "no limit"),
        ({"metric": "a", "mute": True, "above": 2}, "rules[0].mute", "no condition"),
        ({"metric": "a", "absent": True, "shareOf": {"a": "b"}}, "rules[0].shareOf", "limit"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_with_its_place(
    options: dict[str, Any], key: str, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem) as refused:
        compile_rules([rule(**options)])

    assert refused.value.key == key


def test_a_word_that_is_not_defaults_is_refused() -> None:
    with pytest.raises(ConfigError, match="the word defaults, got 'default'"):
        compile_rules("default")
