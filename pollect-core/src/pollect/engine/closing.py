"""Closes sources, at a reload and at the end, however many hang."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pollect.engine.loops import EventLoops
from pollect.engine.ports import InBackground
from pollect.engine.runner import Runner
from pollect.errors import describe

if TYPE_CHECKING:
    from concurrent.futures import Future

#: Seconds all sources together get to close, and how many close side by side.
CLOSE_SECONDS = 2.0
CLOSING_THREADS = 8
#: The same for thousands that go at once, as long as they do close.
MANY_CLOSE_SECONDS = 30.0
#: Seconds between two looks at how many have closed.
_LOOK_SECONDS = 0.02


class _Left:
    """The runners that have not closed yet."""

    def __init__(self, runners: Iterable[Runner]) -> None:
        self._runners = set(runners)
        self._none = threading.Event()

    def __len__(self) -> int:
        return len(self._runners)

    def __contains__(self, runner: Runner) -> bool:
        return runner in self._runners

    def discard(self, runner: Runner) -> None:
        self._runners.discard(runner)
        if not self._runners:
            self._none.set()

    def wait(self, seconds: float) -> bool:
        """Wait until all have closed, `seconds` at most; return whether they have."""
        return self._none.wait(seconds)


def close_runners(
    runners: Sequence[Runner],
    loops: EventLoops,
    *,
    is_stopping: Callable[[], bool],
) -> None:
    """Withdraw what sources wrote and close them, side by side, those that hang last.

    An engine that stops withdraws nothing, and does not wait for many. What takes too long is left
    behind.
    """
    if not runners:
        return
    busy = {runner for runner in runners if runner.stop()}
    waiting: queue.SimpleQueue[Runner] = queue.SimpleQueue()
    for runner in sorted(runners, key=busy.__contains__):
        waiting.put(runner)
    left = _Left(runners)

    def work() -> None:
        while True:
            try:
                runner = waiting.get_nowait()
            except queue.Empty:
                return
            if not is_stopping():
                runner.farewell()
            if runner.guard.is_async:
                # Whoever hangs here keeps none of these threads.
                _close_on_loop(runner, loops, left)
            else:
                runner.guard.close()
                left.discard(runner)

    for _ in range(min(CLOSING_THREADS, len(runners))):
        InBackground(work, "pollect-close")
    _wait(left, is_stopping)
    for runner in [runner for runner in runners if runner in left]:
        runner.leave_behind()
        runner.plan.log.warning("does not close in time; left behind")


def _close_on_loop(runner: Runner, loops: EventLoops, left: _Left) -> None:
    def note_end(closing: "Future[Any]") -> None:
        left.discard(runner)
        if (error := closing.exception()) is not None:
            runner.plan.log.warning("close failed: %s", describe(error))

    try:
        closing = loops.of(runner.plan.source, runner.id.type).submit(runner.guard.close_async)
    except RuntimeError as error:  # no thread for a loop
        runner.plan.log.warning("close failed: %s", describe(error))
        left.discard(runner)
    else:
        closing.add_done_callback(note_end)


def _wait(left: _Left, is_stopping: Callable[[], bool]) -> None:
    """Wait until all is closed, or nothing more closes.

    The thousands of targets that an inventory has no more take longer than what hangs may take; a
    daemon that stops does not wait for them.
    """
    begun = time.monotonic()
    until = begun + CLOSE_SECONDS
    remaining = len(left)
    while not left.wait(_LOOK_SECONDS):
        if len(left) < remaining and not is_stopping():
            remaining = len(left)
            until = min(time.monotonic() + CLOSE_SECONDS, begun + MANY_CLOSE_SECONDS)
        elif time.monotonic() >= until:
            return
