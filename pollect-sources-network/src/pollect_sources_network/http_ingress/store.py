"""The values that were pushed, one per metric and label set."""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pollect.api import Clock
from pollect.support.private_files import read_private, write_private
from pollect_sources_network.http_ingress.payload import Definition, Refused, Update

#: Larger than any number of series that a config allows.
MAX_FILE_BYTES = 64 * 1024 * 1024


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
        self, definitions: Mapping[str, Definition], max_series: int, clock: Clock
    ) -> None:
        self._definitions = definitions
        self._max_series = max_series
        self._clock = clock
        self._lock = threading.Lock()
        self._series: dict[tuple[str, tuple[str, ...]], Series] = {}
        #: Whether there is something that `save_changes` has not written.
        self._changed = False

    def apply(self, updates: Sequence[Update]) -> None:
        """Take over all updates: a gauge's last value counts, a counter adds up.

        Raises `Refused`, and takes none, when there would be more series than allowed.
        """
        now, wall = self._clock.monotonic(), self._clock.time()
        with self._lock:
            new = {(update.metric, update.labels) for update in updates} - self._series.keys()
            if len(self._series) + len(new) > self._max_series:
                raise Refused(f"too many label sets, the limit is {self._max_series}")
            self._changed = True
            for update in updates:
                key = (update.metric, update.labels)
                before = self._series.get(key)
                value = update.value
                if before is not None and self._definitions[update.metric].is_counter:
                    value += before.value
                self._series[key] = Series(value, pushed_at=wall, touched_at=now)

    def remove(self, updates: Sequence[Update]) -> None:
        """Forget the label sets of `updates`; those that are unknown are gone already."""
        with self._lock:
            self._changed = True
            for update in updates:
                self._series.pop((update.metric, update.labels), None)

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
                    del self._series[key]
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
                    self._series[metric, labels] = value
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
            write_private(file, json.dumps(rows).encode(), durable=False)
        except BaseException:
            self._changed = True
            raise

    def load(self, file: Path) -> None:
        """Take over what `save_changes` wrote, as far as the definitions still have it.

        An absent file changes nothing. Raises `OSError`, also for a link, and `ValueError` when it
        is damaged.
        """
        try:
            text = read_private(file, max_bytes=MAX_FILE_BYTES)
        except FileNotFoundError:
            return
        now = self._clock.monotonic()
        try:
            for row in json.loads(text):
                metric, labels = row["metric"], tuple(row["labels"])
                definition = self._definitions.get(metric)
                if definition is not None and len(definition.labels) == len(labels):
                    series = Series(float(row["value"]), float(row["pushed_at"]), now)
                    self._series[metric, labels] = series
        except (KeyError, TypeError) as error:
            raise ValueError("it was not written by this source") from error
