"""The promises of delivery, kept by every remote writer behind the engine's outbox.

The clock is ours: an outage of 30 seconds takes as long as the requests in it.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pollect.api import SourceId, WriterStatus
from pollect.engine.outbox import Outbox
from pollect.testing import FakeClock, build_writer
from tests.core.engine.rig import wait_until
from tests.writers.backends import (
    BACKENDS,
    Backend,
    HttpBackend,
    InfluxBackend,
    NetworkBackend,
    OtlpBackend,
    SqliteBackend,
)
from tests.writers.samples import numbered

SOURCE = SourceId("pollect", "Ticks")


class Delivery:
    """One writer behind its outbox, its backend, and their clock."""

    def __init__(self, backend: Backend, folder: Path) -> None:
        self.backend = backend
        self.clock = FakeClock()
        self.ticks = 0
        self._folder = folder
        self._outbox: Outbox | None = None

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
        self._outbox = Outbox(writer, clock=self.clock)
        self._outbox.start()

    def tick(self, count: int = 1) -> None:
        """Hand over the batches of so many seconds."""
        for _ in range(count):
            self.outbox.deliver([numbered(SOURCE, self.ticks)])
            self.ticks += 1
            self.clock.advance(1.0)

    def drain(self) -> None:
        """Let time pass until everything is delivered."""

        def delivered() -> bool:
            status = self.pass_a_second()
            return status.up and status.buffered_samples == 0

        wait_until(delivered, 20)

    def pass_a_second(self) -> WriterStatus:
        self.clock.advance(1.0)
        return self.status

    def wait_for_failure(self) -> None:
        wait_until(lambda: self.status.reason, 10)

    def stop(self, seconds: float = 10.0) -> None:
        if self._outbox is not None:
            self._outbox.stop()
            self._outbox.join(seconds)
            self._outbox._thread.join(10)


def kinds(*kind: type[Backend]) -> list[str]:
    """Return the writers whose backend is of this kind."""
    return [writer for writer, backend in BACKENDS.items() if issubclass(backend, kind)]


@pytest.fixture(params=BACKENDS)
def delivery(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Delivery]:
    backend = BACKENDS[request.param](tmp_path)
    found = Delivery(backend, tmp_path)
    yield found
    backend.recover()
    found.stop()
    backend.close()


def over(*kind: type[Backend]) -> pytest.MarkDecorator:
    """Run a test for the writers whose backend is of this kind only."""
    return pytest.mark.parametrize("delivery", kinds(*kind), indirect=True)


def test_target_that_is_down_at_the_start_gets_everything_later(delivery: Delivery) -> None:
    delivery.backend.go_down()
    delivery.start()
    delivery.tick(20)
    delivery.wait_for_failure()
    assert (delivery.status.up, delivery.status.buffered_samples) == (False, 20)
    delivery.backend.come_up()
    delivery.drain()
    assert delivery.backend.arrived() == list(range(20))
    assert (delivery.status.written_samples, delivery.status.lost_samples) == (20, 0)
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
    assert delivery.backend.arrived() == list(range(50))
    assert (delivery.status.written_samples, delivery.status.lost_samples) == (50, 0)
    lines = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert [line.split(",")[0].split(" after")[0] for line in lines] == [
        "cannot deliver",
        "delivering again",
    ], "once when it goes, once when it is back"


def test_outage_beyond_the_buffer_costs_the_oldest_and_counts_them(
    delivery: Delivery, caplog: pytest.LogCaptureFixture
) -> None:
    delivery.backend.go_down()
    delivery.start(buffer={"samples": 12})
    delivery.tick()
    delivery.wait_for_failure()
    delivery.tick(39)
    wait_until(lambda: delivery.status.buffered_samples <= 12, 10)
    delivery.backend.come_up()
    delivery.drain()
    arrived = delivery.backend.arrived()
    assert arrived == sorted(set(arrived)), "in order, each once"
    assert arrived[-12:] == list(range(28, 40)), "the youngest are kept"
    assert len(arrived) + delivery.status.lost_samples == 40
    assert delivery.status.written_samples == len(arrived)
    assert sum("buffer is full" in record.message for record in caplog.records) == 1


def test_samples_beyond_their_age_are_not_sent_any_more(delivery: Delivery) -> None:
    delivery.backend.go_down()
    delivery.start(buffer={"age": 100})
    delivery.tick(5)
    delivery.wait_for_failure()
    delivery.clock.advance(200)
    delivery.tick(5)
    wait_until(lambda: delivery.pass_a_second().lost_samples == 5, 10)
    delivery.backend.come_up()
    delivery.drain()
    assert delivery.backend.arrived() == list(range(5, 10))
    assert (delivery.status.written_samples, delivery.status.lost_samples) == (5, 5)


@over(NetworkBackend, SqliteBackend)
def test_target_that_hangs_holds_up_nobody(delivery: Delivery) -> None:
    delivery.backend.come_up()
    delivery.start()
    delivery.tick(3)
    delivery.drain()
    delivery.backend.hang()
    delivery.tick(20)
    delivery.wait_for_failure()
    assert delivery.backend.arrived() == [0, 1, 2], "it still hangs, and the ticks went on"
    delivery.backend.recover()
    delivery.drain()
    assert delivery.backend.arrived() == list(range(23))
    assert delivery.status.lost_samples == 0


@over(NetworkBackend)
def test_stopping_while_the_target_hangs_ends_and_counts_what_is_left(
    delivery: Delivery,
) -> None:
    delivery.backend.come_up()
    delivery.backend.hang()
    delivery.start()
    delivery.tick(7)
    delivery.outbox.stop()
    delivery.outbox.join(0.01)
    assert (delivery.status.written_samples, delivery.status.lost_samples) == (0, 7)
    delivery.backend.recover()
    delivery.stop()
    assert delivery.status.lost_samples == 7, "what ends later changes no count"


def test_stopping_delivers_what_is_left_and_closes(delivery: Delivery) -> None:
    delivery.backend.come_up()
    delivery.start()
    delivery.tick(25)
    delivery.stop()
    assert delivery.backend.arrived() == list(range(25))
    assert (delivery.status.written_samples, delivery.status.lost_samples) == (25, 0)


@over(NetworkBackend)
def test_slow_target_gets_everything_in_order(delivery: Delivery) -> None:
    delivery.backend.come_up()
    delivery.backend.slow_seconds = 0.05
    delivery.start()
    for _ in range(6):
        delivery.tick(5)
        wait_until(lambda: delivery.status.written_samples > 0)
    delivery.drain()
    assert delivery.backend.arrived() == list(range(30))


def http(delivery: Delivery) -> HttpBackend:
    assert isinstance(delivery.backend, HttpBackend)
    delivery.backend.come_up()
    return delivery.backend


@over(HttpBackend)
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
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
    delivery.backend.hang()
    delivery.start()
    delivery.tick(6)
    delivery.wait_for_failure()
    backend.errors = [(status, {}, body)]
    delivery.backend.recover()
    wait_until(lambda: delivery.pass_a_second().lost_samples)
    assert (delivery.status.written_samples, delivery.status.lost_samples) == (4, 2)


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
