"""What the page, `/status.json` and `pollect status` show, put together when asked."""

import math
import os
from bisect import bisect_left
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pollect import __version__
from pollect.daemon.glances import glance, telling, text_of, total_of
from pollect.daemon.options import describe_options
from pollect.engine.plan import SourcePlan
from pollect.engine.ring import POINTS, Line, Past
from pollect.engine.strip import DOWN, NOTHING, TROUBLED, UP
from pollect.human import is_moment, rate_unit
from pollect.model import Kind, Outcome, SourceId, SourceStatus, WriterStatus
from pollect.status import (
    Cell,
    Counts,
    Curve,
    DaemonStatus,
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

if TYPE_CHECKING:
    from pollect.daemon.overview import Overview

#: Points of the curve of a value at a glance.
GLANCE_POINTS = 60
#: Seconds that a curve covers, and probes at least.
WINDOW_SECONDS = 3600.0
WINDOW_PROBES = 60
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


def status_of(overview: "Overview", writer: str | None) -> Status:
    """Return everything at a glance; with `writer` only the sources whose values it gets."""
    now = overview.clock.time()
    plans = overview.plans_of(writer)
    past = overview.engine.history.past
    summaries = [
        _summary(overview, status, plans[status.source], past(status.source))
        for status in overview.engine.source_statuses()
        if status.source in plans
    ]
    states = [summary.state for summary in summaries]
    collections: dict[str, tuple[int, int]] = {}
    for number, one in enumerate(summaries):
        rank, first = collections.get(one.collection, (_WORST_FIRST["elsewhere"], number))
        collections[one.collection] = min(rank, _WORST_FIRST[one.state]), first
    summaries.sort(key=lambda one: (collections[one.collection], _WORST_FIRST[one.state]))
    types = overview.writer_types()
    return Status(
        daemon=_daemon(overview),
        counts=Counts(**{state: states.count(state) for state in _WORST_FIRST}),
        sources=summaries,
        writers=[
            _writer(overview, status, types.get(status.writer, ""), now)
            for status in overview.engine.writer_statuses()
        ],
        fleet=overview.fleet() if overview.fleet is not None else None,
    )


def detail_of(overview: "Overview", source: str, writer: str | None) -> SourceDetail | None:
    """Return everything about one source; None if no source has this id."""
    for status in overview.engine.source_statuses():
        if str(status.source) == source:
            plan = overview.plans_of(writer).get(status.source)
            return None if plan is None else _detail(overview, status, plan)
    return None


def _daemon(overview: "Overview") -> DaemonStatus:
    return DaemonStatus(
        host=overview.host,
        version=__version__,
        pid=os.getpid(),
        config=str(overview.file),
        state_dir=overview.state_dir,
        started=overview.started,
        now=overview.clock.time(),
        last_reload=overview.last_reload,
    )


def _summary(
    overview: "Overview", status: SourceStatus, plan: SourcePlan, past: Past
) -> SourceSummary:
    now = overview.clock.time()
    lines = telling(past)
    place = overview.place_of(status.source)
    state = state_of(status, elsewhere=not overview.owned(status.source))
    window = window_seconds(plan.interval)
    cells, seconds = overview.engine.history.strip(status.source, now)
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


def _writer(
    overview: "Overview", status: WriterStatus, type_name: str, now: float
) -> WriterSummary:
    return WriterSummary(
        name=status.writer,
        type=type_name,
        state="up" if status.up else "down",
        reason=status.reason,
        written=status.written_samples,
        waiting=status.buffered_samples,
        lost=status.lost_samples,
        strip=_strip(*overview.engine.history.writer_strip(status.writer, now)),
    )


def _detail(overview: "Overview", status: SourceStatus, plan: SourcePlan) -> SourceDetail:
    past = overview.engine.history.past(status.source)
    since = overview.clock.time() - window_seconds(plan.interval)
    return SourceDetail(
        daemon=_daemon(overview),
        summary=_summary(overview, status, plan, past),
        probes={outcome.value: count for outcome, count in status.probes.items()},
        skipped=status.skipped,
        dropped=status.dropped,
        last_success=status.last_success,
        last_failure=status.last_failure,
        last_error=status.last_error,
        plugin=overview.plugin_of(status.source.type),
        options=describe_options(plan.source.config),
        values=[_value(plan.written_id, line, past, since) for line in past.lines],
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


def _value(source: SourceId, line: Line, past: Past, since: float) -> Value:
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
        metric=metric_name(source, metric.name),
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
