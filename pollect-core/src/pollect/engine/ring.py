"""The values of one source over the last hour: a ring of points for each of its series.

A series has 360 points of 8 bytes. All series of a source share the times of its batches, since
they arrive together. A source that is probed more often than every 10 seconds would fill its ring
in less than an hour: then every second point goes, and from there on one point stands for more
time, until the ring covers the hour.
"""

import math
from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from pollect.model import Batch, Kind, Metric, Sample

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


class Ring:
    """The points of one source; not safe to use from several threads.

    They stand one after the other in one array, each with a column for every series: so what a
    batch brings is copied at once.
    """

    __slots__ = (
        "_columns", "_head", "_is_in_order", "_labels", "_metrics", "_next", "_placed", "_points",
        "_room", "_size", "_spacing", "_width", "left_out", "static_labels", "time", "times",
    )  # fmt: skip

    def __init__(self) -> None:
        #: Unix time of the latest values, in seconds; minus infinity before the first.
        self.time = -math.inf
        self.static_labels: tuple[tuple[str, str], ...] = ()
        self.left_out = 0
        #: Unix time from which a batch begins another point, and how many seconds one covers.
        self._next = -math.inf
        self._spacing = 0.0
        #: Which point has the latest time and values.
        self._head = -1
        #: Unix time of each point, not in order.
        self.times = array("d")
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
        self._size = 0
        self._is_in_order = True

    def __len__(self) -> int:
        return len(self._columns)

    def put(self, batch: Batch, room: int) -> int:
        """Take a batch; at most `room` series may be new. Return how many more there are now."""
        time, samples, more = batch.time, batch.samples, 0
        if time < self.time - CLOCK_SET_SECONDS:
            self._forget_points()  # the clock was set back
        if samples:
            if time >= self._next:
                more = self._advance(time)
            else:
                self.times[self._head] = time
        self.time, self.static_labels = time, batch.static_labels
        if not self._knows(samples, room):
            more += self._place(samples, room)
        values = [sample[1] for sample in samples[: len(self._metrics)]]
        start = self._head * self._width
        if self._is_in_order:
            self._points[start : start + len(values)] = array("d", values)
        else:
            for column, value in zip(self._placed, values, strict=True):
                if column is not None:
                    self._points[start + column] = value
        return more

    def forget_series(self) -> None:
        """Keep nothing but when there were values."""
        self._points, self._width, self._columns = array("d"), 0, {}
        self._metrics, self._labels, self._placed = [], [], []
        self.left_out, self._size, self._is_in_order = 0, 0, True

    def past(self) -> Past:
        width, end = self._width, len(self.times)
        latest, split = self._head * width, (self._head + 1) * width
        present = set(self._placed)
        lines = []
        for (metric, label_values), column in self._columns.items():
            values = self._points[split + column : end * width : width]
            values += self._points[column:split:width]
            last = self._points[latest + column] if column in present else math.nan
            lines.append(Line(metric, label_values, last, values))
        times = self.times[self._head + 1 :] + self.times[: self._head + 1]
        return Past(times, self.time, self.static_labels, lines, self.left_out)

    def _knows(self, samples: Sequence[Sample], room: int) -> bool:
        """Whether a batch has the series of the last one, and none left out would find room."""
        if len(samples) != self._size:
            return False
        if self.left_out and (room > 0 or set(self._columns.values()) - set(self._placed)):
            return False
        first = samples[: len(self._metrics)]
        metrics, labels = [sample[0] for sample in first], [sample[2] for sample in first]
        return metrics == self._metrics and labels == self._labels

    def _place(self, samples: Sequence[Sample], room: int) -> int:
        """Find the columns for a batch; at most `room` series may be new.

        Return how many more there are now.
        """
        before = len(self._columns)
        keys = [(sample[0], sample[2]) for sample in samples]
        new = [key for key in dict.fromkeys(keys) if key not in self._columns]
        if len(new) > room:
            room += self._make_room({self._columns.get(key) for key in keys})
        del new[room:]
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
        return len(self._columns) - before

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

    def _advance(self, time: float) -> int:
        """Begin the next point; return how many more series there are now."""
        if self._head == POINTS - 1 and (span := self.times[-1] - self.times[0]) < COVERED_SECONDS:
            self._thin_out(span)
        # Without spacing not another number, which takes another place in memory.
        self._next = time + self._spacing * (1 - POINT_JITTER) if self._spacing else time
        self._head = head = (self._head + 1) % POINTS
        width = self._width
        if head == len(self.times):
            self.times.append(time)
            if head == self._room:
                self._points += _NOTHING_KNOWN * (self._room * width)
                self._room *= 2
            return 0
        self.times[head] = time
        self._points[head * width : (head + 1) * width] = _NOTHING_KNOWN * width
        return -self._forget_gone() if head == 0 else 0

    def _thin_out(self, span: float) -> None:
        """Leave out every second point of a ring that was never full before."""
        self.times = self.times[1::2]
        half, width = len(self.times), self._width
        for column in range(width):
            self._points[column : half * width : width] = self._points[width + column :: 2 * width]
        self._points[half * width :] = _NOTHING_KNOWN * ((self._room - half) * width)
        self._head = half - 1
        self._spacing = 2 * span / (POINTS - 1)

    def _forget_points(self) -> None:
        self._next, self._spacing, self._head = -math.inf, 0.0, -1
        self.times = array("d")
        self._points = _NOTHING_KNOWN * (self._room * self._width)

    def _forget_gone(self) -> int:
        """Leave out series of which no point is left, and columns without a series.

        Return how many series there were.
        """
        before = len(self._columns)
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
        return before - len(self._columns)

    def _make_room(self, needed: set[int | None]) -> int:
        """Leave out series that the source no longer reports; return how many there were.

        Those of the last batch stay, and those in the columns `needed`.
        """
        stay = needed.union(self._placed)
        gone = [key for key, column in self._columns.items() if column not in stay]
        for key in gone:
            self._points[self._columns.pop(key) :: self._width] = _NOTHING_KNOWN * self._room
        return len(gone)


def rates(times: Sequence[float], values: Sequence[float]) -> list[float]:
    """Return the change per second at each point; NaN at the first one and after a restart."""
    return [math.nan, *_changes(times, values)] if values else []


def _changes(times: Sequence[float], values: Sequence[float]) -> Iterator[float]:
    for (before, after), (earlier, later) in zip(pairwise(values), pairwise(times), strict=True):
        change, seconds = after - before, later - earlier
        yield change / seconds if change >= 0 and seconds > 0 else math.nan
