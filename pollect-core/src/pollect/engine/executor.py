"""The worker threads of one collection.

`threads` bounds how many probes run side by side, but a probe holds its place only for a short
`patience`: one that takes longer (a dead device, a hung mount) keeps its thread and gives its place
to the next in the queue. So slow sources never make others wait long, and because no source
overlaps itself there are never more threads than `threads` plus the slow sources.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable

from pollect.engine.scheduler import Scheduler
from pollect.plugin import Clock

log = logging.getLogger(__name__)

#: Seconds a probe holds its place at most, and the share of the tick if that is less.
LONGEST_PATIENCE = 1.0
PATIENCE_OF_TICK = 0.1


class Job:
    """One call in a worker thread."""

    __slots__ = ("call", "holds_place", "started", "written_off")

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        #: Monotonic seconds; None while it waits in the queue.
        self.started: float | None = None
        self.holds_place = False
        #: Its thread is not waited for any more.
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
        self._changed = threading.Condition()
        self._queue: deque[Job] = deque()
        self._running: set[Job] = set()
        self._places_held = 0
        self._idle = 0
        #: Threads that may take another job: all but those with a job that was written off.
        self._alive = 0
        self._made = 0
        self._stopped = False
        self._watched = False

    def submit(self, job: Job) -> None:
        """Run `job.call()` in a worker as soon as there is a place."""
        with self._changed:
            self._queue.append(job)
            self._provide_worker()
            self._watch_for_slow_jobs()

    def write_off(self, job: Job) -> None:
        """Stop waiting for a running job: its thread ends when the call returns."""
        with self._changed:
            if job in self._running and not job.written_off:
                job.written_off = True
                self._alive -= 1
                self._release_place(job)

    def resize(self, threads: int) -> None:
        """Bound the probes side by side anew."""
        with self._changed:
            self._threads = threads
            self._provide_worker()

    def stop(self) -> None:
        """Drop what waits in the queue and let the threads end; does not wait for them."""
        with self._changed:
            self._stopped = True
            self._queue.clear()
            self._changed.notify_all()

    def wait_idle(self, seconds: float) -> bool:
        """Wait until no job runs; return whether that came true in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, timeout=seconds)

    @property
    def threads_alive(self) -> int:
        """Threads of this collection, written off ones included."""
        with self._changed:
            return self._alive + sum(job.written_off for job in self._running)

    def _provide_worker(self) -> None:
        if self._places_held >= self._threads or not self._queue:
            return
        if self._idle:
            self._changed.notify()
        elif self._alive - self._slow_jobs() < self._threads:
            self._alive += 1
            self._made += 1
            threading.Thread(
                target=self._work, name=f"pollect-{self._name}-{self._made}", daemon=True
            ).start()

    def _slow_jobs(self) -> int:
        return sum(not (job.holds_place or job.written_off) for job in self._running)

    def _work(self) -> None:
        job: Job | None = None
        while True:
            with self._changed:
                if job is not None and not self._ended(job):
                    return
                while not self._may_start():
                    if self._stopped:
                        self._alive -= 1
                        return
                    self._idle += 1
                    self._changed.wait()
                    self._idle -= 1
                job = self._queue.popleft()
                job.started = self._clock.monotonic()
                job.holds_place = True
                self._places_held += 1
                self._running.add(job)
                if self._queue:
                    self._provide_worker()
                    self._watch_for_slow_jobs()
            try:
                job.call()
            except Exception:
                # Jobs guard themselves; a mistake of ours must not cost a thread silently.
                log.exception("a job of %s failed", self._name)

    def _may_start(self) -> bool:
        return bool(self._queue) and self._places_held < self._threads

    def _ended(self, job: Job) -> bool:
        """Take note of the end of a job; return whether its thread goes on."""
        self._running.discard(job)
        if job.written_off:
            surplus = True
        else:
            if job.holds_place:
                job.holds_place = False
                self._places_held -= 1
            # A slow job's place went to a spare thread: one of the two is too many now.
            surplus = self._alive - self._slow_jobs() > self._threads
            if surplus:
                self._alive -= 1
        if self._stopped:
            self._changed.notify_all()
        return not surplus

    def _release_place(self, job: Job) -> None:
        if job.holds_place:
            job.holds_place = False
            self._places_held -= 1
        self._provide_worker()

    def _watch_for_slow_jobs(self) -> None:
        """Look again when the oldest place has been held for too long, if somebody waits."""
        if self._watched or not self._queue:
            return
        starts = [job.started for job in self._running if job.holds_place and job.started]
        if starts:
            self._watched = True
            self._scheduler.call_at(min(starts) + self._patience, self._release_slow_jobs)

    def _release_slow_jobs(self) -> None:
        with self._changed:
            self._watched = False
            limit = self._clock.monotonic() - self._patience
            for job in list(self._running):
                if job.holds_place and job.started is not None and job.started <= limit:
                    self._release_place(job)
            self._watch_for_slow_jobs()
