"""The outbox: what is handed over arrives once and in order, or is counted as lost."""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pollect.api import (
    Batch,
    Metric,
    MissingDependency,
    Rejected,
    Retryable,
    SourceId,
    Writer,
    WriterConfig,
)
from pollect.delivery import outbox as outbox_module
from pollect.delivery.memory import LatestBuffer
from pollect.delivery.outbox import Outbox
from pollect.engine.clock import SystemClock
from pollect.testing import FakeClock, build_writer
from pollect.testing.waiting import wait_until
from tests.core.engine.rig import Gate

NUMBER = Metric("number", help="Counts up.")


class RemoteWriter(Writer[WriterConfig]):
    """Delivers into a list, unless the next step of its script says otherwise."""

    def __init__(self, config: WriterConfig, context: Any) -> None:
        super().__init__(config, context)
        self.steps: list[str] = []
        self.then = "accept"
        self.arrived: list[float] = []
        self.refused: list[float] = []
        self.attempts = 0
        self.gate: Callable[[], object] = lambda: None
        self.closed = threading.Event()

    def write(self, batches: Sequence[Batch]) -> None:
        self.attempts += 1
        values = [sample.value for batch in batches for sample in batch.samples]
        step = self.steps.pop(0) if self.steps else self.then
        if step == "away":
            raise Retryable("connection refused")
        if step == "refuse":
            self.refused.extend(values)
            raise Rejected("bad request")
        if step == "refuse one":
            self.refused.append(values[0])
            self.arrived.extend(values[1:])
            raise Rejected("one too old", lost=1)
        if step == "break":
            self.refused.extend(values)
            raise RuntimeError("mistake in the writer")
        if step == "hang":
            self.gate()
        self.arrived.extend(values)

    def close(self) -> None:
        self.closed.set()


class LatestWriter(RemoteWriter):
    latest_only = True


class SkippingClock(FakeClock):
    """Moves on by every pause at once, and only then."""

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        if timeout is None:
            condition.wait(0.01)
        else:
            self.advance(timeout)


def remote(kind: type[RemoteWriter] = RemoteWriter, **section: Any) -> RemoteWriter:
    writer = build_writer(section, kind)
    assert isinstance(writer, RemoteWriter)
    return writer


def batch(*values: float, source: str = "Test") -> Batch:
    return Batch(SourceId("c", source), [NUMBER.sample(value) for value in values], 0.0)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(outbox_module, "LONGEST_PAUSE", 0.002)


STEPS = st.sampled_from(["accept", "away", "refuse", "refuse one", "break"])


@settings(max_examples=150, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 7), max_size=30),
    steps=st.lists(STEPS, max_size=40),
    limit=st.integers(1, 20),
    batch_size=st.integers(1, 10),
    ends_away=st.booleans(),
)
def test_every_sample_arrives_once_in_order_or_is_counted_lost(
    sizes: list[int], steps: list[str], limit: int, batch_size: int, ends_away: bool
) -> None:
    outbox_module.FIRST_PAUSE, outbox_module.LONGEST_PAUSE = 0.0005, 0.001
    writer = remote(buffer={"samples": limit})
    writer.batch_size = batch_size  # type: ignore[misc]
    writer.steps = list(steps)
    writer.then = "away" if ends_away else "accept"
    reported: list[float] = []
    outbox = Outbox(
        writer,
        clock=SystemClock(),
        lost=lambda name, lost, error: reported.extend(s.value for s in lost.samples),
    )
    outbox.start()
    number = 0
    for size in sizes:
        outbox.deliver([batch(*range(number, number + size))])
        number += size
        status = outbox.status()
        assert status.buffered_samples <= limit + max(batch_size, 7) + 7, "memory is bounded"
    outbox.stop()
    outbox.join(30)
    status = outbox.status()
    assert status.written_samples + status.lost_samples == number
    assert len(writer.arrived) == status.written_samples
    assert writer.arrived == sorted(set(writer.arrived)), "once each, in order"
    assert set(writer.arrived) | set(reported) == set(range(number))
    assert status.buffered_samples == 0
    assert writer.closed.is_set()


def test_writer_that_hangs_delays_nobody_and_its_samples_are_counted(gate: Gate) -> None:
    writer = remote(buffer={"samples": 10})
    writer.steps, writer.gate = ["hang"], gate
    outbox = Outbox(writer, clock=SystemClock())
    outbox.start()
    began = time.monotonic()
    for number in range(100):
        outbox.deliver([batch(number)])
    assert time.monotonic() - began < 30, "the writer hangs until the gate opens"
    outbox.stop()
    outbox.join(0.05)
    status = outbox.status()
    assert status.lost_samples == 100
    gate.open()
    assert writer.closed.wait(30)
    assert outbox.status() == status, "what returns after the end changes no count"


def test_outage_shorter_than_the_buffer_loses_nothing_and_is_logged_once(caplog) -> None:
    caplog.set_level(logging.INFO)
    writer = remote()
    writer.then = "away"
    outbox = Outbox(writer, clock=SystemClock())
    outbox.start()
    outbox.deliver([batch(*range(10))])
    wait_until(lambda: writer.attempts > 3)
    status = outbox.status()
    assert not status.up
    assert "connection refused" in status.reason
    assert status.buffered_samples == 10
    writer.then = "accept"
    wait_until(lambda: outbox.status().written_samples == 10)
    assert outbox.status().up
    outbox.stop()
    outbox.join(30)
    levels = {
        text: [r.levelname for r in caplog.records if text in r.message]
        for text in ("cannot deliver", "delivering again")
    }
    assert levels == {"cannot deliver": ["WARNING"], "delivering again": ["INFO"]}


def test_oldest_samples_are_dropped_when_the_buffer_is_full(caplog) -> None:
    writer = remote(buffer={"samples": 5})
    writer.then = "away"
    outbox = Outbox(writer, clock=SystemClock())
    outbox.start()
    for number in range(20):
        outbox.deliver([batch(number)])
    wait_until(lambda: outbox.status().buffered_samples == 5)
    writer.then = "accept"
    outbox.stop()
    outbox.join(30)
    assert writer.arrived == [15, 16, 17, 18, 19]
    assert outbox.status().lost_samples == 15
    assert caplog.text.count("the buffer is full") == 1


def test_slow_delivery_costs_the_oldest_samples_not_the_newest(gate: Gate) -> None:
    writer = remote(buffer={"samples": 5})
    writer.steps, writer.gate = ["hang"], gate
    outbox = Outbox(writer, clock=SystemClock())
    outbox.start()
    outbox.deliver([batch(0, 1, 2, 3, 4)])
    wait_until(lambda: writer.attempts == 1)
    for number in range(5, 20):
        outbox.deliver([batch(number)])
    gate.open()
    outbox.stop()
    outbox.join(30)
    assert writer.arrived == [0, 1, 2, 3, 4, 15, 16, 17, 18, 19]
    assert outbox.status().lost_samples == 10


def test_samples_older_than_the_age_limit_are_dropped(caplog) -> None:
    clock = FakeClock()
    writer = remote(buffer={"age": 60})
    writer.then = "away"
    outbox = Outbox(writer, clock=clock)
    outbox.start()
    outbox.deliver([batch(1)])
    wait_until(lambda: writer.attempts)
    clock.advance(61)
    outbox.deliver([batch(2)])
    writer.then = "accept"

    def delivered() -> bool:
        clock.advance(1)
        return bool(writer.arrived)

    wait_until(delivered)
    outbox.stop()
    outbox.join(30)
    assert writer.arrived == [2]
    assert outbox.status().lost_samples == 1
    assert caplog.text.count("samples that waited longer than 60 s are being dropped") == 1
    assert "1 samples were lost as they were too old" in caplog.text
    assert "the buffer" not in caplog.text


def test_target_may_ask_for_a_pause() -> None:
    clock = FakeClock()
    writer = remote()
    answers = [Retryable("busy", retry_after=30.0)]
    tries: list[float] = []

    def write(batches: Sequence[Batch]) -> None:
        tries.append(clock.monotonic())
        if answers:
            raise answers.pop()

    writer.write = write  # type: ignore[method-assign]
    outbox = Outbox(writer, clock=clock)
    outbox.start()
    outbox.deliver([batch(1)])
    wait_until(lambda: tries)

    def tried_again() -> bool:
        clock.advance(1)
        return len(tries) == 2

    wait_until(tried_again)
    assert tries[1] - tries[0] >= 30
    outbox.stop()
    outbox.join(30)


def test_writer_of_the_present_gets_only_the_latest_batch_of_a_source() -> None:
    writer = remote(LatestWriter)
    writer.then = "away"
    outbox = Outbox(writer, clock=SystemClock())
    outbox.start()
    for number in range(10):
        outbox.deliver([batch(number, source="A"), batch(100 + number, source="B")])
    wait_until(lambda: writer.attempts > 2)
    writer.then = "accept"
    outbox.stop()
    outbox.join(30)
    assert sorted(writer.arrived) == [9, 109], "each source has an order, they have none"
    assert outbox.status().lost_samples == 0


def test_what_newer_values_replaced_does_not_count_as_waiting() -> None:
    writer = remote(LatestWriter)
    writer.then = "away"
    outbox = Outbox(writer, clock=SystemClock())
    outbox.start()
    for number in range(10):
        outbox.deliver([batch(number, source="A"), batch(number, number, source="B")])
    wait_until(lambda: outbox.status().buffered_samples == 3)
    assert outbox.status().lost_samples == 0
    outbox.stop()
    outbox.join(30)


def test_what_was_tried_in_vain_gives_way_to_what_came_meanwhile() -> None:
    buffer = LatestBuffer(samples=100, age=1000, clock=FakeClock())
    buffer.put(batch(1, source="A"), batch(100, source="B"))
    for attempt in range(2, 6):
        buffer.peek(100)
        buffer.put(batch(attempt, source="A"))
        assert not buffer.release(), "replaced is not lost"
    assert [each.samples[0].value for each in buffer.peek(100)] == [100, 5]
    assert (len(buffer), buffer.samples, buffer.outdated) == (2, 2, 4)


def test_target_down_at_the_start_is_opened_later() -> None:
    writer = remote()
    opens: list[int] = []

    def opening() -> None:
        opens.append(1)
        if len(opens) < 3:
            raise Retryable("not there yet")

    writer.open = opening  # type: ignore[method-assign]
    outbox = Outbox(writer, clock=SystemClock())
    outbox.start()
    outbox.deliver([batch(1, 2)])
    wait_until(lambda: writer.arrived == [1, 2])
    assert len(opens) == 3
    outbox.stop()
    outbox.join(30)


def test_end_during_an_outage_makes_one_more_try_and_counts_the_rest() -> None:
    writer = remote()
    writer.then = "away"
    clock = FakeClock()
    outbox = Outbox(writer, clock=clock)
    outbox.start()
    outbox.deliver([batch(1, 2, 3)])
    wait_until(lambda: writer.attempts == 1)
    outbox.stop()
    outbox.join(30)
    assert writer.attempts == 2
    assert outbox.status().lost_samples == 3
    assert writer.closed.is_set()


def test_end_during_a_long_pause_does_not_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "FIRST_PAUSE", 300.0)
    monkeypatch.setattr(outbox_module, "LONGEST_PAUSE", 300.0)
    pausing = threading.Event()

    class Watched(SystemClock):
        def wait(self, condition: threading.Condition, timeout: float | None) -> None:
            if timeout is not None:
                pausing.set()
            super().wait(condition, timeout)

    writer = remote()
    writer.steps = ["away"]
    outbox = Outbox(writer, clock=Watched())
    outbox.start()
    outbox.deliver([batch(1, 2, 3)])
    assert pausing.wait(30)
    outbox.stop()
    outbox.join(30)
    assert writer.arrived == [1, 2, 3]
    assert outbox.status().lost_samples == 0


def test_reason_is_logged_once_however_many_samples_it_costs(caplog) -> None:
    writer = remote()
    writer.then = "refuse"
    outbox = Outbox(writer, clock=SystemClock())
    outbox.start()
    for size in range(1, 6):
        outbox.deliver([batch(*range(size))])
        wait_until(lambda: outbox.status().buffered_samples == 0)
    wait_until(lambda: outbox.status().reason == "bad request")
    outbox.stop()
    outbox.join(30)
    assert [record.message for record in caplog.records] == ["1 samples refused: bad request"]


def test_library_that_is_missing_is_named_without_a_traceback(caplog) -> None:
    class Bare(RemoteWriter):
        def open(self) -> None:
            raise MissingDependency("urllib3 is not installed; install 'pollect-writers[otel]'")

    outbox = Outbox(remote(Bare), clock=SystemClock())
    outbox.start()
    outbox.deliver([batch(1)])
    wait_until(lambda: outbox.status().reason)
    outbox.stop()
    outbox.join(30)
    (record,) = caplog.records
    assert record.message.startswith("1 samples lost: urllib3 is not installed")
    assert record.exc_info is None


def test_writer_that_cannot_be_opened_is_not_opened_for_each_part_of_what_waits() -> None:
    class Closed(RemoteWriter):
        def open(self) -> None:
            self.attempts += 1
            raise Rejected("the token is wrong")

    writer = remote(Closed)
    outbox = Outbox(writer, clock=SystemClock())
    outbox.deliver([batch(number) for number in range(16)])
    outbox.start()
    wait_until(lambda: outbox.status().buffered_samples == 0)
    assert (writer.attempts, outbox.status().lost_samples) == (1, 16)
    outbox.stop()
    outbox.join(30)


class BareRetryable(Retryable):
    """As people write errors: the constructor of the base is not called."""

    def __init__(self) -> None:
        pass


class BareRejected(Rejected):
    def __init__(self) -> None:
        pass


def test_errors_of_a_writer_s_own_making_mean_what_their_base_means() -> None:
    class Own(RemoteWriter):
        def write(self, batches: Sequence[Batch]) -> None:
            self.attempts += 1
            if self.attempts == 1:
                raise BareRetryable
            if self.attempts == 2:
                raise BareRejected
            super().write(batches)

    writer = remote(Own)
    outbox = Outbox(writer, clock=SystemClock())
    outbox.deliver([batch(1)])
    outbox.start()
    wait_until(lambda: outbox.status().buffered_samples == 0)
    outbox.deliver([batch(2)])
    wait_until(lambda: writer.arrived == [2])
    outbox.stop()
    outbox.join(30)
    assert outbox.status().lost_samples == 1


@pytest.mark.parametrize("size", ["many", 0, -1, None, property(lambda self: 1 / 0)])
def test_a_batch_size_that_is_none_is_the_usual_one(size: Any, caplog) -> None:
    writer = remote(type("Odd", (RemoteWriter,), {"batch_size": size}))
    outbox = Outbox(writer, clock=SystemClock())
    outbox.deliver([batch(number) for number in range(5)])
    outbox.start()
    wait_until(lambda: writer.arrived == [0, 1, 2, 3, 4])
    outbox.stop()
    outbox.join(30)
    assert writer.attempts == 1
    (message,) = caplog.messages
    assert message.startswith(f"writer {outbox.name}: batch_size: ")


def test_a_mistake_in_the_outbox_shows_in_its_status_and_is_logged_once(
    monkeypatch, caplog
) -> None:
    writer = remote()
    outbox = Outbox(writer, clock=SystemClock())
    mistakes = iter(range(3))

    def choose() -> Sequence[Batch]:
        if next(mistakes, None) is None:
            monkeypatch.undo()
            return outbox._choose()
        raise ZeroDivisionError

    seen: list[str] = []
    monkeypatch.setattr(outbox, "_choose", choose)
    monkeypatch.setattr(outbox, "_rest", lambda seconds: seen.append(outbox.status().reason))
    outbox.deliver([batch(1)])
    outbox.start()
    wait_until(lambda: writer.arrived)
    outbox.stop()
    outbox.join(30)
    assert seen == ["ZeroDivisionError"] * 3
    assert [record.message for record in caplog.records] == [
        "a mistake in the outbox: ZeroDivisionError"
    ]


class Unprintable(Exception):
    def __str__(self) -> str:
        raise SystemExit("no text")


@pytest.mark.parametrize(
    "raised",
    [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), Unprintable(), MemoryError(), OSError()],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("method", ["open", "write", "close"])
def test_whatever_a_writer_raises_costs_its_batches_and_no_thread(
    raised: BaseException, method: str
) -> None:
    class Raising(RemoteWriter):
        def write(self, batches: Sequence[Batch]) -> None:
            self.attempts += 1
            if method == "write" and self.attempts == 1:
                raise raised
            super().write(batches)

        def open(self) -> None:
            if method == "open" and not self.refused:
                self.refused.append(0.0)
                raise raised

        def close(self) -> None:
            self.closed.set()
            if method == "close":
                raise raised

    writer = remote(Raising)
    outbox = Outbox(writer, clock=SystemClock())
    outbox.start()
    outbox.deliver([batch(1)])
    wait_until(lambda: outbox.status().buffered_samples == 0)
    if method != "close":
        assert outbox.status().lost_samples == 1
        assert not outbox.status().up
        assert type(raised).__name__ in outbox.status().reason
    outbox.deliver([batch(2)])
    wait_until(lambda: 2 in writer.arrived)
    assert outbox.status().up
    outbox.stop()
    outbox.join(30)
    assert writer.closed.is_set()
    assert not outbox._thread.is_alive()


def test_report_of_a_loss_that_raises_does_not_end_the_outbox(caplog) -> None:
    def report(name: str, lost: Batch, error: BaseException | None) -> None:
        raise SystemExit

    writer = remote()
    writer.steps = ["refuse"]
    outbox = Outbox(writer, clock=SystemClock(), lost=report)
    outbox.start()
    outbox.deliver([batch(1)])
    wait_until(lambda: writer.refused)
    outbox.deliver([batch(2)])
    wait_until(lambda: writer.arrived == [2])
    outbox.stop()
    outbox.join(30)
    assert "the report of lost samples failed" in caplog.text


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [
        (31_536_000.0, 300, 301),
        (float("inf"), 300, 301),
        (float("nan"), 0, 20),
        (-5.0, 0, 20),
        ("soon", 0, 20),
        (None, 0, 20),
    ],
)
def test_pause_that_a_target_asks_for_is_obeyed_within_reason(
    monkeypatch: pytest.MonkeyPatch, asked: Any, least: float, most: float
) -> None:
    monkeypatch.setattr(outbox_module, "FIRST_PAUSE", 1.0)
    monkeypatch.setattr(outbox_module, "LONGEST_PAUSE", 15.0)
    waited = pauses(lambda: Retryable("busy", retry_after=asked), 1)
    assert least <= waited[0] <= most


def test_pauses_double_up_to_the_longest_and_vary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "FIRST_PAUSE", 1.0)
    monkeypatch.setattr(outbox_module, "LONGEST_PAUSE", 15.0)
    waited = pauses(lambda: Retryable("away"), 7)
    for pause, nominal in zip(waited, [1, 2, 4, 8, 15, 15, 15], strict=False):
        assert nominal * 0.8 - 0.01 <= pause <= nominal * 1.2 + 0.01
    assert len({round(pause, 6) for pause in waited[4:]}) > 1, "not all daemons come back at once"


def test_first_pause_is_short_again_after_a_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "FIRST_PAUSE", 1.0)
    monkeypatch.setattr(outbox_module, "LONGEST_PAUSE", 15.0)
    waited = pauses(lambda: Retryable("away"), 6, arrives=4)
    assert waited[3] > 7
    assert waited[4] == 0, "the next one follows at once"
    assert waited[5] < 1.3


def pauses(
    failure: Callable[[], Exception], count: int, *, arrives: int | None = None
) -> list[float]:
    """Return the seconds between tries of an outbox whose clock only moves while it waits.

    The try of the number `arrives` does not fail.
    """

    clock = SkippingClock()
    tries: list[float] = []
    done = threading.Event()
    writer = remote()

    def write(batches: Sequence[Batch]) -> None:
        tries.append(clock.monotonic())
        if len(tries) > count:
            done.set()
        elif len(tries) - 1 != arrives:
            raise failure()

    writer.write = write  # type: ignore[method-assign]
    outbox = Outbox(writer, clock=clock)
    writer.batch_size = 1  # type: ignore[misc]
    outbox.start()
    outbox.deliver([batch(1), batch(2)])
    assert done.wait(30)
    outbox.stop()
    outbox.join(30)
    return [after - before for before, after in itertools.pairwise(tries)]


@pytest.mark.parametrize(
    "failure", [Retryable("503"), Rejected("400"), UnicodeEncodeError("utf-8", "\udce9", 0, 1, "x")]
)
def test_batch_that_can_never_be_delivered_costs_itself_only(failure: Exception) -> None:
    writer = remote()

    def write(batches: Sequence[Batch]) -> None:
        values = [sample.value for each in batches for sample in each.samples]
        if 13 in values:
            raise failure
        writer.arrived += values

    writer.write = write  # type: ignore[method-assign]
    reported: list[float] = []
    outbox = Outbox(
        writer,
        clock=SystemClock(),
        lost=lambda name, lost, error: reported.extend(s.value for s in lost.samples),
    )
    outbox.deliver([batch(number, source=f"S{number % 5}") for number in range(40)])
    outbox.start()
    wait_until(lambda: outbox.status().buffered_samples == 0)
    assert reported == [13]
    assert sorted(writer.arrived) == [number for number in range(40) if number != 13]
    for source in range(5):
        of_source = [value for value in writer.arrived if value % 5 == source]
        assert of_source == sorted(of_source), "each source in its order"
    outbox.stop()
    outbox.join(30)


@pytest.mark.parametrize("lost", [-3, 10**9, "many", True])
def test_number_of_refused_samples_is_believed_within_reason(lost: Any) -> None:
    writer = remote()

    def write(batches: Sequence[Batch]) -> None:
        raise Rejected("no", lost=lost)

    writer.write = write  # type: ignore[method-assign]
    outbox = Outbox(writer, clock=SystemClock())
    outbox.start()
    outbox.deliver([batch(1, 2)])
    wait_until(lambda: outbox.status().buffered_samples == 0)
    status = outbox.status()
    assert 0 <= status.lost_samples <= 2
    assert status.lost_samples + status.written_samples == 2
    outbox.stop()
    outbox.join(30)


def test_writer_that_does_not_return_is_not_up(gate: Gate) -> None:
    clock = FakeClock()
    writer = remote()
    writer.steps, writer.gate = ["hang"], gate
    outbox = Outbox(writer, clock=clock)
    outbox.start()
    outbox.deliver([batch(1)])
    wait_until(lambda: writer.attempts)
    assert outbox.status().up
    clock.advance(90)
    status = outbox.status()
    assert (status.up, status.reason) == (False, "the writer has not returned for 90 s")
    gate.open()
    wait_until(lambda: outbox.status().up)
    outbox.stop()
    outbox.join(30)


def test_bad_batch_is_compared_with_one_of_another_source_so_that_each_keeps_its_order() -> None:
    writer = remote()
    alone: list[list[float]] = []

    def write(batches: Sequence[Batch]) -> None:
        values = [sample.value for each in batches for sample in each.samples]
        if len(batches) == 1:
            alone.append(values)
        if 0 in values:
            raise Retryable("500")
        writer.arrived += values

    writer.write = write  # type: ignore[method-assign]
    outbox = Outbox(writer, clock=SystemClock())
    outbox.deliver([batch(number, source="A") for number in range(4)])
    outbox.deliver([batch(10, source="B"), batch(11, source="B"), batch(12, source="B")])
    outbox.start()
    wait_until(lambda: outbox.status().buffered_samples == 0)
    assert [0] in alone
    first = next(values for values in alone if values != [0])
    assert first == [10], "not the next one of its own source"
    assert [value for value in writer.arrived if value < 10] == [1, 2, 3]
    assert outbox.status().lost_samples == 1
    outbox.stop()
    outbox.join(30)


def test_bad_batch_holds_up_the_only_source_for_minutes_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox_module, "FIRST_PAUSE", 1.0)
    monkeypatch.setattr(outbox_module, "LONGEST_PAUSE", 15.0)
    clock = SkippingClock()
    began = clock.monotonic()
    writer = remote()

    def write(batches: Sequence[Batch]) -> None:
        values = [sample.value for each in batches for sample in each.samples]
        if 0 in values:
            raise Retryable("500")
        writer.arrived += values

    writer.write = write  # type: ignore[method-assign]
    outbox = Outbox(writer, clock=clock)
    outbox.deliver([batch(number) for number in range(4)])
    outbox.start()
    wait_until(lambda: outbox.status().buffered_samples == 0)
    assert writer.arrived == [1, 2, 3]
    assert outbox.status().lost_samples == 1
    assert clock.monotonic() - began < 10 * 60
    outbox.stop()
    outbox.join(30)


def test_mistake_of_ours_does_not_end_the_outbox(caplog, monkeypatch) -> None:
    writer = remote()
    outbox = Outbox(writer, clock=SystemClock())
    delivered = outbox._delivered
    mistakes = [SystemExit("ours")]

    def deliver_once_wrong(written: int, lost: int) -> None:
        if mistakes:
            raise mistakes.pop()
        delivered(written, lost)

    monkeypatch.setattr(outbox, "_delivered", deliver_once_wrong)
    outbox.start()
    outbox.deliver([batch(1)])
    wait_until(lambda: outbox.status().buffered_samples == 0)
    assert writer.arrived == [1, 1], "what was given out is tried again"
    assert "a mistake in the outbox" in caplog.text
    outbox.stop()
    outbox.join(30)


def test_replaced_values_are_counted_as_outdated_and_take_no_memory() -> None:
    buffer = LatestBuffer(samples=100, age=1000, clock=FakeClock())
    for number in range(1000):
        buffer.put(batch(number, number, source="A"), batch(number, source="B"))
    assert (len(buffer), buffer.samples, buffer.outdated) == (2, 3, 999 * 3)
    assert len(buffer._queue) < 200
    assert [each.samples[0].value for each in buffer.peek(100)] == [999, 999]
