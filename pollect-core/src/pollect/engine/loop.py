"""An event loop in a thread of its own, for asynchronous sources."""

import asyncio
import math
import threading
import time
from collections.abc import Callable, Coroutine, Hashable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from pollect.engine.guarded_loop import Failures, GuardedLoop
from pollect.errors import TargetUnavailable, describe

#: A loop that does nothing else for this long is blocked, or for this share of a deadline.
BLOCKED_SECONDS = 1.0
BLOCKED_OF_DEADLINE = 0.8
#: One that waits for this long although it was woken is deaf.
DEAF_SECONDS = 1.0
#: Seconds that tasks get to end once they are cancelled.
CANCEL_SECONDS = 1.0

Work = Callable[[], Coroutine[Any, Any, None]]
#: Called with the key of a work that will not return by itself, and why.
Lost = Callable[[Any, Exception], None]


class EventLoopThread:
    """Runs coroutines; may be called from every thread, unless a method says otherwise.

    A loop that is broken, as a source closed it or its selector, ends: all that was started is
    lost, and `start` is refused.
    """

    def __init__(self, name: str = "the event loop", failures: Failures | None = None) -> None:
        """`failures`: those of the loop before, which it does not log again."""
        self.failures = failures or Failures(name)
        #: It runs nothing any more.
        self.over = False
        self._stopping = False
        self._lock = threading.Lock()
        #: What was started and has not ended, with whom to tell if it cannot.
        self._works: dict[Hashable, Lost | None] = {}
        #: The loop itself holds its tasks only weakly.
        self._tasks: dict[Hashable, asyncio.Task[None]] = {}
        self._later: set[Callable[[], None]] = set()
        #: Monotonic seconds since when something waits to begin.
        self._waits_since: float | None = None
        self._loop = GuardedLoop(self.failures, self._look)
        self._thread = threading.Thread(target=self._run, name="pollect-eventloop", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._loop.close()
            raise

    def submit(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> "Future[Any]":
        """Run `work` on the loop; the future has what it returns or raises."""
        future: Future[Any] = Future()

        async def fulfil() -> None:
            try:
                future.set_result(await work())
            except GeneratorExit:  # the loop is gone
                raise
            except BaseException as error:  # noqa: BLE001 - for who waits for it
                future.set_exception(error)

        self.start([(future, fulfil)], _fail)
        return future

    def start(self, works: "Sequence[tuple[Hashable, Work]]", lost: Lost | None = None) -> None:
        """Run each of `works` on the loop, which is woken once for all of them.

        What stands before each is what it can be cancelled by. Raises `RuntimeError` if the loop is
        closed; if it breaks later, `lost` is called for each that has not ended.
        """
        with self._lock:
            if self.over:
                raise RuntimeError("its event loop is closed")
            self._works |= dict.fromkeys((key for key, _ in works), lost)
        self._waits_since = time.monotonic()
        try:
            self._loop.call_soon_threadsafe(self._begin, works)
        except RuntimeError:
            for key, _ in works:
                self._works.pop(key, None)
            raise

    def cancel(self, key: Hashable) -> None:
        """Cancel what was started; it may have ended, and the loop too."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._cancel, key)

    def blocked_by(self, deadline_seconds: float) -> object | None:
        """Return what has kept others from running until their deadline, None if nothing has.

        What was started is named by its key, anything else by its name.
        """
        since = self._loop.busy_since()
        if since is None or self.over:
            return None
        limit = min(BLOCKED_SECONDS, deadline_seconds * BLOCKED_OF_DEADLINE)
        return self._current() if time.monotonic() - since >= limit else None

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call something later, or when the loop ends; only for the thread of the loop."""
        self._later.add(call)
        with suppress(RuntimeError):  # closed by a source: its end is near
            self._loop.call_later(seconds, self._call, call)

    def stop(self, seconds: float) -> None:
        """Cancel everything that runs and end the thread, waiting `seconds` at most."""
        self.end()
        self.join(seconds)

    def end(self) -> None:
        """Cancel everything that runs, and let the thread end after it."""
        self._stopping = True
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._begin_end)

    def give_up(self) -> bool:
        """End the loop if something blocks it, without waiting; return whether something does.

        All but what blocks it is lost. The thread ends when the call that blocks it returns.
        """
        culprit = self.blocked_by(math.inf)
        if culprit is None:
            return False
        self.end()
        self._lose("its event loop was blocked, and is replaced", culprit)
        return True

    def is_alive(self) -> bool:
        """Whether its thread still runs."""
        return self._thread.is_alive()

    def join(self, seconds: float) -> None:
        """Wait for the thread to end, `seconds` at most."""
        self._thread.join(seconds)

    def _run(self) -> None:
        error: BaseException | None = None
        while not self._stopping and error is None:
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as raised:
                # Those of a callback of a library come here; the other sources go on.
                self.failures.note(raised)
            except BaseException as raised:  # noqa: BLE001 - what else comes here is the loop's own
                error = raised
        if error is not None:
            self.failures.note_end(error)
        self._finish(error)

    def _finish(self, error: BaseException | None) -> None:
        self._lose(f"its event loop broke: {describe(error)}" if error else "stopping")
        self._tasks.clear()
        self._loop.release()

    def _lose(self, reason: str, culprit: object = None) -> None:
        """Tell everyone who waits for something on the loop that nothing comes any more.

        `culprit` still runs, and may come back.
        """
        with self._lock:
            self.over = True
            # The loop's own thread may end some of them meanwhile.
            works = [
                (key, lost)
                for key in list(self._works)
                if key is not culprit and (lost := self._works.pop(key, None)) is not None
            ]
        for call in list(self._later):
            self._call(call)
        why = TargetUnavailable(reason)
        for key, lost in works:
            lost(key, why)

    def _look(self) -> None:
        """Raise if a source took from the loop what wakes it; it was not woken for long."""
        if self._loop.is_closed():
            raise RuntimeError("a source closed it")
        since = self._waits_since
        if since is not None and time.monotonic() - since >= DEAF_SECONDS:
            raise RuntimeError("a source closed the socket that wakes it")

    def _call(self, call: Callable[[], None]) -> None:
        try:
            self._later.remove(call)
        except KeyError:
            return  # called already
        call()

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
        self._waits_since = None
        for key, work in works:
            # Not by `create_task`: a source may have set a factory that fails.
            task = self._tasks[key] = asyncio.Task(work(), loop=self._loop)
            task.add_done_callback(partial(self._forget, key))

    def _forget(self, key: Hashable, task: "asyncio.Task[None]") -> None:
        self._tasks.pop(key, None)
        lost = self._works.pop(key, None)
        error = None if task.cancelled() else task.exception()
        if lost is not None and task.cancelled():
            lost(key, TargetUnavailable("a source of its type cancelled all tasks"))
        elif lost is not None and error is not None:
            lost(key, TargetUnavailable(describe(error)))

    def _cancel(self, key: Hashable) -> None:
        if key in self._tasks:
            self._tasks[key].cancel()

    def _begin_end(self) -> None:
        self._tasks[self] = asyncio.Task(self._cancel_all(), loop=self._loop)

    async def _cancel_all(self) -> None:
        others = asyncio.all_tasks(self._loop) - {self._tasks[self]}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=CANCEL_SECONDS)
        self._loop.stop()


def _fail(future: "Future[Any]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
