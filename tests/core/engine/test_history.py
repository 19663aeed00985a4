"""What is remembered of the last hour, and what it costs."""

import math
import random
import threading
import tracemalloc
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest

from pollect.engine.history import MOST_WAITING, History
from pollect.engine.ring import POINTS, Past, Ring, rates
from pollect.engine.strip import DOWN, NOTHING, TROUBLED, UP
from pollect.model import Batch, Kind, Metric, Outcome, ProbeResult, SourceId, WriterStatus

HOME = SourceId("home", "Thermometer")
TEMPERATURE = Metric("temperature", unit="celsius", labels=("room",))
ENERGY = Metric("energy", unit="joules", kind=Kind.COUNTER)


def history_of(limit: int = 2000, interval: float = 10.0) -> History:
    history = History(limit)
    history.follow({HOME: interval}, limit)
    return history


def batch(time: float, **rooms: float) -> Batch:
    return Batch(HOME, [TEMPERATURE.sample(value, room) for room, value in rooms.items()], time)


def points(past: Past, room: str) -> list[float]:
    return next(list(line.values) for line in past.lines if line.label_values == (room,))


def test_values_are_kept_with_their_times() -> None:
    history = history_of()
    for number in range(3):
        history.record(batch(1000.0 + 10 * number, hall=number, attic=-number))
    past = history.past(HOME)
    assert list(past.times) == [1000.0, 1010.0, 1020.0]
    assert points(past, "hall") == [0, 1, 2]
    assert points(past, "attic") == [0, -1, -2]
    assert [line.last for line in past.lines] == [2, -2]


def test_a_ring_of_ten_seconds_covers_the_last_hour() -> None:
    history = history_of()
    for number in range(1000):
        history.record(batch(10.0 * number, hall=number))
    past = history.past(HOME)
    assert len(past.times) == POINTS
    assert (past.times[0], past.times[-1]) == (6400.0, 9990.0)
    assert points(past, "hall") == list(range(640, 1000))


@pytest.mark.parametrize("interval", [0.5, 1.0, 2.0, 5.0, 7.0])
def test_a_quick_source_has_all_its_points_at_first_and_an_hour_later_on(interval: float) -> None:
    history = history_of(interval=interval)
    for number in range(30):
        history.record(batch(interval * number, hall=number))
    assert len(history.past(HOME).times) == 30
    last = int(10_000 / interval)
    for number in range(30, last):
        history.record(batch(interval * number, hall=number))
    past = history.past(HOME)
    assert POINTS / 2 <= len(past.times) <= POINTS
    assert past.times[-1] - past.times[0] >= 3500
    assert list(past.times) == sorted(past.times)
    assert [value * interval for value in points(past, "hall")] == list(past.times)
    assert past.lines[0].last == last - 1


def test_a_series_that_is_gone_has_a_gap_and_no_value() -> None:
    history = history_of()
    history.record(batch(0.0, hall=1, attic=2))
    history.record(batch(10.0, hall=1))
    history.record(batch(20.0, hall=1, attic=3))
    assert points(history.past(HOME), "attic")[0::2] == [2, 3]
    assert math.isnan(points(history.past(HOME), "attic")[1])
    history.record(Batch(HOME, (), 30.0))
    assert [line.present for line in history.past(HOME).lines] == [False, False]


def test_no_more_series_are_kept_than_the_limit_and_those_left_out_are_counted() -> None:
    history = history_of(limit=3)
    history.record(batch(0.0, a=1, b=2, c=3, d=4, e=5))
    past = history.past(HOME)
    assert [line.label_values for line in past.lines] == [("a",), ("b",), ("c",)]
    assert past.left_out == 2


def test_series_that_went_away_make_room_for_new_ones() -> None:
    history = history_of(limit=3)
    for number in range(200):
        # As of processes that come and go: a new name each time.
        history.record(batch(10.0 * number, always=1, **{f"p{number}": 1.0}))
    past = history.past(HOME)
    assert len(past.lines) <= 3
    present = [line.label_values[0] for line in past.lines if line.present]
    assert present == ["always", "p199"]


def test_series_without_a_point_left_are_forgotten() -> None:
    history = history_of()
    history.record(batch(0.0, hall=1, attic=2))
    for number in range(1, 2 * POINTS + 2):
        history.record(batch(10.0 * number, hall=1))
    assert [line.label_values for line in history.past(HOME).lines] == [("hall",)]


def test_nothing_is_kept_when_it_is_switched_off() -> None:
    history = history_of(limit=0)
    history.record(batch(0.0, hall=1))
    history.note(ProbeResult(HOME, Outcome.FAILED, time=0.0))
    assert history.past(HOME) == Past()
    assert set(history.strip(HOME, 0.0)[0]) == {NOTHING}


def test_a_source_that_a_reload_took_away_is_forgotten() -> None:
    history = history_of()
    history.record(batch(0.0, hall=1))
    history.follow({}, 2000)
    history.record(batch(10.0, hall=1))
    assert history.past(HOME) == Past()


def test_a_clock_that_was_set_back_begins_a_new_curve() -> None:
    history = history_of()
    for number in range(5):
        history.record(batch(5000.0 + 10 * number, hall=number))
    history.record(batch(100.0, hall=7))
    past = history.past(HOME)
    assert (list(past.times), points(past, "hall")) == ([100.0], [7])


def test_a_counter_is_drawn_as_change_per_second() -> None:
    history = history_of()
    for number, value in enumerate([100, 150, 150, 20, 40]):
        history.record(Batch(HOME, [ENERGY.sample(value)], 10.0 * number))
    past = history.past(HOME)
    changes = past.lines[0].points(past.times)
    assert changes[1:3] == [5.0, 0.0]
    assert math.isnan(changes[0])
    assert math.isnan(changes[3])  # it began again
    assert changes[4] == 2.0
    assert rates([], []) == []


def test_a_strip_shows_the_worst_of_each_minute() -> None:
    history = history_of()
    outcomes = {
        0: Outcome.OK,
        61: Outcome.OK,
        70: Outcome.FAILED,
        80: Outcome.OK,
        125: Outcome.TROUBLED,
        130: Outcome.NO_DATA,
        310: Outcome.OK,
    }
    for time, outcome in outcomes.items():
        history.note(ProbeResult(HOME, outcome, time=float(time)))
    cells, seconds = history.strip(HOME, 310.0)
    assert seconds == 60
    assert list(cells[-6:]) == [UP, DOWN, TROUBLED, NOTHING, NOTHING, UP]
    assert list(history.strip(HOME, 430.0)[0][-3:]) == [UP, NOTHING, NOTHING]
    assert set(history.strip(HOME, 310.0 + 7200)[0]) == {NOTHING}


def test_values_tell_that_a_source_works_unless_something_worse_is_noted() -> None:
    history = history_of()
    for time in (0.0, 61.0, 70.0):
        history.record(batch(time, hall=1))
    history.note(ProbeResult(HOME, Outcome.FAILED, time=80.0))
    history.record(Batch(HOME, (), 130.0))
    history.record(batch(310.0, hall=1))
    assert list(history.strip(HOME, 310.0)[0][-6:]) == [UP, DOWN, NOTHING, NOTHING, NOTHING, UP]
    history.follow({HOME: 10.0}, 1)  # fewer series
    assert list(history.strip(HOME, 310.0)[0][-6:]) == [UP, DOWN, NOTHING, NOTHING, NOTHING, UP]


def test_a_failure_that_waits_keeps_nothing_of_the_error_alive() -> None:
    class OwnError(ValueError):
        """An error of a plugin."""

    history = history_of()
    error = OwnError()
    known = weakref.ref(error)
    history.note(ProbeResult(HOME, Outcome.BUG, time=0.0, error=error))
    del error
    assert known() is None
    assert history.strip(HOME, 0.0)[0][-1] == DOWN


def test_whatever_is_wrong_with_a_batch_costs_that_batch_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Odd(NamedTuple):
        """Stands for the id of a source, as a filter of a plugin made it."""

        name: str = "odd"

        def __hash__(self) -> int:
            raise SystemExit(3)

    history = history_of()
    history.record(Batch(Odd(), [TEMPERATURE.sample(1, "hall")], 0.0))  # type: ignore[arg-type]
    for number in range(MOST_WAITING):
        history.record(batch(10.0 * number, hall=number))
    assert caplog.messages == ["values of Odd(name='odd') are not remembered: SystemExit: 3"]
    assert points(history.past(HOME), "hall") == list(range(MOST_WAITING))


def test_a_cell_of_a_slow_source_is_its_interval() -> None:
    history = history_of(interval=3600.0)
    for hour in range(5):
        history.note(ProbeResult(HOME, Outcome.OK, time=3600.0 * hour))
    cells, seconds = history.strip(HOME, 4 * 3600.0)
    assert seconds == 3600
    assert list(cells[-6:]) == [NOTHING, UP, UP, UP, UP, UP]


def test_writers_have_a_strip_and_lose_it_with_the_writer() -> None:
    history = history_of()
    history.note_writers([WriterStatus("Mqtt", up=False), WriterStatus("Sql")], 100.0)
    assert not history.wants_writers(105.0)
    assert history.wants_writers(110.0)
    assert history.writer_strip("Mqtt", 100.0)[0][-1] == DOWN
    assert history.writer_strip("Sql", 100.0)[0][-1] == UP
    history.note_writers([WriterStatus("Sql")], 110.0)
    assert set(history.writer_strip("Mqtt", 110.0)[0]) == {NOTHING}


class _Held(list[Any]):
    """Samples that keep the thread that takes them."""

    def __init__(self, samples: Sequence[Any]) -> None:
        super().__init__(samples)
        self.reached, self.released = threading.Event(), threading.Event()

    def __iter__(self) -> Iterator[Any]:
        self.reached.set()
        self.released.wait(30)
        return super().__iter__()


def test_no_probe_waits_for_a_thread_that_takes_the_batches_of_others() -> None:
    history = history_of()
    history.note(ProbeResult(HOME, Outcome.OK, time=0.0))
    held = _Held(batch(0.0, hall=0).samples)
    history.record(Batch(HOME, held, 0.0))
    taker = threading.Thread(target=history.past, args=[HOME])
    taker.start()
    assert held.reached.wait(30)

    def probe() -> None:
        for number in range(1, 50):
            history.record(batch(10.0 * number, hall=number))
            history.note(ProbeResult(HOME, Outcome.NO_DATA, time=number / 10))

    other = threading.Thread(target=probe)
    other.start()
    other.join(30)
    waited = other.is_alive()
    held.released.set()
    taker.join(30)
    other.join(30)
    assert not waited
    assert points(history.past(HOME), "hall") == list(range(50))


def test_a_point_of_a_series_takes_eight_bytes() -> None:
    history = history_of()
    rooms = {f"room {number}": float(number) for number in range(100)}
    history.record(batch(0.0, **rooms))
    tracemalloc.start()
    try:
        for number in range(1, POINTS):
            history.record(batch(10.0 * number, **rooms))
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken / (100 * POINTS) < 10


def test_room_is_looked_for_once_however_many_series_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[Ring] = []
    make_room = Ring._make_room

    def counted(ring: Ring, needed: set[int | None]) -> int:
        looks.append(ring)
        return make_room(ring, needed)

    monkeypatch.setattr(Ring, "_make_room", counted)
    history = history_of(limit=2)
    for number in range(5):
        history.record(batch(10.0 * number, **{f"room{n}": n for n in range(100)}))
    assert history.past(HOME).left_out == 98
    assert len(looks) == 1


def test_series_that_change_their_order_keep_their_own_values() -> None:
    history = history_of()
    history.record(batch(0.0, hall=1, attic=2))
    history.record(batch(10.0, attic=3, hall=4))
    history.record(batch(20.0, attic=5, cellar=6, hall=7))
    past = history.past(HOME)
    assert points(past, "hall") == [1, 4, 7]
    assert points(past, "attic") == [2, 3, 5]
    assert points(past, "cellar")[-1] == 6


def test_series_that_were_left_out_are_kept_when_another_source_makes_room() -> None:
    other = HOME._replace(name="other")
    history = History(3)
    history.follow({HOME: 10.0, other: 10.0}, 3)
    history.record(Batch(other, [TEMPERATURE.sample(1, "a"), TEMPERATURE.sample(2, "b")], 0.0))
    history.record(batch(0.0, hall=1, attic=2))
    assert history.past(HOME).left_out == 1
    history.follow({HOME: 10.0}, 3)
    history.record(batch(10.0, hall=3, attic=4))
    past = history.past(HOME)
    assert past.left_out == 0
    assert points(past, "attic")[-1] == 4


def test_series_left_out_are_kept_when_others_of_the_source_went_away() -> None:
    history = history_of(limit=2)
    history.record(batch(0.0, hall=1, attic=2))
    for number in range(1, 4):
        history.record(batch(10.0 * number, hall=number, cellar=-number))
    past = history.past(HOME)
    assert past.left_out == 0
    assert points(past, "cellar")[-1] == -3


def test_series_that_come_and_go_keep_their_own_values_until_their_last_point_is_gone() -> None:
    chance = random.Random(7)
    history = history_of(limit=10_000)
    expected: list[dict[str, float]] = []
    series = [f"room{number}" for number in range(5)]
    for number in range(3 * POINTS):
        event = number % 10
        if event == 3:
            series = chance.sample([f"room{other}" for other in range(number // 10 + 5)], 5)
        elif event == 6:
            chance.shuffle(series)
        elif event == 9:
            series.pop()
        expected = [*expected[-POINTS + 1 :], {room: chance.random() for room in series}]
        history.record(batch(10.0 * number, **expected[-1]))
    past = history.past(HOME)
    shown = {line.label_values[0]: line for line in past.lines}
    assert set(shown) >= {room for values in expected for room in values}
    for room, line in shown.items():
        wanted = [values.get(room, math.nan) for values in expected]
        assert list(map(repr, line.values)) == list(map(repr, wanted))
        assert repr(line.last) == repr(wanted[-1])


def test_a_series_that_is_gone_does_not_show_what_it_was_an_hour_ago() -> None:
    history = history_of()
    for number in range(POINTS + 10):
        samples = batch(10.0 * number, hall=number, attic=number).samples
        # The same series twice, so that their number alone does not show that one is gone.
        history.record(Batch(HOME, [samples[0]] * 2 if number > 5 else samples, 10.0 * number))
    assert not [value for value in points(history.past(HOME), "attic") if value > 5]


def test_a_flood_of_series_takes_no_memory_an_hour_later() -> None:
    history = history_of(limit=5000)
    history.record(batch(0.0, hall=0))
    tracemalloc.start()
    try:
        history.record(batch(10.0, **{f"room{number}": 1.0 for number in range(3000)}))
        for number in range(2, 2 * POINTS + 2):
            history.record(batch(10.0 * number, hall=number))
        history.past(HOME)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken < 1_000_000
