"""Alert rules for Prometheus: the same set that the writer Notify goes by, as text.

A pure function of a plan: two runs give the same. What an earlier rule decides for some series,
the later ones leave out.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from pollect.derived.contracts import Contract, contracts_of, self_contracts, sources_of
from pollect.derived.daemon_rules import DaemonRule, daemon_rules, labels_of
from pollect.derived.promql import alert_rule, duration, is_pattern, plain, selector
from pollect.engine.plan import Plan
from pollect.errors import ConfigError
from pollect.model import SourceId
from pollect.plugin import Writer
from pollect.plugin.traits import has_trait
from pollect.support.alerts import (
    CompiledRule,
    Condition,
    Rule,
    RuleSet,
    compile_rules,
    condition_of,
)
from pollect.support.names import label_name, metric_name

GROUP = "pollect"
_UP = metric_name(SourceId("pollect", "source"), "up")
_TROUBLED = metric_name(SourceId("pollect", "source"), "troubled")
#: Label that keeps metrics apart where one expression speaks of several.
_METRIC_LABEL = "metric"

Labels = tuple[tuple[str, str], ...]


class PrometheusRule(msgspec.Struct, frozen=True):
    """One alert rule, and what its test is made of."""

    condition: Condition
    expression: str
    #: Of a state: its metric. Of a series: its name, maybe a pattern.
    metric: str
    labels: Labels = ()
    #: What other rules decide: a series of a test must not fit these.
    excluded: tuple[Labels, ...] = ()
    #: What makes its name different from the rules before.
    number: int = 1

    @property
    def name(self) -> str:
        """The name of the alert, which no other one of the file has."""
        return f"{self.condition.name}{self.number if self.number > 1 else ''}"

    def as_yaml(self) -> dict[str, Any]:
        """Return the rule as it stands in a file for Prometheus."""
        condition = self.condition
        return alert_rule(
            self.name,
            self.expression,
            self.annotations,
            condition.for_seconds,
            condition.keep_seconds,
        )

    @property
    def annotations(self) -> dict[str, str]:
        """What people read of it."""
        condition = self.condition
        limit = f" {condition.limit:g}" if condition.what in ("above", "below") else ""
        # Go's templates would take braces for theirs.
        description = f"{self.metric} {condition.what}{limit}".replace("{{", "{ {")
        summary = (condition.summary or description).replace("{{", "{ {")
        return {"summary": summary, "description": description}


def rules_of(plan: Plan) -> list[PrometheusRule | DaemonRule]:
    """Return the rules of the plan's notifying writers, or those that ship if it has none.

    With those that ship come the ones about the daemon that only Prometheus can judge.
    """
    sets = _rule_sets(plan) or [compile_rules("defaults")]
    found: dict[tuple[str, str], PrometheusRule] = {}
    for rules in sets:
        for rule in (*_state_rules(plan, rules), *_series_rules(plan, rules)):
            found.setdefault((rule.condition.name, rule.expression), rule)
    own = list(daemon_rules(plan)) if any(rules.defaults for rules in sets) else []
    counts = Counter(rule.name for rule in own)
    numbered = []
    for rule in found.values():
        counts[rule.condition.name] += 1
        numbered.append(msgspec.structs.replace(rule, number=counts[rule.condition.name]))
    return [*numbered, *own]


def as_document(rules: Sequence[PrometheusRule | DaemonRule]) -> dict[str, Any]:
    """Return a rules file as plain data."""
    return {"groups": [{"name": GROUP, "rules": [rule.as_yaml() for rule in rules]}]}


def notifiers_of(plan: Plan) -> Iterator[tuple[Writer[Any], str | Sequence[Rule | str]]]:
    """Yield the notifying writers of a plan that go by rules as Notify has them, and those."""
    writers = {id(w): w for executor in plan.executors for w in executor.writers}.values()
    for writer in writers:
        rules = getattr(writer.config, "rules", None)
        if not has_trait(writer, "notifies") or not isinstance(rules, str | list | tuple):
            continue
        if all(isinstance(rule, str | Rule) for rule in rules):
            with suppress(ConfigError):  # words that mean something else
                compile_rules(rules)
                yield writer, rules


def _rule_sets(plan: Plan) -> list[RuleSet]:
    return [compile_rules(rules) for _, rules in notifiers_of(plan)]


def _state_rules(plan: Plan, rules: RuleSet) -> Iterator[PrometheusRule]:
    if not plan.self_metrics:
        return
    ids = [source.id for source in sources_of(plan)]
    decided: dict[Condition, list[SourceId]] = {}
    for source in ids:
        for condition in rules.of_source(source):
            decided.setdefault(condition, []).append(source)
    for condition, sources in decided.items():
        metric, bad = (_UP, "== 0") if condition.what == "down" else (_TROUBLED, "== 1")
        if len(sources) == len(ids):
            yield PrometheusRule(condition, f"{metric} {bad}", metric, _patterns_of(sources[0]))
            continue
        parts = dict.fromkeys(selector(metric, _patterns_of(source)) for source in sources)
        expression = " or ".join(f"{part} {bad}" for part in parts)
        yield PrometheusRule(condition, expression, metric, _patterns_of(sources[0]))


def _patterns_of(source: SourceId) -> Labels:
    return tuple((name, plain(value)) for name, value in labels_of(source))


def _series_rules(plan: Plan, rules: RuleSet) -> Iterator[PrometheusRule]:
    contracts = [
        *(one for source in sources_of(plan) for one in contracts_of(source)),
        *self_contracts(plan),
    ]
    known = {one.name: one for one in reversed(contracts)}
    before: list[CompiledRule] = []
    for rule in rules.rules:
        for condition in rule.conditions if rule.metric else ():
            if condition.what == "absent":
                yield _absent(rule, condition)
                continue
            names = [one.name for one in known.values() if can_fit(rule, one)]
            # A device may decide on further names; what ships speaks of known ones.
            others = [] if condition.position < 0 else [rule.metric]
            for name in sorted(names) or others:
                excluded = _excluded(before, name, condition, known.get(name))
                if not any(_covers(other, rule.labels) for other in excluded):
                    yield _threshold(name, rule.labels, condition, excluded)
        before.append(rule)
    if rules.defaults:
        for contract in sorted(known.values(), key=lambda one: one.name):
            yield from _hints(contract, rules.own)


def can_fit(rule: CompiledRule, contract: Contract) -> bool:
    """Whether a series of a declared metric can be meant by a rule."""
    known = {*contract.metric.labels, *(label for label, _ in contract.static_labels)}
    return (
        fnmatchcase(contract.name, rule.metric)
        and rule.fits_source(contract.source)
        and all(label in known or fnmatchcase("", value) for label, value in rule.labels)
    )


def _hints(contract: Contract, before: Sequence[CompiledRule]) -> Iterator[PrometheusRule]:
    for hint in contract.metric.alerts:
        condition = condition_of(hint)
        labels = tuple(hint.labels.items())
        excluded = _excluded(before, contract.name, condition, contract)
        if not any(_covers(other, labels) for other in excluded):
            yield _threshold(contract.name, labels, condition, excluded)


def _excluded(
    before: Sequence[CompiledRule], name: str, condition: Condition, contract: Contract | None
) -> list[Labels]:
    """Return the labels of series that earlier rules decide in the same respect."""
    found = []
    for rule in before:
        respects = rule.mute or any(other.what == condition.what for other in rule.conditions)
        if not respects or (rule.metric and not fnmatchcase(name, rule.metric)):
            continue
        if not rule.metric and not rule.mute:
            continue
        if contract is not None and not rule.fits_source(contract.source):
            continue
        found.append(rule.labels)
    return found


def _threshold(
    name: str, labels: Labels, condition: Condition, excluded: Sequence[Labels]
) -> PrometheusRule:
    others = [other for other in dict.fromkeys(excluded) if not _disjoint(labels, other)]
    chosen = selector(name, labels)
    matching = ""
    if condition.share_of:
        shared = [label_name(label) for label, _ in condition.share_of]
        matching = f" ignoring({', '.join(shared)})"
        chosen = f"{chosen} /{matching} {selector(name, condition.share_of)}"
    if condition.what == "grows":
        expression = f"increase({chosen}[{duration(condition.limit)}]) > 0"
    else:
        sign = ">" if condition.what == "above" else "<"
        expression = f"{_named(chosen, name)} {sign} {condition.limit!r}"
    for other in others:
        expression += f" unless{matching} {_named(selector(name, other), name)}"
    return PrometheusRule(condition, expression, name, labels, tuple(others))


def _named(expression: str, name: str) -> str:
    """Keep series of several metrics apart, whose names an operator would ignore."""
    if not is_pattern(name):
        return expression
    return f'label_replace({expression}, "{_METRIC_LABEL}", "$1", "__name__", "(.+)")'


def _absent(rule: CompiledRule, condition: Condition) -> PrometheusRule:
    chosen = selector(rule.metric, rule.labels)
    return PrometheusRule(condition, f"absent({chosen})", rule.metric, rule.labels)


def _covers(other: Labels, own: Labels) -> bool:
    """Whether every series with one's own labels fits the other ones, too."""
    wanted = dict(own)
    return all(
        value == "*"
        or wanted.get(label) == value
        or (label in wanted and not is_pattern(wanted[label]) and fnmatchcase(wanted[label], value))
        for label, value in other
    )


def _disjoint(one: Labels, other: Labels) -> bool:
    """Whether no series can have the labels of both."""
    wanted = dict(one)
    return any(
        label in wanted
        and wanted[label] != value
        and not is_pattern(value)
        and not fnmatchcase(value, wanted[label])
        for label, value in other
    )
