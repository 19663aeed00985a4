"""Hand on batches of other daemons: for sources that consume a broker, a queue or a file.

`RelaySource` is a `BackgroundSource` with a `relay`: `receive` consumes, puts each batch there with
what acknowledges it, and calls `acknowledge` now and then. The values of the source itself, which
`latest` returns, are about the transport. `pollect.support.batches` is the format of messages.
"""

from typing import ClassVar

from pollect.hints import Alert
from pollect.model import Kind, Metric, Sample
from pollect.plugin import SourceConfigT, SourceContext
from pollect.relay import MOST_PENDING, Parcel, Relay
from pollect.support.background import BackgroundSource

__all__ = [
    "FETCH_MOST",
    "FETCH_SECONDS",
    "RELAY_BEHIND",
    "RELAY_METRICS",
    "SHORT_FETCH_SECONDS",
    "Parcel",
    "Relay",
    "RelaySource",
]

#: Messages to take from a broker at once, and seconds to wait for the first.
FETCH_MOST = 200
FETCH_SECONDS = 0.5
#: The same while batches wait for their writers.
SHORT_FETCH_SECONDS = 0.1

BATCHES = Metric("batches", help="Batches handed to the writers.", kind=Kind.COUNTER)
SAMPLES = Metric("samples", help="Samples handed to the writers.", kind=Kind.COUNTER, headline=True)
REPEATED = Metric(
    "repeated",
    help="Batches that came again and were not handed on a second time.",
    kind=Kind.COUNTER,
)
SUPERSEDED = Metric(
    "superseded",
    help="Batches left out because another daemon of a fleet owned their source already.",
    kind=Kind.COUNTER,
)
MALFORMED = Metric(
    "malformed", help="Messages left out because they are not batches.", kind=Kind.COUNTER
)
UNACKNOWLEDGED = Metric("unacknowledged", help="Batches that the writers do not have yet.")
#: For the metric that says how many messages wait at the broker.
RELAY_BEHIND = Alert(
    "RelayBehind",
    "messages pile up at the broker: what takes them from there does not keep up",
    above=10_000,
    lasting_seconds=600,
)
#: What every source that relays may report of itself.
RELAY_METRICS = (BATCHES, SAMPLES, REPEATED, SUPERSEDED, MALFORMED, UNACKNOWLEDGED)


class RelaySource(BackgroundSource[SourceConfigT]):
    """A source that hands batches of other daemons to the writers of its executor.

    `receive` consumes while `self.relay.has_room`, and not at all while the relay is not
    `connected`, as when the source is probed by itself: what is consumed then would be lost.
    """

    #: Batches that may wait to be accepted by the writers.
    most_pending: ClassVar[int] = MOST_PENDING

    def __init__(self, config: SourceConfigT, context: SourceContext) -> None:
        super().__init__(config, context)
        self.relay = Relay(self.most_pending)
        self._malformed = 0
        self._complained = False

    def refuse(self, where: str, error: Exception) -> None:
        """Count a message that is not a batch; the first one is logged with its place."""
        self._malformed += 1
        level = self.log.debug if self._complained else self.log.error
        self._complained = True
        level("left out, and further ones like it are only counted: %s: %s", where, error)

    @property
    def fetch_seconds(self) -> float:
        """Seconds to wait for a message: what the writers accept meanwhile is to be noted."""
        return SHORT_FETCH_SECONDS if self.relay.pending else FETCH_SECONDS

    def relay_samples(self) -> list[Sample]:
        """Return how the relay fares, for `latest`."""
        relay = self.relay
        return [
            BATCHES.sample(relay.batches),
            SAMPLES.sample(relay.samples),
            REPEATED.sample(relay.repeated),
            SUPERSEDED.sample(relay.superseded),
            MALFORMED.sample(self._malformed),
            UNACKNOWLEDGED.sample(relay.pending),
        ]
