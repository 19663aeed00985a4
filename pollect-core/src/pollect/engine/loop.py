"""The one event loop that all asynchronous sources share, in a thread of its own."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Hashable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from pollect.errors import describe

#: Reasons of failed callbacks that are logged, and remembered as such: a plugin may invent more.
MOST_REASONS = 100

log = logging.getLogger(__name__)

Work = Callable[[], Coroutine[Any, Any, None]]


class EventLoopThread:
    """Started by the first coroutine; nothing of asyncio is imported before."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._stopping = False
        self._failures: set[str] = set()
        #: The loop itself holds its tasks only weakly.
        self._tasks: dict[Hashable, asyncio.Task[None]] = {}
        self._thread = threading.Thread(target=self._run, name="pollect-eventloop", daemon=True)
        self._thread.start()

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
            self._loop.call_soon_threadsafe(self._end, key)

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call something in the thread of the loop, which is the caller's."""
        self._loop.call_later(seconds, call)

    def stop(self, seconds: float) -> None:
        """Cancel everything that runs and end the thread, waiting `seconds` at most."""
        self._stopping = True
        asyncio.run_coroutine_threadsafe(self._cancel_all(), self._loop)
        self._thread.join(seconds)
        if not self._thread.is_alive():
            self._loop.close()

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._loop.run_forever()
            except BaseException as error:
                # A callback of a library that raised SystemExit: the other sources go on.
                reason = describe(error)
                new = reason not in self._failures and len(self._failures) < MOST_REASONS
                if new:
                    self._failures.add(reason)
                level = logging.ERROR if new else logging.DEBUG
                text = "a callback on the event loop failed (logged once): %s"
                log.log(level, text, reason, exc_info=error)

    def _begin(self, works: "Sequence[tuple[Hashable, Work]]") -> None:
        for key, work in works:
            task = self._tasks[key] = self._loop.create_task(work())
            task.add_done_callback(partial(self._forget, key))

    def _forget(self, key: Hashable, task: "asyncio.Task[None]") -> None:
        del self._tasks[key]

    def _end(self, key: Hashable) -> None:
        if key in self._tasks:
            self._tasks[key].cancel()

    async def _cancel_all(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        self._loop.stop()
