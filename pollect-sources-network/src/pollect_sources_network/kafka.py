"""Source `Kafka`: batches of other daemons, from a topic of Kafka.

What the writer `Kafka` of other daemons produced goes to the writers of this executor, with its
original names, labels, times and types. Offsets are committed when the writers have everything
before them, so that nothing is lost while this daemon or its targets are away; daemons with the
same `group` share the partitions. The values of the source itself say how that goes. Needs the
extra `kafka` (confluent-kafka).
"""

import time
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

from msgspec import Meta

from pollect.api import Metric, Sample, Secret, SourceConfig, SourceContext
from pollect.support import kafka as broker
from pollect.support.batches import NotABatch, decode_message
from pollect.support.brokers import BrokerError, Password, Timeout, Tls, User
from pollect.support.relay import (
    FETCH_MOST,
    RELAY_BEHIND,
    RELAY_METRICS,
    SHORT_FETCH_SECONDS,
    Parcel,
    RelaySource,
)

_REQUIREMENT = "pollect-sources-network[kafka]"
#: Seconds to wait for each answer about the topic, at least and at most.
_SHORTEST_ANSWER_SECONDS, _ANSWER_SECONDS = 0.1, 0.5
#: Seconds between two looks whether a broker is there and the topic too.
_LOOK_SECONDS = 10.0
#: Seconds for what is on its way when the source closes, or another daemon takes a partition.
_CLOSE_SECONDS = 0.8
#: Seconds that an in-process writer may take before the group goes on without this daemon.
_POLL_SECONDS = 60

WAITING = Metric(
    "waiting",
    help="Messages that this daemon has not fetched yet, of its partitions.",
    unit="messages",
    headline=True,
    alert=RELAY_BEHIND,
)
PARTITIONS = Metric("partitions", help="Partitions of the topic that this daemon reads.")


class KafkaConfig(SourceConfig, frozen=True, kw_only=True):
    servers: broker.Servers = ("localhost:9092",)
    topic: broker.Topic = broker.DEFAULT_TOPIC
    group: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=249,
            description="Consumer group; daemons with the same share the work.",
        ),
    ] = "pollect"
    session: Annotated[
        Annotated[float, Meta(ge=1, le=300)],
        Meta(
            description="Seconds of silence after which others take over; brokers of Kafka want "
            "6 at least."
        ),
    ] = 6.0
    user: User = None
    password: Password = Secret("")
    mechanism: broker.Mechanism = "SCRAM-SHA-512"
    tls: Tls = None
    timeout: Timeout = 5.0


class _Partition:
    """The messages of one partition that were taken, and which of them the writers have."""

    def __init__(self) -> None:
        #: By offset, in order: whether the writers have it.
        self._taken: dict[int, bool] = {}
        #: Where to go on after a restart; None before anything is accepted.
        self.next: int | None = None

    @property
    def busy(self) -> bool:
        return bool(self._taken)

    def take(self, offset: int) -> None:
        self._taken[offset] = False

    def accept(self, offset: int) -> None:
        """Note that the writers have a message; those before it may still be under way."""
        if offset in self._taken:
            self._taken[offset] = True
        while self._taken and self._taken[first := next(iter(self._taken))]:
            del self._taken[first]
            self.next = first + 1


class KafkaSource(RelaySource[KafkaConfig]):
    """Hands the batches of a topic to the writers."""

    config_type = KafkaConfig
    metrics = (*RELAY_METRICS, WAITING, PARTITIONS)

    def __init__(self, config: KafkaConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        broker.check_options(config)
        self._library: Any = None
        self._consumer: Any = None
        self._trouble = broker.Trouble(config, self.log)
        self._partitions: dict[int, _Partition] = {}
        self._committed: dict[int, int] = {}
        self._backlog: int | None = None

    def open(self) -> None:
        self._library = broker.load_kafka(_REQUIREMENT)
        super().open()

    def receive(self) -> None:
        try:
            self._connect()
            self.background.works()
            self._consume()
        except BrokerError as error:
            raise error.as_probe_error() from error
        except self._library.KafkaException as error:
            raise self._trouble.as_error(error.args[0]).as_probe_error() from error
        finally:
            consumer, self._consumer = self._consumer, None
            self._forget()
            if consumer is not None:
                consumer.close()

    def interrupt(self) -> None:
        pass  # `receive` looks twice a second, and has something to commit

    def latest(self) -> Sequence[Sample]:
        samples = [*self.relay_samples(), PARTITIONS.sample(len(self._partitions))]
        if self._backlog is not None:
            samples.append(WAITING.sample(self._backlog))
        return samples

    def deadline_seconds(self) -> float:
        return max(2 * self.config.timeout, super().deadline_seconds())

    def _connect(self) -> None:
        config = self.config
        self._trouble = trouble = broker.Trouble(config, self.log)
        settings = broker.client_settings(config, self.context.config_dir, config.timeout, trouble)
        session = round(config.session * 1000)
        settings |= {
            "group.id": config.group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": session,
            "heartbeat.interval.ms": session // 4,
            "max.poll.interval.ms": max(session, _POLL_SECONDS * 1000),
        }
        try:
            self._consumer = self._library.Consumer(settings)
        except self._library.KafkaException as error:
            raise trouble.as_error(error.args[0]) from error
        self._look()
        if self.relay.connected:
            self._consumer.subscribe(
                [config.topic], on_assign=self._assigned, on_revoke=self._revoked,
                on_lost=self._lost,
            )  # fmt: skip

    def _look(self) -> None:
        """Make sure that a broker answers and knows the topic."""
        topic = self.config.topic
        until = time.monotonic() + self.config.timeout
        while not self.background.stopped:
            left = until - time.monotonic()
            try:
                seconds = max(_SHORTEST_ANSWER_SECONDS, min(_ANSWER_SECONDS, left))
                found = self._consumer.list_topics(topic, timeout=seconds).topics.get(topic)
            except self._library.KafkaException as error:
                self._consumer.poll(0)
                if left <= 0 or self._trouble.away:
                    raise self._trouble.as_error(error.args[0]) from error
                continue
            if found is None or found.error is not None:
                raise BrokerError(
                    f"{self._trouble.place}: there is no topic {topic!r} yet; the writer Kafka "
                    "makes it"
                )
            return

    def _consume(self) -> None:
        look_at = time.monotonic() + _LOOK_SECONDS
        paused = False
        while not self.background.stopped:
            if time.monotonic() >= look_at:
                self._look()
                look_at = time.monotonic() + _LOOK_SECONDS
            if not self.relay.connected:
                self.context.stopping.wait(SHORT_FETCH_SECONDS)
                self.background.works()
                continue
            if self.relay.has_room is paused:
                paused = not paused
                change = self._consumer.pause if paused else self._consumer.resume
                change(self._consumer.assignment())
            for message in self._consumer.consume(FETCH_MOST, self.fetch_seconds):
                self._take(message)
            if self._trouble.away:
                raise self._trouble.as_error()
            self.relay.acknowledge()
            self._commit(wait_for_answer=False)
            self._backlog = self._count_backlog()
            self.background.works()
        self._finish()

    def _take(self, message: Any) -> None:
        error = message.error()
        if error is not None:
            raise self._trouble.as_error(error)
        number, offset = message.partition(), message.offset()
        partition = self._partitions.setdefault(number, _Partition())
        partition.take(offset)
        accepted = partial(partition.accept, offset)
        place = f"{message.topic()}/{number}"
        try:
            batch, origin = decode_message(message.value() or b"")
        except NotABatch as refusal:
            self.refuse(f"{place}, offset {offset}", refusal)
            accepted()
            return
        names = [value for key, value in message.headers() or () if key == broker.ID_HEADER]
        # A topic that was made again has the same offsets again.
        own = f"{place}/{offset}/{message.timestamp()}"
        key = names[0].decode(errors="replace") if names and names[0] else own
        parcel = Parcel(batch=batch, origin=origin, position=offset, key=key)
        self.relay.put(parcel, accepted)

    def _commit(self, *, wait_for_answer: bool) -> None:
        """Let the group remember up to where the writers have everything."""
        news = {
            number: partition.next
            for number, partition in self._partitions.items()
            if partition.next is not None and self._committed.get(number) != partition.next
        }
        if not news:
            return
        offsets = [
            self._library.TopicPartition(self.config.topic, number, offset)
            for number, offset in news.items()
        ]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=not wait_for_answer)
        except self._library.KafkaException as error:
            # Whoever has the partition next takes these once more.
            self.log.debug("not committed: %s", broker.describe_error(error.args[0]))
            return
        self._committed |= news

    def _finish(self) -> None:
        """Wait a moment for what is on its way, and commit it."""
        if not self.relay.connected:
            return
        until = time.monotonic() + _CLOSE_SECONDS
        while self._busy() and (left := until - time.monotonic()) > 0:
            self.relay.acknowledge(left)
        self.relay.acknowledge()
        self._commit(wait_for_answer=True)

    def _busy(self) -> bool:
        return any(partition.busy for partition in self._partitions.values())

    def _count_backlog(self) -> int:
        backlog = 0
        for place in self._consumer.position(self._consumer.assignment()):
            _, end = self._consumer.get_watermark_offsets(place, cached=True)
            backlog += max(0, end - place.offset) if place.offset >= 0 else 0
        return backlog

    def _assigned(self, consumer: Any, partitions: Sequence[Any]) -> None:
        for place in partitions:
            self._partitions[place.partition] = _Partition()
            self._committed.pop(place.partition, None)

    def _revoked(self, consumer: Any, partitions: Sequence[Any]) -> None:
        """Commit what can be, before another daemon goes on from there."""
        self._finish()
        self._lost(consumer, partitions)

    def _lost(self, consumer: Any, partitions: Sequence[Any]) -> None:
        for place in partitions:
            self._partitions.pop(place.partition, None)

    def _forget(self) -> None:
        self._partitions.clear()
        self._committed.clear()
