"""What a start or a reload made stays for days: Python need not search it for garbage again.

A full collection looks at every object while all threads wait. With 1,000 sources that took 58 ms,
and made one tick late by as much; beside it, a quarter of the CPU time of a probe went into
collections.

How often Python searches what is new is not up to how much there is. With 200 agents of 100 values
it did so 30 times a round, among samples that were all on their way to the writers: a tenth of the
CPU time.
"""

import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: After how many new objects Python searches on its own, and how often it goes further back.
_USUAL, *_OLDER = gc.get_threshold()

#: Seconds from a start or a reload until its sources are open and were probed.
SETTLE_SECONDS = 5.0


class Settling:
    """Waits until a start or a reload has settled, and then takes what is there for lasting."""

    def __init__(self) -> None:
        self._due = math.inf

    def changed(self, now: float) -> None:
        """Take note that much was made, at `now` (monotonic seconds)."""
        self._due = now + SETTLE_SECONDS

    def settle(self, now: float, series: Callable[[], int]) -> float | None:
        """Settle if it is time for it; return the seconds to wait for that, None for nothing.

        `series` counts what all sources have at that time.
        """
        if now >= self._due:
            self._due = math.inf
            keep_what_lasts(series())
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


def keep_what_lasts(series: int) -> None:
    """Free what is garbage now, and leave what remains out of all further collections.

    These happen no more often than each of the `series` got a sample.

    What is no longer referred to is freed as ever; only circles of it wait for the next call.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(max(_USUAL, series), *_OLDER)
