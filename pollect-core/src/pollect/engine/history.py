"""What the last hour brought, in memory: the values of every series, and how probes ended."""

import logging
import math
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pollect.engine.ring import Past, Ring
from pollect.engine.strip import CELL_SECONDS, CELLS, DOWN, TROUBLED, UP, Strip
from pollect.errors import describe
from pollect.model import Batch, Outcome, ProbeResult, SourceId, WriterStatus

log = logging.getLogger(__name__)

#: Batches and ends of probes, and samples in them, that wait at most: taken one after the other,
#: while the processor has the code for it at hand, they cost half.
MOST_WAITING, MOST_WAITING_SAMPLES = 100, 200
#: Seconds between two looks at the writers.
WRITER_LOOK_SECONDS = 10.0


class _End(NamedTuple):
    """How a probe ended."""

    source: SourceId
    #: Unix time in seconds.
    time: float
    #: What a strip shows.
    state: int


class History:
    """What the page and the command line show of the past; `limit` is a number of series."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        #: Series that are kept now.
        self._series = 0
        self._lock = threading.Lock()
        self._waiting: deque[Batch | _End] = deque()
        self._waiting_samples = 0
        #: Of the first batch that could not be remembered: its source, and why.
        self._failure: tuple[SourceId, str] | None = None
        self._failure_logged = False
        self._rings: dict[SourceId, Ring] = {}
        #: What is noted of the sources, beside that their values tell that they work.
        self._strips: dict[SourceId, Strip] = {}
        self._writers: dict[str, Strip] = {}
        self._writers_seen = -math.inf

    def follow(self, intervals: Mapping[SourceId, float], limit: int) -> None:
        """Remember these sources, given the seconds between their probes, and no others."""
        with self._lock:
            self._catch_up()
            for source in self._rings.keys() - intervals.keys():
                del self._rings[source], self._strips[source]
            for source, interval in intervals.items():
                if source not in self._rings:
                    self._rings[source] = Ring()
                elif limit < self._limit:
                    self._rings[source].forget_series()
                strip = self._strips.get(source)
                if strip is None or strip.seconds != max(CELL_SECONDS, interval):
                    self._strips[source] = Strip(interval)
            self._limit = limit
            self._count_series()

    def record(self, batch: Batch) -> None:
        """Take the values of a source, which tell that it works; none: it has none any more."""
        if self._limit:
            self._waiting.append(batch)
            # Now and then two threads count as one here: then a few more wait.
            self._waiting_samples += len(batch.samples)
            if self._waiting_samples >= MOST_WAITING_SAMPLES or len(self._waiting) >= MOST_WAITING:
                self._relieve()

    def note(self, result: ProbeResult) -> None:
        """Take note of the end of a probe that its values do not tell."""
        if self._limit:
            # Not the result itself: an error keeps all that its functions had at hand.
            self._waiting.append(_End(result.source, result.time, _state(result.outcome)))
            if len(self._waiting) >= MOST_WAITING:
                self._relieve()

    def wants_writers(self, time: float) -> bool:
        """Whether it is time for another look at the writers."""
        return bool(self._limit) and abs(time - self._writers_seen) >= WRITER_LOOK_SECONDS

    def note_writers(self, statuses: Sequence[WriterStatus], time: float) -> None:
        """Take note of how the writers fare, and of all that waits."""
        with self._lock:
            self._writers_seen = time
            names = {status.writer for status in statuses}
            for gone in self._writers.keys() - names:
                del self._writers[gone]
            for status in statuses:
                strip = self._writers.setdefault(status.writer, Strip(CELL_SECONDS))
                strip.note(time, UP if status.up else DOWN)
            self._catch_up()
        self._report_failure()

    def past(self, source: SourceId) -> Past:
        """Return what is remembered of a source."""
        with self._lock:
            self._catch_up()
            ring = self._rings.get(source)
            return Past() if ring is None or ring.time == -math.inf else ring.past()

    def strip(self, source: SourceId, time: float) -> tuple[bytes, float]:
        """Return the cells of a source up to now, and how many seconds each covers."""
        with self._lock:
            self._catch_up()
            ring, strip = self._rings.get(source), self._strips.get(source)
            if ring is None or strip is None:
                return bytes(CELLS), CELL_SECONDS
            return strip.cells(time, ring.times), strip.seconds

    def writer_strip(self, writer: str, time: float) -> tuple[bytes, float]:
        """Return the cells of a writer up to now, and how many seconds each covers."""
        with self._lock:
            strip = self._writers.get(writer)
            return bytes(CELLS) if strip is None else strip.cells(time), CELL_SECONDS

    def _relieve(self) -> None:
        """Take what waits, unless another thread does."""
        # Who has the lock takes this batch too. Threads that waited for it would change places at
        # every batch from then on, as each gets the lock long before the interpreter.
        if not self._lock.acquire(blocking=False):
            return
        try:
            self._catch_up()
        finally:
            self._lock.release()
        self._report_failure()

    def _report_failure(self) -> None:
        if self._failure is not None and not self._failure_logged:
            self._failure_logged = True
            log.error("values of %s are not remembered: %s", *self._failure)

    def _catch_up(self) -> None:
        """Take what waits; holds the lock."""
        self._waiting_samples = 0
        waiting, rings = self._waiting, self._rings
        while waiting:
            item = waiting.popleft()
            try:
                ring = rings.get(item.source)
                if ring is None:
                    continue  # a reload has taken it away
                if isinstance(item, _End):
                    self._strips[item.source].note(item.time, item.state)
                else:
                    self._series += ring.put(item, self._limit - self._series)
            except BaseException as error:  # noqa: BLE001 - what a filter of a plugin made of it
                self._failure = self._failure or (item.source, describe(error))
                self._count_series()

    def _count_series(self) -> None:
        self._series = sum(map(len, self._rings.values()))


def _state(outcome: Outcome) -> int:
    """Return what a strip shows of an outcome."""
    if outcome.healthy:
        return UP
    return TROUBLED if outcome is Outcome.TROUBLED else DOWN
