"""Alert rules about the daemon itself that need more than one number: only Prometheus has it.

How old values are, how near a probe comes to its deadline, how full a buffer is, and what all
members of a fleet own together. The limits come from the plan.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pollect.derived.contracts import sources_of
from pollect.derived.promql import alert_rule, plain, quoted, regex_of
from pollect.engine import selfmetrics
from pollect.engine.clock import SystemClock
from pollect.engine.guard import Guard
from pollect.engine.plan import Plan, SourcePlan
from pollect.model import SourceId
from pollect.plugin.traits import has_trait
from pollect.support.names import metric_name

#: Values are stale when no probe worked for so many intervals, though the source is not down.
STALE_INTERVALS = 5
#: Part of its deadline from which a probe is near it, and part of a buffer that is much.
NEAR_DEADLINE = 0.8
MUCH_OF_A_BUFFER = 0.5

_MINUTE = 60.0
_UP = metric_name(selfmetrics.SOURCE, selfmetrics.UP.name)
_LAST_SUCCESS = metric_name(selfmetrics.SOURCE, selfmetrics.LAST_SUCCESS.name)
_DURATION = metric_name(selfmetrics.SOURCE, selfmetrics.DURATION.name)
_BUFFERED = metric_name(selfmetrics.WRITER, selfmetrics.BUFFERED.name)
_INFO = metric_name(selfmetrics.BUILD, selfmetrics.BUILD_INFO.name)
_OWNED = "pollect_fleet_owned_sources"
_SHARED = "pollect_fleet_shared_sources"

Labels = tuple[tuple[str, str], ...]


class Series(NamedTuple):
    """A series of a test, its values as promtool writes them: `1+0`, a start and a step."""

    metric: str
    labels: Mapping[str, str]
    values: str


class DaemonRule(NamedTuple):
    """One rule, and the series with which it fires and with which it is silent."""

    name: str
    expression: str
    for_seconds: float
    summary: str
    description: str
    firing: Sequence[Series]
    silent: Sequence[Series]
    #: Labels of the alert in the firing case.
    labels: Mapping[str, str] = {}
    #: Seconds until the firing case is one, besides `for_seconds`.
    after_seconds: float = 0.0

    @property
    def annotations(self) -> dict[str, str]:
        """What people read of it."""
        return {"summary": self.summary, "description": self.description}

    def as_yaml(self) -> dict[str, Any]:
        """Return the rule as it stands in a file for Prometheus."""
        return alert_rule(self.name, self.expression, self.annotations, self.for_seconds)


def daemon_rules(plan: Plan) -> Iterator[DaemonRule]:
    """Yield the rules that fit a plan; none where the metrics of pollect itself are off."""
    if not plan.self_metrics:
        return
    yield _gone()
    if sources_of(plan):
        yield _stale(plan)
        yield _near_deadline(plan)
    if buffers := _buffers(plan):
        yield _buffer_filling(buffers)
    if plan.fleet:
        yield _ownership("ShardWithoutOwner", "<", "a shared source is probed by no daemon")
        yield _ownership("ShardWithTwoOwners", ">", "a shared source is probed by two daemons")


def _gone() -> DaemonRule:
    return DaemonRule(
        "DaemonGone",
        f"absent({_INFO})",
        5 * _MINUTE,
        "no pollect is scraped",
        "no Prometheus endpoint of a pollect answers",
        firing=[],
        silent=[Series(_INFO, {"version": "2"}, "1+0")],
    )


def _stale(plan: Plan) -> DaemonRule:
    limits = {
        labels_of(source.id): STALE_INTERVALS * source.interval + _deadline(source)
        for source in sources_of(plan)
    }
    parts = [
        # Not `time()`: what was true when it was scraped, however long ago that is.
        f"timestamp({chosen}) - {chosen} > {limit:g}"
        for chosen, limit in _limited(_LAST_SUCCESS, limits)
    ]
    labels, limit = next(iter(limits.items()))
    alive = Series(_UP, dict(labels), "1+0")
    return DaemonRule(
        "SourceStale",
        f"({' or '.join(parts)}) and {_UP} == 1",
        _MINUTE,
        "the values are old, though the source is not down",
        f"no probe worked for {STALE_INTERVALS} intervals: the daemon hangs or has too much to do",
        firing=[Series(_LAST_SUCCESS, dict(labels), "0+0"), alive],
        silent=[Series(_LAST_SUCCESS, dict(labels), f"0+{_MINUTE:g}"), alive],
        labels=dict(labels),
        after_seconds=limit,
    )


def _near_deadline(plan: Plan) -> DaemonRule:
    limits = {
        labels_of(source.id): NEAR_DEADLINE * _deadline(source) for source in sources_of(plan)
    }
    parts = [f"{chosen} > {limit:g}" for chosen, limit in _limited(_DURATION, limits)]
    labels, limit = next(iter(limits.items()))
    return DaemonRule(
        "ProbeNearDeadline",
        " or ".join(parts),
        15 * _MINUTE,
        "the probes take nearly as long as they may",
        f"a probe took more than {NEAR_DEADLINE:.0%} of its time; beyond it the source is down",
        firing=[Series(_DURATION, dict(labels), f"{limit + 1:g}+0")],
        silent=[Series(_DURATION, dict(labels), f"{limit / 2:g}+0")],
        labels=dict(labels),
    )


def _buffers(plan: Plan) -> dict[Labels, float]:
    """Return from how many samples on the buffer of a writer holds much, by its labels."""
    writers = {id(w): w for executor in plan.executors for w in executor.writers}.values()
    return {
        (("writer", writer.context.name),): MUCH_OF_A_BUFFER * writer.config.buffer.samples
        for writer in writers
        if not has_trait(writer, "in_process")
    }


def _buffer_filling(limits: Mapping[Labels, float]) -> DaemonRule:
    parts = [f"{chosen} > {limit:g}" for chosen, limit in _limited(_BUFFERED, limits)]
    labels, limit = next(iter(limits.items()))
    return DaemonRule(
        "BufferFilling",
        " or ".join(parts),
        5 * _MINUTE,
        "the buffer of a writer fills: when it is full, samples get lost",
        f"more than {MUCH_OF_A_BUFFER:.0%} of the samples that `buffer.samples` allows wait",
        firing=[Series(_BUFFERED, dict(labels), f"{limit + 1:g}+0")],
        silent=[Series(_BUFFERED, dict(labels), f"{limit:g}+0")],
        labels=dict(labels),
    )


def _ownership(name: str, sign: str, summary: str) -> DaemonRule:
    def series(owned: int) -> list[Series]:
        members = [{"instance": "a"}, {"instance": "b"}]
        counts = [Series(_OWNED, members[0], "4+0"), Series(_OWNED, members[1], f"{owned}+0")]
        return counts + [Series(_SHARED, member, "10+0") for member in members]

    return DaemonRule(
        name,
        f"sum by (job) ({_OWNED}) {sign} max by (job) ({_SHARED})",
        5 * _MINUTE,
        summary,
        "what all members of the fleet own together is not what its config shares",
        firing=series(5 if sign == "<" else 7),
        silent=series(6),
    )


def _deadline(source: SourcePlan) -> float:
    """Return the seconds that a probe of a source may take."""
    guard = Guard(source, SystemClock())
    guard.read_traits()
    return guard.deadline_seconds


def _limited(metric: str, limits: Mapping[Labels, float]) -> Iterator[tuple[str, float]]:
    """Yield selectors with the limit of their series, as few as there can be.

    Series with one limit are chosen together by their first label, or by the first two, where
    that fits no others.
    """
    if len({*limits.values()}) == 1:
        yield metric, next(iter(limits.values()))
        return
    groups: dict[tuple[str, str], dict[Labels, float]] = {}
    for labels, limit in limits.items():
        groups.setdefault(labels[0], {})[labels] = limit
    for first, members in groups.items():
        if len({*members.values()}) == 1:
            yield _exactly(metric, (first,)), next(iter(members.values()))
            continue
        alike: dict[tuple[str, str], set[float]] = {}
        for labels, limit in members.items():
            alike.setdefault(labels[1], set()).add(limit)
        together: dict[float, list[tuple[str, str]]] = {}
        for second, found in alike.items():
            if len(found) == 1:
                together.setdefault(found.pop(), []).append(second)
        for limit, seconds in together.items():
            yield _any_of(metric, first, seconds), limit
        chosen = {second for seconds in together.values() for second in seconds}
        for labels, limit in members.items():
            if labels[1] not in chosen:
                yield _exactly(metric, labels), limit


def _any_of(metric: str, first: tuple[str, str], seconds: Sequence[tuple[str, str]]) -> str:
    if len(seconds) == 1:
        return _exactly(metric, (first, seconds[0]))
    values = quoted("|".join(regex_of(plain(value)) for _, value in seconds))
    return f"{metric}{{{first[0]}={quoted(first[1])}, {seconds[0][0]}=~{values}}}"


def _exactly(metric: str, labels: Labels) -> str:
    return f"{metric}{{{', '.join(f'{name}={quoted(value)}' for name, value in labels)}}}"


def labels_of(source: SourceId) -> Labels:
    """Return the labels of a source in the metrics of pollect itself."""
    number = f"#{source.instance + 1}" if source.instance else ""
    return (
        ("collection", source.collection),
        ("type", source.type),
        ("name", (source.name or "") + number),
    )
