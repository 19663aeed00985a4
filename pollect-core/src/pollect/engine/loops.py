"""The event loops of asynchronous sources, one for each type.

A coroutine that never awaits keeps all others of its loop: a plugin that does so costs the sources
of its own type only.
"""

import logging
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pollect.plugin import Source

if TYPE_CHECKING:
    from pollect.engine.loop import EventLoopThread

#: Loops that were given up and whose threads may still hang.
MOST_GIVEN_UP = 16

log = logging.getLogger(__name__)


class EventLoops:
    """Starts the event loop of a type when its first source needs it; thread-safe."""

    def __init__(self) -> None:
        #: By `kind_of` its sources, with their class, so that no other gets the same number.
        self._loops: dict[int, tuple[type[Source[Any]], EventLoopThread]] = {}
        self._lock = threading.Lock()
        #: Those that were blocked, and may still be; only a reload asks for them.
        self._given_up: list[EventLoopThread] = []

    def of(self, source: Source[Any], type_name: str) -> "EventLoopThread":
        """Return the loop of a source, another one if the last broke; `type_name` is for messages.

        Raises `RuntimeError` if the system has no thread for it.
        """
        key = kind_of(source)
        known = self._loops.get(key)
        if known is not None and not known[1].over:
            return known[1]
        # Ten megabytes of asyncio, for those who have a source that needs it.
        from pollect.engine.loop import EventLoopThread

        with self._lock:
            known = self._loops.get(key)
            if known is not None and not known[1].over:
                return known[1]
            name = f"the event loop of all {type_name} sources"
            loop = EventLoopThread(name, known[1].failures if known else None)
            self._loops[key] = (type(source), loop)
            return loop

    def keep(self, sources: Iterable[Source[Any]]) -> None:
        """End the loops of all types but those of `sources`, without waiting."""
        kinds = {kind_of(source) for source in sources}
        with self._lock:
            ended = [self._loops.pop(kind)[1] for kind in self._loops.keys() - kinds]
        for loop in ended:
            loop.end()

    def replace_blocked(self) -> None:
        """Give up the loops that something blocks, so that their sources open on others.

        Each costs a thread until the call that blocks it returns, so there is a limit.
        """
        self._given_up = [loop for loop in self._given_up if loop.is_alive()]
        for _, loop in list(self._loops.values()):
            if len(self._given_up) < MOST_GIVEN_UP and loop.give_up():
                self._given_up.append(loop)
                log.warning("%s is blocked, and replaced by another", loop.failures.loop_name)

    def stop(self, seconds: float) -> None:
        """Cancel what runs and end all loops, waiting `seconds` at most."""
        until = time.monotonic() + seconds
        loops = [loop for _, loop in list(self._loops.values())]
        for loop in loops:
            loop.end()
        for loop in loops:
            loop.join(max(0.0, until - time.monotonic()))


def kind_of(source: Source[Any]) -> int:
    """Return what tells the class of a source from all others that live.

    The class itself will not do as a key: its metaclass is code of a plugin, and hashes it.
    """
    return id(type(source))
