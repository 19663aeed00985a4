"""When a source that failed is tried again: sooner than at its next tick, or not that soon."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pollect.engine.scheduler import Timer
from pollect.errors import ProbeError

if TYPE_CHECKING:
    from pollect.support.backoff import Backoff

#: Seconds after the first failed `open()`, and after many.
FIRST_OPEN_PAUSE = 1.0
LONGEST_OPEN_PAUSE = 60.0
#: Seconds between a failed probe and another try at least, whatever the source wishes.
SHORTEST_RETRY = 0.1


class Retry:
    """The failures of one source in a row, and what follows from them.

    `failed` and `worked` are called one at a time; the rest under the lock of the runner. All times
    are monotonic seconds.
    """

    __slots__ = ("_open_at", "_opening", "_when", "failures", "timer")

    def __init__(self) -> None:
        #: In a row.
        self.failures = 0
        #: Since `open()` fails.
        self._opening: Backoff | None = None
        self._open_at = 0.0
        #: Of the try that is booked.
        self.timer: Timer | None = None
        self._when = 0.0

    def worked(self) -> None:
        self.failures = 0

    def failed(
        self, now: float, error: BaseException | None, pauses: Sequence[float], *, opened: bool
    ) -> float | None:
        """Note a failure; return the seconds until another try, None if the next tick will do.

        `pauses` are those of `Source.retry_after`. A source that could not be opened is not opened
        again before a pause that grows.
        """
        if not opened:
            self._open_at = now + self._pause_before_opening()
        self.failures += 1
        pause = _wish_of(error)
        if pause is None and pauses:
            pause = pauses[min(self.failures, len(pauses)) - 1]
        if not isinstance(pause, int | float) or not 0 <= pause < math.inf:
            return None
        return max(pause, SHORTEST_RETRY)

    def may_open(self, now: float) -> bool:
        """Whether the pause after a failed `open()` is over."""
        return now >= self._open_at

    def end_pause(self) -> None:
        """Let the source be opened at once."""
        self._open_at = 0.0

    def book(self, when: float, timer: Timer) -> None:
        """Note that `timer` tries again then, whatever pause there is."""
        self.cancel()
        self._open_at = min(self._open_at, when)
        self.timer, self._when = timer, when

    def cancel(self) -> None:
        """Forget the try that was booked, if any."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def due(self) -> float | None:
        """Return when the source is tried again before its next tick; None if it is not."""
        return None if self.timer is None else self._when

    def _pause_before_opening(self) -> float:
        if self._opening is None or not self.failures:
            from pollect.support.backoff import Backoff  # random numbers, for those who fail

            self._opening = Backoff(FIRST_OPEN_PAUSE, LONGEST_OPEN_PAUSE)
        return self._opening.pause()


def _wish_of(error: BaseException | None) -> float | None:
    try:
        return error.retry_in if isinstance(error, ProbeError) else None
    except BaseException:  # noqa: BLE001 - an attribute of a plugin's own error
        return None
