"""Writer `Kafka`: a topic of Kafka, from which other daemons take the batches.

One message for each batch, in the format of `pollect.support.batches`; its key is the source, so
that the batches of one source stay in order, and a header `pollect-id` names it. A batch is
delivered when all replicas in sync have it (`acks=all`); the producer is idempotent. Needs the
extra `kafka` (confluent-kafka). Counterpart: the source `Kafka`.
"""

import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta

from pollect.api import Batch, Rejected, Retryable, Secret, Writer, WriterConfig, WriterContext
from pollect.support import kafka as broker
from pollect.support.batches import encode_message, message_id
from pollect.support.brokers import (
    BrokerError,
    Origin,
    Password,
    Timeout,
    Tls,
    User,
    default_origin,
)

_REQUIREMENT = "pollect-writers[kafka]"
#: Between two looks whether there is a broker at all.
_GLANCE_SECONDS = 0.1


class KafkaWriterConfig(WriterConfig, frozen=True, kw_only=True):
    servers: broker.Servers = ("localhost:9092",)
    topic: broker.Topic = broker.DEFAULT_TOPIC
    create_topic: Annotated[
        bool, Meta(description="Make the topic if there is none; one that exists stays as it is.")
    ] = True
    partitions: Annotated[
        Annotated[int, Meta(ge=1, le=1000)],
        Meta(description="Partitions of a topic made here: so many daemons can share the work."),
    ] = 6
    replicas: Annotated[
        Annotated[int, Meta(ge=1, le=10)],
        Meta(description="Brokers that keep each partition of a topic made here."),
    ] = 1
    compression: Annotated[
        Literal["none", "gzip", "snappy", "lz4", "zstd"],
        Meta(description="How to compress what is sent together."),
    ] = "none"
    origin: Origin = None
    user: User = None
    password: Password = Secret("")
    mechanism: broker.Mechanism = "SCRAM-SHA-512"
    tls: Tls = None
    timeout: Timeout = 5.0


class KafkaWriter(Writer[KafkaWriterConfig]):
    """Produces every batch to a topic."""

    config_type = KafkaWriterConfig
    accepts_partial = True

    def __init__(self, config: KafkaWriterConfig, context: WriterContext) -> None:
        super().__init__(config, context)
        broker.check_options(config)
        self._origin = config.origin or default_origin(context.config_dir)
        self._trouble = broker.Trouble(config, self.log)
        self._library: Any = None
        self._producer: Any = None

    def target_identity(self) -> tuple[str, ...]:
        return (*sorted(self.config.servers), self.config.topic)

    def open(self) -> None:
        self._library = broker.load_kafka(_REQUIREMENT)
        try:
            self._connect()
        except BrokerError as error:
            self.close()
            raise Retryable(str(error)) from error

    def write(self, batches: Sequence[Batch]) -> None:
        try:
            if self._producer is None:
                self._connect()
            lost, reason = self._deliver(batches)
        except BrokerError as error:
            # What is still on its way must not arrive behind what is newer.
            self.close()
            raise Retryable(str(error)) from error
        if lost:
            raise Rejected(reason, lost=lost)

    def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
            producer.flush(0)

    def _connect(self) -> None:
        config = self.config
        self._trouble = trouble = broker.Trouble(config, self.log)
        settings = broker.client_settings(config, self.context.config_dir, config.timeout, trouble)
        settings |= {
            "acks": "all",
            "enable.idempotence": True,
            "compression.type": config.compression,
            "linger.ms": 5,
            "message.timeout.ms": max(1000, round(config.timeout * 1000)),
        }
        try:
            self._producer = self._library.Producer(settings)
        except self._library.KafkaException as error:
            raise trouble.as_error(error.args[0]) from error
        topics = self._ask(lambda seconds: self._producer.list_topics(timeout=seconds)).topics
        if config.create_topic and config.topic not in topics:
            self._create_topic()

    def _ask(self, question: Any) -> Any:
        """Ask a broker; given up early when none can be reached."""
        until = time.monotonic() + self.config.timeout
        while True:
            try:
                return question(max(_GLANCE_SECONDS, min(1.0, until - time.monotonic())))
            except self._library.KafkaException as error:
                self._producer.poll(0)
                if self._trouble.away or time.monotonic() >= until:
                    raise self._trouble.as_error(error.args[0]) from error

    def _create_topic(self) -> None:
        from confluent_kafka.admin import AdminClient
        from confluent_kafka.cimpl import NewTopic

        config = self.config
        settings = broker.client_settings(
            config, self.context.config_dir, config.timeout, self._trouble
        )
        topic = NewTopic(config.topic, config.partitions, config.replicas)
        client = AdminClient(settings)
        (future,) = client.create_topics([topic]).values()
        try:
            future.result(config.timeout)
            self.log.info("made the topic %s", config.topic)
        except (self._library.KafkaException, TimeoutError) as error:
            reason: Any = error.args[0] if isinstance(error, self._library.KafkaException) else None
            if reason is not None and reason.name() == "TOPIC_ALREADY_EXISTS":
                return
            raise BrokerError(
                f"{self._trouble.place}: cannot make the topic {config.topic}: "
                f"{'no answer' if reason is None else broker.describe_error(reason)}"
            ) from error

    def _deliver(self, batches: Sequence[Batch]) -> tuple[int, str]:
        """Produce batches; return how many samples were refused for good, and why."""
        refused: list[tuple[Batch, Any]] = []
        failed: list[Any] = []
        done = 0

        def settle(batch: Batch, error: Any) -> None:
            nonlocal done
            done += 1
            if error is not None:
                (refused if _is_too_large(error) else failed).append((batch, error))

        for batch in batches:
            self._produce(batch, settle)
        until = time.monotonic() + self.config.timeout
        while done < len(batches) and time.monotonic() < until and not self._trouble.away:
            self._producer.flush(_GLANCE_SECONDS)
        if failed or done < len(batches):
            raise self._trouble.as_error(failed[0][1] if failed else None)
        if not refused:
            return 0, ""
        batch, error = refused[0]
        return sum(len(lost) for lost, _ in refused), (
            f"{batch.source}: a batch of {len(batch)} samples is too large: "
            f"{broker.describe_error(error)}"
        )

    def _produce(self, batch: Batch, settle: Any) -> None:
        data = encode_message(batch, self._origin)
        headers = [(broker.ID_HEADER, message_id(batch, self._origin, data).encode())]
        try:
            self._producer.produce(
                self.config.topic,
                data,
                key=str(batch.source).encode(),
                headers=headers,
                on_delivery=lambda error, message: settle(batch, error),
            )
        except self._library.KafkaException as error:
            settle(batch, error.args[0])
        except BufferError as error:
            raise BrokerError(f"{self._trouble.place}: {error}") from error


def _is_too_large(error: Any) -> bool:
    return str(error.name()) == "MSG_SIZE_TOO_LARGE"
