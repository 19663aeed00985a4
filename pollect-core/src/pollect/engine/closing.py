"""Closes sources, at a reload and at the end, however many hang."""

import queue
import time
from collections.abc import Callable, Sequence

from pollect.engine.loops import EventLoops
from pollect.engine.ports import InBackground
from pollect.engine.runner import Runner

#: Seconds all sources together get to close, and how many close side by side.
CLOSE_SECONDS = 2.0
CLOSING_THREADS = 8
#: The same for thousands that go at once, as long as they do close.
MANY_CLOSE_SECONDS = 30.0
#: Seconds between two looks at those that close.
_LOOK_SECONDS = 0.02


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
    left = set(runners)

    def work() -> None:
        while True:
            try:
                runner = waiting.get_nowait()
            except queue.Empty:
                return
            if not is_stopping():
                runner.farewell()
            if runner.guard.is_async:
                loops.of(runner.plan.source).submit(runner.guard.close_async()).result()
            else:
                runner.guard.close()
            left.discard(runner)

    closings = [
        InBackground(work, "pollect-close") for _ in range(min(CLOSING_THREADS, len(runners)))
    ]
    _wait(closings, left, is_stopping)
    for runner in [runner for runner in runners if runner in left]:
        runner.leave_behind()
        runner.plan.log.warning("does not close in time; left behind")


def _wait(
    closings: Sequence[InBackground], left: set[Runner], is_stopping: Callable[[], bool]
) -> None:
    """Wait until all is closed, or nothing more closes.

    The thousands of targets that an inventory has no more take longer than what hangs may take; a
    daemon that stops does not wait for them.
    """
    begun = time.monotonic()
    until = begun + CLOSE_SECONDS
    remaining = len(left)
    while not all(closing.wait(_LOOK_SECONDS) for closing in closings):
        if len(left) < remaining and not is_stopping():
            remaining = len(left)
            until = min(time.monotonic() + CLOSE_SECONDS, begun + MANY_CLOSE_SECONDS)
        elif time.monotonic() >= until:
            return
