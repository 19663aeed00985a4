"""Time limits of probes that take many requests."""

from pollect.support.connect import SharedLimit

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


class Limit(SharedLimit):
    """Seconds for one answer of `where`, and for all requests of a probe together."""

    def __init__(self, where: str, answer_seconds: float) -> None:
        super().__init__(where, answer_seconds)
        self.answer_seconds = answer_seconds
        self.probe_seconds = max(PROBE_SECONDS, answer_seconds)
        self.begin_probe()

    def begin_probe(self) -> None:
        """Let the time of a probe start now."""
        self.begin(self.probe_seconds)

    def deadline_seconds(self, interval: float) -> float:
        """Return the value for `Source.deadline_seconds`."""
        return max(interval, self.probe_seconds + ROOM_SECONDS)
