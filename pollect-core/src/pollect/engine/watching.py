"""Who looks on inside of the engine: the history, and those who wait for the end of one probe."""

import logging
import threading
from collections.abc import Callable, Sequence

from pollect.engine.history import History
from pollect.model import Batch, ProbeResult, SourceId, WriterStatus

log = logging.getLogger(__name__)

Ended = Callable[[ProbeResult], None]


class Watching:
    """Passes on what probes bring; whatever goes wrong here costs no probe."""

    def __init__(self, history: History, writers: Callable[[], Sequence[WriterStatus]]) -> None:
        self._history = history
        self._writers = writers
        self._lock = threading.Lock()
        self._waiting: dict[SourceId, list[Ended]] = {}
        self._failed = False

    def record(self, batch: Batch) -> None:
        """Take the values that the writers get."""
        self._history.record(batch)
        failure = self._history.failure
        if failure is not None and not self._failed:
            self._failed = True
            log.error("values of %s are not remembered: %s", *failure)

    def note(self, result: ProbeResult) -> None:
        """Take note of the end of a probe."""
        self._history.note(result)
        if self._history.wants_writers(result.time):
            self._history.note_writers(self._writers(), result.time)
        if self._waiting:
            with self._lock:
                waiting = self._waiting.pop(result.source, [])
            for ended in waiting:
                ended(result)

    def wait_for(self, source: SourceId, ended: Ended) -> Callable[[], None]:
        """Call `ended` with the next result of a source; return what ends the wait for it."""
        with self._lock:
            self._waiting.setdefault(source, []).append(ended)

        def forget() -> None:
            with self._lock:
                waiting = self._waiting.get(source, [])
                if ended in waiting:
                    waiting.remove(ended)
                if not waiting:
                    self._waiting.pop(source, None)

        return forget
