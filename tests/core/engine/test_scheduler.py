"""Time: no drift, no catch-up storm, nothing lost."""

import threading
import time

from pollect.engine.clock import SystemClock
from pollect.engine.scheduler import RepeatingTimer, Scheduler
from pollect.testing import FakeClock


def run_for(scheduler: Scheduler, clock: FakeClock, seconds: float) -> None:
    """Let simulated time pass, from deadline to deadline."""
    end = clock.monotonic() + seconds
    while True:
        due = scheduler.run_due()
        if due is None or due > end:
            clock.advance(end - clock.monotonic())
            return
        clock.advance(due - clock.monotonic())


def test_ticks_do_not_drift_over_a_simulated_day() -> None:
    clock = FakeClock(monotonic=0.1)
    scheduler = Scheduler(clock)
    starts: list[float] = []

    def slow_callback() -> None:
        starts.append(clock.monotonic())
        clock.advance(0.013)

    RepeatingTimer(scheduler, clock, 1.0, slow_callback)
    run_for(scheduler, clock, 86_400)
    assert len(starts) in (86_400, 86_401)
    assert max(abs(start - (0.1 + n)) for n, start in enumerate(starts)) < 1e-6


def test_tick_that_overruns_skips_the_ticks_it_covers() -> None:
    clock = FakeClock(monotonic=0.0)
    scheduler = Scheduler(clock)
    starts: list[float] = []

    def overrun_once() -> None:
        starts.append(clock.monotonic())
        if len(starts) == 2:
            clock.advance(3.5)

    RepeatingTimer(scheduler, clock, 1.0, overrun_once)
    run_for(scheduler, clock, 8)
    assert starts == [0, 1, 5, 6, 7, 8]


def test_pause_of_an_hour_is_followed_by_one_tick_not_by_hundreds() -> None:
    clock = FakeClock(monotonic=0.0)
    scheduler = Scheduler(clock)
    starts: list[float] = []
    RepeatingTimer(scheduler, clock, 10.0, lambda: starts.append(clock.monotonic()))
    run_for(scheduler, clock, 20)
    clock.advance(3605)
    run_for(scheduler, clock, 20)
    assert starts == [0, 10, 20, 3625, 3630, 3640]


def test_step_of_the_wall_clock_changes_nothing() -> None:
    clock = FakeClock(monotonic=0.0)
    scheduler = Scheduler(clock)
    starts: list[float] = []
    RepeatingTimer(scheduler, clock, 10.0, lambda: starts.append(clock.monotonic()))
    run_for(scheduler, clock, 10)
    clock.step_wall_clock(-7200)
    run_for(scheduler, clock, 20)
    assert starts == [0, 10, 20, 30]


def test_thousand_ticks_stay_on_their_grid_for_a_simulated_minute() -> None:
    clock = FakeClock(monotonic=0.0)
    scheduler = Scheduler(clock)
    counts = [0] * 1000

    def count(index: int) -> None:
        counts[index] += 1

    for index in range(1000):
        RepeatingTimer(scheduler, clock, 1.0, lambda index=index: count(index))  # type: ignore[misc]
    run_for(scheduler, clock, 60)
    assert counts == [61] * 1000


def test_cancelled_call_is_not_made() -> None:
    clock = FakeClock()
    scheduler = Scheduler(clock)
    called: list[str] = []
    scheduler.call_at(clock.monotonic() + 1, lambda: called.append("kept"))
    scheduler.call_at(clock.monotonic() + 1, lambda: called.append("cancelled")).cancel()
    run_for(scheduler, clock, 2)
    assert called == ["kept"]


def test_earlier_call_wakes_the_sleeping_thread() -> None:
    clock = SystemClock()
    scheduler = Scheduler(clock)
    called = threading.Event()
    scheduler.call_at(clock.monotonic() + 3600, lambda: None)
    scheduler.start()
    try:
        scheduler.call_at(clock.monotonic(), called.set)
        assert called.wait(30)
    finally:
        scheduler.stop()


def test_failing_call_does_not_stop_the_others(caplog) -> None:
    clock = FakeClock()
    scheduler = Scheduler(clock)
    called: list[int] = []
    scheduler.call_at(clock.monotonic(), lambda: 1 / 0)  # type: ignore[arg-type]
    scheduler.call_at(clock.monotonic(), lambda: called.append(1))
    scheduler.run_due()
    assert called == [1]
    assert "a scheduled call failed" in caplog.text


def test_call_that_never_comes_does_not_disturb_the_others() -> None:
    clock = SystemClock()
    scheduler = Scheduler(clock)
    called = threading.Event()
    scheduler.call_at(float("inf"), lambda: None)
    scheduler.start()
    try:
        time.sleep(0.05)
        assert scheduler._thread is not None
        assert scheduler._thread.is_alive()
        scheduler.call_at(clock.monotonic(), called.set)
        assert called.wait(30)
    finally:
        scheduler.stop()
