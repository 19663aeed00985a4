"""The values that were pushed, one per metric and label set."""

import json
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

from pollect.api import Clock
from pollect.support.private_files import read_private, write_private
from pollect_sources_network.http_ingress.payload import Definition, Refused, Update

#: What a series takes in the state file besides its texts, and how much a text may grow when it is
#: written as JSON (a control character becomes six).
_ROW_BYTES = 512
_LONGEST_ESCAPE = 6

SeriesKey: TypeAlias = tuple[str, tuple[str, ...]]


@dataclass(slots=True)
class Series:
    """One label set of one metric."""

    value: float
    #: Unix time in seconds of the last push.
    pushed_at: float
    #: The same on the clock that never jumps.
    touched_at: float
    #: Whether a probe has seen the value; what was acknowledged is reported at least once.
    reported: bool = False


class Store:
    """Takes updates from many threads; all of a push or nothing of it becomes visible."""

    def __init__(
        self,
        definitions: Mapping[str, Definition],
        clock: Clock,
        *,
        max_series: int,
        max_bytes: int,
    ) -> None:
        """`max_bytes`: what the labels of all series may take together."""
        self._definitions = definitions
        self._max_series = max_series
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._series: dict[SeriesKey, Series] = {}
        self._bytes = 0
        #: Whether there is something that `save_changes` has not written.
        self._changed = False

    def apply(self, updates: Sequence[Update]) -> None:
        """Take over all updates: a gauge's last value counts, a counter adds up.

        Raises `Refused`, and takes none, when there would be more series than allowed, more text
        in their labels, or a counter beyond the largest number.
        """
        now, wall = self._clock.monotonic(), self._clock.time()
        with self._lock:
            values = self._add_up(updates)
            new = values.keys() - self._series.keys()
            if len(self._series) + len(new) > self._max_series:
                raise Refused(f"too many label sets, the limit is {self._max_series}")
            grown = sum(map(_size, new))
            if self._bytes + grown > self._max_bytes:
                raise Refused(f"too much text in labels, the limit is {self._max_bytes} bytes")
            self._bytes += grown
            self._changed = True
            for key, value in values.items():
                self._series[key] = Series(value, pushed_at=wall, touched_at=now)

    def remove(self, updates: Sequence[Update]) -> None:
        """Forget the label sets of `updates`; those that are unknown are gone already."""
        with self._lock:
            self._changed = True
            for update in updates:
                self._forget((update.metric, update.labels))

    def snapshot(self) -> list[tuple[str, tuple[str, ...], float, float]]:
        """Return metric, labels, value and time of the last push of every series.

        Drops what has outlived its `expire` and was in a snapshot before.
        """
        now = self._clock.monotonic()
        with self._lock:
            for key, series in list(self._series.items()):
                expire = self._definitions[key[0]].expire
                outlived = expire is not None and now - series.touched_at > expire
                if outlived and series.reported:
                    self._forget(key)
                    self._changed = True
                series.reported = True
            return [
                (metric, labels, series.value, series.pushed_at)
                for (metric, labels), series in self._series.items()
            ]

    def take_over(self, previous: "Store") -> None:
        """Take over the series of another store, as far as the definitions still have them."""
        with previous._lock:
            series = list(previous._series.items())
        with self._lock:
            for (metric, labels), value in series:
                definition = self._definitions.get(metric)
                if definition and definition.labels == previous._definitions[metric].labels:
                    self._put((metric, labels), value)
            self._changed = True

    def save_changes(self, file: Path) -> None:
        """Write everything to `file` if something is new in it; raises `OSError`.

        The file is replaced as a whole and readable by its owner only.
        """
        with self._lock:
            if not self._changed:
                return
            self._changed = False
            rows = [
                {"metric": metric, "labels": labels, **asdict(series)}
                for (metric, labels), series in self._series.items()
            ]
        try:
            write_private(file, json.dumps(rows, ensure_ascii=False).encode(), durable=False)
        except BaseException:
            self._changed = True
            raise

    def load(self, file: Path) -> None:
        """Take over what `save_changes` wrote, as far as the definitions still have it.

        An absent file changes nothing. Raises `OSError`, also for a link, and `ValueError` when it
        is damaged.
        """
        try:
            text = read_private(file, max_bytes=self._max_file_bytes)
        except FileNotFoundError:
            return
        now = self._clock.monotonic()
        try:
            for row in json.loads(text):
                metric, labels = row["metric"], tuple(row["labels"])
                definition = self._definitions.get(metric)
                value, pushed_at = float(row["value"]), float(row["pushed_at"])
                # An earlier version let a counter grow beyond the largest number.
                usable = math.isfinite(value) and math.isfinite(pushed_at)
                if usable and definition is not None and len(definition.labels) == len(labels):
                    self._put((metric, labels), Series(value, pushed_at, now))
        except (KeyError, TypeError) as error:
            raise ValueError("it was not written by this source") from error

    def _add_up(self, updates: Sequence[Update]) -> dict[SeriesKey, float]:
        """Return the values after all updates. Raises `Refused`; holds the lock."""
        values: dict[SeriesKey, float] = {}
        for update in updates:
            key = (update.metric, update.labels)
            value = update.value
            if self._definitions[update.metric].is_counter:
                before = self._series.get(key)
                value += values.get(key, before.value if before is not None else 0.0)
                if not math.isfinite(value):
                    raise Refused(f"{update.metric}: the sum is beyond the largest number")
            values[key] = value
        return values

    def _put(self, key: SeriesKey, series: Series) -> None:
        if key not in self._series:
            self._bytes += _size(key)
        self._series[key] = series

    def _forget(self, key: SeriesKey) -> None:
        if self._series.pop(key, None) is not None:
            self._bytes -= _size(key)

    @property
    def _max_file_bytes(self) -> int:
        return _LONGEST_ESCAPE * self._max_bytes + _ROW_BYTES * (self._max_series + 1)


def _size(key: SeriesKey) -> int:
    """Return how many bytes the labels of a series take."""
    return sum(len(label.encode()) for label in key[1])
