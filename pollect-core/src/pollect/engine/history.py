"""What the last hour brought, in memory: the values of every series, and how probes ended.

A series is a ring of 360 points of 8 bytes. All series of a source share the times of its batches,
since they arrive together. A source that is probed more often than every 10 seconds would fill its
ring in less than an hour: then every second point goes, and from there on one point stands for
more time, until the ring covers the hour.
"""

import math
import threading
from array import array
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from pollect.engine.strip import CELL_SECONDS, CELLS, DOWN, TROUBLED, UP, Strip
from pollect.errors import describe
from pollect.model import (
    Batch,
    Kind,
    Metric,
    Outcome,
    ProbeResult,
    Sample,
    SourceId,
    WriterStatus,
)

#: Points of one series.
POINTS = 360
#: Points that there is room for at first; doubled when they are full. Many series that grow side by
#: side, a little at each probe, would tear holes into the memory.
FIRST_ROOM = 45
#: Seconds that a full ring covers at least, but for the last probe.
COVERED_SECONDS = 3500.0
#: A batch that comes this share of a point too early begins one all the same.
POINT_JITTER = 0.05
#: A clock that goes back by more seconds was set.
CLOCK_SET_SECONDS = 10.0
#: Batches, and samples in them, that wait at most: taken one after the other, while the processor
#: has the code for it at hand, they cost half.
MOST_WAITING, MOST_WAITING_SAMPLES = 20, 200
#: Seconds between two looks at the writers.
WRITER_LOOK_SECONDS = 10.0

_Key = tuple[Metric, tuple[str, ...]]
_NOTHING_KNOWN = array("d", [math.nan]) * POINTS


class Line(NamedTuple):
    """One series: the last value, and the values at the times of its `Past`."""

    metric: Metric
    label_values: tuple[str, ...]
    #: NaN while the source does not report it.
    last: float
    #: As reported; NaN where there was no value.
    values: Sequence[float]

    @property
    def present(self) -> bool:
        return not math.isnan(self.last)

    def points(self, times: Sequence[float]) -> Sequence[float]:
        """Return what a curve shows: counters as change per second, gauges as they are."""
        return rates(times, self.values) if self.metric.kind is Kind.COUNTER else self.values


class Past(NamedTuple):
    """What is remembered of one source."""

    #: Unix time of each point, in seconds.
    times: Sequence[float] = ()
    #: Unix time of the latest values, in seconds; None before the first.
    time: float | None = None
    static_labels: tuple[tuple[str, str], ...] = ()
    lines: Sequence[Line] = ()
    #: Series beyond the limit, of which nothing is kept.
    left_out: int = 0


class _Ring:
    """The points of one source; not safe to use from several threads."""

    __slots__ = (
        "_begun",
        "_count",
        "_head",
        "_in_order",
        "_labels",
        "_metrics",
        "_room",
        "_rows",
        "_size",
        "_spacing",
        "_times",
        "left_out",
        "static_labels",
        "time",
    )

    def __init__(self) -> None:
        self.time: float | None = None
        self.static_labels: tuple[tuple[str, str], ...] = ()
        self.left_out = 0
        #: When the point at `_head` began, which has the latest time and values, and how many
        #: seconds a point covers at least.
        self._begun = -math.inf
        self._spacing = 0.0
        self._head = -1
        self._times = array("d")
        #: Points that each row has room for.
        self._room = FIRST_ROOM
        self._rows: dict[_Key, _Row] = {}
        #: The series of the last batch and their rows, in its order, without those at the end that
        #: are left out, and how many series it had: nearly every batch has the same.
        self._size = 0
        self._metrics: list[Metric] = []
        self._labels: list[tuple[str, ...]] = []
        self._in_order: list[_Row | None] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, batch: Batch, room: int) -> None:
        """Take a batch; at most `room` series may be new."""
        time = batch.time
        if self.time is not None and time < self.time - CLOCK_SET_SECONDS:
            self._forget_points()  # the clock was set back
        is_new = bool(batch.samples) and time - self._begun >= self._spacing * (1 - POINT_JITTER)
        if is_new:
            self._advance(time)
        elif batch.samples:
            self._times[self._head] = time
        self.time, self.static_labels = time, batch.static_labels
        self._count += 1
        count, head = self._count, self._head
        rows = self._rows_of(batch.samples, room)
        for row, sample in zip(rows, batch.samples, strict=False):
            if row is not None:
                row.last = row.points[head] = sample[1]
                row.count = count
        if len(batch.samples) - self.left_out < len(self._rows):
            for row in self._rows.values():
                if row.count != count:
                    row.last = math.nan
                    if is_new:
                        row.points[head] = math.nan

    def _rows_of(self, samples: Sequence[Sample], room: int) -> Sequence["_Row | None"]:
        """Return the rows of a batch in its order; at most `room` may be new."""
        first = samples[: len(self._in_order)]
        known = (
            len(samples) == self._size
            and [sample[0] for sample in first] == self._metrics
            and [sample[2] for sample in first] == self._labels
        )
        has_gone = len(samples) - self.left_out < len(self._rows)
        if known and (not self.left_out or (room <= 0 and not has_gone)):
            return self._in_order
        found: list[_Row | None] = []
        full = False
        for sample in samples:
            key = sample[0], sample[2]
            row = self._rows.get(key)
            if row is None and not full:
                room = room if room > 0 else self._make_room()
                full = room <= 0
                if not full:
                    room -= 1
                    row = self._rows[key] = _Row(self._room)
            if row is not None:
                row.count = self._count
            found.append(row)
        self.left_out = found.count(None)
        while found and found[-1] is None:
            found.pop()
        self._in_order, self._size = found, len(samples)
        self._metrics = [sample[0] for sample in samples[: len(found)]]
        self._labels = [sample[2] for sample in samples[: len(found)]]
        return found

    def past(self) -> Past:
        split, end = self._head + 1, len(self._times)
        times = self._times[split:] + self._times[:split]
        lines = [
            Line(metric, label_values, row.last, row.points[split:end] + row.points[:split])
            for (metric, label_values), row in self._rows.items()
        ]
        return Past(times, self.time, self.static_labels, lines, self.left_out)

    def _advance(self, time: float) -> None:
        if (
            self._head == POINTS - 1
            and (span := self._times[-1] - self._times[0]) < COVERED_SECONDS
        ):
            self._thin_out(span)
        self._begun = time
        self._head = head = (self._head + 1) % POINTS
        if head < len(self._times):
            self._times[head] = time
            if head == 0:
                self._forget_gone()
        else:
            self._times.append(time)
            if head == self._room:
                self._room *= 2
                for row in self._rows.values():
                    row.points = row.points + _NOTHING_KNOWN[:head]

    def _thin_out(self, span: float) -> None:
        """Leave out every second point of a ring that was never full before."""
        self._times = self._times[1::2]
        half = len(self._times)
        for row in self._rows.values():
            row.points[:half] = row.points[1::2]
            row.points[half:] = _NOTHING_KNOWN[half:]
        self._head = len(self._times) - 1
        self._spacing = 2 * span / (POINTS - 1)

    def _forget_points(self) -> None:
        self._begun, self._spacing, self._head = -math.inf, 0.0, -1
        self._times = array("d")
        for row in self._rows.values():
            row.points[:] = _NOTHING_KNOWN[: self._room]

    def _forget_gone(self) -> None:
        """Leave out series of which no point is left."""
        gone = [key for key, row in self._rows.items() if all(map(math.isnan, row.points))]
        for key in gone:
            del self._rows[key]
        if gone:
            self._size = -1

    def _make_room(self) -> int:
        """Leave out series that the source no longer reports; return how many there were."""
        gone = [key for key, row in self._rows.items() if row.count < self._count - 1]
        for key in gone:
            del self._rows[key]
        return len(gone)


class _Row:
    __slots__ = ("count", "last", "points")

    def __init__(self, room: int) -> None:
        self.last = math.nan
        self.points = _NOTHING_KNOWN[:room]
        #: Of the batch that had a value for it.
        self.count = 0


class History:
    """What the page and the command line show of the past; `limit` is a number of series."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        #: Series that are kept now.
        self._series = 0
        self._lock = threading.Lock()
        self._waiting: deque[Batch] = deque()
        self._waiting_samples = 0
        #: Of the first batch that could not be remembered: its source, and why.
        self.failure: tuple[SourceId, str] | None = None
        self._rings: dict[SourceId, _Ring] = {}
        self._strips: dict[SourceId, Strip] = {}
        self._writers: dict[str, Strip] = {}
        self._writers_seen = -math.inf

    def follow(self, intervals: Mapping[SourceId, float], limit: int) -> None:
        """Remember these sources, given the seconds between their probes, and no others."""
        with self._lock:
            self._catch_up()
            if limit < self._limit:
                self._rings.clear()
            self._limit = limit
            for source in [source for source in self._strips if source not in intervals]:
                del self._strips[source]
                self._rings.pop(source, None)
            self._series = sum(map(len, self._rings.values()))
            for source, interval in intervals.items():
                strip = self._strips.get(source)
                if strip is None or strip.seconds != max(CELL_SECONDS, interval):
                    self._strips[source] = Strip(interval)

    def record(self, batch: Batch) -> None:
        """Take the values of a source; an empty batch means that it has none any more."""
        if not self._limit:
            return
        self._waiting.append(batch)
        # Now and then two threads count as one here: then a few more wait.
        self._waiting_samples += len(batch.samples)
        enough = len(self._waiting) >= MOST_WAITING or self._waiting_samples >= MOST_WAITING_SAMPLES
        # Who has the lock takes this batch too. Threads that waited for it would change places at
        # every batch from then on, as each gets the lock long before the interpreter.
        if enough and self._lock.acquire(blocking=False):
            try:
                self._catch_up()
            finally:
                self._lock.release()

    def note(self, result: ProbeResult) -> None:
        """Take note of the end of a probe."""
        if not self._limit:
            return
        outcome = result.outcome
        state = UP if outcome.healthy else TROUBLED if outcome is Outcome.TROUBLED else DOWN
        strip = self._strips.get(result.source)
        if strip is not None and not strip.shows(result.time, state):
            with self._lock:
                strip.note(result.time, state)

    def wants_writers(self, time: float) -> bool:
        """Whether it is time for another look at the writers."""
        return bool(self._limit) and abs(time - self._writers_seen) >= WRITER_LOOK_SECONDS

    def note_writers(self, statuses: Sequence[WriterStatus], time: float) -> None:
        """Take note of how the writers fare."""
        with self._lock:
            self._writers_seen = time
            names = {status.writer for status in statuses}
            for gone in self._writers.keys() - names:
                del self._writers[gone]
            for status in statuses:
                strip = self._writers.setdefault(status.writer, Strip(CELL_SECONDS))
                strip.note(time, UP if status.up else DOWN)

    def past(self, source: SourceId) -> Past:
        """Return what is remembered of a source."""
        with self._lock:
            self._catch_up()
            ring = self._rings.get(source)
            return Past() if ring is None else ring.past()

    def strip(self, source: SourceId, time: float) -> tuple[bytes, float]:
        """Return the cells of a source up to now, and how many seconds each covers."""
        with self._lock:
            return _cells(self._strips.get(source), time)

    def writer_strip(self, writer: str, time: float) -> tuple[bytes, float]:
        """Return the cells of a writer up to now, and how many seconds each covers."""
        with self._lock:
            return _cells(self._writers.get(writer), time)

    def _catch_up(self) -> None:
        """Take the batches that wait; holds the lock."""
        self._waiting_samples = 0
        while self._waiting:
            batch = self._waiting.popleft()
            try:
                self._take(batch)
            except Exception as error:  # noqa: BLE001 - what a plugin's filter made of the batch
                self.failure = self.failure or (batch.source, describe(error))

    def _take(self, batch: Batch) -> None:
        if batch.source not in self._strips:
            return  # a reload has taken it away
        ring = self._rings.get(batch.source)
        if ring is None:
            ring = self._rings[batch.source] = _Ring()
        before = len(ring)
        try:
            ring.put(batch, self._limit - self._series)
        finally:
            self._series += len(ring) - before


def _cells(strip: Strip | None, time: float) -> tuple[bytes, float]:
    return (bytes(CELLS), CELL_SECONDS) if strip is None else (strip.cells(time), strip.seconds)


def rates(times: Sequence[float], values: Sequence[float]) -> list[float]:
    """Return the change per second at each point; NaN at the first one and after a restart."""
    return [math.nan, *_changes(times, values)] if values else []


def _changes(times: Sequence[float], values: Sequence[float]) -> Iterator[float]:
    for (before, after), (earlier, later) in zip(pairwise(values), pairwise(times), strict=True):
        change, seconds = after - before, later - earlier
        yield change / seconds if change >= 0 and seconds > 0 else math.nan
