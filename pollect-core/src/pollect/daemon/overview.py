"""Everything that the page, `/status.json` and `pollect status` show, put together when asked."""

import math
import os
import queue
import socket
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pollect import __version__
from pollect.daemon.glances import glance, telling, text_of, total_of
from pollect.daemon.options import describe_options
from pollect.engine.engine import Engine
from pollect.engine.history import DOWN, NOTHING, POINTS, TROUBLED, UP, Line, Past
from pollect.engine.plan import Plan, SourcePlan
from pollect.errors import TargetUnavailable
from pollect.human import is_moment, rate_unit
from pollect.model import (
    Kind,
    Outcome,
    ProbeResult,
    SourceId,
    SourceStatus,
    WriterStatus,
)
from pollect.plugin import Clock, Writer
from pollect.status import (
    Cell,
    Counts,
    Curve,
    DaemonStatus,
    FleetStatus,
    Reload,
    SourceDetail,
    SourceSummary,
    State,
    Status,
    Strip,
    Value,
    WriterSummary,
)
from pollect.support.names import metric_name
from pollect.units import describe_unit, unit_of

#: Points of the curve of a value at a glance.
GLANCE_POINTS = 60
#: Seconds that a curve covers, and probes at least.
WINDOW_SECONDS = 3600.0
WINDOW_PROBES = 60
#: Seconds to wait for a probe that was asked for: at least, beyond its time, and at most.
SHORTEST_WAIT = 10.0
WAIT_GRACE = 1.0
LONGEST_WAIT = 120.0
#: Digits of a number in a curve that count.
_DIGITS = 6

_CELLS: Mapping[int, Cell] = {NOTHING: "none", UP: "up", TROUBLED: "troubled", DOWN: "down"}
_WORST_FIRST: Mapping[State, int] = {
    "down": 0,
    "troubled": 1,
    "new": 2,
    "up": 3,
    "elsewhere": 4,
}


class Overview:
    """Looks at a running engine; may be asked from any thread."""

    def __init__(self, engine: Engine, plan: Plan, *, clock: Clock, config: str) -> None:
        self.engine = engine
        #: Exchanged by a reload.
        self.plan = plan
        self.state_dir = ""
        self.last_reload = Reload(time=clock.time(), successful=True)
        #: Names the distribution of a source type.
        self.plugin_of: Callable[[str], str] = lambda type_name: ""
        #: In a fleet: how it fares, whether this daemon may probe a source, its shard and owner.
        self.fleet: Callable[[], FleetStatus] | None = None
        self.owned: Callable[[SourceId], bool] = lambda source: True
        self.place_of: Callable[[SourceId], tuple[int, str] | None] = lambda source: None
        self._clock = clock
        self._config = config
        self._started = clock.time()
        self._host = socket.gethostname()

    def daemon(self) -> DaemonStatus:
        return DaemonStatus(
            host=self._host,
            version=__version__,
            pid=os.getpid(),
            config=self._config,
            state_dir=self.state_dir,
            started=self._started,
            now=self._clock.time(),
            last_reload=self.last_reload,
        )

    def status(self, writer: str | None = None) -> Status:
        """Return everything at a glance; with `writer` only the sources whose values it gets."""
        now = self._clock.time()
        plans = self._plans(writer)
        summaries = [
            self._summary(status, plans[status.source], self.engine.history.past(status.source))
            for status in self.engine.source_statuses()
            if status.source in plans
        ]
        states = [summary.state for summary in summaries]
        collections: dict[str, tuple[int, int]] = {}
        for number, one in enumerate(summaries):
            rank, first = collections.get(one.collection, (_WORST_FIRST["elsewhere"], number))
            collections[one.collection] = min(rank, _WORST_FIRST[one.state]), first
        summaries.sort(key=lambda one: (collections[one.collection], _WORST_FIRST[one.state]))
        types = self._writer_types()
        return Status(
            daemon=self.daemon(),
            counts=Counts(**{state: states.count(state) for state in _WORST_FIRST}),
            sources=summaries,
            writers=[
                self._writer(status, types.get(status.writer, ""), now)
                for status in self.engine.writer_statuses()
            ],
            fleet=self.fleet() if self.fleet is not None else None,
        )

    def detail(self, source: str, writer: str | None = None) -> SourceDetail | None:
        """Return everything about one source; None if there is none of this id."""
        for status in self.engine.source_statuses():
            if str(status.source) == source:
                plan = self._plans(writer).get(status.source)
                return None if plan is None else self._detail(status, plan)
        return None

    def probe_now(self, source: str, writer: str | None = None) -> ProbeResult | None:
        """Probe a source now and return the result; None for an unknown source.

        Waits as long as a probe may take. Raises `TargetUnavailable` when none ends in that time,
        or when another member of the fleet probes the source.
        """
        plan = next((p for p in self._plans(writer).values() if str(p.id) == source), None)
        if plan is None:
            return None
        if not self.owned(plan.id):
            place = self.place_of(plan.id)
            owner = f"it is probed by {place[1]}" if place and place[1] else "it has no owner now"
            raise TargetUnavailable(f"{source}: not probed by this member of the fleet: {owner}")
        results: queue.SimpleQueue[ProbeResult] = queue.SimpleQueue()
        try:
            forget = self.engine.probe_now(plan.id, results.put)
        except KeyError:
            return None
        seconds = max(plan.config_timeout or 0.0, plan.interval, SHORTEST_WAIT) + WAIT_GRACE
        try:
            return results.get(timeout=min(seconds, LONGEST_WAIT))
        except queue.Empty:
            raise TargetUnavailable(
                f"{source}: the probe did not end within {min(seconds, LONGEST_WAIT):g} s"
            ) from None
        finally:
            forget()

    @property
    def file(self) -> Path:
        """The config."""
        return Path(self._config)

    def plans(self) -> list[SourcePlan]:
        """Return every source, in the order of the config."""
        return list(self._plans(None).values())

    def metrics_of(self, plan: SourcePlan) -> set[str]:
        """Return the names, as in Prometheus, of what a source reports."""
        lines = self.engine.history.past(plan.id).lines
        return {metric_name(plan.id, line.metric.name) for line in lines}

    def writers_of(self, plan: SourcePlan) -> set[str]:
        """Return the names of the writers that get the values of a source."""
        return {
            writer.context.name
            for executor in self.plan.executors
            if any(source.id == plan.id for source in executor.sources)
            for writer in executor.writers
        }

    def _plans(self, writer: str | None) -> dict[SourceId, SourcePlan]:
        return {
            source.id: source
            for executor in self.plan.executors
            if writer is None or any(one.context.name == writer for one in executor.writers)
            for source in executor.sources
        }

    def _writer_types(self) -> dict[str, str]:
        writers: Iterable[Writer[Any]] = (
            writer for executor in self.plan.executors for writer in executor.writers
        )
        return {writer.context.name: writer.config.type for writer in writers}

    def _summary(self, status: SourceStatus, plan: SourcePlan, past: Past) -> SourceSummary:
        now = self._clock.time()
        lines = telling(past)
        place = self.place_of(status.source)
        state = state_of(status, elsewhere=not self.owned(status.source))
        window = window_seconds(plan.interval)
        cells, seconds = self.engine.history.strip(status.source, now)
        first = lines[0].line if lines else None
        return SourceSummary(
            id=str(status.source),
            collection=status.source.collection,
            type=status.source.type,
            name=status.source.name,
            state=state,
            outcome=status.outcome.value if status.outcome else None,
            reason=status.reason,
            troubles=status.troubles,
            trouble_count=status.trouble_count,
            since=status.troubled_since if state == "troubled" else status.since,
            last_probe=_latest(status.last_success, status.last_failure),
            next_probe=status.next_probe,
            duration_seconds=status.duration_seconds,
            interval=plan.interval,
            series=status.series,
            shard=place and place[0],
            owner=place[1] if place else "",
            glance=[glance(one, past) for one in lines],
            curve=first and curve_of(first, past, now - window, GLANCE_POINTS),
            strip=_strip(cells, seconds),
        )

    def _writer(self, status: WriterStatus, type_name: str, now: float) -> WriterSummary:
        return WriterSummary(
            name=status.writer,
            type=type_name,
            state="up" if status.up else "down",
            reason=status.reason,
            written=status.written_samples,
            waiting=status.buffered_samples,
            lost=status.lost_samples,
            strip=_strip(*self.engine.history.writer_strip(status.writer, now)),
        )

    def _detail(self, status: SourceStatus, plan: SourcePlan) -> SourceDetail:
        past = self.engine.history.past(status.source)
        since = self._clock.time() - window_seconds(plan.interval)
        return SourceDetail(
            daemon=self.daemon(),
            summary=self._summary(status, plan, past),
            probes={outcome.value: count for outcome, count in status.probes.items()},
            skipped=status.skipped,
            dropped=status.dropped,
            last_success=status.last_success,
            last_failure=status.last_failure,
            last_error=status.last_error,
            plugin=self.plugin_of(status.source.type),
            options=describe_options(plan.source.config),
            values=[_value(status, line, past, since) for line in past.lines],
            values_left_out=past.left_out,
        )


def state_of(status: SourceStatus, *, elsewhere: bool = False) -> State:
    """Return the state of a source in one word; `elsewhere` if this daemon must not probe it."""
    if status.outcome is None:
        return "elsewhere" if elsewhere else "new"
    if not status.outcome.up:
        return "down"
    return "troubled" if status.outcome is Outcome.TROUBLED else "up"


def window_seconds(interval: float) -> float:
    """Return how much of the past a curve shows of a source with this interval."""
    return max(WINDOW_SECONDS, WINDOW_PROBES * interval)


def curve_of(line: Line, past: Past, since: float, most: int = POINTS) -> Curve:
    """Return the points of a series from `since` on; at most `most`, each the mean of its part."""
    first = bisect_left(past.times, since)
    times, values = past.times[first:], line.points(past.times)[first:]
    size = max(1, -(-len(times) // most))
    if size == 1:
        return Curve(
            times=[round(time, 1) for time in times],
            values=[None if math.isnan(value) else _rounded(value) for value in values],
        )
    ends: list[float] = []
    means: list[float | None] = []
    for start in range(0, len(times), size):
        part = values[start : start + size]
        total = sum(part)
        if math.isnan(total):
            part = [value for value in part if not math.isnan(value)]
            total = sum(part)
        ends.append(round(times[min(start + size, len(times)) - 1], 1))
        means.append(_rounded(total / len(part)) if part else None)
    return Curve(times=ends, values=means)


def _value(status: SourceStatus, line: Line, past: Past, since: float) -> Value:
    metric = line.metric
    unit = unit_of(metric, line.label_values)
    # How a date moves over an hour says nothing.
    dated = is_moment(metric)
    curve = Curve(times=(), values=()) if dated else curve_of(line, past, since)
    known = [value for value in curve.values if value is not None]
    labels = dict(zip(metric.labels, line.label_values, strict=True))
    for name, value in past.static_labels:
        labels.setdefault(name, value)
    counter = metric.kind is Kind.COUNTER
    return Value(
        metric=metric_name(status.source, metric.name),
        name=metric.name or "",
        labels=labels,
        help=metric.help,
        kind="counter" if counter else "gauge",
        unit=describe_unit(unit).symbol,
        value=line.last if line.present else None,
        text=text_of(line, past) if line.present else "",
        total=total_of(line) if counter and line.present else "",
        curve_unit=rate_unit(unit) if counter else unit,
        minimum=min(known, default=None),
        mean=_rounded(sum(known) / len(known)) if known else None,
        maximum=max(known, default=None),
        curve=curve,
    )


def _strip(cells: bytes, seconds: float) -> Strip:
    return Strip(cell_seconds=seconds, cells=[_CELLS[cell] for cell in cells])


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _latest(*times: float | None) -> float | None:
    return max((time for time in times if time is not None), default=None)
