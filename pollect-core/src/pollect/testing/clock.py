"""A clock that stands still until a test moves it."""

import threading

#: Real seconds after which a waiting thread looks at the time again: a wait that began just while
#: the clock was moved would miss the news otherwise.
GLANCE_SECONDS = 0.02


class FakeClock:
    """A `Clock` whose time moves only in `advance()`, which wakes the threads that wait for it."""

    def __init__(self, *, monotonic: float = 1000.0, time: float = 1_700_000_000.0) -> None:
        self._lock = threading.Lock()
        self._monotonic = monotonic
        self._offset = time - monotonic
        self._waiting: list[threading.Condition] = []

    def monotonic(self) -> float:
        return self._monotonic

    def time(self) -> float:
        return self._monotonic + self._offset

    @property
    def waited_for(self) -> bool:
        """Whether a thread waits for this clock, having done all there was to do before."""
        with self._lock:
            return bool(self._waiting)

    def advance(self, seconds: float) -> None:
        """Move time on."""
        with self._lock:
            self._monotonic += seconds
            waiting = list(self._waiting)
        for condition in waiting:
            with condition:
                condition.notify_all()

    def step_wall_clock(self, seconds: float) -> None:
        """Set the wall clock on or back, as NTP or an operator does; monotonic time stays."""
        with self._lock:
            self._offset += seconds

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        with self._lock:
            self._waiting.append(condition)
        try:
            condition.wait(GLANCE_SECONDS)
        finally:
            with self._lock:
                self._waiting.remove(condition)
