"""Who looks on inside of the engine: the history, and those who wait for the end of one probe."""

import threading
from collections.abc import Callable, Sequence

from pollect.engine.history import History
from pollect.model import ProbeResult, SourceId, WriterStatus

Ended = Callable[[ProbeResult], None]


class Watching:
    """Passes on what probes bring; whatever goes wrong here costs no probe."""

    def __init__(self, history: History, writers: Callable[[], Sequence[WriterStatus]]) -> None:
        self._history = history
        self._writers = writers
        self._lock = threading.Lock()
        self._waiting: dict[SourceId, list[Ended]] = {}

    def note(self, result: ProbeResult) -> None:
        """Take note of the end of a probe."""
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
