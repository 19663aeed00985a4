"""Worker threads: bounded, and never held up by slow probes."""

import threading
import time
from collections.abc import Callable

import pytest

from pollect.engine.clock import SystemClock
from pollect.engine.scheduler import Scheduler, Timer
from pollect.engine.workers import WorkerCall, Workers
from pollect.testing.waiting import wait_until
from tests.core.engine.rig import Gate


def threads_of_pool() -> int:
    return sum(thread.name.startswith("pollect-pool-") for thread in threading.enumerate())


class Pool:
    def __init__(self, threads: int, tick: float) -> None:
        self.scheduler = Scheduler(SystemClock())
        self.workers = Workers("pool", threads, tick, clock=SystemClock(), scheduler=self.scheduler)
        self.scheduler.start()

    def __enter__(self) -> Workers:
        return self.workers

    def __exit__(self, *_: object) -> None:
        self.workers.stop()
        self.scheduler.stop()


def test_quick_jobs_run_side_by_side_up_to_the_number_of_threads() -> None:
    together = threading.Barrier(4)
    most = [0]
    running = [0]
    lock = threading.Lock()
    done = threading.Semaphore(0)

    def job() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        together.wait(30)
        with lock:
            running[0] -= 1
        done.release()

    with Pool(threads=4, tick=100) as workers:
        for _ in range(16):
            workers.submit([WorkerCall(job)])
        for _ in range(16):
            assert done.acquire(timeout=30)
        assert most[0] == 4
        assert threads_of_pool() == 4


def test_hanging_jobs_give_their_places_to_others(gate: Gate) -> None:
    finished = threading.Event()
    with Pool(threads=2, tick=0.2) as workers:
        for _ in range(9):
            workers.submit([WorkerCall(gate)])  # type: ignore[arg-type]
        workers.submit([WorkerCall(finished.set)])
        assert finished.wait(30)
        assert threads_of_pool() <= 2 + 9


def test_spare_threads_end_when_the_hanging_jobs_return(gate: Gate) -> None:
    with Pool(threads=2, tick=0.2) as workers:
        for _ in range(9):
            workers.submit([WorkerCall(gate)])  # type: ignore[arg-type]
        wait_until(lambda: threads_of_pool() >= 9)
        gate.open()
        wait_until(lambda: threads_of_pool() <= 2)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing become overdue by itself."""
    monkeypatch.setattr("pollect.engine.workers.LONGEST_PATIENCE", 1000.0)


def test_written_off_job_is_replaced_and_its_thread_ends_with_it(gate: Gate, patient: None) -> None:
    with Pool(threads=1, tick=10_000) as workers:
        hanging = WorkerCall(gate)  # type: ignore[arg-type]
        workers.submit([hanging])
        wait_until(lambda: hanging.started)
        finished = threading.Event()
        workers.submit([WorkerCall(finished.set)])
        workers.write_off(hanging)
        assert finished.wait(30)
        assert threads_of_pool() == 2
        gate.open()
        wait_until(lambda: threads_of_pool() == 1)


def test_stop_drops_what_waits(gate: Gate) -> None:
    started: list[int] = []
    with Pool(threads=1, tick=1000) as workers:
        workers.submit([WorkerCall(gate)])  # type: ignore[arg-type]
        workers.submit([WorkerCall(lambda: started.append(1))])
        workers.stop()
        gate.open()
        assert workers.wait_idle(5)
        wait_until(lambda: threads_of_pool() == 0)
        assert started == []


def test_what_is_submitted_after_the_stop_does_not_run() -> None:
    started: list[int] = []
    with Pool(threads=1, tick=1000) as workers:
        workers.stop()
        workers.submit([WorkerCall(lambda: started.append(1))])
        assert workers.wait_idle(0.0)
        wait_until(lambda: threads_of_pool() == 0)
        assert started == []


def test_a_job_that_ended_or_is_written_off_already_frees_no_other_place(
    gate: Gate, patient: None
) -> None:
    ended, late, more = WorkerCall(None), hanging("a", gate, 3), hanging("b", gate, 3)
    with Pool(threads=1, tick=10_000) as workers:
        workers.submit([ended])
        wait_until(lambda: ended.started)
        workers.submit(late)
        wait_until(lambda: started(late) == 1)
        workers.write_off(ended)
        for _ in range(3):
            workers.write_off(late[0])
        wait_until(lambda: started(late) == 2)
        workers.submit(more)
        time.sleep(0.05)
        assert (started(late), started(more)) == (2, 0)
        gate.open()
        wait_until(lambda: (started(late), started(more)) == (3, 3))


def test_calls_that_waited_for_one_that_hung_start_together_when_it_returns(
    gate: Gate, patient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pollect.engine.workers.OVERDUE_OF_ONE_KEY", 1)
    together, done = threading.Barrier(3), threading.Semaphore(0)

    def meet() -> None:
        together.wait(30)
        done.release()

    hung = hanging("a", gate, 1, suspect=True)
    with Pool(threads=3, tick=10_000) as workers:
        workers.submit(hung)
        wait_until(lambda: started(hung))
        workers.submit([WorkerCall(meet, "a") for _ in range(3)])
        gate.open()
        for _ in range(3):
            assert done.acquire(timeout=30)


def test_more_threads_are_used_at_once(gate: Gate, patient: None) -> None:
    calls = hanging("a", gate, 3)
    with Pool(threads=1, tick=10_000) as workers:
        workers.submit(calls)
        wait_until(lambda: started(calls) == 1)
        workers.resize(3)
        wait_until(lambda: started(calls) == 3)
        gate.open()


def test_a_crowd_that_waits_is_looked_after_once(
    gate: Gate, patient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = Pool(threads=1, tick=10_000)
    looks: list[float] = []
    call_at = pool.scheduler.call_at

    def counted(when: float, call: Callable[[], None]) -> Timer:
        looks.append(when)
        return call_at(when, call)

    monkeypatch.setattr(pool.scheduler, "call_at", counted)
    with pool as workers:
        for call in hanging("a", gate, 50):
            workers.submit([call])
        assert len(looks) == 1
        gate.open()


def hanging(key: str, gate: Gate, count: int, *, suspect: bool = False) -> list[WorkerCall]:
    return [WorkerCall(gate, key, suspect=suspect) for _ in range(count)]  # type: ignore[arg-type]


def started(calls: list[WorkerCall]) -> int:
    return sum(call.started is not None for call in calls)


def test_calls_that_hang_together_fill_only_their_share_of_the_lane(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pollect.engine.workers.OVERDUE_OF_ONE_KEY", 3)
    first, second = hanging("a", gate, 9), hanging("b", gate, 9, suspect=True)
    with Pool(threads=1, tick=0.02) as workers:
        workers.submit(first)
        wait_until(lambda: started(first) == 3)
        workers.submit(second)
        wait_until(lambda: started(second) == 3)
        time.sleep(0.1)
        assert (started(first), started(second)) == (3, 3)
        assert threads_of_pool() == 6
        gate.open()
        wait_until(lambda: (started(first), started(second)) == (9, 9))


def test_the_lane_is_bounded_for_all_keys_together(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pollect.engine.workers.OVERDUE_LANE", 4)
    calls = [call for key in "abcdef" for call in hanging(key, gate, 2, suspect=True)]
    quick = threading.Event()
    with Pool(threads=1, tick=0.02) as workers:
        workers.submit(calls)
        wait_until(lambda: started(calls) == 4)
        time.sleep(0.1)
        assert started(calls) == 4
        workers.submit([WorkerCall(quick.set, "quick")])
        assert quick.wait(30), "who is not suspected still finds a thread"
        gate.open()
        wait_until(lambda: started(calls) == 12)


def test_keys_are_served_in_turn() -> None:
    order: list[str] = []
    first = threading.Event()
    calls = [
        WorkerCall(lambda key=key: order.append(key), key)  # type: ignore[misc]
        for key in ("a", "a", "a", "a", "b", "c")
    ]
    with Pool(threads=1, tick=1000) as workers:
        workers.submit([WorkerCall(first.wait, "first")])  # type: ignore[arg-type]
        workers.submit(calls)
        first.set()
        wait_until(lambda: len(order) == 6)
        assert order == ["a", "b", "c", "a", "a", "a"]


def test_a_thread_that_was_given_up_counts_again_when_its_call_returns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pollect.engine.workers.MOST_LOST", 1)
    monkeypatch.setattr("pollect.engine.workers.OVERDUE_LANE", 1)
    with Pool(threads=1, tick=0.02) as workers:
        for _ in range(3):
            first, second = Gate(), Gate()
            hung, next_one = hanging("a", first, 1, suspect=True), hanging("a", second, 1)
            workers.submit(hung)
            wait_until(lambda: started(hung))  # noqa: B023
            workers.write_off(hung[0])
            workers.submit(next_one)
            wait_until(lambda: started(next_one))  # noqa: B023
            workers.write_off(next_one[0])
            third = hanging("a", first, 1, suspect=True)
            workers.submit(third)
            time.sleep(0.05)
            assert not started(third), "one lost, one that fills the lane"
            first.open()
            second.open()
            wait_until(lambda: started(third))  # noqa: B023
            wait_until(lambda: threads_of_pool() == 1)
        quick = threading.Event()
        workers.submit([WorkerCall(quick.set)])
        assert quick.wait(30)


def test_a_thread_that_was_refused_is_asked_for_again_without_another_call(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr("pollect.engine.workers.THREAD_RETRY_SECONDS", 0.05)
    start = threading.Thread.start
    refusals = [1, 2, 3]

    def refuse(thread: threading.Thread) -> None:
        if refusals and thread.name.startswith("pollect-pool"):
            refusals.pop()
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done = threading.Event()
    with Pool(threads=1, tick=1000) as workers:
        workers.submit([WorkerCall(done.set)])
        assert done.wait(30)
        assert not refusals
        again = threading.Event()
        workers.submit([WorkerCall(again.set)])
        assert again.wait(30)
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"], caplog.text


def test_a_thread_that_was_refused_is_not_asked_for_after_the_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pollect.engine.workers.THREAD_RETRY_SECONDS", 0.02)
    start = threading.Thread.start
    asked: list[str] = []

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("pollect-pool"):
            asked.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with Pool(threads=1, tick=1000) as workers:
        workers.submit([WorkerCall(None)])
        wait_until(lambda: len(asked) >= 2)
        workers.stop()
        before = len(asked)
        time.sleep(0.1)
        assert len(asked) == before


def test_brief_calls_run_one_after_the_other_beside_the_others(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pollect.engine.workers.LONGEST_PATIENCE", 1000.0)
    running, most, left = 0, 0, threading.Semaphore(0)

    def brief() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.001)
        running -= 1
        left.release()

    with Pool(threads=5, tick=10_000) as workers:
        other = WorkerCall(gate)  # type: ignore[arg-type]
        workers.submit([WorkerCall(brief, "a", brief=True), other])
        workers.submit([WorkerCall(brief, "b", brief=True) for _ in range(20)])
        wait_until(lambda: other.started)
        for _ in range(21):
            assert left.acquire(timeout=30)
        assert most == 1


def test_brief_calls_that_hang_or_take_long_leave_the_others_their_turn(gate: Gate) -> None:
    finished = threading.Semaphore(0)
    with Pool(threads=3, tick=0.2) as workers:
        workers.submit([WorkerCall(gate, brief=True) for _ in range(9)])  # type: ignore[arg-type]
        workers.submit([WorkerCall(finished.release, brief=True) for _ in range(9)])
        for _ in range(9):
            assert finished.acquire(timeout=30)
        gate.open()
        wait_until(lambda: threads_of_pool() <= 3)
        workers.submit([WorkerCall(finished.release, brief=True)])
        assert finished.acquire(timeout=30)


def test_brief_calls_that_wait_longer_than_the_patience_run_side_by_side() -> None:
    together = threading.Barrier(3)
    done = threading.Semaphore(0)

    def meet() -> None:
        together.wait(30)
        done.release()

    with Pool(threads=3, tick=0.2) as workers:
        workers.submit([WorkerCall(meet, brief=True) for _ in range(3)])
        for _ in range(3):
            assert done.acquire(timeout=30)
