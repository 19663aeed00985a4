"""One thread and a heap of deadlines on the monotonic clock.

Nothing here knows sources: a callback is called when its time has come, in the scheduler's thread,
and must be quick.
"""

import heapq
import itertools
import logging
import threading
from collections.abc import Callable

from pollect.plugin import Clock

log = logging.getLogger(__name__)

Callback = Callable[[], None]

#: Seconds between two looks at the clock at most; what a lock can wait for is limited.
LONGEST_WAIT_SECONDS = 3600.0
#: Seconds `stop` waits for a callback that runs; each should be quick.
STOP_SECONDS = 1.0


class Timer:
    """A call to come. `cancel()` may be called at any time, from any thread."""

    __slots__ = ("callback", "cancelled")

    def __init__(self, callback: Callback) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Scheduler:
    """Calls callbacks at their time, earliest first, equal times in the order of their request."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def call_at(self, when: float, callback: Callback) -> Timer:
        """Call `callback` at `when` (monotonic seconds), at once if that has passed."""
        timer = Timer(callback)
        with self._changed:
            earliest = not self._heap or when < self._heap[0][0]
            heapq.heappush(self._heap, (when, next(self._order), timer))
            if earliest:
                self._changed.notify()
        return timer

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="pollect-scheduler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Call nothing any more; waits a moment for the callback that runs now."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(STOP_SECONDS)

    def run_due(self) -> float | None:
        """Run every callback whose time has come; return the next deadline, None without one."""
        while True:
            with self._changed:
                while self._heap and self._heap[0][2].cancelled:
                    heapq.heappop(self._heap)
                if self._stopped or not self._heap:
                    return None
                when = self._heap[0][0]
                if when > self._clock.monotonic():
                    return when
                timer = heapq.heappop(self._heap)[2]
            try:
                timer.callback()
            except BaseException:
                # A mistake of ours in one callback must not end the whole daemon's sense of time.
                log.exception("a scheduled call failed")

    def _run(self) -> None:
        while True:
            self.run_due()
            with self._changed:
                if self._stopped:
                    return
                pause = self._heap[0][0] - self._clock.monotonic() if self._heap else None
                if pause is None or pause > 0:
                    self._clock.wait(self._changed, pause and min(pause, LONGEST_WAIT_SECONDS))


class RepeatingTimer:
    """A callback at `start + n * interval` until `stop()`.

    Due times are computed from the start, so they never drift; ticks that passed while the process
    was stopped or busy are skipped, not caught up. The next tick is set before the callback runs:
    whatever that does, the ticks go on.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        clock: Clock,
        interval: float,
        callback: Callback,
        *,
        first: float | None = None,
    ) -> None:
        self.interval = interval
        #: When the next tick is due, in monotonic seconds.
        self.due = clock.monotonic() if first is None else first
        self._scheduler = scheduler
        self._clock = clock
        self._callback = callback
        self._start = self.due
        self._lock = threading.Lock()
        self._stopped = False
        self._timer = scheduler.call_at(self.due, self._tick)

    def move(self, due: float) -> None:
        """Let the next tick be at `due` and the others at intervals from there."""
        with self._lock:
            if self._stopped:
                return
            self._timer.cancel()
            self._start = self.due = due
            self._timer = self._scheduler.call_at(due, self._tick)

    def stop(self) -> None:
        """Call nothing any more, not even when a callback runs right now."""
        with self._lock:
            self._stopped = True
            self._timer.cancel()

    def _tick(self) -> None:
        self._book()
        try:
            self._callback()
        finally:
            if self.due <= self._clock.monotonic():
                self._book()

    def _book(self) -> None:
        """Set the next tick that lies in the future."""
        with self._lock:
            if self._stopped:
                return
            self._timer.cancel()
            passed = int((self._clock.monotonic() - self._start) / self.interval)
            self.due = self._start + (passed + 1) * self.interval
            if self.due <= self._clock.monotonic():
                self.due += self.interval  # rounding
            self._timer = self._scheduler.call_at(self.due, self._tick)
