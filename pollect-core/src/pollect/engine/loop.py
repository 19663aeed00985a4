"""An event loop in a thread of its own, for asynchronous sources."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Hashable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from pollect.errors import describe

#: Reasons of failed callbacks that are logged, and remembered as such: a plugin may invent more.
MOST_REASONS = 100
#: A loop that does nothing else for this long is blocked.
BLOCKED_SECONDS = 1.0
#: Seconds between two looks at whether it goes on.
_LOOK_SECONDS = 0.02

log = logging.getLogger(__name__)

Work = Callable[[], Coroutine[Any, Any, None]]


class EventLoopThread:
    """Runs coroutines; may be called from every thread, unless a method says otherwise."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._stopping = False
        self._failures: set[str] = set()
        #: The loop itself holds its tasks only weakly.
        self._tasks: dict[Hashable, asyncio.Task[None]] = {}
        #: Monotonic seconds since when it has owed an answer to whoever asks what blocks it.
        self._asked_at: float | None = None
        self._loop.set_exception_handler(self._note_failure)
        self._thread = threading.Thread(target=self._run, name="pollect-eventloop", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._loop.close()
            raise

    def submit(self, work: Coroutine[Any, Any, Any]) -> "Future[Any]":
        """Run `work` on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def start(self, works: "Sequence[tuple[Hashable, Work]]") -> None:
        """Run each of `works` on the loop, which is woken once for all of them.

        What stands before each is what it can be cancelled by.
        """
        self._loop.call_soon_threadsafe(self._begin, works)

    def cancel(self, key: Hashable) -> None:
        """Cancel what was started; it may have ended, and the loop too."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._cancel, key)

    def blocked_by(self) -> object | None:
        """Return what keeps all else from running on the loop, None if nothing does.

        What was started is named by its key, anything else by its name. Takes a second at most, for
        all who ask at once.
        """
        if self._asked_at is None:
            self._asked_at = time.monotonic()
            try:
                self._loop.call_soon_threadsafe(self._answer)
            except RuntimeError:
                self._asked_at = None
        while (asked_at := self._asked_at) is not None:
            if time.monotonic() - asked_at >= BLOCKED_SECONDS:
                return self._current()
            time.sleep(_LOOK_SECONDS)
        return None

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call something later; only for the thread of the loop."""
        self._loop.call_later(seconds, call)

    def stop(self, seconds: float) -> None:
        """Cancel everything that runs and end the thread, waiting `seconds` at most."""
        self.end()
        self.join(seconds)

    def end(self) -> None:
        """Cancel everything that runs, and let the thread end after it."""
        self._stopping = True
        self._loop.call_soon_threadsafe(self._begin, [(self, self._cancel_all)])

    def join(self, seconds: float) -> None:
        """Wait for the thread to end, `seconds` at most."""
        self._thread.join(seconds)
        if not self._thread.is_alive():
            self._loop.close()

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._loop.run_forever()
            except BaseException as error:  # noqa: BLE001 - the other sources go on
                # Such as SystemExit of a callback of a library.
                self._log_failure(error)

    def _note_failure(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Take note of a callback, or a task that no one awaits, which failed."""
        if (error := context.get("exception")) is not None:
            self._log_failure(error)
        else:
            log.debug("%s", context.get("message"))

    def _log_failure(self, error: BaseException) -> None:
        reason = describe(error)
        new = reason not in self._failures and len(self._failures) < MOST_REASONS
        if new:
            self._failures.add(reason)
        level = logging.ERROR if new else logging.DEBUG
        text = "a callback on the event loop failed (logged once): %s"
        log.log(level, text, reason, exc_info=error)

    def _answer(self) -> None:
        self._asked_at = None

    def _current(self) -> object:
        """Return what runs on the loop right now."""
        task = asyncio.current_task(self._loop)
        if task is None:
            return "a callback"
        for key, known in list(self._tasks.items()):
            if known is task:
                return key
        return f"task {task.get_name()!r}"

    def _begin(self, works: "Sequence[tuple[Hashable, Work]]") -> None:
        for key, work in works:
            task = self._tasks[key] = self._loop.create_task(work())
            task.add_done_callback(partial(self._forget, key))

    def _forget(self, key: Hashable, task: "asyncio.Task[None]") -> None:
        del self._tasks[key]

    def _cancel(self, key: Hashable) -> None:
        if key in self._tasks:
            self._tasks[key].cancel()

    async def _cancel_all(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        self._loop.stop()
