"""Tests for `promtool test rules`: for each rule a case that fires and one that is silent."""

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from pollect.derived.daemon_rules import DaemonRule, Series
from pollect.derived.promql import SEVERITY, is_pattern, quoted
from pollect.derived.rules import Labels, PrometheusRule
from pollect.support.names import label_name

_MINUTE = 60
_WHOLE = 1000.0
_TRIES = ("x", "y", "z1", "other", "7")


def as_document(rules: Sequence[PrometheusRule | DaemonRule], file: str) -> dict[str, Any]:
    """Return a test file as plain data, for rules that stand in `file` beside it."""
    cases = [
        case
        for rule in rules
        for case in (_daemon_cases(rule) if isinstance(rule, DaemonRule) else _cases(rule))
    ]
    return {"rule_files": [file], "evaluation_interval": "1m", "tests": cases}


def _daemon_cases(rule: DaemonRule) -> list[dict[str, Any]]:
    minutes = math.ceil((rule.for_seconds + rule.after_seconds) / _MINUTE) + 2

    def written(series: Sequence[Series]) -> list[dict[str, str]]:
        return [
            {"series": _text(one.metric, one.labels), "values": f"{one.values}x{minutes + 1}"}
            for one in series
        ]

    labels = {name: value for name, value in rule.labels.items() if value}
    alert = {
        "exp_labels": {**labels, "severity": SEVERITY},
        "exp_annotations": rule.annotations,
    }
    return [
        _case(rule.name, "fires", minutes, written(rule.firing), [alert]),
        _case(rule.name, "is silent", minutes, written(rule.silent), []),
    ]


def _cases(rule: PrometheusRule) -> list[dict[str, Any]]:
    labels = _fitting(rule)
    if labels is None:
        return []  # everything it could speak of is decided by other rules
    minutes = math.ceil(rule.condition.for_seconds / _MINUTE) + 2
    condition = rule.condition
    if condition.what == "grows":
        minutes += math.ceil(condition.limit / _MINUTE)
    expected = {name: value for name, value in labels.items() if value}
    for label, _ in condition.share_of:
        expected.pop(label_name(label), None)
    if condition.what == "absent":
        expected = {label_name(name): value for name, value in rule.labels if not is_pattern(value)}
    name = _example(rule.metric, "x")
    if is_pattern(rule.metric) and condition.what in ("above", "below"):
        expected["metric"] = name
    alert = {
        "exp_labels": {**expected, "severity": SEVERITY},
        "exp_annotations": rule.annotations,
    }
    bad, good = _values(rule)
    return [
        _case(rule.name, "fires", minutes, _series(rule, name, labels, bad, minutes), [alert]),
        _case(rule.name, "is silent", minutes, _series(rule, name, labels, good, minutes), []),
    ]


def _case(
    alert: str, what: str, minutes: int, series: list[dict[str, str]], alerts: list[Any]
) -> dict[str, Any]:
    test = {"eval_time": f"{minutes}m", "alertname": alert, "exp_alerts": alerts}
    return {
        "interval": "1m",
        "name": f"{alert} {what}",
        "input_series": series,
        "alert_rule_test": [test],
    }


def _values(rule: PrometheusRule) -> tuple[str | None, str | None]:
    """Return values that are bad and good, as promtool writes them; None for no series."""
    condition = rule.condition
    scale = _WHOLE if condition.share_of else 1.0
    limit = condition.limit * scale
    step = max(1.0, abs(limit)) / 2
    match condition.what:
        case "down":
            return "0+0", "1+0"
        case "troubled":
            return "1+0", "0+0"
        case "absent":
            return None, "1+0"
        case "grows":
            return "1+1", "5+0"
        case "above":
            return f"{limit + step!r}+0", f"{limit - step!r}+0"
        case "below":
            return f"{limit - step!r}+0", f"{limit + step!r}+0"


def _series(
    rule: PrometheusRule, name: str, labels: dict[str, str], values: str | None, minutes: int
) -> list[dict[str, str]]:
    if values is None:
        return []
    made = [{"series": _text(name, labels), "values": f"{values}x{minutes + 1}"}]
    if rule.condition.share_of:
        whole = labels | {label_name(label): value for label, value in rule.condition.share_of}
        made.append({"series": _text(name, whole), "values": f"{_WHOLE!r}+0x{minutes + 1}"})
    return made


def _text(name: str, labels: Mapping[str, str]) -> str:
    inside = ", ".join(f"{label}={quoted(value)}" for label, value in labels.items() if value)
    return f"{name}{{{inside}}}"


def _fitting(rule: PrometheusRule) -> dict[str, str] | None:
    """Return labels of a series that the rule decides, None if there can be none."""
    names = [*rule.labels, *(pair for other in rule.excluded for pair in other)]
    for filling in _TRIES:
        labels = {name: filling for name, _ in names}
        labels |= {name: _example(value, filling) for name, value in rule.labels}
        if not any(_fits(labels, other) for other in rule.excluded):
            return {label_name(name): value for name, value in labels.items()}
    return None


def _fits(labels: dict[str, str], wanted: Labels) -> bool:
    return all(fnmatchcase(labels.get(name, ""), value) for name, value in wanted)


def _example(pattern: str, filling: str) -> str:
    """Return a text that fits a shell pattern."""
    text, position = "", 0
    while position < len(pattern):
        letter = pattern[position]
        end = pattern.find("]", position + 2) if letter == "[" else -1
        if end > 0:
            inside = pattern[position + 1 : end]
            text += inside[0] if inside[0] != "!" else _outside(inside[1:])
            position = end + 1
            continue
        text += filling if letter == "*" else filling[0] if letter == "?" else letter
        position += 1
    return text


def _outside(letters: str) -> str:
    return next(letter for letter in "xyz0123456789" if not fnmatchcase(letter, f"[{letters}]"))
