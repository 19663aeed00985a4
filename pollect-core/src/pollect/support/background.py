"""Work that goes on between probes: a supervised thread for devices that speak by themselves."""

import logging
import threading
from collections.abc import Callable

from pollect.errors import ProbeError
from pollect.support.backoff import Backoff

#: How long `stop` waits for the work to notice.
STOP_SECONDS = 5.0


class Background:
    """A thread that keeps some work going and starts it again, with growing pauses.

    `work` connects and receives until the connection ends. When it raises `ProbeError` or
    `OSError` the log is told once until it works again; it says so with `works()`. `interrupt`
    makes a blocked `work` return; `stop` calls it from its own thread.
    """

    def __init__(
        self,
        work: Callable[[], None],
        *,
        interrupt: Callable[[], None],
        log: logging.Logger,
        backoff: Backoff | None = None,
    ) -> None:
        self._work = work
        self._interrupt = interrupt
        self._log = log
        self._backoff = backoff or Backoff()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._failing = False

    @property
    def stopped(self) -> bool:
        """Whether the work is to end; `work` looks here between two steps."""
        return self._stopped.is_set()

    def start(self) -> None:
        """Begin, unless it has begun."""
        if self._thread is None:
            self._stopped = threading.Event()  # its own: an old thread may still be on its way out
            self._thread = threading.Thread(
                target=self._run, args=(self._stopped,), name=self._log.name, daemon=True
            )
            self._thread.start()

    def works(self) -> None:
        """Take note, in the thread of the work, that data arrived."""
        self._backoff.reset()
        if self._failing:
            self._failing = False
            self._log.warning("works again")

    def stop(self) -> None:
        """End the work and wait until it ended; may be called again."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stopped.set()
            self._interrupt()
            thread.join(STOP_SECONDS)

    def _run(self, stopped: threading.Event) -> None:
        while not stopped.is_set():
            try:
                self._work()
            except (ProbeError, OSError) as error:
                if not self._failing and not stopped.is_set():
                    self._failing = True
                    self._log.warning("%s; trying again", error)
            stopped.wait(self._backoff.pause())
