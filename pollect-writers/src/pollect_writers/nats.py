"""Writer `Nats`: a stream of NATS JetStream, from which other daemons take the batches.

One message for each batch, on the subject `subject.collection.type[.name]`, in the format of
`pollect.support.batches`. A batch is delivered when the server says that the stream has it. Its
message id stays the same however often it is sent, so that within the stream's duplicate window
it is kept once. Needs the extra `nats` (nats-py). Counterpart: the source `Nats`.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from pollect.api import (
    Batch,
    Rejected,
    Retryable,
    Secret,
    Writer,
    WriterConfig,
    WriterContext,
)
from pollect.support import nats_options as broker
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
from pollect.support.nats import NatsConnection, TooLarge

if TYPE_CHECKING:
    from nats.js.api import StreamConfig

_REQUIREMENT = "pollect-writers[nats]"
#: How long a stream of ours notices that a message comes again, if it keeps messages so long.
_DUPLICATES_SECONDS = 600.0


class NatsWriterConfig(WriterConfig, frozen=True, kw_only=True):
    servers: broker.Servers = ("nats://localhost:4222",)
    stream: broker.Stream = broker.DEFAULT_STREAM
    subject: broker.Subject = broker.DEFAULT_SUBJECT
    create_stream: Annotated[
        bool, Meta(description="Make the stream if there is none; one that exists stays as it is.")
    ] = True
    keep_seconds: Annotated[
        Annotated[float, Meta(ge=1)],
        Meta(description="Seconds that a stream made here keeps messages."),
    ] = 86_400.0
    keep_bytes: Annotated[
        Annotated[int, Meta(ge=1_000_000)],
        Meta(description="Bytes that a stream made here may take; the oldest messages go first."),
    ] = 1_000_000_000
    replicas: Annotated[
        Annotated[int, Meta(ge=1, le=5)],
        Meta(description="Servers of a cluster that keep a stream made here."),
    ] = 1
    origin: Origin = None
    user: User = None
    password: Password = Secret("")
    token: broker.Token = Secret("")
    nkey_seed: broker.NkeySeed = Secret("")
    credentials: broker.Credentials = None
    tls: Tls = None
    timeout: Timeout = 5.0


class NatsWriter(Writer[NatsWriterConfig]):
    """Publishes every batch to a stream."""

    config_type = NatsWriterConfig
    accepts_partial = True

    def __init__(self, config: NatsWriterConfig, context: WriterContext) -> None:
        super().__init__(config, context)
        broker.check_options(config)
        self._origin = config.origin or default_origin(context.config_dir)
        self._connection = NatsConnection(
            config,
            folder=context.config_dir,
            timeout_seconds=config.timeout,
            requirement=_REQUIREMENT,
            log=self.log,
        )
        self._stream_exists = False

    def target_identity(self) -> tuple[str, ...]:
        return (*sorted(self.config.servers), self.config.stream, self.config.subject)

    def open(self) -> None:
        try:
            self._connect()
        except BrokerError as error:
            raise Retryable(str(error)) from error

    def write(self, batches: Sequence[Batch]) -> None:
        try:
            self._connect()
            outcomes = self._connection.publish(map(self._message, batches))
        except BrokerError as error:
            raise Retryable(str(error)) from error
        _judge(batches, outcomes, self)

    def close(self) -> None:
        self._connection.close()

    def forget_stream(self) -> None:
        """Look for the stream again: a server may come back without it."""
        self._stream_exists = False

    def _connect(self) -> None:
        if not self._connection.connected:
            self.forget_stream()
        self._connection.connect()
        if self.config.create_stream and not self._stream_exists:
            self._connection.ensure_stream(_stream_config(self.config))
            self._stream_exists = True

    def _message(self, batch: Batch) -> tuple[str, bytes, str]:
        data = encode_message(batch, self._origin)
        subject = broker.subject_of(batch.source[:3])
        return f"{self.config.subject}.{subject}", data, message_id(batch, self._origin, data)


def _judge(
    batches: Sequence[Batch], outcomes: Iterable[BrokerError | None], writer: NatsWriter
) -> None:
    """Raise what became of a delivery, if it was not taken whole.

    What arrived is sent once more with what did not, and dropped by the server.
    """
    too_large: list[tuple[Batch, BrokerError]] = []
    for batch, error in zip(batches, outcomes, strict=True):
        if isinstance(error, TooLarge):
            too_large.append((batch, error))
        elif error is not None:
            writer.forget_stream()
            raise Retryable(str(error)) from error
    if too_large:
        batch, error = too_large[0]
        raise Rejected(
            f"{batch.source}: a batch of {len(batch)} samples is too large: {error}",
            lost=sum(len(lost) for lost, _ in too_large),
        ) from error


def _stream_config(config: NatsWriterConfig) -> "StreamConfig":
    from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

    return StreamConfig(
        name=config.stream,
        description="batches of pollect",
        subjects=[f"{config.subject}.>"],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_age=config.keep_seconds,
        max_bytes=config.keep_bytes,
        num_replicas=config.replicas,
        duplicate_window=min(_DUPLICATES_SECONDS, config.keep_seconds),
    )
