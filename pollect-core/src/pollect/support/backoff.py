"""Growing pauses between attempts."""

import random

#: Share of a pause that is left to chance, so that many clients do not come back at once.
_JITTER = 0.1


class Backoff:
    """Pauses in seconds that double from `first` to `longest`, a little at random."""

    def __init__(self, first: float = 1.0, longest: float = 60.0) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def pause(self) -> float:
        """Return how long to wait before the next attempt."""
        pause = self._next
        self._next = min(pause * 2, self._longest)
        return pause * (1 - _JITTER * random.random())  # noqa: S311, it guards no secret

    def exhaust(self) -> None:
        """Make the next pause the longest, after a failure that will not pass by itself."""
        self._next = self._longest

    def reset(self) -> None:
        """Start again, after an attempt that worked."""
        self._next = self._first
