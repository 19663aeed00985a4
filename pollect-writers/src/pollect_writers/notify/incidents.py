"""What is wrong now: incidents that begin, last and end, by the rules and the clock.

Everything here runs without I/O. Times are monotonic seconds; a clock that is set makes no
incident older.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import msgspec

from pollect.api import Batch, Metric, Sample, SourceId, SourceStatus, unit_of
from pollect.support.alerts import Condition, RuleSet
from pollect.support.names import metric_name
from pollect_writers.notify.words import describe_labels, format_value

#: Seconds after the first look at every source in which what it brought gets here.
SETTLE_SECONDS = 5.0
#: Series with a rule; of more, those that come last are not judged.
MOST_SERIES = 50_000
_SeriesKey: TypeAlias = tuple[Metric, tuple[str, ...]]


class Incident(msgspec.Struct):
    """Something that is wrong, or was so until just now."""

    key: str
    alert: str
    summary: str
    source: str
    #: What is so in words, without the time: `home_DiskUsage{disk="_"} is 4.2 GB, below 5 GB`.
    what: str
    metric: str = ""
    labels: str = ""
    value: str = ""
    limit: str = ""
    #: When it began.
    began: float = 0.0
    #: When it was found to last long enough for a message; None before.
    due: float | None = None
    #: Whether a message was sent.
    announced: bool = False
    #: When the last message was sent.
    sent: float = 0.0
    #: Since when it does not hold any more; None while it does.
    over: float | None = None


class Fact(msgspec.Struct):
    """Whether a condition holds for one series or source, with the words for it."""

    condition: Condition
    holds: bool
    source: str
    what: str
    metric: str = ""
    labels: str = ""
    value: str = ""
    limit: str = ""
    #: It holds until then only, without any news.
    until: float = math.inf


class Changes(msgspec.Struct):
    """What a look at all incidents found to report, each in the order of its beginning."""

    begun: Sequence[Incident] = ()
    lasting: Sequence[Incident] = ()
    ended: Sequence[Incident] = ()


class _Watch:
    """One series that some rules speak of."""

    __slots__ = ("absent", "asked", "grown", "key", "labels", "last", "name", "unit")

    def __init__(
        self, key: str, name: str, labels: Mapping[str, str], asked: Sequence[Condition], unit: str
    ) -> None:
        self.key = key
        self.name = name
        self.labels = labels
        self.asked = [condition for condition in asked if condition.what != "absent"]
        self.absent: list[str] = []
        self.unit = unit
        self.last: float | None = None
        #: When it grew last; None if it never did.
        self.grown: float | None = None


class Incidents:
    """Judges values and states by the rules, and keeps what is wrong."""

    def __init__(self, rules: RuleSet, *, wait_seconds: float) -> None:
        self.open: dict[str, Incident] = {}
        self._rules = rules
        self._wait = wait_seconds
        self._watches: dict[SourceId, dict[_SeriesKey, _Watch | None]] = {}
        self._statics: dict[SourceId, tuple[tuple[str, str], ...]] = {}
        self._watched = 0
        #: By source: what its last batch says of each series.
        self._facts: dict[SourceId, dict[str, Fact]] = {}
        #: By incident, what is asked: how often to remind, how long to wait for its end.
        self._conditions: dict[str, Condition] = {}
        #: By source: the rules about absence whose series are there.
        self._present: dict[SourceId, frozenset[str]] = {}
        self._of_source: dict[SourceId, list[Condition]] = {}
        self._absent = {
            _absent_key(rule.source, rule.metric, rule.labels): (rule, condition)
            for rule in rules.rules
            for condition in rule.conditions
            if condition.what == "absent"
        }
        self._ready_since: float | None = None

    def take(self, batch: Batch, now: float) -> None:
        """Judge all values a source has now."""
        source = batch.source
        if self._statics.setdefault(source, batch.static_labels) != batch.static_labels:
            self._statics[source] = batch.static_labels
            self._watched -= len(self._watches.pop(source, {}))
        watches = self._watches.setdefault(source, {})
        facts: dict[str, Fact] = {}
        present: set[str] = set()
        shares: dict[_SeriesKey, float] | None = None
        for sample in batch.samples:
            key = sample.metric, sample.label_values
            try:
                watch = watches[key]
            except KeyError:
                watch = self._watch(batch, sample)
                watches[key] = watch
            if watch is None:
                continue
            present.update(watch.absent)
            if watch.last is not None and sample.value > watch.last:
                watch.grown = now
            watch.last = sample.value
            for condition in watch.asked:
                value = sample.value
                if condition.share_of:
                    if shares is None:
                        shares = {(s.metric, s.label_values): s.value for s in batch.samples}
                    whole = shares.get((sample.metric, _others(sample, condition)))
                    if not whole:
                        continue
                    value /= whole
                fact = _judge(watch, condition, value, str(source), now)
                facts[f"{condition.what} {watch.key}"] = fact
        if len(watches) > 2 * len(batch.samples) + 64:
            self._forget_series(watches, batch)
        self._facts[source] = facts
        self._present[source] = frozenset(present)

    def advance(self, statuses: Sequence[SourceStatus], now: float, *, ready: bool) -> Changes:
        """Return what is to be sent now.

        `ready`: every source was probed once, so that what is not there is missing.
        """
        if ready and self._ready_since is None:
            self._ready_since = now
        settled = self._ready_since is not None and now - self._ready_since >= SETTLE_SECONDS
        seen: set[str] = set()
        for key, fact in self._all_facts(statuses, now, settled=settled):
            seen.add(key)
            self._apply(key, fact, now)
        if settled:
            self._forget_gone(statuses, seen, now)
        return self._changes(now)

    def _all_facts(
        self, statuses: Sequence[SourceStatus], now: float, *, settled: bool
    ) -> Iterator[tuple[str, Fact]]:
        for facts in self._facts.values():
            for key, fact in facts.items():
                fact.holds = fact.holds and now < fact.until
                yield key, fact
        for status in statuses:
            yield from self._facts_of_state(status)
        if settled:
            there: frozenset[str] = frozenset().union(*self._present.values())
            for key, (rule, condition) in self._absent.items():
                what = f"there is no {rule.metric}{describe_labels(dict(rule.labels))}"
                yield key, Fact(condition, key not in there, rule.source, what, metric=rule.metric)

    def _facts_of_state(self, status: SourceStatus) -> Iterator[tuple[str, Fact]]:
        if status.outcome is None:
            return
        asked = self._of_source.get(status.source)
        if asked is None:
            asked = self._of_source[status.source] = self._rules.of_source(status.source)
        source = str(status.source)
        for condition in asked:
            if condition.what == "down":
                holds, reasons = not status.up, status.reason
            elif status.up:
                holds, reasons = status.trouble_count > 0, "; ".join(status.troubles)
            else:
                continue  # nothing is known of its parts
            what = f"{source} is {condition.what}" + (f": {reasons}" if holds and reasons else "")
            yield f"{condition.what} {source}", Fact(condition, holds, source, what, value=reasons)

    def _apply(self, key: str, fact: Fact, now: float) -> None:
        incident = self.open.get(key)
        condition = fact.condition
        if incident is not None or fact.holds:
            self._conditions[key] = condition
        if fact.holds:
            if incident is None:
                incident = Incident(key, condition.name, "", fact.source, "", began=now)
                self.open[key] = incident
            incident.alert, incident.summary = condition.name, condition.summary
            incident.what, incident.value, incident.limit = fact.what, fact.value, fact.limit
            incident.metric, incident.labels = fact.metric, fact.labels
            incident.over = None
            if incident.due is None and now - incident.began >= condition.for_seconds:
                incident.due = now
        elif incident is not None:
            if not incident.announced:
                del self.open[key], self._conditions[key]
                return
            incident.value = fact.value
            if incident.over is None:
                incident.over = now

    def _forget_gone(self, statuses: Sequence[SourceStatus], seen: set[str], now: float) -> None:
        """End what nothing is known of because it is gone; while a source is down it may last."""
        known = {str(status.source): status for status in statuses}
        delivered = {str(source) for source in self._facts}
        for key, incident in list(self.open.items()):
            if key in seen:
                continue
            status = known.get(incident.source)
            lives_on = status is not None and not (status.up and incident.source in delivered)
            if lives_on:
                continue
            if not incident.announced:
                del self.open[key]
                self._conditions.pop(key, None)
            elif incident.over is None:
                incident.value = "gone"
                incident.over = now

    def _changes(self, now: float) -> Changes:
        begun = [one for one in self.open.values() if one.due is not None and not one.announced]
        if begun and min(one.due or now for one in begun) + self._wait > now:
            begun = []
        ended, lasting = [], []
        for incident in self.open.values():
            if not incident.announced:
                continue
            condition = self._conditions.get(incident.key)
            if incident.over is not None:
                keep = 0.0 if condition is None else condition.keep_seconds
                if now - incident.over >= keep:
                    ended.append((incident.over + keep, incident))
            elif condition is not None and now - incident.sent >= condition.repeat_seconds:
                lasting.append(incident)
        over: list[Incident] = []
        if ended and min(moment for moment, _ in ended) + self._wait <= now:
            over = [incident for _, incident in ended]
        for incident in (*begun, *lasting):
            incident.announced, incident.sent = True, now
        for incident in over:
            del self.open[incident.key]
            self._conditions.pop(incident.key, None)
        return Changes(begun, lasting, over)

    def _watch(self, batch: Batch, sample: Sample) -> _Watch | None:
        self._watched += 1
        if self._watched > MOST_SERIES:
            return None
        labels = dict(batch.labels_of(sample))
        source = batch.source
        name = metric_name(source, sample.metric.name)
        asked = self._rules.of_series(source, name, labels, sample.metric)
        absent = [key for key, (rule, _) in self._absent.items() if rule.fits(source, name, labels)]
        if not asked and not absent:
            return None
        unit = unit_of(sample.metric, sample.label_values)
        key = json.dumps([str(source), name, sorted(labels.items())], ensure_ascii=False)
        watch = _Watch(key, name, labels, asked, unit)
        watch.absent = absent
        return watch

    def _forget_series(self, watches: dict[_SeriesKey, _Watch | None], batch: Batch) -> None:
        """Forget the series that a source of ever new ones does not have any more."""
        gone = watches.keys() - {(sample.metric, sample.label_values) for sample in batch.samples}
        for key in gone:
            del watches[key]
        self._watched -= len(gone)


def _others(sample: Sample, condition: Condition) -> tuple[str, ...]:
    """Return the label values of the series that a share is taken of."""
    replaced = dict(condition.share_of)
    return tuple(
        replaced.get(label, value)
        for label, value in zip(sample.metric.labels, sample.label_values, strict=True)
    )


def _judge(watch: _Watch, condition: Condition, value: float, source: str, now: float) -> Fact:
    series = f"{watch.name}{describe_labels(watch.labels)}"
    labels = describe_labels(watch.labels)
    if condition.what == "grows":
        until = -math.inf if watch.grown is None else watch.grown + condition.limit
        shown = format_value(value, watch.unit)
        what = f"{series} grew to {shown}"
        return Fact(condition, now < until, source, what, watch.name, labels, shown, until=until)
    unit = "ratio" if condition.share_of else watch.unit
    shown, limit = format_value(value, unit), format_value(condition.limit, unit)
    of = " of the whole" if condition.share_of else ""
    what = f"{series} is {shown}{of}, {condition.what} {limit}"
    return Fact(condition, condition.holds(value), source, what, watch.name, labels, shown, limit)


def _absent_key(source: str, metric: str, labels: Sequence[tuple[str, str]]) -> str:
    return "absent " + json.dumps([source, metric, sorted(labels)], ensure_ascii=False)
