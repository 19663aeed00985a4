"""Worker threads: bounded, and never held up by slow probes."""

import threading

from pollect.engine.clock import SystemClock
from pollect.engine.scheduler import Scheduler
from pollect.engine.workers import WorkerCall, Workers
from tests.core.engine.rig import Gate, wait_until


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
        together.wait(5)
        with lock:
            running[0] -= 1
        done.release()

    with Pool(threads=4, tick=100) as workers:
        for _ in range(16):
            workers.submit([WorkerCall(job)])
        for _ in range(16):
            assert done.acquire(timeout=5)
        assert most[0] == 4
        assert threads_of_pool() == 4


def test_hanging_jobs_give_their_places_to_others(gate: Gate) -> None:
    finished = threading.Event()
    with Pool(threads=2, tick=0.2) as workers:
        for _ in range(9):
            workers.submit([WorkerCall(gate)])  # type: ignore[arg-type]
        workers.submit([WorkerCall(finished.set)])
        assert finished.wait(2)
        assert threads_of_pool() <= 2 + 9


def test_spare_threads_end_when_the_hanging_jobs_return(gate: Gate) -> None:
    with Pool(threads=2, tick=0.2) as workers:
        for _ in range(9):
            workers.submit([WorkerCall(gate)])  # type: ignore[arg-type]
        wait_until(lambda: threads_of_pool() >= 9)
        gate.open()
        wait_until(lambda: threads_of_pool() <= 2)


def test_written_off_job_is_replaced_and_its_thread_ends_with_it(gate: Gate) -> None:
    with Pool(threads=1, tick=1000) as workers:
        hanging = WorkerCall(gate)  # type: ignore[arg-type]
        workers.submit([hanging])
        wait_until(lambda: hanging.started)
        finished = threading.Event()
        workers.submit([WorkerCall(finished.set)])
        workers.write_off(hanging)
        assert finished.wait(2)
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
