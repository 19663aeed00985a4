"""Source `Nats`: batches of other daemons, from a stream of NATS JetStream.

What the writer `Nats` of other daemons published goes to the writers of this executor, with its
original names, labels, times and types. The consumer is durable and each message is acknowledged
when the writers have it, so that nothing is lost while this daemon or its targets are away;
daemons with the same `consumer` share the work. The values of the source itself say how that goes.
Needs the extra `nats` (nats-py).
"""

import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from pollect.api import Kind, Metric, Sample, Secret, SourceConfig, SourceContext
from pollect.support import nats_options as broker
from pollect.support.batches import NotABatch, decode_message
from pollect.support.brokers import BrokerError, Password, Timeout, Tls, User
from pollect.support.nats import NatsConnection
from pollect.support.relay import (
    FETCH_MOST,
    RELAY_BEHIND,
    RELAY_METRICS,
    SHORT_FETCH_SECONDS,
    Parcel,
    RelaySource,
)

if TYPE_CHECKING:
    from nats.aio.msg import Msg

#: How often, in the time a message may stay unacknowledged, the server is asked for patience.
_KEEPS = 3
#: Seconds between two questions for the backlog, which also find out that the consumer is gone.
_INFO_SECONDS = 10.0
#: Seconds for what is on its way when the source closes.
_CLOSE_SECONDS = 0.8

REDELIVERED = Metric(
    "redelivered",
    help="Messages that the server delivered before: their batches may arrive twice.",
    kind=Kind.COUNTER,
)
WAITING = Metric(
    "waiting",
    help="Messages of the stream that no daemon has fetched yet.",
    unit="messages",
    headline=True,
    alert=RELAY_BEHIND,
)


class NatsConfig(SourceConfig, frozen=True, kw_only=True):
    servers: broker.Servers = ("nats://localhost:4222",)
    stream: broker.Stream = broker.DEFAULT_STREAM
    subject: broker.Subject = broker.DEFAULT_SUBJECT
    consumer: Annotated[
        str,
        Meta(
            pattern=r"^[^\s.*>/\\]+$",
            description="Name of the durable consumer; daemons with the same share the work.",
        ),
    ] = "pollect"
    ack_wait: Annotated[
        Annotated[float, Meta(ge=1, le=3600)],
        Meta(
            description="Seconds of silence after which a consumer made here gives the messages "
            "of a daemon to others."
        ),
    ] = 30.0
    user: User = None
    password: Password = Secret("")
    token: broker.Token = Secret("")
    nkey_seed: broker.NkeySeed = Secret("")
    credentials: broker.Credentials = None
    tls: Tls = None
    timeout: Timeout = 5.0


class NatsSource(RelaySource[NatsConfig]):
    """Hands the batches of a stream to the writers."""

    config_type = NatsConfig
    metrics = (*RELAY_METRICS, REDELIVERED, WAITING)

    def __init__(self, config: NatsConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        broker.check_options(config)
        self._connection = NatsConnection(
            config,
            folder=context.config_dir,
            timeout_seconds=config.timeout,
            requirement="pollect-sources-network[nats]",
            log=self.log,
        )
        self._redelivered = 0
        self._backlog: int | None = None
        #: Messages whose batches the writers have, to be acknowledged.
        self._done: list[Msg] = []
        #: Those whose batches they do not have yet.
        self._open: dict[str, Msg] = {}
        self._consuming = False

    def receive(self) -> None:
        connection = self._connection
        try:
            self._connect()
            self.background.works()
            self._consuming = True
            self._consume()
        except BrokerError as error:
            raise error.as_probe_error() from error
        finally:
            self._consuming = False
            self._open.clear()
            self._done.clear()
            connection.close()

    def interrupt(self) -> None:
        # A fetch ends soon by itself, and what was fetched is to be acknowledged.
        if not self._consuming:
            self._connection.interrupt()

    def latest(self) -> Sequence[Sample]:
        samples = [*self.relay_samples(), REDELIVERED.sample(self._redelivered)]
        if self._backlog is not None:
            samples.append(WAITING.sample(self._backlog))
        return samples

    def deadline_seconds(self) -> float:
        return max(2 * self.config.timeout, super().deadline_seconds())

    def _connect(self) -> None:
        config = self.config
        self._connection.connect()
        self._connection.subscribe(
            config.stream,
            config.consumer,
            subject=f"{config.subject}.>",
            ack_seconds=config.ack_wait,
        )

    def _consume(self) -> None:
        info_at = keep_at = time.monotonic()
        keep_seconds = self.config.ack_wait / _KEEPS
        while not self.background.stopped:
            now = time.monotonic()
            if now >= info_at:
                info = self._connection.consumer_info()
                self._backlog = info.num_pending
                # That of a consumer which was there before.
                keep_seconds = (info.config.ack_wait or self.config.ack_wait) / _KEEPS
                info_at = now + _INFO_SECONDS
            if now >= keep_at:
                self._connection.keep(self._open.values())
                keep_at = now + keep_seconds
            if self.relay.has_room:
                for message in self._connection.fetch(FETCH_MOST, self.fetch_seconds):
                    self._take(message)
            elif self.relay.connected:
                self.relay.acknowledge(SHORT_FETCH_SECONDS)
            else:
                self.context.stopping.wait(SHORT_FETCH_SECONDS)
            self._acknowledge()
            self.background.works()
        self._finish()

    def _take(self, message: "Msg") -> None:
        place = message.metadata
        if place.num_delivered is not None and place.num_delivered > 1:
            self._redelivered += 1
        try:
            batch, origin = decode_message(message.data)
        except NotABatch as error:
            where = f"{message.subject}, message {place.sequence.stream} of {place.stream}"
            self.refuse(where, error)
            self._done.append(message)
            return
        # A stream that was made again has the same numbers again.
        own = f"{place.sequence.stream} {place.timestamp}"
        name = (message.headers or {}).get("Nats-Msg-Id") or own
        key = f"{name}@{place.stream}"
        parcel = Parcel(batch=batch, origin=origin, position=place.sequence.stream, key=key)
        self._open[message.reply] = message
        self.relay.put(parcel, partial(self._accepted, message))

    def _accepted(self, message: "Msg") -> None:
        if self._open.pop(message.reply, None) is not None:
            self._done.append(message)

    def _acknowledge(self) -> None:
        self.relay.acknowledge()
        done, self._done = self._done, []
        self._connection.acknowledge(done)

    def _finish(self) -> None:
        """Wait a moment for what is on its way; leave the rest to others at once."""
        until = time.monotonic() + _CLOSE_SECONDS
        while self._open and (left := until - time.monotonic()) > 0:
            self.relay.acknowledge(left)
        self._acknowledge()
        self._connection.give_back(self._open.values())
