"""`Mqtt` against Debian's mosquitto; mosquitto_sub tells what arrives."""

import contextlib
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pollect.api import (
    Batch,
    ConfigError,
    Metric,
    MissingDependency,
    Retryable,
    Sample,
    SourceId,
    SourceStatus,
)
from pollect.delivery.outbox import Outbox
from pollect.engine.clock import SystemClock
from pollect.testing import build_writer
from pollect.testing.waiting import wait_until
from pollect_writers.mqtt.topics import series_topic
from pollect_writers.mqtt.writer import MqttWriter
from tests.simulators.certificates import Authority
from tests.simulators.mosquitto import Broker, listening, retained, running
from tests.simulators.tcp import IN_TIME_SECONDS

integration = pytest.mark.integration

LOAD = Metric(labels=("time",))
LOAD_AVG = SourceId("pollect", "LoadAvg")
SHORT, LONG = "pollect.loadavg/time/short", "pollect.loadavg/time/long"
STATUS, SOURCE_STATUS = "pollect/test/status", "pollect/pollect.loadavg/status"


def load(**values: float) -> Batch:
    return Batch(LOAD_AVG, [LOAD.sample(value, time) for time, value in values.items()], 0.0)


WITHDRAWAL = Batch(LOAD_AVG, [], 0.0)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running(Broker(tmp_path_factory.mktemp("broker"))) as broker:
        yield broker


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker of its own, to be started by the test."""
    broker = Broker(tmp_path)
    yield broker
    broker.stop()


def build(port: int, **section: Any) -> MqttWriter:
    section = {"port": port, "clientId": "test", **section}
    writer = build_writer(section, MqttWriter, clock=SystemClock())
    assert isinstance(writer, MqttWriter)
    return writer


@contextlib.contextmanager
def opened(writer: MqttWriter) -> Iterator[MqttWriter]:
    try:
        writer.open()
        yield writer
    finally:
        writer.close()


def wait_retained(port: int, topic: str, payload: str, *options: str) -> dict[str, str]:
    """Return what the broker keeps as soon as it keeps this."""
    return wait_until(
        lambda: kept if (kept := retained(port, *options)).get(topic) == payload else {},
        f"{payload!r} at {topic}",
    )


@contextlib.contextmanager
def delivering(writer: MqttWriter) -> Iterator[Outbox]:
    """The writer behind the engine's outbox, as it is in the daemon."""
    outbox = Outbox(writer, clock=SystemClock())
    outbox.start()
    try:
        yield outbox
    finally:
        writer.context.stopping.set()
        outbox.stop()
        outbox.join(60)


@pytest.mark.parametrize(
    ("source", "sample", "static", "expected"),
    [
        (SourceId("pollect", "Http"), Metric().sample(1), (), "pollect.http"),
        (
            SourceId("pollect", "Process", "Web"),
            Metric("load_percent", labels=("pidx",)).sample(1, "0"),
            (("site", "Cellar"), ("pidx", "static")),
            "pollect.process.web/load_percent/pidx/0/site/cellar",
        ),
        (
            SourceId("c", "extensions.Random", "n 1!"),
            Metric("a.b", labels=("disk",)).sample(1, "/mnt/C"),
            (),
            "c.extensions.random.n 1!/a.b/disk//mnt/c",
        ),
        (
            SourceId("c", "T"),
            Metric(labels=("x",)).sample(1, "a+b#c\0"),
            (),
            "c.t/x/a_b_c_",
        ),
        (SourceId("$SYS", "T"), Metric(labels=("x",)).sample(1, "\udcff"), (), "_sys.t/x/?"),
    ],
)
def test_topics_are_those_of_1x(
    source: SourceId, sample: Sample, static: tuple[tuple[str, str], ...], expected: str
) -> None:
    assert series_topic(source, sample, static) == expected


@integration
def test_values_are_retained_as_text(broker: Broker) -> None:
    with listening(broker.port) as listener, opened(build(broker.port)) as writer:
        writer.write([load(short=0.5239, long=24686161920)])
        listener.wait_for(LONG, "24686161920")
        assert (False, 0, SHORT, "0.5239") in listener.messages
        kept = wait_retained(broker.port, SHORT, "0.5239")
        assert {topic: kept[topic] for topic in (SHORT, LONG, STATUS, SOURCE_STATUS)} == {
            SHORT: "0.5239",
            LONG: "24686161920",
            STATUS: "online",
            SOURCE_STATUS: "online",
        }


@integration
@pytest.mark.parametrize("qos", [1, 2])
def test_quality_of_service_and_prefix(broker: Broker, qos: int) -> None:
    section = {"qos": qos, "topicPrefix": f"home/{qos}/", "retain": False}
    with listening(broker.port) as listener, opened(build(broker.port, **section)) as writer:
        writer.write([load(short=1)])
        listener.wait_for(f"home/{qos}/{SHORT}", "1")
        assert (False, qos, f"home/{qos}/{SHORT}", "1") in listener.messages
        assert f"home/{qos}/{SHORT}" not in retained(broker.port)
        assert retained(broker.port)[f"home/{qos}/{STATUS}"] == "online"


@integration
def test_patterns_match_the_whole_topic_without_prefix(broker: Broker) -> None:
    section = {
        "topicPrefix": "filtered/",
        "includePattern": [r"pollect\.loadavg/time/.*", "x"],
        "excludePattern": [".*/long"],
    }
    with opened(build(broker.port, **section)) as writer:
        other = Batch(SourceId("pollect", "x"), [Metric("more").sample(1)], 0.0)
        writer.write([other, load(long=2, short=1)])
        values = {
            topic
            for topic in wait_retained(broker.port, f"filtered/{SHORT}", "1")
            if topic.startswith("filtered/") and not topic.endswith("/status")
        }
        assert values == {f"filtered/{SHORT}"}


@pytest.mark.parametrize("key", ["includePattern", "excludePattern"])
def test_a_bad_pattern_is_a_config_error(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(1883, **{key: ["good", "["]})
    assert caught.value.key == f"{key}[1]"


@integration
def test_a_series_that_is_gone_is_taken_back(broker: Broker) -> None:
    section = {"topicPrefix": "gone/"}
    with listening(broker.port) as listener, opened(build(broker.port, **section)) as writer:
        writer.write([load(short=1, long=2)])
        writer.write([load(short=3)])
        listener.wait_for(f"gone/{SHORT}", "3")
        kept = retained(broker.port)
        assert f"gone/{LONG}" not in kept
        assert kept[f"gone/{SHORT}"] == "3"


@integration
def test_a_source_without_values_is_offline_and_comes_back(broker: Broker) -> None:
    section = {"topicPrefix": "withdrawn/"}
    with listening(broker.port) as listener, opened(build(broker.port, **section)) as writer:
        writer.write([load(short=1)])
        writer.write([WITHDRAWAL])
        listener.wait_for(f"withdrawn/{SOURCE_STATUS}", "offline")
        assert retained(broker.port)[f"withdrawn/{SHORT}"] == "1"
        writer.write([load(short=2)])
        listener.wait_for(f"withdrawn/{SOURCE_STATUS}", "online")
        listener.wait_for(f"withdrawn/{SHORT}", "2")


@integration
def test_it_says_everything_anew_after_it_was_closed(broker: Broker) -> None:
    writer = build(broker.port, topicPrefix="Other/", hassAutodiscovery=True)
    for value in (1, 2):
        with listening(broker.port) as listener:
            listener.messages.clear()  # what the broker kept; the connection brings the rest
            with opened(writer):
                writer.write([load(short=value)])
                listener.wait_for(f"Other/{SHORT}", str(value))
                listener.wait_for(f"Other/{STATUS}", "online")
                assert [t for t in listener.latest() if t.startswith("homeassistant/")]


@integration
def test_stopping_says_offline(broker: Broker) -> None:
    with listening(broker.port) as listener:
        with opened(build(broker.port, topicPrefix="stop/")) as writer:
            writer.write([load(short=1)])
            listener.wait_for(f"stop/{STATUS}", "online")
        listener.wait_for(f"stop/{STATUS}", "offline")


@integration
def test_a_killed_daemon_is_offline_by_its_last_will(broker: Broker) -> None:
    script = f"""
import time
from tests.writers.test_mqtt import build, load
writer = build({broker.port}, topicPrefix="killed/")
writer.open()
writer.write([load(short=1)])
time.sleep(60)
"""
    with listening(broker.port) as listener:
        daemon = subprocess.Popen([sys.executable, "-c", script])
        try:
            listener.wait_for(f"killed/{STATUS}", "online")
        finally:
            daemon.kill()
            daemon.wait()
        listener.wait_for(f"killed/{STATUS}", "offline")
    assert retained(broker.port)[f"killed/{STATUS}"] == "offline", "for those who come later, too"


@integration
def test_two_instances_live_side_by_side(broker: Broker, tmp_path: Path) -> None:
    writers = [
        build_writer({"port": broker.port}, MqttWriter, clock=SystemClock(), config_dir=folder)
        for folder in (tmp_path / "a", tmp_path / "b")
    ]
    with contextlib.ExitStack() as stack:
        for writer in writers:
            assert isinstance(writer, MqttWriter)
            stack.enter_context(opened(writer))
        for value in range(5):
            for number, writer in enumerate(writers):
                source = SourceId(f"instance{number}", "LoadAvg")
                writer.write([Batch(source, [LOAD.sample(value, "short")], 0.0)])
        wait_retained(broker.port, "instance0.loadavg/time/short", "4")
        kept = wait_retained(broker.port, "instance1.loadavg/time/short", "4")
        online = [topic for topic, state in kept.items() if topic.startswith("pollect/pollect-")]
        assert len(online) == 2


def test_the_client_id_stays_over_restarts_and_differs_between_configs() -> None:
    def own_id(*sources: SourceId) -> str:
        writer = build_writer({}, MqttWriter)
        assert isinstance(writer, MqttWriter)
        statuses = [SourceStatus(source) for source in sources]
        writer.context = replace(writer.context, sources=lambda: statuses)
        return writer._own_client_id()

    assert own_id(LOAD_AVG) == own_id(LOAD_AVG)
    assert own_id(LOAD_AVG) != own_id(SourceId("other", "LoadAvg"))


@integration
def test_values_written_before_the_broker_is_up_arrive(own_broker: Broker) -> None:
    with delivering(build(own_broker.port)) as outbox:
        outbox.deliver([load(short=1)])
        outbox.deliver([load(short=2)])
        own_broker.start()
        with listening(own_broker.port) as listener:
            listener.wait_for(SHORT, "2")
            listener.wait_for(SOURCE_STATUS, "online")
        assert outbox.status().lost_samples == 0


@integration
def test_an_outage_loses_nothing_and_delays_nobody(own_broker: Broker) -> None:
    """The broker forgets everything; all topics are there again, with the latest values."""
    own_broker.start()
    with delivering(build(own_broker.port, hassAutodiscovery=True)) as outbox:
        quiet = Batch(SourceId("pollect", "Quiet"), [Metric().sample(7)], 0.0)
        outbox.deliver([quiet, load(short=1, long=1)])
        with listening(own_broker.port) as listener:
            listener.wait_for(LONG, "1")
        before = set(retained(own_broker.port))
        own_broker.stop()
        started = time.monotonic()
        for value in range(2, 50):
            outbox.deliver([load(short=value, long=value)])
        assert time.monotonic() - started < IN_TIME_SECONDS, "48 waits for the broker take longer"
        own_broker.start()
        with listening(own_broker.port) as listener:
            listener.wait_for(LONG, "49")
            listener.wait_for("pollect.quiet", "7")
        assert set(retained(own_broker.port)) == before
        assert outbox.status().lost_samples == 0


@integration
def test_wrong_credentials_are_told_once_and_right_ones_enter(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(passwords), "ann", "of the test"], check=True)
    settings = ["allow_anonymous false", f"password_file {passwords}"]
    with running(Broker(tmp_path, settings)) as broker:
        wrong = build(broker.port, user="ann", password="not this one")
        with opened(wrong), pytest.raises(Retryable, match="refused: Not authorized") as caught:
            wrong.write([load(short=1)])
        assert "not this one" not in f"{caught.value} {caplog.text}"
        with opened(build(broker.port, user="ann", password="of the test")) as right:
            right.write([load(short=1)])
            wait_retained(broker.port, SHORT, "1", "-u", "ann", "-P", "of the test")


@integration
# paho-mqtt 2.2 leaves a socket to the garbage collector when the handshake fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_with_a_client_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    for name, identity in (("server", "127.0.0.1"), ("client", "client.example")):
        leaf = authority.issue(identity)
        leaf.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        leaf.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
    settings = [
        "allow_anonymous true",
        f"cafile {authority.ca_file}",
        f"certfile {tmp_path / 'server.pem'}",
        f"keyfile {tmp_path / 'server.key'}",
        "require_certificate true",
    ]
    client = {"cert": str(tmp_path / "client.pem"), "key": str(tmp_path / "client.key")}
    with running(Broker(tmp_path, settings)) as broker:
        stranger = build(broker.port, tls=client)
        with opened(stranger), pytest.raises(Retryable, match="TLS failed: self-signed"):
            stranger.write([load(short=1)])
        with opened(build(broker.port, tls={"ca": str(authority.ca_file), **client})) as writer:
            writer.write([load(short=1)])
            options = ["--cafile", str(authority.ca_file), "--cert", client["cert"]]
            wait_retained(broker.port, SHORT, "1", *options, "--key", client["key"])
        with opened(build(broker.port, tls={"insecure": True, **client})) as careless:
            careless.write([load(short=2)])
            wait_retained(broker.port, SHORT, "2", *options, "--key", client["key"])


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(MissingDependency, match=r"pollect-writers\[mqtt\]"):
        build(1883).open()


def test_an_unreadable_certificate_is_worth_another_try() -> None:
    writer = build(1883, tls={"ca": "absent.pem"})
    with pytest.raises(Retryable, match=r"cannot use the files of `tls`: .*No such file"):
        writer.open()
    writer.close()


def test_stopping_does_not_wait_for_an_absent_broker(own_broker: Broker) -> None:
    writer = build(own_broker.port)
    outbox = Outbox(writer, clock=SystemClock())
    outbox.start()
    outbox.deliver([load(short=1)])
    started = time.monotonic()
    writer.context.stopping.set()
    outbox.stop()
    outbox.join(60)
    assert time.monotonic() - started < IN_TIME_SECONDS
    assert not [thread for thread in threading.enumerate() if "paho" in thread.name]
    assert outbox.status().lost_samples == 1


def test_counters_of_the_outbox_tell_why(own_broker: Broker, caplog) -> None:
    caplog.set_level(logging.WARNING)
    with delivering(build(own_broker.port)) as outbox:
        outbox.deliver([load(short=1)])
        wait_until(lambda: not outbox.status().up)
        reason = outbox.status().reason
        assert reason == f"127.0.0.1:{own_broker.port}: Connection refused"
    assert caplog.text.count("cannot deliver") == 1


def test_series_that_meet_in_one_topic_are_told_apart_and_named(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    room = Metric("warmth", labels=("room",))
    source = SourceId("pollect", "Rooms")
    rooms = {"Attic": 1.0, "attic": 2.0, "a+b": 3.0, "a_b": 4.0, "cellar": 5.0}

    def batch(*names: str) -> Batch:
        return Batch(source, [room.sample(rooms[name], name) for name in names], 1.0)

    place = "pollect.rooms/warmth/room/"

    def kept() -> dict[str, str]:
        return {
            topic.removeprefix(place): payload
            for topic, payload in retained(broker.port).items()
            if topic.startswith(place)
        }

    with delivering(build(broker.port)) as outbox:
        outbox.deliver([batch(*rooms)])
        wait_until(lambda: len(kept()) == 5, "all rooms")
        found = kept()
        assert sorted(found.values()) == ["1.0", "2.0", "3.0", "4.0", "5.0"]
        assert (found["attic"], found["a_b"], found["cellar"]) == ("1.0", "3.0", "5.0")
        second = next(topic for topic, payload in found.items() if payload == "2.0")
        warning = "(room='Attic') and pollect/Rooms warmth (room='attic') have the same topic"
        assert caplog.text.count(warning) == 1
        assert f"is published as {place}{second}" in caplog.text
        outbox.deliver([batch("attic", "cellar")])
        wait_until(lambda: kept() == {second: "2.0", "cellar": "5.0"}, "it keeps its topic")
    assert caplog.text.count("have the same topic") == 2


def test_label_that_makes_brokers_hang_up_costs_nothing(broker: Broker) -> None:
    place = Metric("warmth", labels=("place",))
    batch = Batch(
        SourceId("pollect", "Poles"),
        [
            place.sample(n, f"{n}{text}pole")
            for n, text in enumerate("\t\n\x01\x7f\x9f\ufdd0\uffff")
        ],
        1.0,
    )
    with delivering(build(broker.port)) as outbox:
        outbox.deliver([batch])
        found = wait_retained(broker.port, "pollect.poles/warmth/place/6_pole", "6")
        assert found["pollect.poles/warmth/place/0_pole"] == "0"
        wait_until(lambda: outbox.status().written_samples == 7, "all of them", limit_seconds=60)
