"""The event loops of asynchronous sources, one for each type.

A coroutine that never awaits keeps all others of its loop: a plugin that does so costs the sources
of its own type only.
"""

import threading
import time
from typing import TYPE_CHECKING, Any

from pollect.plugin import Source

if TYPE_CHECKING:
    from pollect.engine.loop import EventLoopThread


class EventLoops:
    """Starts the event loop of a type when its first source needs it; thread-safe."""

    def __init__(self) -> None:
        self._loops: dict[type[Source[Any]], EventLoopThread] = {}
        self._lock = threading.Lock()

    def of(self, source: Source[Any]) -> "EventLoopThread":
        """Return the loop of a source; raises `RuntimeError` if the system has no thread for it."""
        loop = self._loops.get(type(source))
        if loop is not None:
            return loop
        # Ten megabytes of asyncio, for those who have a source that needs it.
        from pollect.engine.loop import EventLoopThread

        with self._lock:
            loop = self._loops.get(type(source))
            if loop is None:
                loop = self._loops[type(source)] = EventLoopThread()
            return loop

    def stop(self, seconds: float) -> None:
        """Cancel what runs and end all loops, waiting `seconds` at most."""
        until = time.monotonic() + seconds
        loops = list(self._loops.values())
        for loop in loops:
            loop.end()
        for loop in loops:
            loop.join(max(0.0, until - time.monotonic()))
