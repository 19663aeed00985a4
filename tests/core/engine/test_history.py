"""What is remembered of the last hour, and what it costs."""

import itertools
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
from pollect.engine.strip import CELLS, DOWN, NOTHING, TROUBLED, UP
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


def test_each_point_has_its_own_time_whenever_the_ring_is_thinned_out() -> None:
    history = history_of(interval=1.0)
    for number in range(3 * POINTS):
        history.record(batch(float(number), hall=number))
        if number % 20 == 0:
            past = history.past(HOME)
            assert points(past, "hall") == list(past.times)


def test_a_series_that_goes_away_as_the_ring_is_thinned_out_has_no_point_after_it() -> None:
    history = history_of(interval=1.0)
    for number in range(POINTS):
        history.record(batch(float(number), attic=number, hall=number))
    for number in range(POINTS, POINTS + POINTS // 4):
        # The same series twice, so that their number alone does not show that one is gone.
        twice = [*batch(float(number), hall=number).samples] * 2
        history.record(Batch(HOME, twice, float(number)))
    past = history.past(HOME)
    attic = dict(zip(past.times, points(past, "attic"), strict=True))
    assert all(math.isnan(value) for time, value in attic.items() if time >= POINTS)


def test_points_stay_evenly_spaced_when_probes_come_a_moment_early_or_late() -> None:
    chance = random.Random(7)
    history = history_of(interval=5.0)
    for number in range(4 * POINTS):
        history.record(batch(5 * number + chance.uniform(0, 0.1), hall=number))
    gaps = [later - before for before, later in itertools.pairwise(history.past(HOME).times)]
    assert max(gaps) < 11


def test_a_series_that_goes_away_leaves_its_place_to_other_sources_an_hour_later() -> None:
    other = HOME._replace(name="other")
    history = History(3)
    history.follow({HOME: 10.0, other: 10.0}, 3)
    history.record(batch(0.0, hall=1, attic=2))
    for number in range(1, 2 * POINTS + 2):
        history.record(batch(10.0 * number, hall=number))
    samples = batch(0.0, a=1, b=2).samples
    history.record(Batch(other, samples, 10.0))
    assert history.past(other).left_out == 0
    history.record(Batch(other, [*samples, TEMPERATURE.sample(3, "c")], 20.0))
    assert history.past(other).left_out == 1


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
    assert not history.wants_writers(0.0)


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


@pytest.mark.parametrize(("back", "kept"), [(1.0, 4), (60.0, 0)])
def test_a_clock_that_is_corrected_keeps_the_curve_and_one_that_is_set_does_not(
    back: float, kept: int
) -> None:
    history = history_of()
    for number in range(5):
        history.record(batch(5000.0 + 10 * number, hall=number))
    history.record(batch(5040.0 - back, hall=7))
    past = history.past(HOME)
    assert points(past, "hall") == [*range(kept), 7]
    assert past.time == past.times[-1] == 5040.0 - back


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


def test_a_counter_that_comes_twice_in_one_moment_has_no_change_there() -> None:
    history = history_of()
    for time, value in ((0.0, 0), (10.0, 10), (10.0, 20), (20.0, 30)):
        history.record(Batch(HOME, [ENERGY.sample(value)], time))
    past = history.past(HOME)
    changes = past.lines[0].points(past.times)
    assert [change for change in changes if not math.isnan(change)] == [1.0, 1.0]


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


def noted(history: History, states: dict[float, Outcome]) -> None:
    for time, outcome in states.items():
        history.note(ProbeResult(HOME, outcome, time=time))


def test_a_failure_leaves_the_strip_an_hour_later() -> None:
    history = history_of()
    noted(history, {0.0: Outcome.FAILED})
    noted(history, {60.0 * minute: Outcome.OK for minute in range(1, CELLS + 10)})
    assert list(history.strip(HOME, 60.0 * (CELLS + 9))[0]) == [UP] * CELLS


def test_a_strip_has_as_many_cells_however_long_nothing_was_noted() -> None:
    history = history_of()
    noted(history, {0.0: Outcome.FAILED})
    for minutes in (0, 1, CELLS - 1, CELLS, CELLS + 1, 10 * CELLS):
        cells = list(history.strip(HOME, 60.0 * minutes)[0])
        assert cells == [*[NOTHING] * CELLS, DOWN, *[NOTHING] * minutes][-CELLS:]


@pytest.mark.parametrize("minutes", [CELLS, CELLS + 1])
def test_values_of_an_hour_ago_are_no_longer_in_the_strip(minutes: int) -> None:
    history = history_of()
    history.record(batch(0.0, hall=1))
    assert set(history.strip(HOME, 60.0 * minutes)[0]) == {NOTHING}


def test_values_of_a_clock_that_is_ahead_wait_for_their_place_in_the_strip() -> None:
    history = history_of()
    history.record(batch(60.0, hall=1))
    assert set(history.strip(HOME, 59.0)[0]) == {NOTHING}
    assert history.strip(HOME, 60.0)[0][-1] == UP


def test_a_strip_goes_on_in_its_latest_cell_when_the_clock_is_set_back_a_little() -> None:
    history = history_of()
    noted(history, {36_000.0: Outcome.OK, 35_400.0: Outcome.FAILED})
    assert list(history.strip(HOME, 35_400.0)[0][-2:]) == [NOTHING, DOWN]


def test_a_strip_starts_again_when_the_clock_is_set_back_by_hours() -> None:
    history = history_of()
    noted(history, {36_000.0: Outcome.FAILED, 6000.0: Outcome.FAILED, 6060.0: Outcome.OK})
    assert list(history.strip(HOME, 6060.0)[0][-3:]) == [NOTHING, DOWN, UP]


def test_a_reload_keeps_curves_and_strips_of_the_sources_that_stay() -> None:
    history = history_of()
    history.record(batch(0.0, hall=1))
    noted(history, {10.0: Outcome.FAILED})
    history.follow({HOME: 10.0}, 2000)
    assert points(history.past(HOME), "hall") == [1]
    assert history.strip(HOME, 10.0)[0][-1] == DOWN


def test_a_source_that_a_later_reload_brings_back_has_no_past() -> None:
    history = history_of()
    history.record(batch(0.0, hall=1))
    noted(history, {10.0: Outcome.FAILED})
    history.follow({}, 2000)
    history.follow({HOME: 10.0}, 2000)
    assert history.past(HOME) == Past()
    assert set(history.strip(HOME, 10.0)[0]) == {NOTHING}


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


def test_the_strip_of_a_writer_goes_on_from_look_to_look() -> None:
    history = history_of()
    for minute, up in enumerate((True, False, True)):
        history.note_writers([WriterStatus("Mqtt", up=up)], 60.0 * minute)
    assert list(history.writer_strip("Mqtt", 120.0)[0][-3:]) == [UP, DOWN, UP]


def test_writers_are_looked_at_again_at_once_when_the_clock_was_set_back() -> None:
    history = history_of()
    history.note_writers([], 36_000.0)
    assert history.wants_writers(100.0)


def test_a_batch_that_cannot_be_remembered_is_logged_at_the_next_look_at_the_writers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    history = history_of()
    history.record(Batch(HOME, [(TEMPERATURE, "warm", ("hall",))], 0.0))  # type: ignore[list-item]
    assert not caplog.messages
    for time in (0.0, 10.0):
        history.note_writers([], time)
        assert caplog.messages == [
            "values of home/Thermometer are not remembered: TypeError: must be real number, not str"
        ]


def test_series_whose_values_cannot_be_remembered_count_among_those_kept() -> None:
    history = history_of(limit=5)
    for number in range(50):
        sample: Any = (TEMPERATURE, "warm", (f"room{number}",))
        history.record(Batch(HOME, [sample], 10.0 * number))
        assert len(history.past(HOME).lines) <= 5


def test_failures_that_no_one_looks_at_take_no_memory() -> None:
    history = history_of()
    tracemalloc.start()
    try:
        for number in range(100 * MOST_WAITING):
            history.note(ProbeResult(HOME, Outcome.FAILED, time=float(number)))
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken < 100_000


def test_a_reload_with_another_interval_gives_the_strip_its_cells() -> None:
    history = history_of(interval=10.0)
    history.follow({HOME: 600.0}, 2000)
    assert history.strip(HOME, 0.0)[1] == 600


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
        for number in range(1, MOST_WAITING + 1):
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
    assert points(history.past(HOME), "hall") == list(range(MOST_WAITING + 1))


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


def test_a_single_place_that_another_source_leaves_is_taken_at_the_next_probe() -> None:
    other = HOME._replace(name="other")
    history = History(2)
    history.follow({HOME: 10.0, other: 10.0}, 2)
    history.record(Batch(other, [TEMPERATURE.sample(1, "a")], 0.0))
    history.record(batch(0.0, hall=1, attic=2))
    assert history.past(HOME).left_out == 1
    history.follow({HOME: 10.0}, 2)
    history.record(batch(10.0, hall=3, attic=4))
    assert points(history.past(HOME), "attic")[-1] == 4


def test_a_series_that_went_away_stays_while_there_is_room_for_those_that_came() -> None:
    history = history_of(limit=3)
    history.record(batch(0.0, hall=1, attic=2))
    history.record(batch(10.0, hall=3))
    history.record(batch(20.0, hall=4, cellar=5))
    assert points(history.past(HOME), "attic")[0] == 2


def test_a_series_that_comes_twice_takes_one_place() -> None:
    history = history_of(limit=2)
    twice, cellar = [*batch(0.0, hall=1).samples] * 2, batch(0.0, cellar=2).samples
    history.record(Batch(HOME, [*twice, *cellar], 0.0))
    past = history.past(HOME)
    assert (points(past, "hall"), points(past, "cellar")) == ([1], [2])


def test_a_metric_in_the_place_of_another_keeps_its_own_values() -> None:
    history = history_of()
    power = Metric("power", unit="watts")
    history.record(Batch(HOME, [ENERGY.sample(1)], 0.0))
    history.record(Batch(HOME, [power.sample(2)], 10.0))
    history.record(Batch(HOME, [ENERGY.sample(3)], 20.0))
    values = {line.metric: [v for v in line.values if v == v] for line in history.past(HOME).lines}
    assert values == {ENERGY: [1, 3], power: [2]}


def test_a_reload_to_fewer_series_starts_the_curves_again_with_those_it_allows() -> None:
    history = history_of(limit=3)
    for number in range(3):
        history.record(batch(10.0 * number, hall=number, attic=number, shed=number, yard=number))
    history.follow({HOME: 10.0}, 2)
    assert history.past(HOME)[3:] == ([], 0)
    for number in range(3, 6):
        history.record(batch(10.0 * number, hall=number, attic=-number, shed=number))
    past = history.past(HOME)
    assert list(past.times) == [0, 10, 20, 30, 40, 50]
    assert past.left_out == 1
    assert points(past, "hall")[3:] == [3, 4, 5]
    assert points(past, "attic")[3:] == [-3, -4, -5]
    assert all(math.isnan(value) for line in past.lines for value in line.values[:3])


def test_static_labels_are_those_of_the_last_batch() -> None:
    history = history_of()
    for time, house in ((0.0, "old"), (10.0, "new")):
        samples = batch(time, hall=1).samples
        history.record(Batch(HOME, samples, time, static_labels=(("house", house),)))
    assert history.past(HOME).static_labels == (("house", "new"),)


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
