"""Rules of a config that nothing in it can ever meet: a typing mistake, most likely."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import takewhile

from pollect.derived.contracts import (
    Contract,
    all_metrics,
    contracts_of,
    self_contracts,
    sources_of,
)
from pollect.derived.rules import can_fit
from pollect.engine.plan import Plan, SourcePlan
from pollect.errors import ConfigError
from pollect.support.alerts import CompiledRule, Rule, compile_rules
from pollect.support.names import metric_name

_WILDCARDS = "*?["
_NAMES_IN_HINT = 6
#: pollect's own metrics begin so, also those that plugins add; types begin with a capital letter.
_OWN = "pollect_"


def idle_rules(plan: Plan, rules: str | Sequence[Rule | str]) -> Iterator[ConfigError]:
    """Yield what is wrong with rules that can fit no source, or no metric, of a plan.

    The keys are relative to the writer. A source whose metrics only its device knows may have any.
    """
    written = [] if isinstance(rules, str) else list(enumerate(rules))
    places = [position for position, rule in written if not isinstance(rule, str)]
    contracts = [one for source in sources_of(plan) for one in contracts_of(source)]
    contracts += self_contracts(plan)
    for position, rule in zip(places, compile_rules(rules).own, strict=True):
        key = f"rules[{position}]"
        if not any(rule.fits_source(source.id) for source in sources_of(plan)):
            yield ConfigError(f"no source here matches {rule.source!r}", key=f"{key}.source")
        elif rule.metric and not _may_be_met(rule, plan, contracts):
            yield _unknown(rule, key, contracts)


def _may_be_met(rule: CompiledRule, plan: Plan, contracts: Sequence[Contract]) -> bool:
    return (
        any(can_fit(rule, contract) for contract in contracts)
        or any(_may_report(source, rule) for source in sources_of(plan))
        or _is_own(_certain(rule.metric))
    )


def _may_report(source: SourcePlan, rule: CompiledRule) -> bool:
    """Whether only the device of a source knows if there is such a metric."""
    if all_metrics(source) is not None or not rule.fits_source(source.id):
        return False
    start, certain = metric_name(source.id, None), _certain(rule.metric)
    return start.startswith(certain) or certain.startswith(start)


def _certain(pattern: str) -> str:
    """Return the start of a pattern before its first wildcard."""
    return "".join(takewhile(lambda letter: letter not in _WILDCARDS, pattern))


def _is_own(name: str) -> bool:
    return name.startswith(_OWN) and not name[len(_OWN) :][:1].isupper()


def _unknown(rule: CompiledRule, key: str, contracts: Sequence[Contract]) -> ConfigError:
    meant = [one for one in contracts if fnmatchcase(one.name, rule.metric)]
    if not meant:
        return ConfigError(f"no source here has a metric {rule.metric!r}", key=f"{key}.metric")
    known = list(dict.fromkeys(label for one in meant for label in one.metric.labels))
    label = next((label for label, _ in rule.labels if label not in known), "")
    if not label:
        # Of the sources that have it, none is meant.
        return ConfigError(
            f"no source that matches {rule.source!r} has a metric {rule.metric!r}",
            key=f"{key}.source",
        )
    hint = f"it has {', '.join(known[:_NAMES_IN_HINT])}" if known else "it has none"
    return ConfigError(f"{meant[0].name} has no such label", key=f"{key}.labels.{label}", hint=hint)
