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
#: Points that there is room for at first; doubled when they are full. Many sources that grow side
#: by side, a little at each probe, would tear holes into the memory.
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
_NOTHING_KNOWN = array("d", [math.nan])


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
    """The points of one source; not safe to use from several threads.

    They stand one after the other in one array, each with a column for every series: so what a
    batch brings is copied at once.
    """

    __slots__ = (
        "_begun", "_columns", "_head", "_is_in_order", "_labels", "_latest", "_metrics", "_placed",
        "_points", "_room", "_size", "_spacing", "_times", "_width", "left_out", "static_labels",
        "time",
    )  # fmt: skip

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
        #: NaN where there was no value; room for so many points of so many columns.
        self._points = array("d")
        self._room = FIRST_ROOM
        self._width = 0
        self._columns: dict[_Key, int] = {}
        #: Of the last batch, in its order, without the series at the end that are left out: nearly
        #: every batch has the same ones. How many series it had, left out ones included, and
        #: whether its first one is in the first column, its second in the second and so on.
        self._metrics: list[Metric] = []
        self._labels: list[tuple[str, ...]] = []
        self._placed: list[int | None] = []
        self._latest: list[float] = []
        self._size = 0
        self._is_in_order = True

    def __len__(self) -> int:
        return len(self._columns)

    def put(self, batch: Batch, room: int) -> None:
        """Take a batch; at most `room` series may be new."""
        time, samples = batch.time, batch.samples
        if self.time is not None and time < self.time - CLOCK_SET_SECONDS:
            self._forget_points()  # the clock was set back
        if samples and time - self._begun >= self._spacing * (1 - POINT_JITTER):
            self._advance(time)
        elif samples:
            self._times[self._head] = time
        self.time, self.static_labels = time, batch.static_labels
        if not self._knows(samples, room):
            self._place(samples, room)
        values = self._latest = [sample[1] for sample in samples[: len(self._placed)]]
        start = self._head * self._width
        if self._is_in_order:
            self._points[start : start + len(values)] = array("d", values)
            return
        for column, value in zip(self._placed, values, strict=True):
            if column is not None:
                self._points[start + column] = value

    def past(self) -> Past:
        width, end = self._width, len(self._times)
        split = (self._head + 1) * width
        latest = dict(zip(self._placed, self._latest, strict=True))
        lines = []
        for (metric, label_values), column in self._columns.items():
            values = self._points[split + column : end * width : width]
            values += self._points[column:split:width]
            lines.append(Line(metric, label_values, latest.get(column, math.nan), values))
        times = self._times[self._head + 1 :] + self._times[: self._head + 1]
        return Past(times, self.time, self.static_labels, lines, self.left_out)

    def _knows(self, samples: Sequence[Sample], room: int) -> bool:
        """Whether a batch has the series of the last one, and none left out would find room."""
        if len(samples) != self._size:
            return False
        if self.left_out and (room > 0 or set(self._columns.values()) - set(self._placed)):
            return False
        first = samples[: len(self._placed)]
        metrics, labels = [sample[0] for sample in first], [sample[2] for sample in first]
        return metrics == self._metrics and labels == self._labels

    def _place(self, samples: Sequence[Sample], room: int) -> None:
        """Find the columns for a batch; at most `room` series may be new."""
        keys = [(sample[0], sample[2]) for sample in samples]
        new = [key for key in dict.fromkeys(keys) if key not in self._columns]
        if len(new) > room:
            room += self._make_room({self._columns.get(key) for key in keys})
        del new[max(room, 0) :]
        if new:
            self._columns.update(zip(new, self._free_columns(len(new)), strict=False))
        placed = list(map(self._columns.get, keys))
        self.left_out = placed.count(None)
        while placed and placed[-1] is None:
            placed.pop()
        self._placed, self._size = placed, len(samples)
        self._is_in_order = placed == list(range(len(placed)))
        self._metrics = [metric for metric, _ in keys[: len(placed)]]
        self._labels = [label_values for _, label_values in keys[: len(placed)]]

    def _free_columns(self, count: int) -> list[int]:
        """Return at least so many columns that no series has."""
        free = sorted(set(range(self._width)) - set(self._columns.values()))
        if count > len(free):
            # Series that come one by one must not move all points each time.
            width = self._width + max(count - len(free), self._width // 8)
            free += range(self._width, width)
            self._arrange(range(self._width), width)
        return free

    def _arrange(self, columns: Sequence[int], width: int) -> None:
        """Give each point `width` columns: first these, in this order, then new ones."""
        points = _NOTHING_KNOWN * (self._room * width)
        for column, old in enumerate(columns):
            points[column::width] = self._points[old :: self._width]
        self._points, self._width = points, width

    def _advance(self, time: float) -> None:
        if (
            self._head == POINTS - 1
            and (span := self._times[-1] - self._times[0]) < COVERED_SECONDS
        ):
            self._thin_out(span)
        self._begun = time
        self._head = head = (self._head + 1) % POINTS
        width = self._width
        if head == len(self._times):
            self._times.append(time)
            if head == self._room:
                self._points += _NOTHING_KNOWN * (self._room * width)
                self._room *= 2
            return
        self._times[head] = time
        self._points[head * width : (head + 1) * width] = _NOTHING_KNOWN * width
        if head == 0:
            self._forget_gone()

    def _thin_out(self, span: float) -> None:
        """Leave out every second point of a ring that was never full before."""
        self._times = self._times[1::2]
        half, width = len(self._times), self._width
        for column in range(width):
            self._points[column : half * width : width] = self._points[width + column :: 2 * width]
        self._points[half * width :] = _NOTHING_KNOWN * ((self._room - half) * width)
        self._head = half - 1
        self._spacing = 2 * span / (POINTS - 1)

    def _forget_points(self) -> None:
        self._begun, self._spacing, self._head = -math.inf, 0.0, -1
        self._times = array("d")
        self._points = _NOTHING_KNOWN * (self._room * self._width)

    def _forget_gone(self) -> None:
        """Leave out series of which no point is left, and columns without a series."""
        kept = {
            key: column
            for key, column in self._columns.items()
            if not all(map(math.isnan, self._points[column :: self._width]))
        }
        if len(kept) < self._width:
            self._arrange(list(kept.values()), len(kept))
            self._columns = dict(zip(kept, range(len(kept)), strict=True))
            moved = dict(zip(kept.values(), range(len(kept)), strict=True))
            self._placed = [moved.get(column) for column in self._placed if column is not None]
            self._size = -1  # the next batch is placed again

    def _make_room(self, needed: set[int | None]) -> int:
        """Leave out series that the source no longer reports; return how many there were.

        Those of the last batch stay, and those in the columns `needed`.
        """
        stay = needed.union(self._placed)
        gone = [key for key, column in self._columns.items() if column not in stay]
        for key in gone:
            self._points[self._columns.pop(key) :: self._width] = _NOTHING_KNOWN * self._room
        return len(gone)


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
