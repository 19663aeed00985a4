"""Rates of counters: what moved per second since the last look, kept per key."""

from collections.abc import Collection, Hashable, Sequence
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)


def counter_change(before: float, now: float, wrap: float) -> float | None:
    """Return how far a counter went that starts at zero again when it reaches `wrap`.

    One that went back wrapped if it stood in the upper half of its range before; from the lower
    half it was reset, and nothing is known: None.
    """
    change = now - before
    if change >= 0:
        return change
    return change + wrap if before >= wrap / 2 and now >= 0 else None


class Rates(Generic[KeyT]):
    """The last counters of every key (a network card, a disk, a process) and when they were read.

    Each key has its own time, so one that was away for a while gets the rate over that while.
    """

    def __init__(self) -> None:
        self._last: dict[KeyT, tuple[float, Sequence[float]]] = {}

    def update(self, key: KeyT, now: float, counters: Sequence[float]) -> list[float] | None:
        """Return the change per second of each of the `counters`, in their order.

        `now` is monotonic seconds, taken next to the counters. None where there is no rate: at
        the first look at a key, when no time went by, and when a counter went back because its
        owner restarted.
        """
        before = self._last.get(key)
        if before is None:
            self._last[key] = now, counters
            return None
        then, old = before
        seconds = now - then
        if seconds <= 0:
            return None
        self._last[key] = now, counters
        changes = [new - last for new, last in zip(counters, old, strict=True)]
        if min(changes, default=0.0) < 0:
            return None
        return [change / seconds for change in changes]

    def keep(self, keys: Collection[KeyT]) -> None:
        """Forget every key that is not among `keys`: one that returns later starts again."""
        for key in self._last.keys() - keys:
            del self._last[key]

    def __contains__(self, key: KeyT) -> bool:
        return key in self._last
