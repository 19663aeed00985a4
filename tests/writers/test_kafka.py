"""Writer `Kafka` against a real broker: what a topic gets, and what happens while it is away."""

import logging
import random
import select
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pollect.api import Batch, ConfigError, Rejected, Retryable, SourceId, Writer
from pollect.support.batches import decode_message
from pollect.testing import build_writer
from tests.simulators.certificates import Authority
from tests.simulators.kafka import KafkaBroker, running
from tests.simulators.tcp import Peer, serve_tcp
from tests.writers.samples import numbered, values

METER = SourceId("home", "Meter", "attic")
Build = Callable[..., Writer[Any]]


@pytest.fixture
def build() -> Iterator[Build]:
    """Builds and opens writers, which are closed at the end."""
    writers: list[Writer[Any]] = []

    def build(broker: KafkaBroker, **section: Any) -> Writer[Any]:
        options = {"type": "Kafka", "servers": [broker.address], "origin": "pi-1"}
        writer = build_writer(options | section)
        writers.append(writer)
        writer.open()
        return writer

    yield build
    for writer in writers:
        writer.close()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    with running(KafkaBroker(tmp_path_factory.mktemp("kafka"))) as broker:
        yield broker


def test_each_batch_is_a_message_with_its_source_as_key(broker, build) -> None:
    first, second = numbered(METER, 1), values(SourceId("net", "TcpTime"), {"a": 1.5})
    build(broker, topic="keys").write([first, second])
    messages = {message.key(): message for message in broker.messages("keys")}
    assert messages.keys() == {b"home/Meter/attic", b"net/TcpTime"}
    message = messages[b"home/Meter/attic"]
    assert decode_message(message.value()) == (first, "pi-1")
    ((name, value),) = message.headers()
    assert name == "pollect-id"
    assert value.startswith(b"home/Meter/attic/pi-1/1700000001000000-")


def test_batches_of_one_source_stay_in_order(broker, build) -> None:
    writer = build(broker, topic="order")
    for start in range(0, 3000, 1000):
        writer.write([numbered(METER, number) for number in range(start, start + 1000)])
    messages = broker.messages("order")
    assert len({message.partition() for message in messages}) == 1
    found = [int(decode_message(m.value()).batch.samples[0].value) for m in messages]
    assert found == list(range(3000))


def test_topic_is_made_as_the_options_say_and_left_as_it_is(broker, build) -> None:
    build(broker, topic="made", partitions=4)
    assert broker.topics()["made"] == 4
    build(broker, topic="made", partitions=8)
    assert broker.topics()["made"] == 4


def test_topic_is_not_made_when_that_is_the_operators_to_do(broker, build) -> None:
    build(broker, topic="not-made", createTopic=False)
    assert "not-made" not in broker.topics()


def test_batch_beyond_the_limit_costs_itself_and_says_why(broker, build) -> None:
    noise = random.Random(1)
    large = values(METER, {noise.randbytes(300).hex(): n for n in range(6000)})
    with pytest.raises(Rejected, match=r"home/Meter/attic: a batch of 6000 .* too large") as no:
        build(broker, topic="large").write([numbered(METER, 1), large, numbered(METER, 2)])
    assert no.value.lost == 6000
    assert len(broker.messages("large")) == 2


def test_empty_batch_says_that_a_source_has_no_values(broker, build) -> None:
    build(broker, topic="ends").write([Batch(METER, [], 5.0)])
    (message,) = broker.messages("ends")
    assert decode_message(message.value()).batch == Batch(METER, [], 5.0)


def test_broker_that_was_killed_is_found_again(tmp_path: Path, build) -> None:
    with running(KafkaBroker(tmp_path)) as broker:
        writer = build(broker, timeout=30)
        writer.write([numbered(METER, 1)])
        broker.kill()
        with pytest.raises(Retryable, match=f"127.0.0.1:{broker.port}: "):
            writer.write([numbered(METER, 2)])
        with pytest.raises(Retryable, match=r"(?i)refused"):
            writer.write([numbered(METER, 2)])
        broker.start()  # it kept nothing, the topic included
        writer.write([numbered(METER, 2)])
        (message,) = broker.messages()
        assert decode_message(message.value()).batch == numbered(METER, 2)


@pytest.mark.parametrize("way", ["user", "nobody"])
def test_who_may_not_sign_in_waits_and_shows_no_password(tmp_path, build, caplog, way) -> None:
    caplog.set_level(logging.DEBUG)
    section = {"user": "me", "password": "hush-password"} if way == "user" else {}
    with running(KafkaBroker(tmp_path, "--authentication")) as broker:
        with pytest.raises(Retryable) as refused:
            build(broker, timeout=30, **section)
    assert "hush" not in str(refused.value) + caplog.text


def test_broker_without_tls_is_not_spoken_to_in_the_clear(broker, build) -> None:
    with pytest.raises(Retryable, match=r"(?i)ssl|handshake|disconnect|transport"):
        build(broker, timeout=2, tls={"insecure": True})


def test_tls_checks_the_broker_and_shows_our_certificate(tmp_path, build) -> None:
    authority = Authority(tmp_path)
    context = authority.server("127.0.0.1")
    context.load_verify_locations(authority.ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    own = {"cert": str(authority.write_pem(tmp_path / "client.pem", "pollect"))}
    ports: list[int] = []

    def pass_on(connection: Any, peer: Peer) -> None:
        """Carry what comes by TLS to the broker, which has none, and back."""
        with socket.create_connection(("127.0.0.1", ports[0])) as plain:
            other = {connection: plain, plain: connection}
            while not peer.over.is_set():
                ready = select.select([*other], [], [], 0.05)[0]
                for end in [connection] if connection.pending() else ready:
                    data = end.recv(65_536)
                    if not data:
                        return
                    other[end].sendall(data)

    with serve_tcp(pass_on, tls=context) as front:
        with running(KafkaBroker(tmp_path, advertised=front.address)) as broker:
            ports.append(broker.port)
            address = {"servers": [front.address]}
            tls = {"ca": str(authority.ca_file), **own}
            build(broker, **address, tls=tls).write([numbered(METER, 1)])
            with pytest.raises(Retryable, match=r"(?i)certificate"):
                build(broker, **address, tls=own, timeout=5)
            with pytest.raises(Retryable):
                build(broker, **address, tls={"ca": tls["ca"]}, timeout=5)


def test_file_of_tls_that_is_missing_is_named(broker, build, tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.pem")
    with pytest.raises(Retryable, match=r"cannot use the files of `tls`: .*absent\.pem: No such"):
        build(broker, tls={"ca": absent})


@pytest.mark.parametrize(
    ("section", "complaint"),
    [
        ({"servers": ["broker"]}, r"servers\[0\]: expected host:port, got 'broker'"),
        ({"servers": ["me:hush@b"]}, r"servers\[0\]: expected host:port, got 'b'"),
        ({"servers": []}, "servers"),
        ({"topic": "a b"}, "topic"),
        ({"password": "hush"}, "user: expected the user of the password"),
        ({"mechanism": "GSSAPI"}, "mechanism"),
        ({"partitions": 0}, "partitions"),
    ],
)
def test_mistake_in_the_options_is_named(section: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as refused:
        build_writer({"type": "Kafka", **section})
    assert "hush" not in str(refused.value)


def test_spool_belongs_to_the_topic_and_not_to_the_way_in() -> None:
    def identity(**section: Any) -> object:
        servers = {"servers": ["b:1", "a:1"]}
        return build_writer({"type": "Kafka", **servers, **section}).target_identity()

    assert identity(user="me", password="x", timeout=3, servers=["a:1", "b:1"]) == identity()
    assert identity(topic="other") != identity()
