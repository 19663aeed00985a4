"""Brokers between daemons, each with what it keeps when it is killed."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pollect.support.batches import decode_message
from tests.simulators.kafka import KafkaBroker
from tests.simulators.moto import REGION, moto_store
from tests.simulators.nats import NatsServer


class Transport:
    """A broker that keeps what it has when it is killed; a context manager."""

    #: The type of its writer and of its source.
    type: str
    program: str
    #: Options of the source beside those of both sides.
    source: Mapping[str, Any] = {}

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self.broker: NatsServer | KafkaBroker

    @property
    def options(self) -> Mapping[str, Any]:
        """What leads source and writer to the broker."""
        raise NotImplementedError

    def __enter__(self) -> "Transport":
        try:
            self.prepare()
            self.broker.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop everything; does nothing when that was done."""
        self._stack.close()

    def numbers(self) -> list[int]:
        """Return the values that it keeps of all batches."""
        return [
            int(sample.value)
            for data in self._contents()
            for sample in decode_message(data).batch.samples
        ]

    def prepare(self) -> None:
        """Make the broker, to be started, and start what it needs."""
        raise NotImplementedError

    def _contents(self) -> list[bytes]:
        raise NotImplementedError


class NatsTransport(Transport):
    type = "Nats"
    program = "nats-server 2.15"
    source: Mapping[str, Any] = {"ackWait": 5}

    @property
    def options(self) -> Mapping[str, Any]:
        return {"servers": [self.broker.url]} if isinstance(self.broker, NatsServer) else {}

    def prepare(self) -> None:
        self.broker = NatsServer(self._folder)
        self._stack.callback(self.broker.stop)

    def _contents(self) -> list[bytes]:
        assert isinstance(self.broker, NatsServer)
        return [message.data for message in self.broker.messages()]


class KafkaTransport(Transport):
    """The broker keeps everything in a store that speaks S3, which is not killed."""

    type = "Kafka"
    program = "tansu 0.6"
    source: Mapping[str, Any] = {"session": 6}

    @property
    def options(self) -> Mapping[str, Any]:
        return {"servers": [self.broker.address]} if isinstance(self.broker, KafkaBroker) else {}

    def prepare(self) -> None:
        folder = self._folder / "store"
        folder.mkdir()
        store = self._stack.enter_context(moto_store(folder))
        store.make_bucket("tansu", {})
        environ = {
            "AWS_ENDPOINT": store.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": store.access_key,
            "AWS_SECRET_ACCESS_KEY": store.secret_key,
            "AWS_DEFAULT_REGION": REGION,
        }
        self.broker = KafkaBroker(self._folder, store=environ)
        self._stack.callback(self.broker.stop)

    def _contents(self) -> list[bytes]:
        assert isinstance(self.broker, KafkaBroker)
        return [message.value() for message in self.broker.messages()]


TRANSPORTS: Sequence[type[Transport]] = (NatsTransport, KafkaTransport)
