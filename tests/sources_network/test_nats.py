"""Source `Nats` against real servers: batches reach the writers once, and are then acknowledged."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pollect.api import (
    AuthenticationFailed,
    Batch,
    TargetUnavailable,
)
from pollect.engine.clock import SystemClock
from pollect.support.batches import encode_message
from pollect.testing import Running, build_source, wait_until
from tests.simulators.nats import PROGRAMS, NatsServer, running
from tests.sources_network.collectors import ENERGY, LIMIT, METER, RelayingEngine, message


class Collector(RelayingEngine):
    def __init__(self, server: NatsServer, **section: Any) -> None:
        super().__init__(build(server, **section))


def build(server: NatsServer, *, interval: float = 0.2, **section: Any) -> Any:
    options = {"type": "Nats", "servers": [server.url]}
    return build_source(options | section, clock=SystemClock(), interval=interval)


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., NatsServer]]:
    servers: list[NatsServer] = []

    def make_server(*settings: str, **options: Any) -> NatsServer:
        server = NatsServer(tmp_path, *settings, **options)
        servers.append(server)
        server.start()
        make_stream(server)
        return server

    yield make_server
    for server in servers:
        server.stop()


def make_stream(server: NatsServer) -> None:
    async def make(client: Any, jetstream: Any) -> None:
        await jetstream.add_stream(name="pollect", subjects=["pollect.>"])

    server.ask(make)


@pytest.fixture(params=PROGRAMS)
def server(request: pytest.FixtureRequest, make_server: Callable[..., NatsServer]) -> NatsServer:
    return make_server(program=request.param)


@pytest.fixture
def current(make_server: Callable[..., NatsServer]) -> NatsServer:
    return make_server()


def wait_acknowledged(server: NatsServer) -> None:
    wait_until(lambda: server.unacknowledged() == (0, 0), "acknowledgements", limit_seconds=LIMIT)


def test_batches_reach_the_writers_as_they_were_and_are_acknowledged(server) -> None:
    samples = [ENERGY.sample(5, "küche"), ENERGY.sample(2.5, "attic", time=7.5)]
    batch = Batch(METER, samples, 1000.25, (("site", "n"),), 25.0)
    server.publish("pollect.home.Meter.attic", encode_message(batch, "pi-1"))
    with Collector(server) as collector:
        collector.wait_for([5, 2.5])
        assert batch in collector.writer.batches
        wait_acknowledged(server)
        wait_until(lambda: collector.value("samples") == 2, "its own value", limit_seconds=LIMIT)
    assert [type(s.value) for s in samples] == [int, float]


def test_what_waited_for_its_daemon_is_consumed_in_order(server) -> None:
    server.publish("pollect.home.Meter.attic", *map(message, range(500)))
    with Collector(server) as collector:
        collector.wait_for(range(500))
        assert collector.writer.numbers() == list(range(500))
        wait_acknowledged(server)


def test_nothing_is_acknowledged_before_the_writer_has_it(current) -> None:
    current.publish("pollect.home.Meter.attic", *map(message, range(3)))
    collector = Collector(current)
    collector.writer.away = True
    with collector:
        wait_until(lambda: current.unacknowledged() == (3, 0), "a fetch", limit_seconds=LIMIT)
        wait_until(lambda: collector.source.relay.pending == 3, "the relay", limit_seconds=LIMIT)
        collector.writer.away = False
        collector.wait_for(range(3))
        wait_acknowledged(current)


def test_next_daemon_gets_at_once_what_the_writers_of_this_one_did_not_have(current) -> None:
    current.publish("pollect.home.Meter.attic", *map(message, range(3)))
    collector = Collector(current)
    collector.writer.away = True
    with collector:
        wait_until(lambda: collector.source.relay.pending == 3, "the relay", limit_seconds=LIMIT)
    with Collector(current) as other:
        other.wait_for(range(3))
        wait_until(lambda: other.value("redelivered") == 3, "the count", limit_seconds=LIMIT)


def test_two_daemons_share_the_work(current) -> None:
    with Collector(current) as one, Collector(current) as two:
        for number in range(0, 100, 2):
            current.publish("pollect.home.Meter.attic", message(number), message(number + 1))
        wait_until(
            lambda: len(one.writer.numbers()) + len(two.writer.numbers()) == 100,
            "all of it",
            limit_seconds=LIMIT,
        )
        assert sorted(one.writer.numbers() + two.writer.numbers()) == list(range(100))


def test_daemons_with_different_consumers_get_everything_each(current) -> None:
    with Collector(current) as one, Collector(current, consumer="second") as two:
        current.publish("pollect.home.Meter.attic", *map(message, range(10)))
        one.wait_for(range(10))
        two.wait_for(range(10))


def test_malformed_message_costs_itself_and_is_named_once(current, caplog) -> None:
    bad = [b"", b"hello", b'{"pollect": 7}', message(1)[:-4]]
    current.publish("pollect.home.Meter.attic", *bad, message(5))
    with Collector(current) as collector:
        collector.wait_for([5])
        wait_acknowledged(current)
        wait_until(lambda: collector.value("malformed") == 4, "the count", limit_seconds=LIMIT)
    complaints = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert len(complaints) == 1
    assert "pollect.home.Meter.attic, message 1 of pollect: " in complaints[0]


def test_batch_published_twice_is_handed_on_once(current) -> None:
    """As when the writer's daemon was away for longer than the stream remembers ids."""

    async def forget(client: Any, jetstream: Any) -> None:
        await jetstream.delete_stream("pollect")
        await jetstream.add_stream(name="pollect", subjects=["pollect.>"], duplicate_window=0.1)

    current.ask(forget)
    headers = {"Nats-Msg-Id": "home/Meter/attic/pi-1/1"}
    current.publish("pollect.home.Meter.attic", message(1), headers=headers)

    def again() -> bool:
        current.publish("pollect.home.Meter.attic", message(1), headers=headers)
        return len(current.messages()) == 2

    wait_until(again, "a stream that forgot", limit_seconds=LIMIT)
    with Collector(current) as collector:
        wait_until(lambda: collector.value("repeated") == 1, "the count", limit_seconds=LIMIT)
        wait_acknowledged(current)
        assert collector.writer.numbers() == [1]


def test_server_that_was_killed_is_found_again_and_nothing_is_lost(server) -> None:
    with Collector(server) as collector:
        server.publish("pollect.home.Meter.attic", message(1))
        collector.wait_for([1])
        wait_acknowledged(server)
        server.kill()
        wait_until(lambda: not up(collector), "down", limit_seconds=LIMIT)
        server.start()
        server.publish("pollect.home.Meter.attic", message(2))
        collector.wait_for([1, 2])
        wait_until(lambda: up(collector), "up", limit_seconds=LIMIT)


def up(collector: Collector) -> bool:
    (status,) = collector.engine.source_statuses()
    return status.up


def test_consumer_that_was_deleted_is_made_again(current, monkeypatch) -> None:
    monkeypatch.setattr("pollect_sources_network.nats._INFO_SECONDS", 0.2)

    async def delete(client: Any, jetstream: Any) -> None:
        await jetstream.delete_consumer("pollect", "pollect")

    with Collector(current) as collector:
        current.publish("pollect.home.Meter.attic", message(1))
        collector.wait_for([1])
        wait_acknowledged(current)
        current.ask(delete)
        current.publish("pollect.home.Meter.attic", message(2))
        wait_until(
            lambda: set(collector.writer.numbers()) == {1, 2}, "the rest", limit_seconds=LIMIT
        )


def test_stream_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    with running(NatsServer(tmp_path)) as server:
        with Running(build(server, interval=30.0)) as source:
            with pytest.raises(TargetUnavailable, match="there is no stream 'pollect' yet"):
                source.probe()
        with Collector(server) as collector:
            make_stream(server)
            server.publish("pollect.home.Meter.attic", message(1))
            collector.wait_for([1])


def test_probe_by_itself_consumes_nothing(current) -> None:
    """`pollect probe` has no writers, and must not empty the consumer of a daemon."""
    current.publish("pollect.home.Meter.attic", *map(message, range(3)))
    with Running(build(current, interval=30.0)) as source:

        def waiting() -> bool:
            values = {sample.metric.name: sample.value for sample in source.probe()}
            return values.get("waiting") == 3

        wait_until(waiting, "the backlog", limit_seconds=LIMIT)
    assert current.unacknowledged() == (0, 3)


def test_messages_of_other_subjects_of_the_stream_are_left_alone(make_server) -> None:
    server = make_server()

    async def widen(client: Any, jetstream: Any) -> None:
        await jetstream.update_stream(name="pollect", subjects=["pollect.>", "other.>"])

    server.ask(widen)
    server.publish("other.thing", b"hello")
    server.publish("pollect.home.Meter.attic", message(1))
    with Collector(server) as collector:
        collector.wait_for([1])
        wait_until(lambda: collector.value("malformed") == 0, "its value", limit_seconds=LIMIT)


def test_wrong_password_is_authentication_that_failed(tmp_path: Path) -> None:
    setting = 'authorization { user: "me", password: "right" }'
    with running(NatsServer(tmp_path, setting)) as server:
        with Running(build(server, interval=30.0, user="me", password="hush")) as source:
            with pytest.raises(AuthenticationFailed) as refused:
                source.probe()
    assert "hush" not in str(refused.value)


def test_a_subject_that_sounds_like_a_sign_in_does_not_make_it_one(tmp_path: Path) -> None:
    """The server quotes the subject in what it answers to who may not use it."""
    denied = '{ publish: { deny: ["$JS.API.CONSUMER.>"] } }'
    user = f'{{ user: "me", password: "right", permissions: {denied} }}'
    with running(NatsServer(tmp_path, f"authorization {{ users: [ {user} ] }}")) as server:
        signed_in = {"user": "me", "password": "right"}
        section: dict[str, Any] = {
            "stream": "unauthorized",
            "interval": 30.0,
            "timeout": 0.3,
            **signed_in,
        }
        with Running(build(server, **section)) as source:

            def is_denied() -> bool:
                with pytest.raises(TargetUnavailable) as denied:
                    source.probe()
                return '"$js.api.consumer.info.unauthorized.pollect"' in str(denied.value)

            wait_until(is_denied, "the answer of the server", limit_seconds=LIMIT)
