"""Devices that send on their own, for libraries that need asyncio: a supervised task.

The counterpart of `pollect.support.background`: same promises, on the event loop that all
sources of its type share. `AsyncBackgroundSource` is a source made of one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from pollect.errors import TargetUnavailable
from pollect.plugin import Clock, ProbeValue, SourceConfigT, SourceContext
from pollect.support.backoff import Backoff
from pollect.support.supervision import STOP_SECONDS, PushSource, Supervision, ended_without_reason


class AsyncBackground:
    """A task that keeps some work going; every method is called on the event loop.

    `work` connects, calls `works()` as soon as the device answers and again with every message,
    and returns or raises when the connection ends. It is cancelled by `stop` and after
    `silence_seconds` without a call of `works()`. Everything else is as in `Background`.
    """

    def __init__(
        self,
        work: Callable[[], Awaitable[None]],
        *,
        log: logging.Logger,
        clock: Clock,
        backoff: Backoff | None = None,
        silence_seconds: float | None = None,
        log_failures: bool = True,
    ) -> None:
        self._work = work
        self._log = log
        self._state = Supervision(
            log,
            clock,
            backoff=backoff,
            silence_seconds=silence_seconds,
            log_failures=log_failures,
        )
        self._task: asyncio.Task[None] | None = None
        self._limit: asyncio.Timeout | None = None
        self._decided: asyncio.Event | None = None

    def start(self) -> None:
        """Start, unless it runs; returns at once."""
        if self._task is None:
            self._state.reset()
            self._decided = asyncio.Event()
            self._task = asyncio.create_task(self._run(), name=self._log.name)

    def works(self) -> None:
        """Note that the device answers; called by `work`."""
        self._state.works()
        self._note()
        limit, seconds = self._limit, self._state.silence_seconds
        # One that has expired cannot be put off any more: the attempt is about to end.
        if limit is not None and seconds is not None and not limit.expired():
            limit.reschedule(asyncio.get_running_loop().time() + seconds)

    def slow_down(self) -> None:
        """Make the next pause the longest: called by `work` when trying again soon is useless."""
        self._state.slow_down()

    async def check(self, *, patience_seconds: float = 0.0) -> None:
        """Return if the device answers; raises `ProbeError` with the reason otherwise.

        Waits until the first attempt since the start has worked or failed, but no longer than
        `patience_seconds`.
        """
        if self._decided is not None and not self._decided.is_set():
            try:
                async with asyncio.timeout(patience_seconds):
                    await self._decided.wait()
            except TimeoutError:
                pass
        self._state.check()

    async def stop(self) -> None:
        """End the work and wait until it ended; may be called again."""
        task, self._task = self._task, None
        self._note()
        if task is None or task.get_loop() is not asyncio.get_running_loop():
            return
        task.cancel()
        _, pending = await asyncio.wait({task}, timeout=STOP_SECONDS)
        if pending:
            self._log.warning("did not stop within %g s and is left behind", STOP_SECONDS)

    async def _run(self) -> None:
        task = asyncio.current_task()
        while True:
            self._state.begin()
            error = await self._attempt()
            if task is None or task.cancelling() or self._task is not task:
                return
            self._state.fail(error)
            self._note()
            await asyncio.sleep(self._state.pause())

    async def _attempt(self) -> BaseException:
        """Do the work once and return why it ended."""
        limit = asyncio.timeout(self._state.silence_seconds)
        try:
            async with limit:
                self._limit = limit
                await self._work()
            error: BaseException = ended_without_reason()
        except GeneratorExit:  # the loop is gone
            raise
        except asyncio.CancelledError:
            error = TargetUnavailable("the library gave up the connection")
        except BaseException as raised:  # noqa: BLE001 - work is plugin code, and goes on
            error = raised
        finally:
            self._limit = None
        return self._state.silence() if limit.expired() else error

    def _note(self) -> None:
        if self._decided is not None:
            self._decided.set()


class AsyncBackgroundSource(PushSource[SourceConfigT]):
    """A source whose device sends on its own, with a library that needs asyncio.

    See `AsyncBackground` and `PushSource` for what holds.
    """

    def __init__(self, config: SourceConfigT, context: SourceContext) -> None:
        super().__init__(config, context)
        self.background = AsyncBackground(
            self.receive,
            log=self.log,
            clock=context.clock,
            silence_seconds=self.silence_seconds,
            log_failures=False,
        )

    async def receive(self) -> None:
        """Connect, call `self.background.works()`, and listen until the connection ends.

        Runs as a task of its own, over and over; let go of everything in a `finally`.
        """
        raise NotImplementedError

    async def open(self) -> None:
        self.background.start()

    async def probe(self) -> ProbeValue:
        await self.background.check(patience_seconds=self.first_patience)
        return self.latest()

    async def close(self) -> None:
        await self.background.stop()
