"""Devices that send on their own: a supervised thread that listens between the probes.

A meter that multicasts, a websocket, a program that prints lines. `Background` runs some work in
a thread of its own and starts it again, with growing pauses, whenever it ends. `BackgroundSource`
is a source made of one: `receive` connects and listens, `latest` returns what it heard. For
libraries that need asyncio there is `pollect.support.async_background`.
"""

import logging
import threading
from collections.abc import Callable

from pollect.errors import ProbeError, TargetUnavailable, describe
from pollect.plugin import Clock, ProbeValue, SourceConfigT, SourceContext
from pollect.support.backoff import Backoff
from pollect.support.supervision import STOP_SECONDS, PushSource, Supervision, ended_without_reason


class Background:
    """A thread that keeps some work going.

    `work` connects, calls `works()` as soon as the device answers and again with every message,
    and returns or raises when the connection ends. Whatever it raises is survived: an unexpected
    error is logged once with its traceback. Pauses grow up to that of `backoff` and start small
    again only after a minute that worked; after `AuthenticationFailed` they are the longest.

    `interrupt` makes a blocked `work` return; `stop` calls it from its own thread, and so does the
    watch when `works()` was not called for `silence_seconds`, which is how a half-open connection
    is noticed without help of the protocol. It may be called before `work` has anything to
    interrupt, so `work` looks at `stopped` once it has.

    `log_failures`: log when the work fails and when it works again. Leave it out where a probe
    reports that by `check()`.
    """

    def __init__(
        self,
        work: Callable[[], None],
        *,
        interrupt: Callable[[], None],
        log: logging.Logger,
        clock: Clock,
        backoff: Backoff | None = None,
        silence_seconds: float | None = None,
        log_failures: bool = True,
    ) -> None:
        self._work = work
        self._interrupt = interrupt
        self._log = log
        self._clock = clock
        self._state = Supervision(
            log,
            clock,
            backoff=backoff,
            silence_seconds=silence_seconds,
            log_failures=log_failures,
        )
        #: Guards the state, and is notified when it changes.
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._of_thread = threading.local()
        #: Whether the watch interrupted the work that runs now.
        self._was_silent = False
        self._threads: list[threading.Thread] = []

    @property
    def stopped(self) -> bool:
        """Whether the work is to end; `work` looks here between two steps.

        In a thread that `stop` had to leave behind it stays true after the next `start`.
        """
        own: threading.Event = getattr(self._of_thread, "stopped", self._stopped)
        return own.is_set()

    @property
    def decided(self) -> bool:
        """Whether the first attempt since the start has worked or failed."""
        return self._state.decided

    def start(self) -> None:
        """Start, unless it runs; returns at once.

        Raises `TargetUnavailable` when the system has no thread left.
        """
        if self._threads:
            return
        self._stopped = stopped = threading.Event()  # an old thread may still be on its way out
        with self._changed:
            self._state.reset()
        loops = [self._run] if self._state.silence_seconds is None else [self._run, self._watch]
        for loop in loops:
            thread = threading.Thread(
                target=loop, args=(stopped,), name=self._log.name, daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:
                self.stop()
                raise TargetUnavailable(f"cannot start a thread: {error}") from error
            self._threads.append(thread)

    def works(self) -> None:
        """Note that the device answers; called by `work`."""
        with self._changed:
            if not self.stopped:
                self._state.works()
                self._changed.notify_all()

    def slow_down(self) -> None:
        """Make the next pause the longest: called by `work` when trying again soon is useless."""
        with self._changed:
            self._state.slow_down()

    def check(self, *, patience_seconds: float = 0.0) -> None:
        """Return if the device answers; raises `ProbeError` with the reason otherwise.

        Waits until the first attempt since the start has worked or failed, in real time, but no
        longer than `patience_seconds`.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._state.decided or self.stopped, timeout=patience_seconds
            )
            self._state.check()

    def stop(self) -> None:
        """End the work and wait until it ended; may be called again."""
        threads, self._threads = self._threads, []
        if not threads:
            return
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()
        self._interrupt_work()
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(STOP_SECONDS)
        if any(thread.is_alive() for thread in threads):
            self._log.warning("did not stop within %g s and is left behind", STOP_SECONDS)

    def _run(self, stopped: threading.Event) -> None:
        self._of_thread.stopped = stopped
        while not stopped.is_set():
            with self._changed:
                self._state.begin()
                self._changed.notify_all()
            error: BaseException | None = None
            try:
                self._work()
            except BaseException as raised:  # noqa: BLE001 - work is plugin code, and goes on
                error = raised
            if stopped.is_set():
                return
            self._failed(error, stopped)

    def _failed(self, error: BaseException | None, stopped: threading.Event) -> None:
        """Note why the work ended, and wait until it is worth another attempt."""
        with self._changed:
            if self._was_silent and not isinstance(error, ProbeError):
                error = self._state.silence()
            self._state.fail(error or ended_without_reason())
            self._was_silent = False
            self._changed.notify_all()
            ends = self._clock.monotonic() + self._state.pause()
            while not stopped.is_set() and (left := ends - self._clock.monotonic()) > 0:
                self._clock.wait(self._changed, left)

    def _watch(self, stopped: threading.Event) -> None:
        """Interrupt the work whenever the peer was silent for too long."""
        while not stopped.is_set():
            with self._changed:
                left = self._state.silence_left
                if left is None or left > 0:
                    self._clock.wait(self._changed, left)
                    continue
                self._was_silent = True
                self._state.fail(self._state.silence())
                self._state.begin()  # for work that takes no notice of the interruption
                self._changed.notify_all()
            self._interrupt_work()

    def _interrupt_work(self) -> None:
        try:
            self._interrupt()
        except BaseException as error:  # noqa: BLE001 - plugin code; stopping goes on
            self._log.warning("cannot be interrupted: %s", describe(error))


class BackgroundSource(PushSource[SourceConfigT]):
    """A source whose device sends on its own; see `Background` and `PushSource` for what holds."""

    def __init__(self, config: SourceConfigT, context: SourceContext) -> None:
        super().__init__(config, context)
        self.background = Background(
            self.receive,
            interrupt=self.interrupt,
            log=self.log,
            clock=context.clock,
            silence_seconds=self.silence_seconds,
            log_failures=False,
        )

    def receive(self) -> None:
        """Connect, call `self.background.works()`, and listen until the connection ends.

        Runs in a thread of its own, over and over. Import the library in `open()`.
        """
        raise NotImplementedError

    def interrupt(self) -> None:
        """Make a blocked `receive` return, from another thread: close its socket, for example."""
        raise NotImplementedError

    def open(self) -> None:
        self.background.start()

    def probe(self) -> ProbeValue:
        self.background.check(patience_seconds=self.first_patience)
        return self.latest()

    def close(self) -> None:
        self.background.stop()
