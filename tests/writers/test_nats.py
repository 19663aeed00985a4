"""Writer `Nats` against real servers: what a stream gets, once, and who is let in."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pollect.api import Batch, ConfigError, Rejected, Retryable, SourceId, Writer
from pollect.support.batches import decode_message
from pollect.testing import build_writer
from tests.simulators.certificates import Authority
from tests.simulators.nats import (
    PROGRAMS,
    NatsServer,
    make_operator,
    new_seed,
    public_key,
    running,
)
from tests.writers.samples import VALUE, numbered, values

METER = SourceId("home", "Meter", "attic")
Build = Callable[..., Writer[Any]]


@pytest.fixture
def build() -> Iterator[Build]:
    """Builds and opens writers, which are closed at the end."""
    writers: list[Writer[Any]] = []

    def build(server: NatsServer, **section: Any) -> Writer[Any]:
        options = {"type": "Nats", "servers": [server.url], "origin": "pi-1", "timeout": 30}
        writer = build_writer(options | section)
        writers.append(writer)
        writer.open()
        return writer

    yield build
    for writer in writers:
        writer.close()


@pytest.fixture(params=PROGRAMS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NatsServer]:
    with running(NatsServer(tmp_path, program=request.param)) as server:
        yield server


@pytest.fixture
def current(tmp_path: Path) -> Iterator[NatsServer]:
    with running(NatsServer(tmp_path)) as server:
        yield server


def test_each_batch_is_a_message_on_the_subject_of_its_source(server, build) -> None:
    first, second = numbered(METER, 1), values(SourceId("net", "Tcp.Time"), {"a": 1.5})
    build(server).write([first, second])
    messages = server.messages()
    assert [m.subject for m in messages] == ["pollect.home.Meter.attic", "pollect.net.Tcp_Time"]
    assert [decode_message(m.data).batch for m in messages] == [first, second]
    assert {decode_message(m.data).origin for m in messages} == {"pi-1"}
    # `get_msg` shows no headers of Debian's server that it did not store: both do.
    assert messages[0].headers["Nats-Msg-Id"].startswith("home/Meter/attic/pi-1/1700000001000000-")


def test_batch_that_is_sent_again_is_kept_once(server, build) -> None:
    """As after an answer that was lost, or from the spool of a daemon that was killed."""
    build(server).write([numbered(METER, 1), numbered(METER, 2)])
    build(server).write([numbered(METER, 2), numbered(METER, 3)])
    found = [decode_message(m.data).batch.samples[0].value for m in server.messages()]
    assert found == [1, 2, 3]


def test_equal_sources_of_two_daemons_do_not_pass_for_each_other(server, build) -> None:
    for origin in ("pi-1", "pi-2"):
        build(server, origin=origin).write([numbered(METER, 1)])
    assert [decode_message(m.data).origin for m in server.messages()] == ["pi-1", "pi-2"]


def test_stream_is_made_as_the_options_say_and_left_as_it_is(server, build) -> None:
    def config() -> Any:
        async def look(client: Any, jetstream: Any) -> Any:
            return (await jetstream.stream_info("metrics")).config

        return server.ask(look)

    build(server, stream="metrics", subject="lab.x", keepSeconds=60, keepBytes=2_000_000)
    made = config()
    assert made.subjects == ["lab.x.>"]
    assert (made.max_age, made.max_bytes, made.num_replicas) == (60, 2_000_000, 1)
    assert made.duplicate_window == 60
    build(server, stream="metrics", subject="lab.x", keepSeconds=600)
    assert config() == made


def test_without_a_stream_the_batch_waits_for_one(current, build) -> None:
    writer = build(current, createStream=False)
    with pytest.raises(Retryable, match="no stream for the subject, or JetStream is off"):
        writer.write([numbered(METER, 1)])
    build(current)
    writer.write([numbered(METER, 1)])
    assert len(current.messages()) == 1


def test_stream_that_was_deleted_is_made_again(current, build) -> None:
    writer = build(current)
    writer.write([numbered(METER, 1)])

    async def delete(client: Any, jetstream: Any) -> None:
        await jetstream.delete_stream("pollect")

    current.ask(delete)
    with pytest.raises(Retryable):
        writer.write([numbered(METER, 2)])
    writer.write([numbered(METER, 2)])
    assert len(current.messages()) == 1


def test_server_that_was_killed_is_found_again(server, build) -> None:
    writer = build(server)
    writer.write([numbered(METER, 1)])
    server.kill()
    with pytest.raises(Retryable, match=f"127.0.0.1:{server.port}: "):
        writer.write([numbered(METER, 2)])
    server.start()
    writer.write([numbered(METER, 2)])
    assert len(server.messages()) == 2


def test_next_server_of_a_list_is_taken(current, build, tmp_path: Path) -> None:
    absent = NatsServer(tmp_path)
    writer = build(current, servers=[absent.url, current.url])
    writer.write([numbered(METER, 1)])
    assert len(current.messages()) == 1


def test_batch_beyond_the_limit_of_the_server_costs_itself_and_says_why(tmp_path, build) -> None:
    with running(NatsServer(tmp_path, "max_payload: 2000")) as server:
        large = values(METER, {f"{number:05}": number for number in range(200)})
        with pytest.raises(Rejected, match=r"home/Meter/attic: a batch of 200 .* 2000 bytes") as no:
            build(server).write([numbered(METER, 1), large, numbered(METER, 2)])
        assert no.value.lost == 200
        assert len(server.messages()) == 2


def test_batch_beyond_the_limit_of_the_stream_costs_itself(current, build) -> None:
    async def make(client: Any, jetstream: Any) -> None:
        await jetstream.add_stream(name="pollect", subjects=["pollect.>"], max_msg_size=500)

    current.ask(make)
    large = values(METER, {f"{number:05}": number for number in range(200)})
    with pytest.raises(Rejected, match="a batch of 200 samples is too large"):
        build(current).write([large, numbered(METER, 2)])


def test_empty_batch_says_that_a_source_has_no_values(current, build) -> None:
    build(current).write([Batch(METER, (), 5.0)])
    (message,) = current.messages()
    assert decode_message(message.data).batch == Batch(METER, [], 5.0)


def test_thousands_of_batches_keep_their_order(current, build) -> None:
    build(current).write([numbered(METER, number) for number in range(2000)])
    found = [int(decode_message(m.data).batch.samples[0].value) for m in current.messages()]
    assert found == list(range(2000))


SIGN_IN = {
    "user": (
        'authorization { user: "me", password: "hush" }',
        {"user": "me", "password": "hush"},
        {"user": "me", "password": "wrong-hush"},
    ),
    "token": (
        'authorization { token: "hush-token" }',
        {"token": "hush-token"},
        {"token": "wrong-hush"},
    ),
}


@pytest.mark.parametrize("way", SIGN_IN)
def test_who_signs_in_is_let_in_and_who_does_not_waits(tmp_path, build, caplog, way: str) -> None:
    settings, right, wrong = SIGN_IN[way]
    caplog.set_level(logging.DEBUG)
    with running(NatsServer(tmp_path, settings)) as server:
        build(server, **right).write([numbered(METER, 1)])
        with pytest.raises(Retryable, match=r"(?i)authorization violation|nkeys") as refused:
            build(server, **wrong)
    assert "hush" not in str(refused.value) + caplog.text


def test_nkey_signs_in_and_is_not_shown(tmp_path, build, caplog) -> None:
    import nkeys

    caplog.set_level(logging.DEBUG)
    seed, other = new_seed(nkeys.PREFIX_BYTE_USER), new_seed(nkeys.PREFIX_BYTE_USER)
    setting = f"authorization {{ users: [ {{ nkey: {public_key(seed)} }} ] }}"
    with running(NatsServer(tmp_path, setting)) as server:
        build(server, nkeySeed=seed).write([numbered(METER, 1)])
        for wrong in (other, "SUnothing"):
            with pytest.raises(Retryable) as refused:
                build(server, nkeySeed=wrong)
            assert wrong not in str(refused.value) + caplog.text
    assert seed not in caplog.text


def test_credentials_file_signs_in(tmp_path, build) -> None:
    """A user of an account in the decentralised form: JWT and seed in one file."""
    operator = make_operator()
    (tmp_path / "user.creds").write_text(operator.credentials)
    with running(NatsServer(tmp_path, *operator.settings)) as server:
        build(server, credentials=str(tmp_path / "user.creds")).write([numbered(METER, 1)])
        assert len(server.messages(user_credentials=str(tmp_path / "user.creds"))) == 1
        with pytest.raises(Retryable, match=r"(?i)authorization violation"):
            build(server)
        absent = str(tmp_path / "absent.creds")
        with pytest.raises(Retryable, match=r"cannot read the credentials: .*absent\.creds"):
            build(server, credentials=absent)


@pytest.mark.parametrize("client", [False, True])
def test_tls_with_and_without_a_client_certificate(tmp_path, build, client: bool) -> None:
    authority = Authority(tmp_path)
    pem = authority.write_pem(tmp_path / "server.pem", "127.0.0.1")
    verify = f', ca_file: "{authority.ca_file}", verify: true' if client else ""
    tls = f'tls {{ cert_file: "{pem}", key_file: "{pem}"{verify} }}'
    own = {"cert": str(authority.write_pem(tmp_path / "client.pem", "pollect"))} if client else {}
    with running(NatsServer(tmp_path, tls, scheme="tls")) as server:
        build(server, tls={"ca": str(authority.ca_file), **own}).write([numbered(METER, 1)])
        build(server, tls={"insecure": True, **own}).write([numbered(METER, 2)])
        with pytest.raises(Retryable, match="TLS failed: "):
            build(server)
        with pytest.raises(Retryable, match=r"cannot use the files of `tls`: .*absent\.pem"):
            build(server, tls={"ca": str(tmp_path / "absent.pem")})


@pytest.mark.parametrize(
    ("section", "complaint"),
    [
        ({"servers": ["http://a"]}, r"servers\[0\]: expected a URL like nats://"),
        ({"servers": ["nats://me:hush@a:1"]}, r"servers\[0\]: do not put credentials"),
        ({"servers": []}, "servers"),
        ({"stream": "a.b"}, "stream"),
        ({"subject": "a.>"}, "subject"),
        ({"subject": ""}, "subject"),
        ({"user": "me", "token": "x"}, "token: expected one way to sign in, got user and token"),
        ({"password": "hush"}, "user: expected the user of the password"),
        ({"replicas": 6}, "replicas"),
    ],
)
def test_mistake_in_the_options_is_named(section: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as refused:
        build_writer({"type": "Nats", **section})
    assert "hush" not in str(refused.value)


def test_spool_belongs_to_the_stream_and_not_to_the_way_in() -> None:
    def identity(**section: Any) -> object:
        servers = {"servers": ["nats://b:1", "nats://a:1"]}
        return build_writer({"type": "Nats", **servers, **section}).target_identity()

    same = identity(user="me", password="x", timeout=3, servers=["nats://a:1", "nats://b:1"])
    assert same == identity()
    assert identity(stream="other") != identity()


def test_default_origin_differs_between_folders_and_stays(tmp_path: Path) -> None:
    from pollect.support.brokers import default_origin

    assert default_origin(tmp_path / "a") == default_origin(tmp_path / "a")
    assert default_origin(tmp_path / "a") != default_origin(tmp_path / "b")


def test_value_between_two_servers_that_know_nothing_of_each_other(current, build) -> None:
    """A connection that idles is still good, or replaced without a word, at the next write."""
    writer = build(current)
    writer.write([numbered(METER, 1)])
    current.stop()
    current.start()
    writer.write([Batch(METER, [VALUE.sample(2)], 9.0)])
    assert len(current.messages()) == 2
