"""The promises of delivery, kept by every remote writer behind the engine's outbox.

The clock is ours: an outage of 30 seconds takes as long as the requests in it.

Most writers keep history: every sample arrives or is counted as lost. `Mqtt` shows the present: of
the batches of one source that wait, only the latest is sent, and those before it are outdated, not
lost. Promises that mean something else for it have their own tests, under `present`.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet

from pollect.api import Batch, Outcome, SourceId, Writer, WriterStatus
from pollect.delivery.outbox import Outbox
from pollect.engine.clock import SystemClock
from pollect.engine.engine import PROBE_GRACE_SECONDS, Engine
from pollect.testing import FakeClock, build_writer
from pollect.testing.waiting import wait_until
from pollect_writers.mqtt import session
from tests.core.engine.rig import (
    Gate,
    RecordingWriter,
    plan_of,
    scripted,
)
from tests.writers.backends import (
    BACKENDS,
    HASTY_SECONDS,
    PATIENT_SECONDS,
    Backend,
    BrokerBackend,
    FileBackend,
    HttpBackend,
    InfluxBackend,
    MosquittoBackend,
    NatsBackend,
    NetworkBackend,
    OtlpBackend,
    SqliteBackend,
)
from tests.writers.samples import numbered, values

SOURCE = SourceId("pollect", "Ticks")
SIDES = ("left", "right")


class Delivery:
    """One writer behind its outbox, its backend, and their clock."""

    def __init__(self, backend: Backend, folder: Path) -> None:
        self.backend = backend
        self.clock = FakeClock()
        self.ticks = 0
        self._folder = folder
        self._outbox: Outbox | None = None
        self._writer: Writer[Any] | None = None

    @property
    def outbox(self) -> Outbox:
        assert self._outbox is not None
        return self._outbox

    @property
    def status(self) -> WriterStatus:
        return self.outbox.status()

    def start(self, **options: Any) -> None:
        writer = build_writer(
            {"type": self.backend.writer, **self.backend.section, **options},
            clock=self.clock,
            state_dir=self._folder / "state",
        )
        self._writer = writer
        self._outbox = Outbox(writer, clock=self.clock)
        self._outbox.start()

    def tick(self, count: int = 1) -> None:
        """Hand over the batches of so many seconds."""
        for _ in range(count):
            self.outbox.deliver([numbered(SOURCE, self.ticks)])
            self.ticks += 1
            self.clock.advance(1.0)

    def waiting(self, ticks: int) -> int:
        """Return how many samples wait when so many ticks could not be delivered."""
        return 1 if self.backend.present else ticks

    def check_arrived(self, ticks: int) -> None:
        """Check that the first `ticks` are there, nothing else is, and nothing is lost."""
        arrived, status = self.backend.arrived(), self.status
        if self.backend.present:
            assert arrived == sorted(set(arrived)), "in order"
            assert arrived[-1:] == [ticks - 1], "the latest"
            assert 0 < status.written_samples <= ticks
        else:
            assert arrived == list(range(ticks))
            assert status.written_samples == ticks
        assert (status.lost_samples, status.buffered_samples) == (0, 0)

    def drain(self) -> None:
        """Let time pass until everything is delivered."""

        def delivered() -> bool:
            status = self.pass_a_second()
            return status.up and status.buffered_samples == 0

        wait_until(delivered)

    def pass_a_second(self) -> WriterStatus:
        self.clock.advance(1.0)
        return self.status

    def wait_for_failure(self) -> None:
        wait_until(lambda: self.status.reason)

    def begin_stop(self) -> None:
        """Say it to the writer and the outbox, as the engine does."""
        assert self._writer is not None
        self._writer.context.stopping.set()
        self.outbox.stop()

    def stop(self, seconds: float = 30.0) -> None:
        if self._outbox is not None:
            self.begin_stop()
            self._outbox.join(seconds)
            self._outbox._thread.join(30)


def kinds(*kind: type[Backend]) -> list[ParameterSet]:
    """Return the writers whose backend is of this kind."""
    return [
        pytest.param(writer, marks=[pytest.mark.integration] if backend.needs_program else [])
        for writer, backend in BACKENDS.items()
        if issubclass(backend, kind)
    ]


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `Mqtt`, whose waits are no options, wait as the others do."""
    monkeypatch.setattr(session, "_RECONNECT_SECONDS", (0.02, 0.2))
    monkeypatch.setattr(session, "_FIRST_PATIENCE", PATIENT_SECONDS)
    monkeypatch.setattr(session, "_PATIENCE", HASTY_SECONDS)
    monkeypatch.setattr(session, "_PUBLISH_SECONDS", PATIENT_SECONDS)


@pytest.fixture(params=kinds(Backend))
def delivery(request: pytest.FixtureRequest, tmp_path: Path, patience: None) -> Iterator[Delivery]:
    backend = BACKENDS[request.param](tmp_path)
    found = Delivery(backend, tmp_path)
    yield found
    backend.recover()
    found.stop()
    backend.close()


@pytest.fixture
def hasty(delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the writer notice soon that its target hangs."""
    delivery.backend.timeout_seconds = HASTY_SECONDS
    monkeypatch.setattr(session, "_FIRST_PATIENCE", HASTY_SECONDS)
    monkeypatch.setattr(session, "_PUBLISH_SECONDS", HASTY_SECONDS)


def over(*kind: type[Backend]) -> pytest.MarkDecorator:
    """Run a test for the writers whose backend is of this kind only."""
    return pytest.mark.parametrize("delivery", kinds(*kind), indirect=True)


history = over(NetworkBackend, FileBackend, BrokerBackend)
present = over(MosquittoBackend)


def test_target_that_is_down_at_the_start_gets_everything_later(delivery: Delivery) -> None:
    delivery.backend.go_down()
    delivery.start()
    delivery.tick(20)
    delivery.wait_for_failure()
    assert not delivery.status.up
    assert delivery.status.buffered_samples == delivery.waiting(20)
    delivery.backend.come_up()
    delivery.drain()
    delivery.check_arrived(20)
    assert delivery.status.up


def test_outage_of_half_a_minute_loses_nothing_and_is_logged_once(
    delivery: Delivery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    delivery.backend.come_up()
    delivery.start()
    delivery.tick(10)
    delivery.drain()
    delivery.backend.go_down()
    delivery.tick(30)
    delivery.wait_for_failure()
    delivery.backend.come_up()
    delivery.tick(10)
    delivery.drain()
    delivery.check_arrived(50)
    lines = [r.message for r in caplog.records if "deliver" in r.message]
    assert [line.split(",")[0].split(" after")[0] for line in lines] == [
        "cannot deliver",
        "delivering again",
    ], "once when it goes, once when it is back"


@history
def test_outage_beyond_the_buffer_costs_the_oldest_and_counts_them(
    delivery: Delivery, caplog: pytest.LogCaptureFixture
) -> None:
    delivery.backend.go_down()
    delivery.start(buffer={"samples": 12})
    delivery.tick()
    delivery.wait_for_failure()
    delivery.tick(39)
    wait_until(lambda: delivery.status.buffered_samples <= 12)
    delivery.backend.come_up()
    delivery.drain()
    arrived = delivery.backend.arrived()
    assert arrived == sorted(set(arrived)), "in order, each once"
    assert arrived[-12:] == list(range(28, 40)), "the youngest are kept"
    assert len(arrived) + delivery.status.lost_samples == 40
    assert delivery.status.written_samples == len(arrived)
    assert sum("buffer is full" in record.message for record in caplog.records) == 1


@history
def test_samples_beyond_their_age_are_not_sent_any_more(delivery: Delivery) -> None:
    delivery.backend.go_down()
    # So long that a busy machine may let many seconds pass before the outbox looks.
    delivery.start(buffer={"age": 100_000})
    delivery.tick(5)
    delivery.wait_for_failure()
    delivery.clock.advance(100_010)
    delivery.tick(5)
    wait_until(lambda: delivery.pass_a_second().lost_samples == 5, limit_seconds=60)
    delivery.backend.come_up()
    delivery.drain()
    assert delivery.backend.arrived() == list(range(5, 10))
    assert (delivery.status.written_samples, delivery.status.lost_samples) == (5, 5)


@over(NetworkBackend, SqliteBackend, MosquittoBackend, NatsBackend)
def test_target_that_hangs_holds_up_nobody(delivery: Delivery, hasty: None) -> None:
    delivery.backend.come_up()
    delivery.start()
    delivery.tick(3)
    delivery.drain()
    before = delivery.backend.arrived()
    delivery.backend.hang()
    delivery.tick(20)
    delivery.wait_for_failure()
    assert delivery.backend.arrived() == before, "it still hangs, and the ticks went on"
    delivery.backend.recover()
    delivery.drain()
    delivery.check_arrived(23)


@over(NetworkBackend, MosquittoBackend, NatsBackend)
def test_stopping_while_the_target_hangs_ends_and_counts_what_is_left(
    delivery: Delivery,
) -> None:
    delivery.backend.come_up()
    delivery.backend.hang()
    delivery.start()
    delivery.tick(7)
    left = delivery.status.buffered_samples
    assert left >= delivery.waiting(7)
    delivery.begin_stop()
    delivery.outbox.join(0.01)
    assert (delivery.status.written_samples, delivery.status.lost_samples) == (0, left)
    delivery.backend.recover()
    delivery.stop()
    assert delivery.status.lost_samples == left, "what ends later changes no count"


def test_stopping_delivers_what_is_left_and_closes(delivery: Delivery) -> None:
    delivery.backend.come_up()
    delivery.start()
    delivery.tick(25)
    delivery.stop()
    delivery.check_arrived(25)


@over(NetworkBackend, MosquittoBackend)
def test_slow_target_gets_everything_in_order(delivery: Delivery) -> None:
    delivery.backend.come_up()
    delivery.backend.slow_down()
    delivery.start()
    for _ in range(6):
        delivery.tick(5)
        wait_until(lambda: delivery.status.written_samples > 0)
    delivery.drain()
    delivery.check_arrived(30)


def http(delivery: Delivery) -> HttpBackend:
    assert isinstance(delivery.backend, HttpBackend)
    delivery.backend.come_up()
    return delivery.backend


def temporary_errors() -> Iterator[ParameterSet]:
    """Yield the writers over HTTP with each status that they may try again."""
    for param in kinds(HttpBackend):
        statuses = {408, 429, 500, 502, 503, 504}
        if param.values == ("Otel",):
            statuses -= {408, 500}  # OTLP forbids it; see test_otel
        for status in sorted(statuses):
            yield pytest.param(*param.values, status, marks=param.marks)


@pytest.mark.parametrize(("delivery", "status"), [*temporary_errors()], indirect=["delivery"])
def test_temporary_error_is_tried_again(delivery: Delivery, status: int) -> None:
    backend = http(delivery)
    backend.errors = [(status, {}, b"busy")] * 3
    delivery.start()
    delivery.tick(5)
    delivery.drain()
    assert backend.arrived() == list(range(5))
    assert (delivery.status.written_samples, delivery.status.lost_samples) == (5, 0)
    assert backend.errors == []


@over(HttpBackend)
def test_server_that_names_a_time_is_left_alone_until_then(delivery: Delivery) -> None:
    backend = http(delivery)
    backend.errors = [(429, {"Retry-After": "50"}, b"busy")]
    delivery.start()
    delivery.tick()
    delivery.wait_for_failure()
    for _ in range(48):
        delivery.clock.advance(1.0)
    assert backend.requests == 1
    delivery.clock.advance(3.0)
    wait_until(lambda: delivery.status.up)
    assert backend.arrived() == [0]


@over(HttpBackend)
def test_permanent_error_costs_what_was_refused_and_no_more(
    delivery: Delivery, caplog: pytest.LogCaptureFixture
) -> None:
    backend = http(delivery)
    backend.errors = [(400, {}, b"never")]
    delivery.start()
    delivery.tick()
    wait_until(lambda: "never" in delivery.status.reason)
    assert delivery.status.lost_samples == 1
    delivery.tick(5)
    delivery.drain()
    assert backend.arrived() == [1, 2, 3, 4, 5]
    assert (delivery.status.written_samples, delivery.status.lost_samples) == (5, 1)
    assert sum("refused" in record.message for record in caplog.records) == 1


@over(OtlpBackend, InfluxBackend)
def test_partial_refusal_is_counted_as_the_server_says(delivery: Delivery) -> None:
    backend = http(delivery)
    status, body = backend.partial_answer(2)
    backend.go_down()
    delivery.start()
    delivery.tick(6)
    delivery.wait_for_failure()
    backend.errors = [(status, {}, body)]
    backend.come_up()
    wait_until(lambda: delivery.pass_a_second().lost_samples)
    assert (delivery.status.written_samples, delivery.status.lost_samples) == (4, 2)


@history
def test_spool_hands_over_to_the_next_process(delivery: Delivery) -> None:
    delivery.backend.go_down()
    delivery.start(spool=True)
    delivery.tick(15)
    delivery.wait_for_failure()
    delivery.stop()
    assert delivery.status.lost_samples == 0
    delivery.backend.come_up()
    delivery.start(spool=True)
    delivery.tick(5)
    delivery.drain()
    assert delivery.backend.arrived() == list(range(20))
    assert (delivery.status.written_samples, delivery.status.lost_samples) == (20, 0)


def mosquitto(delivery: Delivery) -> MosquittoBackend:
    assert isinstance(delivery.backend, MosquittoBackend)
    return delivery.backend


def sides(name: str, left: float, right: float) -> Batch:
    """Return the batch of a source with two series."""
    return values(SourceId("pollect", name), {"left": left, "right": right})


@present
def test_present_outage_ends_with_the_latest_of_every_series(delivery: Delivery) -> None:
    """The broker has forgotten all, so it also gets what did not change meanwhile."""
    broker = mosquitto(delivery)
    broker.come_up()
    delivery.start()
    delivery.outbox.deliver([sides("Quiet", 1, 2), sides("Busy", 0, 100)])
    delivery.drain()
    broker.go_down()
    for second in range(1, 31):
        delivery.outbox.deliver([sides("Busy", second, 100 + second)])
        delivery.clock.advance(1.0)
    delivery.wait_for_failure()
    broker.come_up()
    delivery.drain()
    seen = {
        topic: broker.payloads(f"pollect.{topic}")
        for topic in (f"{name}/value/of/{of}" for name in ("quiet", "busy") for of in SIDES)
    }
    assert {topic: payloads[-1] for topic, payloads in seen.items()} == {
        "quiet/value/of/left": "1",
        "quiet/value/of/right": "2",
        "busy/value/of/left": "30",
        "busy/value/of/right": "130",
    }
    for payloads in seen.values():
        assert payloads == sorted(payloads, key=float)
    assert (delivery.status.lost_samples, delivery.status.buffered_samples) == (0, 0)


@present
def test_present_outage_beyond_the_buffer_costs_the_sources_heard_longest_ago(
    delivery: Delivery, caplog: pytest.LogCaptureFixture
) -> None:
    broker = mosquitto(delivery)
    delivery.start(buffer={"samples": 12})
    delivery.tick()
    delivery.wait_for_failure()
    for second in range(3):
        for number in range(40):
            delivery.outbox.deliver([numbered(SourceId("pollect", f"S{number}"), second)])
    wait_until(lambda: delivery.pass_a_second().buffered_samples <= 12)
    broker.come_up()
    delivery.drain()
    arrived = {number for number in range(40) if broker.payloads(f"pollect.s{number}/value")}
    assert arrived >= set(range(28, 40)), "the youngest are kept"
    assert {broker.payloads(f"pollect.s{number}/value")[-1] for number in arrived} == {"2.0"}
    assert delivery.status.lost_samples + delivery.status.written_samples == 1 + 3 * 40
    assert sum("buffer is full" in record.message for record in caplog.records) == 1


@present
def test_present_value_beyond_its_age_is_not_sent_any_more(delivery: Delivery) -> None:
    broker = mosquitto(delivery)
    delivery.start(buffer={"age": 100})
    delivery.outbox.deliver([sides("Silent", 1, 2)])
    delivery.wait_for_failure()
    delivery.clock.advance(200)
    delivery.tick(5)
    wait_until(lambda: delivery.pass_a_second().lost_samples == 2)
    broker.come_up()
    delivery.drain()
    assert broker.payloads("pollect.silent/value/of/left") == []
    assert broker.arrived()[-1] == 4
    assert delivery.status.lost_samples == 2, "what was replaced was outdated"


@present
def test_present_withdrawal_is_never_too_old(delivery: Delivery) -> None:
    broker = mosquitto(delivery)
    broker.come_up()
    delivery.start(buffer={"age": 100})
    delivery.tick()
    delivery.drain()
    broker.go_down()
    delivery.outbox.deliver([Batch(SOURCE, [], 0.0)])
    delivery.outbox.deliver([sides("Busy", 1, 2)])
    delivery.wait_for_failure()
    delivery.clock.advance(200)
    delivery.outbox.deliver([sides("Busy", 3, 4)])
    broker.come_up()
    delivery.drain()
    assert broker.payloads("pollect/pollect.ticks/status")[-1] == "offline"


@present
def test_present_order_outlives_a_broker_that_hangs_and_dies(
    delivery: Delivery, hasty: None
) -> None:
    """What it never acknowledged is not said again behind what is newer."""
    broker = mosquitto(delivery)
    broker.come_up()
    delivery.start()
    delivery.tick()
    delivery.drain()
    for _ in range(2):
        broker.hang()
        delivery.tick()
        wait_until(lambda: not delivery.pass_a_second().up)
        broker.kill()
        delivery.tick()
        broker.recover()
        broker.come_up()
        delivery.drain()
    delivery.check_arrived(5)


@present
def test_present_refused_credentials_lose_nothing_and_are_told_once(
    delivery: Delivery, caplog: pytest.LogCaptureFixture
) -> None:
    broker = mosquitto(delivery)
    broker.refuse()
    broker.come_up()
    delivery.start()
    delivery.tick(10)
    wait_until(lambda: "refused" in delivery.pass_a_second().reason)
    delivery.tick(10)
    assert broker.arrived() == []
    broker.admit()
    delivery.drain()
    delivery.check_arrived(20)
    # Once when it goes, once when it is back, which is no trouble.
    assert [
        (record.levelname, record.message.partition(" ")[0])
        for record in caplog.records
        if record.name.endswith("Mqtt")
    ] == [("WARNING", "cannot"), ("INFO", "delivering")]
    assert broker.password not in caplog.text


@present
def test_present_spool_keeps_nothing_as_it_would_be_outdated(delivery: Delivery) -> None:
    delivery.start(spool=True)
    delivery.tick(15)
    delivery.wait_for_failure()
    delivery.stop()
    assert delivery.status.lost_samples == 1
    delivery.backend.come_up()
    delivery.start(spool=True)
    delivery.tick(5)
    delivery.drain()
    delivery.check_arrived(20)


class StuckWriter(RecordingWriter):
    """A remote writer whose write returns when the gate opens."""

    in_process = False
    accepts_partial = True
    gate = Gate()

    def write(self, batches: Sequence[Batch]) -> None:
        self.gate()


@contextlib.contextmanager
def running(
    writer: Writer[Any], sources: int, *, interval: float, shutdown_timeout: float
) -> Iterator[Engine]:
    """An engine on real time, whose sources answer at once."""
    probed = [scripted(name=f"s{number}") for number in range(sources)]
    plan = plan_of(
        probed,
        [writer],
        interval=interval,
        shutdown_timeout=shutdown_timeout,
        stopping=writer.context.stopping,
    )
    engine = Engine(plan, clock=SystemClock())
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


@contextlib.contextmanager
def real_time(delivery: Delivery, folder: Path, *, shutdown_timeout: float) -> Iterator[Engine]:
    """An engine with the writer of `delivery`; at the end nothing of the writer runs any more."""
    section = {"type": delivery.backend.writer, **delivery.backend.section}
    before = set(threading.enumerate())
    writer = build_writer(section, clock=SystemClock(), state_dir=folder / "state")
    with running(writer, 3, interval=0.05, shutdown_timeout=shutdown_timeout) as engine:
        yield engine
    delivery.backend.recover()
    own = [
        thread
        for thread in set(threading.enumerate()) - before
        if thread.name.startswith(("pollect-outbox", "paho"))
    ]
    for thread in own:
        thread.join(30)
        assert not thread.is_alive()


def probes(engine: Engine) -> list[int]:
    return [sum(status.probes.values()) for status in engine.source_statuses()]


def test_writer_that_hangs_for_ever_delays_no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StuckWriter, "gate", Gate())
    writer = build_writer({}, StuckWriter, clock=SystemClock())
    with running(writer, 20, interval=0.05, shutdown_timeout=0.05) as engine:
        wait_until(lambda: min(probes(engine)) >= 15)
        (stuck,) = engine.writer_statuses()
        assert stuck.written_samples == 0, "it hangs"
        wait_until(lambda: engine.writer_statuses()[0].buffered_samples >= sum(probes(engine)) - 20)
        assert {status.outcome for status in engine.source_statuses()} == {Outcome.OK}
    StuckWriter.gate.open()


@over(NetworkBackend, MosquittoBackend, NatsBackend)
def test_target_that_hangs_delays_no_probe(delivery: Delivery, hasty: None, tmp_path: Path) -> None:
    delivery.backend.come_up()
    delivery.backend.hang()
    with real_time(delivery, tmp_path, shutdown_timeout=30) as engine:
        wait_until(lambda: engine.writer_statuses()[0].reason)
        before = min(probes(engine))
        # The hang ends below only, so probes that waited for it would never get there.
        wait_until(lambda: min(probes(engine)) >= before + 10)
        delivery.backend.recover()
    (status,) = engine.writer_statuses()
    assert (status.lost_samples, status.buffered_samples) == (0, 0)


@over(NetworkBackend, MosquittoBackend)
@pytest.mark.parametrize("away", ["down", "hanging"])
def test_shutdown_timeout_is_honoured_while_the_target_is_away(
    delivery: Delivery, tmp_path: Path, away: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if away == "hanging":
        delivery.backend.come_up()
        delivery.backend.hang()
    if isinstance(delivery.backend, MosquittoBackend):
        # As long as in the daemon.
        monkeypatch.undo()
    with real_time(delivery, tmp_path, shutdown_timeout=0.1) as engine:
        wait_until(lambda: engine.writer_statuses()[0].buffered_samples)
        began = time.monotonic()
        engine.stop()
        assert time.monotonic() - began < 0.1 + PROBE_GRACE_SECONDS + 20.0
        (status,) = engine.writer_statuses()
        assert status.lost_samples > 0
        assert (status.buffered_samples, status.written_samples) == (0, 0)


@over(OtlpBackend)
def test_thirty_seconds_without_a_collector_in_numbers(delivery: Delivery) -> None:
    """A 1 s tick on the simulated clock: 60 s with it, 30 s without, 30 s with it again."""
    delivery.backend.come_up()
    delivery.start()
    for _ in range(60):
        delivery.tick()
        wait_until(lambda: delivery.status.written_samples == delivery.ticks)
    before = delivery.status
    delivery.backend.go_down()
    delivery.tick(30)
    delivery.wait_for_failure()
    during = delivery.status
    delivery.backend.come_up()
    for _ in range(30):
        delivery.tick()
    delivery.drain()
    after = delivery.status
    assert (before.written_samples, before.buffered_samples, before.lost_samples) == (60, 0, 0)
    assert (during.written_samples, during.buffered_samples, during.lost_samples) == (60, 30, 0)
    assert (after.written_samples, after.buffered_samples, after.lost_samples) == (120, 0, 0)
    assert delivery.backend.arrived() == list(range(120))
