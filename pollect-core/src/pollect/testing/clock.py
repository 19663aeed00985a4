"""A clock that stands still until a test moves it."""

import threading


class FakeClock:
    """A `Clock` whose time moves only in `advance()`.

    Waiting threads are woken when the time they wait for has come.
    """

    def __init__(self, *, monotonic: float = 1000.0, time: float = 1_700_000_000.0) -> None:
        self._lock = threading.Lock()
        self._monotonic = monotonic
        self._offset = time - monotonic
        self._waiting: dict[object, tuple[threading.Condition, float]] = {}

    def monotonic(self) -> float:
        with self._lock:
            return self._monotonic

    def time(self) -> float:
        with self._lock:
            return self._monotonic + self._offset

    def advance(self, seconds: float) -> None:
        """Move time on and wake every thread whose wait is over."""
        with self._lock:
            self._monotonic += seconds
            due = [item for item, until in self._waiting.values() if until <= self._monotonic]
        for condition in due:
            with condition:
                condition.notify_all()

    def step_wall_clock(self, seconds: float) -> None:
        """Set the wall clock on or back, as NTP or an operator does; monotonic time stays."""
        with self._lock:
            self._offset += seconds

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        token = object()
        if timeout is not None:
            with self._lock:
                until = self._monotonic + timeout
                self._waiting[token] = (condition, until)
        try:
            condition.wait()
        finally:
            with self._lock:
                self._waiting.pop(token, None)
