"""Source `Kafka` against a real broker: batches reach the writers, and then offsets are committed.

The broker begins with a group half a `session` after its first member came.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pollect.api import Batch, TargetUnavailable
from pollect.engine.clock import SystemClock
from pollect.support.batches import encode_message
from pollect.testing import Running, absent_port, build_source, wait_until
from pollect_sources_network.kafka import _Partition
from tests.simulators.kafka import KafkaBroker, running
from tests.sources_network.collectors import ENERGY, LIMIT, METER, RelayingEngine, message


class Collector(RelayingEngine):
    def __init__(self, broker: KafkaBroker, **section: Any) -> None:
        super().__init__(build(broker, **section))

    def wait_for_partitions(self, count: int) -> None:
        wait_until(lambda: len(self.source._partitions) == count, "partitions", limit_seconds=LIMIT)


def build(broker: KafkaBroker, *, interval: float = 0.2, **section: Any) -> Any:
    options = {"type": "Kafka", "servers": [broker.address], "session": 2, "timeout": 10}
    return build_source(options | section, clock=SystemClock(), interval=interval)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[KafkaBroker]:
    with running(KafkaBroker(tmp_path)) as broker:
        broker.make_topic()
        yield broker


def test_batches_reach_the_writers_as_they_were_and_are_committed(broker) -> None:
    samples = [ENERGY.sample(5, "küche"), ENERGY.sample(2.5, "attic", time=7.5)]
    batch = Batch(METER, samples, 1000.25, (("site", "n"),), 25.0)
    bad = [b"", b"hello", message(1)[:-4]]
    broker.produce(*bad, encode_message(batch, "pi-1"), *map(message, range(500)))
    with Collector(broker) as collector:
        collector.wait_for([5, 2.5, *range(500)])
        assert batch in collector.writer.batches
        assert collector.writer.numbers() == [5, 2.5, *range(500)]
        broker.wait_committed(504)
        wait_until(lambda: collector.value("samples") == 502, "its value", limit_seconds=LIMIT)
        assert collector.value("malformed") == 3
        assert collector.value("partitions") == 3
        wait_until(lambda: collector.value("waiting") == 0, "no backlog", limit_seconds=LIMIT)


def test_malformed_message_is_named_once(broker, caplog) -> None:
    broker.produce(b"hello", b"again", message(5))
    with Collector(broker) as collector:
        collector.wait_for([5])
    (complaint,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert "pollect/" in complaint
    assert "offset 0: " in complaint


def test_next_daemon_gets_what_the_writers_of_this_one_did_not_have(broker) -> None:
    broker.produce(*map(message, range(3)))
    collector = Collector(broker)
    collector.writer.away = True
    with collector:
        wait_until(lambda: collector.source.relay.pending == 3, "the relay", limit_seconds=LIMIT)
        assert broker.committed() == 0
    with Collector(broker) as other:
        other.wait_for(range(3))
        broker.wait_committed(3)


def test_what_is_under_way_at_the_end_is_committed(broker) -> None:
    broker.produce(*map(message, range(100)))
    with Collector(broker) as collector:
        collector.wait_for(range(100))
    assert broker.committed() == 100


def test_two_daemons_share_the_partitions(broker) -> None:
    with Collector(broker) as one:
        one.wait_for_partitions(3)
        with Collector(broker) as two:
            wait_until(
                lambda: {len(one.source._partitions), len(two.source._partitions)} == {1, 2},
                "shared partitions",
                limit_seconds=LIMIT,
            )
            broker.produce(*map(message, range(10)))
            wait_until(
                lambda: len(one.writer.numbers()) + len(two.writer.numbers()) == 10,
                "all of it",
                limit_seconds=LIMIT,
            )


def test_batch_produced_twice_is_handed_on_once(broker) -> None:
    headers = [("pollect-id", b"home/Meter/attic/pi-1/1")]
    broker.produce(message(1), message(1), headers=headers)
    broker.produce(message(2))
    with Collector(broker) as collector:
        collector.wait_for([1, 2])
        broker.wait_committed(3)
        wait_until(lambda: collector.value("repeated") == 1, "the count", limit_seconds=LIMIT)


def test_broker_that_was_killed_is_found_again(broker) -> None:
    with Collector(broker) as collector:
        broker.produce(message(1))
        collector.wait_for([1])
        broker.kill()
        wait_until(lambda: not up(collector), "down", limit_seconds=LIMIT)
        broker.start()  # it kept nothing
        broker.make_topic()
        broker.produce(message(2))
        collector.wait_for([1, 2])
        wait_until(lambda: up(collector), "up", limit_seconds=LIMIT)


def up(collector: Collector) -> bool:
    (status,) = collector.engine.source_statuses()
    return status.up


def test_full_relay_pauses_and_goes_on(broker, monkeypatch) -> None:
    monkeypatch.setattr("pollect_sources_network.kafka.FETCH_MOST", 10)
    broker.produce(*map(message, range(200)))
    collector = Collector(broker)
    collector.source.relay._most_pending = 20
    collector.writer.away = True
    with collector:
        wait_until(lambda: not collector.source.relay.has_room, "a full relay", limit_seconds=LIMIT)
        assert collector.source.relay.pending <= 30
        collector.writer.away = False
        collector.wait_for(range(200))
        broker.wait_committed(200)


def test_probe_by_itself_joins_no_group(broker) -> None:
    """`pollect probe` has no writers, and must take no partition from a daemon."""
    broker.produce(message(1))
    with Running(build(broker, interval=30.0)) as source:
        values = {sample.metric.name: sample.value for sample in source.probe()}
    assert values["partitions"] == 0
    assert broker.committed() == 0


def test_topic_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    with running(KafkaBroker(tmp_path)) as broker:
        with Running(build(broker, interval=30.0)) as source:
            with pytest.raises(TargetUnavailable, match="there is no topic 'pollect' yet"):
                source.probe()


def test_broker_that_is_not_there_is_unavailable_with_the_reason() -> None:
    with absent_port() as port:
        options = {"type": "Kafka", "servers": [f"127.0.0.1:{port}"]}
        source = build_source(options, clock=SystemClock(), interval=10.0)
        with Running(source) as running_source:
            with pytest.raises(TargetUnavailable, match=f"127.0.0.1:{port}: .*refused"):
                running_source.probe()


def test_offset_is_that_of_the_first_message_the_writers_lack() -> None:
    def after(*accepted: int) -> tuple[int | None, bool]:
        partition = _Partition()
        for offset in (5, 6, 9):
            partition.take(offset)
        for offset in accepted:
            partition.accept(offset)
        return partition.next, partition.busy

    assert after(6) == (None, True)
    assert after(6, 5) == (7, True)
    assert after(6, 5, 9, 9) == (10, False)
