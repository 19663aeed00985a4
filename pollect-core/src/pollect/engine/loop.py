"""The one event loop that all asynchronous sources share, in a thread of its own."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

log = logging.getLogger(__name__)


class EventLoopThread:
    """Started by the first coroutine; nothing of asyncio is imported before."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="pollect-eventloop", daemon=True)
        self._thread.start()

    def submit(
        self, work: Coroutine[Any, Any, Any], done: Callable[[Any], None] | None = None
    ) -> "Future[Any]":
        """Run `work` on the loop, then `done` with its result; cancel by the future returned."""

        async def run() -> Any:
            result = await work
            if done is not None:
                done(result)
            return result

        return asyncio.run_coroutine_threadsafe(run(), self._loop)

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
            except BaseException:
                # A callback of a library that raised SystemExit: the other sources go on.
                log.exception("a callback on the event loop failed")

    async def _cancel_all(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        self._loop.stop()
