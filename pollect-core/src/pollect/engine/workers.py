"""The worker threads of one executor.

`threads` bounds how many probes run side by side, but a probe counts only for a short `patience`:
one that takes longer (a dead device, a hung mount) is slow, and a spare thread takes its place. So
slow sources never make others wait long, and because no source overlaps itself there are never
more threads than `threads` plus the slow sources.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from pollect.engine.scheduler import Scheduler
from pollect.plugin import Clock

log = logging.getLogger(__name__)

#: Seconds after which a probe is slow, and the share of the tick if that is less.
LONGEST_PATIENCE = 1.0
PATIENCE_OF_TICK = 0.1


class WorkerCall:
    """One call in a worker thread."""

    __slots__ = ("call", "slow", "started", "written_off")

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        #: Monotonic seconds; None while it waits in the queue.
        self.started: float | None = None
        #: It took too long to count against `threads`.
        self.slow = False
        #: Nobody waits for it any more; its thread ends with it.
        self.written_off = False


class Workers:
    """Runs jobs in threads that are made when needed."""

    def __init__(
        self, name: str, threads: int, tick: float, *, clock: Clock, scheduler: Scheduler
    ) -> None:
        self._name = name
        self._threads = threads
        self._patience = min(LONGEST_PATIENCE, tick * PATIENCE_OF_TICK)
        self._clock = clock
        self._scheduler = scheduler
        # Taking a job needs no lock of ours: with many short probes that is what costs most.
        self._queue: SimpleQueue[WorkerCall | None] = SimpleQueue()
        self._running: dict[WorkerCall, None] = {}
        self._changed = threading.Condition()
        #: Threads there are, and those of them that are busy with a slow job.
        self._alive = 0
        self._slow = 0
        self._made = 0
        self._stopped = False
        self._watched = False

    def submit(self, jobs: Sequence[WorkerCall]) -> None:
        """Run `call()` of each job, in this order, as soon as a worker is free."""
        for job in jobs:
            self._queue.put(job)
        with self._changed:
            self._provide_workers()
            self._watch()

    def write_off(self, job: WorkerCall) -> None:
        """Stop waiting for a running job: its thread ends when the call returns."""
        with self._changed:
            job.written_off = True
            if job in self._running:
                self._mark_slow(job)
                self._provide_workers()

    def resize(self, threads: int) -> None:
        """Bound the probes side by side anew."""
        with self._changed:
            self._threads = threads
            self._provide_workers()

    def stop(self) -> None:
        """Drop what waits in the queue and let the threads end; does not wait for them."""
        with self._changed:
            self._stopped = True
            try:
                while True:
                    self._queue.get_nowait()
            except Empty:
                pass
            for _ in range(self._alive):
                self._queue.put(None)

    def wait_idle(self, seconds: float) -> bool:
        """Wait until no job runs; return whether that came true in time. Only after `stop`."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, timeout=seconds)

    @property
    def threads_alive(self) -> int:
        return self._alive

    def _provide_workers(self) -> None:
        idle = self._alive - len(self._running)
        missing = min(
            self._queue.qsize() - idle,
            self._threads - (self._alive - self._slow),
        )
        for _ in range(missing):
            self._alive += 1
            self._made += 1
            threading.Thread(
                target=self._work, name=f"pollect-{self._name}-{self._made}", daemon=True
            ).start()

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            job.started = self._clock.monotonic()
            self._running[job] = None
            try:
                job.call()
            except Exception:
                # Jobs guard themselves; a mistake of ours must not cost a thread silently.
                log.exception("a job of %s failed", self._name)
            del self._running[job]
            if (job.slow or self._stopped) and self._is_surplus(job):
                return
        with self._changed:
            self._alive -= 1

    def _is_surplus(self, job: WorkerCall) -> bool:
        """Take note of the end of a slow job; return whether its thread must end, too."""
        with self._changed:
            self._changed.notify_all()
            if job.slow:
                self._slow -= 1
            # The spare thread that took its place makes one too many.
            surplus = job.slow and self._alive - self._slow > self._threads
            if surplus and not self._stopped:
                self._alive -= 1
                return True
            return False

    def _mark_slow(self, job: WorkerCall) -> None:
        if not job.slow:
            job.slow = True
            self._slow += 1

    def _watch(self) -> None:
        """Look again after a while as long as jobs wait in the queue."""
        if not self._watched and self._queue.qsize() and not self._stopped:
            self._watched = True
            again = self._clock.monotonic() + self._patience
            self._scheduler.call_at(again, self._replace_slow)

    def _replace_slow(self) -> None:
        with self._changed:
            self._watched = False
            limit = self._clock.monotonic() - self._patience
            for job in list(self._running):
                if job.started is not None and job.started <= limit:
                    self._mark_slow(job)
            self._provide_workers()
            self._watch()
