"""Time limits of probes that take many requests, and the pauses that services ask for."""

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from pollect.api import TargetUnavailable

CONNECT_SECONDS = 10.0
#: For one answer: reports are written when they are asked for.
ANSWER_SECONDS = 60.0
#: For all the requests of a probe together.
PROBE_SECONDS = 300.0
#: What the engine waits beyond that: name resolution has no limit of its own.
ROOM_SECONDS = 10.0
#: After a failed probe: seconds to the first, the second, and every further try.
RETRY_SECONDS = (300.0, 900.0, 3600.0)
#: The latest value of a day is the latest until a newer day is known, however long that takes.
HOLD_SECONDS = 10 * 365 * 86_400.0
#: A service that asks for more is not believed.
LONGEST_PAUSE_SECONDS = 86_400.0


class Limit:
    """Seconds for one answer, and for all requests of a probe together."""

    def __init__(self, answer_seconds: float) -> None:
        self.answer_seconds = answer_seconds
        self.probe_seconds = max(PROBE_SECONDS, answer_seconds)
        self.begin()

    def begin(self) -> None:
        """Let the time of a probe start now."""
        self._end = time.monotonic() + self.probe_seconds

    def left(self) -> float:
        """Return the seconds of the next request; raises `TargetUnavailable` if none are left."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TargetUnavailable(f"no end after {self.probe_seconds:g} s of requests")
        return min(left, self.answer_seconds)

    def deadline_seconds(self, interval: float) -> float:
        """Return what `Source.deadline_seconds` is to say."""
        return max(interval, self.probe_seconds + ROOM_SECONDS)


def pause_asked_for(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds of a header `Retry-After`, a number or a date; None without one."""
    text = headers.get("Retry-After", "").strip()
    try:
        seconds = float(text) if text.isdigit() else parsedate_to_datetime(text).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 1.0), LONGEST_PAUSE_SECONDS)
