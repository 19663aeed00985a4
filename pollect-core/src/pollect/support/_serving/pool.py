"""A few threads that answer requests, so that the one that reads them never waits."""

import threading
import time
from collections import deque
from collections.abc import Callable

#: Seconds a thread waits for work before it ends; the last one stays.
_LINGER_SECONDS = 5.0


class Pool:
    """At most `size` threads, started when they are needed."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._condition = threading.Condition()
        self._jobs: deque[Callable[[], None]] = deque()
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        self._closed = False

    def submit(self, job: Callable[[], None]) -> None:
        """Run `job`, which must not raise, in one of the threads.

        Raises `RuntimeError` when no thread runs and none can be started.
        """
        with self._condition:
            self._jobs.append(job)
            if self._idle >= len(self._jobs):
                self._condition.notify()
                return
            if len(self._threads) >= self._size:
                return
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._threads.add(thread)
            try:
                thread.start()
            except RuntimeError:  # the system has no thread left, now
                self._threads.discard(thread)
                if not self._threads:
                    self._jobs.clear()
                    raise

    def close(self, seconds: float) -> None:
        """Forget what waits, and give what runs so many seconds to end."""
        with self._condition:
            self._closed = True
            self._jobs.clear()
            self._condition.notify_all()
            threads = list(self._threads)
        until = time.monotonic() + seconds
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        while (job := self._next()) is not None:
            job()
            # While waiting it must not keep alive what it answered with.
            del job

    def _next(self) -> Callable[[], None] | None:
        with self._condition:
            while not self._jobs and not self._closed:
                self._idle += 1
                lingers = len(self._threads) > 1
                notified = self._condition.wait(_LINGER_SECONDS if lingers else None)
                self._idle -= 1
                if not notified and not self._jobs and len(self._threads) > 1:
                    break
            if self._jobs and not self._closed:
                return self._jobs.popleft()
            self._threads.discard(threading.current_thread())
            return None
