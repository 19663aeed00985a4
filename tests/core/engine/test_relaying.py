"""Batches of other daemons: they reach the writers as they are, and are accepted when safe."""

import logging
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from pollect.api import Batch, Metric, Retryable, Source, SourceConfig, SourceId, Writer
from pollect.engine import relaying
from pollect.engine.clock import SystemClock
from pollect.engine.engine import Engine
from pollect.engine.plan import ExecutorPlan, Plan, SourcePlan
from pollect.relay import Parcel, Relay
from pollect.testing import FakeClock, build_source, build_writer, wait_until
from tests.core.engine.rig import RecordingWriter, plan_of, recording

VALUE = Metric("value", labels=("room",))
METER = SourceId("home", "Meter")


class RelayingSource(Source[SourceConfig]):
    """Relays what a test puts into it."""

    def __init__(self, config: SourceConfig, context: Any) -> None:
        super().__init__(config, context)
        self.relay = Relay(most_pending=3)
        self.accepted: list[object] = []

    def probe(self) -> float:
        return 1.0

    def put(self, batch: Batch, token: object = None, **facts: Any) -> None:
        self.relay.put(Parcel(batch=batch, **facts), lambda: self.accepted.append(token))

    def settle(self, *tokens: object) -> None:
        """Wait until exactly these were accepted, in any order."""
        expected = Counter(tokens)
        wait_until(lambda: self._look() == expected, f"{tokens} accepted", limit_seconds=60)

    def _look(self) -> Counter[object]:
        self.relay.acknowledge()
        return Counter(self.accepted)


class RemoteWriter(RecordingWriter):
    """Behind an outbox; its target can be away."""

    in_process = False
    away = False

    def write(self, batches: Sequence[Batch]) -> None:
        if self.away:
            raise Retryable("connection refused")
        super().write(batches)

    def of(self, source: SourceId) -> list[Batch]:
        return [batch for batch in self.batches if batch.source[:3] == source[:3]]


class PresentWriter(RecordingWriter):
    latest_only = True


class ShowingWriter(RecordingWriter):
    only_shows = True


def batch_at(time: float, value: float = 1.0, **facts: Any) -> Batch:
    facts = {"source": METER, **facts}
    return Batch(samples=[VALUE.sample(value, "attic")], time=time, **facts)


def remote(away: bool = False, **section: Any) -> RemoteWriter:
    writer = build_writer(section, RemoteWriter, clock=SystemClock())
    assert isinstance(writer, RemoteWriter)
    writer.away = away
    return writer


@pytest.fixture
def engines() -> Iterator[list[Engine]]:
    running: list[Engine] = []
    yield running
    for engine in running:
        engine.stop()


def start(
    engines: list[Engine], *writers: Writer[Any], clock: Any = None, others: Sequence[Any] = ()
) -> RelayingSource:
    source = build_source({"type": "Relaying"}, RelayingSource)
    assert isinstance(source, RelayingSource)
    plan = plan_of([source, *others], writers, shutdown_timeout=0.2, self_metrics=False)
    engine = Engine(plan, clock=clock or SystemClock())
    engine.start()
    engines.append(engine)
    return source


def relayed(writer: RecordingWriter) -> list[Batch]:
    return [batch for batch in writer.batches if batch.source.type != "Relaying"]


def test_batch_reaches_every_writer_as_it_is_and_is_then_accepted(engines) -> None:
    shown, sent = recording(), remote()
    source = start(engines, shown, sent)
    batch = Batch(METER, [VALUE.sample(3, "attic", time=5.5)], 7.25, (("site", "n"),), 25.0, (1, 2))
    source.put(batch, "first")
    source.settle("first")
    assert relayed(shown) == [batch]
    assert sent.of(METER) == [batch]
    assert (source.relay.batches, source.relay.samples, source.relay.pending) == (1, 1, 0)


def test_batch_is_not_accepted_while_its_only_target_is_away(engines) -> None:
    sent = remote(away=True)
    source = start(engines, sent)
    for number in range(3):
        source.put(batch_at(number), number)
    assert not source.relay.has_room
    assert not source.relay.acknowledge(0.05)
    sent.away = False
    source.settle(0, 1, 2)
    assert source.relay.has_room


def test_dead_target_does_not_hold_up_the_others(engines) -> None:
    """Once too many wait for it alone, its buffer is to keep the oldest ones."""
    shown, dead = recording(), remote(away=True)
    source = start(engines, shown, dead)
    for number in range(10):
        assert source.relay.has_room
        source.put(batch_at(number), number)
    source.relay.acknowledge()
    assert source.accepted == [0, 1, 2, 3, 4, 5, 6]
    assert len(relayed(shown)) == 10
    dead.away = False
    source.settle(*range(10))
    assert [batch.time for batch in dead.of(METER)] == list(range(10))


def test_what_is_on_disk_is_accepted_while_its_target_is_away(engines) -> None:
    source = start(engines, remote(away=True, spool=True))
    source.put(batch_at(1), "stored")
    source.settle("stored")


def test_what_a_target_refuses_is_accepted_as_it_would_be_refused_again(engines) -> None:
    class Refusing(RemoteWriter):
        def write(self, batches: Sequence[Batch]) -> None:
            raise ValueError("mistake in the writer")

    source = start(engines, build_writer({}, Refusing))
    source.put(batch_at(1), "refused")
    source.settle("refused")


def test_batches_that_wait_leave_room_for_others_in_the_buffer(engines) -> None:
    source = start(engines, remote(away=True, buffer={"samples": 4}))
    source.put(batch_at(1))
    assert source.relay.has_room
    source.put(batch_at(2))
    assert not source.relay.has_room


def test_dry_run_acknowledges_nothing(engines) -> None:
    printed = recording(ShowingWriter)
    source = start(engines, printed)
    for number in range(3):
        source.put(batch_at(number), number)
    assert not source.relay.acknowledge(0.05)
    assert not source.relay.has_room
    assert len(relayed(printed)) == 3


def test_what_only_shows_beside_a_real_writer_changes_nothing(engines) -> None:
    source = start(engines, build_writer({}, ShowingWriter), remote())
    source.put(batch_at(1), "both")
    source.settle("both")


def test_batch_that_comes_again_is_not_handed_on_again(engines) -> None:
    sent = remote(away=True)
    source = start(engines, sent)
    source.put(batch_at(1), "first", key="a")
    source.put(batch_at(1), "while it waits", key="a")
    sent.away = False
    source.settle("first", "while it waits")
    source.put(batch_at(1), "later", key="a")
    source.settle("first", "while it waits", "later")
    assert len(sent.of(METER)) == 1
    assert source.relay.repeated == 2


def test_late_batch_is_for_histories_only(engines) -> None:
    """Redelivered after a crash, it must not put the present back."""
    history, present = remote(), recording(PresentWriter)
    source = start(engines, history, present)
    source.put(batch_at(20), "new", position=2)
    source.put(batch_at(10), "late", position=1)
    source.put(Batch(METER, (), 5.0), "late end", position=0)
    source.settle("new", "late", "late end")
    assert [batch.time for batch in history.of(METER)] == [20, 10]
    assert [batch.time for batch in relayed(present)] == [20]


@pytest.mark.parametrize("facts", [{"time": 10, "position": 3}, {"time": 30, "position": 1}])
def test_neither_a_clock_set_back_nor_a_new_stream_makes_a_batch_late(engines, facts) -> None:
    present = recording(PresentWriter)
    source = start(engines, present)
    source.put(batch_at(20), position=2)
    source.put(batch_at(facts["time"]), position=facts["position"])
    assert [batch.time for batch in relayed(present)] == [20, facts["time"]]


def test_former_owner_of_a_source_of_a_fleet_is_not_believed(engines) -> None:
    sent = remote()
    source = start(engines, sent)
    source.put(batch_at(10, epoch=(1, 5)), "its last", position=1)
    source.put(batch_at(20, epoch=(1, 6)), "the new owner's", position=2)
    source.put(batch_at(15, epoch=(1, 5)), "of its time", position=3)
    source.put(batch_at(25, epoch=(1, 5)), "after its time", position=4)
    source.settle("its last", "the new owner's", "of its time", "after its time")
    assert [batch.time for batch in sent.of(METER)] == [10, 20, 15]
    assert source.relay.superseded == 1


def test_sources_of_two_daemons_with_one_id_are_kept_apart(engines) -> None:
    """Writers keep one set of series for each id; names do not show which instance it is."""
    shown = recording()
    own = build_source({"type": "Meter"}, RelayingSource, collection="home")
    source = start(engines, shown, others=[own])
    for _ in range(2):
        for origin in ("pi-1", "pi-2"):
            source.put(batch_at(1, static_labels=(("host", origin),)), origin=origin)
    found = {(b.static_labels, b.source) for b in relayed(shown) if b.static_labels}
    assert found == {
        ((("host", "pi-1"),), METER._replace(instance=1)),
        ((("host", "pi-2"),), METER._replace(instance=2)),
    }


def test_values_end_when_their_daemon_is_gone() -> None:
    clock = FakeClock()
    shown = recording()
    source = build_source({"type": "Relaying"}, RelayingSource, clock=clock)
    assert isinstance(source, RelayingSource)
    plan = plan_of([source], [shown], shutdown_timeout=0.2, interval=1000.0)
    engine = Engine(plan, clock=clock)
    engine.start()
    try:
        other = SourceId("home", "Lamp")
        source.put(batch_at(1, fresh_seconds=25.0, static_labels=(("host", "pi"),)))
        source.put(batch_at(1, source=other))
        clock.advance(20)
        source.put(batch_at(2, fresh_seconds=25.0, static_labels=(("host", "pi"),)))
        clock.advance(24)
        assert all(len(batch) for batch in relayed(shown))
        clock.advance(2)
        wait_until(lambda: not all(len(b) for b in relayed(shown)), "the end", limit_seconds=60)
        (end,) = [batch for batch in relayed(shown) if not len(batch)]
        assert (end.source, end.static_labels) == (METER, (("host", "pi"),))
        clock.advance(1000)
    finally:
        engine.stop()
    assert sum(not len(batch) for batch in relayed(shown)) == 1


def test_reload_without_the_source_withdraws_what_it_relayed(engines) -> None:
    shown = recording()
    source = start(engines, shown)
    source.put(batch_at(1), "before")
    (engine,) = engines
    engine.replace(Plan(executors=[ExecutorPlan(name="test", sources=[], writers=[shown])]))
    assert [len(batch) for batch in relayed(shown)] == [1, 0]
    source.put(batch_at(2), "after")
    source.relay.acknowledge()
    assert source.accepted == ["before"]


def test_reload_with_other_writers_relays_to_them(engines) -> None:
    shown, other = recording(), recording()
    source = start(engines, shown)
    (engine,) = engines
    plan = SourcePlan(source=source, interval=10.0)
    engine.replace(Plan(executors=[ExecutorPlan(name="test", sources=[plan], writers=[other])]))
    source.put(batch_at(1), "there")
    source.settle("there")
    assert len(relayed(other)) == 1
    assert not relayed(shown)


def test_flood_of_new_sources_takes_bounded_memory(engines, monkeypatch) -> None:
    monkeypatch.setattr(relaying, "MOST_SOURCES", 5)
    shown = recording()
    source = start(engines, shown)
    for number in range(20):
        source.put(batch_at(1, source=SourceId("home", "Meter", str(number))))
    wait_until(lambda: sum(not len(b) for b in relayed(shown)) == 15, "ends", limit_seconds=60)


def test_filters_of_plugins_see_relayed_batches(engines) -> None:
    shown = recording()
    source = build_source({"type": "Relaying"}, RelayingSource)
    assert isinstance(source, RelayingSource)
    only_home = lambda batch: batch if batch.source.type != "Lamp" else None  # noqa: E731
    engine = Engine(plan_of([source], [shown], filters=[only_home]), clock=SystemClock())
    engine.start()
    engines.append(engine)
    source.put(batch_at(1, source=SourceId("home", "Lamp")), "filtered")
    source.put(batch_at(1), "kept")
    source.settle("filtered", "kept")
    assert [batch.source for batch in relayed(shown)] == [METER]


def test_probe_without_an_engine_relays_nothing() -> None:
    source = build_source({"type": "Relaying"}, RelayingSource)
    assert isinstance(source, RelayingSource)
    assert not source.relay.connected
    assert not source.relay.has_room
    with pytest.raises(RuntimeError, match="nothing to relay to"):
        source.put(batch_at(1))


def test_end_of_the_engine_leaves_the_rest_to_the_broker(engines, caplog) -> None:
    sent = remote(away=True)
    source = start(engines, sent)
    source.put(batch_at(1), "undelivered")
    engine = engines.pop()
    wait_until(lambda: engine.writer_statuses()[0].buffered_samples == 2)
    with caplog.at_level(logging.INFO):
        engine.stop()
    assert not source.relay.acknowledge(0.05)
    assert "1 samples were not delivered before the end: their broker brings them" in caplog.text
    assert "1 samples lost: not delivered before the end" in caplog.text, "the probe of its own"
    [status] = engine.writer_statuses()
    assert (status.lost_samples, status.buffered_samples) == (1, 0)


def test_what_was_accepted_for_a_dead_target_is_lost_at_the_end(engines, caplog) -> None:
    shown, dead = recording(), remote(away=True)
    source = start(engines, shown, dead)
    for number in range(10):
        assert source.relay.has_room
        source.put(batch_at(number), number)
    source.relay.acknowledge()
    assert source.accepted == [0, 1, 2, 3, 4, 5, 6]
    engine = engines.pop()
    wait_until(lambda: engine.writer_statuses()[1].buffered_samples == 11)
    with caplog.at_level(logging.INFO):
        engine.stop()
    assert "3 samples were not delivered before the end: their broker brings them" in caplog.text
    assert [status.lost_samples for status in engine.writer_statuses()] == [0, 8]


def test_hanging_in_process_writer_keeps_only_the_thread_of_the_relay(engines) -> None:
    gate = threading.Event()

    class Hanging(RecordingWriter):
        def write(self, batches: Sequence[Batch]) -> None:
            if any(batch.source == METER for batch in batches):
                gate.wait(30)
            super().write(batches)

    other = remote()
    source = start(engines, build_writer({}, Hanging), other)
    thread = threading.Thread(target=source.put, args=(batch_at(1), "hangs"))
    thread.start()
    wait_until(lambda: other.of(METER), "the other writer", limit_seconds=60)
    assert not source.relay.acknowledge(0.02)
    gate.set()
    thread.join(30)
    source.settle("hangs")
