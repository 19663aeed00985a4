"""Rules of alerts: how a config writes them, what ships by default, and what fits a series.

The writer `Notify` judges values by them, `pollect rules` prints them for Prometheus. For one
series the first rule that fits decides, separately for what is too much, too little, grows, or
is gone; the defaults that sources declare come last.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Meta

from pollect.errors import ConfigError
from pollect.hints import Alert
from pollect.model import Metric, SourceId
from pollect.support.durations import parse_duration

#: In a list of rules, or instead of one: the rules that ship.
DEFAULTS = "defaults"

What: TypeAlias = Literal["down", "troubled", "above", "below", "grows", "absent"]

_Text: TypeAlias = str | float


class Rule(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """When something is worth a message."""

    source: Annotated[
        str | None,
        Meta(description="Only sources like this, as `collection/type/name`; a shell pattern."),
    ] = None
    state: Annotated[
        Literal["down", "troubled"] | None,
        Meta(description="The source is in this state: it fails, or a part of what it checks."),
    ] = None
    metric: Annotated[
        str | None,
        Meta(description="Only metrics like this, named as in Prometheus; a shell pattern."),
    ] = None
    labels: Annotated[
        dict[str, str], Meta(description="Only series with these labels; shell patterns.")
    ] = msgspec.field(default_factory=dict)
    above: Annotated[float | None, Meta(description="The value is larger than this.")] = None
    below: Annotated[float | None, Meta(description="The value is smaller than this.")] = None
    share_of: Annotated[
        dict[str, str],
        Meta(
            description="Compare the share of the series of the same metric that has these labels "
            "instead: `{type: total}`."
        ),
    ] = msgspec.field(default_factory=dict)
    grows: Annotated[
        _Text | None,
        Meta(description="The value grew within this time, as in `10m`; for counters of faults."),
    ] = None
    absent: Annotated[
        bool, Meta(description="There is no such series at all, among all sources.")
    ] = False
    lasting: Annotated[
        _Text,
        Meta(description="How long it has to last: seconds, or `90s`, `5m`, `1h30m`, `2d`."),
    ] = msgspec.field(default=0.0, name="for")
    keep_for: Annotated[
        _Text,
        Meta(description="How long it has to be over before it counts as over, as in `10m`."),
    ] = 0.0
    repeat: Annotated[
        _Text | None,
        Meta(description="Remind after this time while it lasts, as in `12h`; default: never."),
    ] = None
    mute: Annotated[bool, Meta(description="What fits this rule is never worth a message.")] = False
    name: Annotated[
        str | None, Meta(description="Name of the alert in messages and in Prometheus.")
    ] = None
    summary: Annotated[
        str | None, Meta(description="What it means, in a sentence for the message.")
    ] = None


class Condition(NamedTuple):
    """What one rule asks of one series or source, compiled."""

    what: What
    name: str
    summary: str = ""
    limit: float = 0.0
    share_of: tuple[tuple[str, str], ...] = ()
    for_seconds: float = 0.0
    keep_seconds: float = 0.0
    repeat_seconds: float = math.inf
    #: Where the rule stands in the config; -1 for what ships.
    position: int = -1

    def holds(self, value: float) -> bool:
        """Whether a value is beyond the limit; for `above` and `below` only."""
        return value > self.limit if self.what == "above" else value < self.limit


class CompiledRule(NamedTuple):
    """One rule, ready to be compared."""

    source: str
    metric: str
    labels: tuple[tuple[str, str], ...]
    conditions: tuple[Condition, ...]
    mute: bool = False

    def fits_source(self, source: SourceId) -> bool:
        return fnmatchcase(str(source), self.source)

    def fits(self, source: SourceId, name: str, labels: Mapping[str, str]) -> bool:
        """Whether the rule speaks of a series of this metric name with these labels."""
        return (
            fnmatchcase(name, self.metric)
            and all(fnmatchcase(labels.get(label, ""), wanted) for label, wanted in self.labels)
            and self.fits_source(source)
        )


#: A source that is down for the time of five ticks of the default is more than a hiccup.
SOURCE_DOWN = Condition("down", "SourceDown", "the source cannot be read", for_seconds=60.0)
SOURCE_TROUBLED = Condition(
    "troubled", "SourceTroubled", "a part of what the source checks fails", for_seconds=600.0
)
WRITER_DOWN = Condition(
    "below", "WriterDown", "a writer cannot deliver", limit=1.0, for_seconds=300.0
)
SAMPLES_LOST = Condition("grows", "SamplesLost", "a writer lost samples", limit=600.0)
RELOAD_FAILED = Condition(
    "below", "ReloadFailed", "the config has a mistake: the one before goes on", limit=1.0
)
SERIES_DROPPED = Condition(
    "grows", "SeriesDropped", "a source has more series than `maxSeries` allows", limit=600.0
)
#: A roll-out of a new config takes its time.
CONFIGS_DIFFER = Condition(
    "above", "ConfigsDiffer", "members of the fleet run different configs", for_seconds=900.0
)
FLEET_WITHOUT_ENGINE = Condition(
    "below",
    "FleetWithoutEngine",
    "the engine of the fleet does not answer: nothing moves",
    limit=0.5,
    for_seconds=60.0,
)
#: What ships beside the hints of sources: of the states of sources, and of pollect's own metrics.
SHIPPED: tuple[CompiledRule, ...] = (
    CompiledRule("*", "", (), (SOURCE_DOWN,)),
    CompiledRule("*", "", (), (SOURCE_TROUBLED,)),
    CompiledRule("*", "pollect_writer_up", (), (WRITER_DOWN,)),
    CompiledRule("*", "pollect_writer_lost_samples_total", (), (SAMPLES_LOST,)),
    CompiledRule("*", "pollect_source_dropped_samples_total", (), (SERIES_DROPPED,)),
    CompiledRule("*", "pollect_config_last_reload_successful", (), (RELOAD_FAILED,)),
    CompiledRule("*", "pollect_fleet_differing_configs", (), (CONFIGS_DIFFER,)),
    CompiledRule("*", "pollect_fleet_lease_remaining_seconds", (), (FLEET_WITHOUT_ENGINE,)),
)


class RuleSet:
    """All rules of a config, those that decide first in front."""

    def __init__(self, rules: Sequence[CompiledRule], *, defaults: bool = False) -> None:
        self.own = tuple(rules)
        self.defaults = defaults

    @property
    def rules(self) -> tuple[CompiledRule, ...]:
        """The rules, without the hints of metrics."""
        return (*self.own, *SHIPPED) if self.defaults else self.own

    def of_source(self, source: SourceId) -> list[Condition]:
        """Return what is asked of the state of a source."""
        found: dict[What, Condition] = {}
        for rule in self.rules:
            if rule.metric or not rule.fits_source(source):
                continue
            if rule.mute:
                break
            for condition in rule.conditions:
                found.setdefault(condition.what, condition)
        return list(found.values())

    def of_series(
        self, source: SourceId, name: str, labels: Mapping[str, str], metric: Metric
    ) -> list[Condition]:
        """Return what is asked of a series, `name` being that of Prometheus."""
        found: dict[What, Condition] = {}
        for rule in self.rules:
            if not (rule.metric or rule.mute) or not _fits_series(rule, source, name, labels):
                continue
            if rule.mute:
                return list(found.values())
            for condition in rule.conditions:
                found.setdefault(condition.what, condition)
        if self.defaults:
            for hint in metric.alerts:
                if fits_hint(hint, labels):
                    condition = condition_of(hint)
                    found.setdefault(condition.what, condition)
        return list(found.values())


def _fits_series(
    rule: CompiledRule, source: SourceId, name: str, labels: Mapping[str, str]
) -> bool:
    return rule.fits(source, name, labels) if rule.metric else rule.fits_source(source)


def fits_hint(hint: Alert, labels: Mapping[str, str]) -> bool:
    """Whether a hint speaks of the series of its metric with these labels."""
    return all(fnmatchcase(labels.get(name, ""), wanted) for name, wanted in hint.labels.items())


def condition_of(hint: Alert) -> Condition:
    """Return what a hint of a metric asks."""
    above = hint.above is not None
    return Condition(
        "above" if above else "below",
        hint.name,
        hint.summary,
        limit=float((hint.above if above else hint.below) or 0.0),
        share_of=tuple(hint.share_of.items()),
        for_seconds=hint.lasting_seconds,
    )


def compile_rules(rules: str | Sequence[Rule | str], *, key: str = "rules") -> RuleSet:
    """Return the rules of a config, ready for use; raises `ConfigError` with the key at fault."""
    compiled: list[CompiledRule] = []
    defaults = False
    for position, rule in enumerate([rules] if isinstance(rules, str) else rules):
        place = key if isinstance(rules, str) else f"{key}[{position}]"
        if not isinstance(rule, str):
            compiled.append(_compile(rule, position, place))
        elif rule == DEFAULTS:
            defaults = True
        else:
            raise ConfigError(f"expected a rule or the word {DEFAULTS}, got {rule!r}", key=place)
    return RuleSet(compiled, defaults=defaults)


def _compile(rule: Rule, position: int, place: str) -> CompiledRule:
    about_series = rule.metric is not None
    asks = [rule.above is not None, rule.below is not None, rule.grows is not None, rule.absent]
    if rule.state is not None and (about_series or any(asks) or rule.labels):
        problem = "is about the state of a source: it takes no metric, labels or limits"
        raise ConfigError(problem, key=f"{place}.state")
    if any(asks) and not about_series:
        raise ConfigError("required option missing", key=f"{place}.metric", hint="of which metric?")
    if rule.state is None and not any(asks) and not rule.mute:
        hint = "one of state, above, below, grows, absent and mute"
        raise ConfigError("no condition", key=place, hint=hint)
    if rule.mute and (rule.state is not None or any(asks)):
        raise ConfigError("takes no condition beside it", key=f"{place}.mute")
    if rule.absent and sum(asks) > 1:
        raise ConfigError("takes no limit beside it", key=f"{place}.absent")
    if rule.share_of and rule.above is None and rule.below is None:
        raise ConfigError("needs a limit: above or below", key=f"{place}.shareOf")
    above, below = rule.above, rule.below
    if above is not None and below is not None and below > above:
        raise ConfigError(
            f"every value is below {below:g} or above {above:g}", key=f"{place}.below"
        )
    conditions = tuple(_conditions(rule, position, place))
    return CompiledRule(
        rule.source or "*", rule.metric or "", tuple(rule.labels.items()), conditions, rule.mute
    )


def _conditions(rule: Rule, position: int, place: str) -> Iterator[Condition]:
    for_seconds = _seconds(rule.lasting, f"{place}.for")
    keep_seconds = _seconds(rule.keep_for, f"{place}.keepFor")
    repeat = math.inf if rule.repeat is None else _seconds(rule.repeat, f"{place}.repeat")
    if repeat == 0:
        raise ConfigError("expected a duration above 0", key=f"{place}.repeat")

    def condition(what: What, limit: float = 0.0) -> Condition:
        return Condition(
            what,
            rule.name or _default_name(rule, what),
            rule.summary or "",
            limit,
            tuple(rule.share_of.items()),
            for_seconds,
            keep_seconds,
            repeat,
            position,
        )

    if rule.state is not None:
        yield condition(rule.state)
    if rule.above is not None:
        yield condition("above", rule.above)
    if rule.below is not None:
        yield condition("below", rule.below)
    if rule.grows is not None:
        window = _seconds(rule.grows, f"{place}.grows")
        if not window:
            raise ConfigError("expected a duration above 0", key=f"{place}.grows")
        yield condition("grows", window)
    if rule.absent:
        yield condition("absent")


def _default_name(rule: Rule, what: What) -> str:
    if rule.state is not None:
        return f"Source{what.capitalize()}"
    words = re.findall(r"[A-Za-z0-9]+", rule.metric or "")
    return "".join(word[:1].upper() + word[1:] for word in words) + what.capitalize()


def _seconds(text: _Text, key: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ConfigError(str(error), key=key) from error
