"""What a start or a reload made stays for days: Python need not search it for garbage again.

A full collection looks at every object while all threads wait. With 1,000 sources that took 58 ms,
and made one tick late by as much; beside it, a quarter of the CPU time of a probe went into
collections.
"""

import gc
import math
from collections.abc import Iterator
from contextlib import contextmanager

#: Seconds from a start or a reload until its sources are open and were probed.
SETTLE_SECONDS = 5.0


class Settling:
    """Waits until a start or a reload has settled, and then takes what is there for lasting."""

    def __init__(self) -> None:
        self._due = math.inf

    def changed(self, now: float) -> None:
        """Take note that much was made, at `now` (monotonic seconds)."""
        self._due = now + SETTLE_SECONDS

    def settle(self, now: float) -> float | None:
        """Settle if it is time for it; return the seconds to wait for that, None for nothing."""
        if now >= self._due:
            self._due = math.inf
            keep_what_lasts()
        return None if self._due == math.inf else self._due - now


@contextmanager
def collector_paused() -> Iterator[None]:
    """Do not search for garbage while modules are imported and a config is read: all of it stays.

    A twentieth of the CPU time of a start went into such searches.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def keep_what_lasts() -> None:
    """Free what is garbage now, and leave what remains out of all further collections.

    What is no longer referred to is freed as ever; only circles of it wait for the next call.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
