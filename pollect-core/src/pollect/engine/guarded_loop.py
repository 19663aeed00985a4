"""An asyncio loop that survives what sources do to it, or says that it cannot go on."""

import asyncio
import logging
import selectors
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pollect.errors import describe

#: Reasons of failed callbacks that are logged, and remembered as such: a plugin may invent more.
MOST_REASONS = 100
#: A loop that waits looks this often whether it can still be woken.
LOOK_SECONDS = 5.0

log = logging.getLogger(__name__)


class Failures:
    """Logs failed callbacks, and tasks that no one awaits, once for each reason."""

    def __init__(self, loop_name: str) -> None:
        self.loop_name = loop_name
        self._reasons: set[str] = set()
        self._places: set[tuple[str, int]] = set()

    def note(self, error: BaseException) -> None:
        """Log an error unless its like was logged, with its traceback once for each place."""
        self._log(f"a callback on {self.loop_name} failed", error)

    def note_end(self, error: BaseException) -> None:
        """Log that the loop itself cannot go on."""
        self._log(f"{self.loop_name} broke and is replaced: a source must leave it as it is", error)

    def _log(self, text: str, error: BaseException) -> None:
        reason = f"{text} (logged once): {describe(error)}"
        new = reason not in self._reasons and len(self._reasons) < MOST_REASONS
        place = _place(error)
        traceback = None if place in self._places else error
        if new:
            self._reasons.add(reason)
            self._places.add(place)
        log.log(logging.ERROR if new else logging.DEBUG, "%s", reason, exc_info=traceback)


class GuardedLoop(asyncio.SelectorEventLoop):
    """Notes what fails on it, whatever handler a library sets, and wakes now and then to look."""

    def __init__(self, failures: Failures, look: Callable[[], None]) -> None:
        """`look` is called in the loop's thread when it was not woken for a while.

        What it raises ends `run_forever`.
        """
        self._watched = _Selector(look)
        super().__init__(self._watched)
        self._noted = failures

    def busy_since(self) -> float | None:
        """Return since when callbacks run without a break, monotonic seconds; None if none do."""
        return self._watched.woke_at

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        # asyncio's own writes a traceback each time.
        if (error := context.get("exception")) is not None:
            self._noted.note(error)
        else:
            log.debug("%s", context.get("message"))

    def release(self) -> None:
        """Close the loop and what it has open, in whatever state a source left it."""
        with suppress(Exception):
            self.close()
        # One whose selector was closed keeps its sockets, until the garbage is collected.
        for name in ("_selector", "_ssock", "_csock"):
            with suppress(Exception):
                getattr(self, name).close()
        with suppress(Exception):
            asyncio.BaseEventLoop.close(self)


class _Selector(selectors.DefaultSelector):
    """Never waits for long without a look."""

    def __init__(self, look: Callable[[], None]) -> None:
        super().__init__()
        self._look = look
        #: Monotonic seconds; None while it waits.
        self.woke_at: float | None = time.monotonic()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.woke_at = None
        if timeout is not None and timeout <= LOOK_SECONDS:
            events = super().select(timeout)
        else:
            # A thread that had to wait for the processor comes here late: what has come by now?
            events = super().select(LOOK_SECONDS) or super().select(0)
            if not events:
                self._look()
        self.woke_at = time.monotonic()
        return events


def _place(error: BaseException) -> tuple[str, int]:
    """Return the file and line that raised an error."""
    trace = error.__traceback__
    if trace is None:
        return "", 0
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_filename, trace.tb_lineno
