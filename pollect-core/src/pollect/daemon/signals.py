"""Signals of a daemon: flags, and a wake-up of the main thread that looks at them.

Flags, because a queue of signals can be full: no number of SIGHUPs hides the SIGTERM behind them,
and many SIGHUPs are one reload.
"""

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from types import FrameType, TracebackType

STOPPING = (signal.SIGTERM, signal.SIGINT)
RELOADING = signal.SIGHUP
_OURS = (*STOPPING, RELOADING)
#: `timeout` and some supervisors signal a process and its group in one breath; within this many
#: seconds two signals to stop are one.
SAME_BREATH_SECONDS = 0.25
#: How long a start that is to stop may take to get to where it can.
START_GRACE_SECONDS = 1.5


class Signals:
    """Notes SIGTERM, SIGINT and SIGHUP; leaves the process at the second signal to stop.

    Only the main thread may use it, as a context manager; `wake` any.
    """

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self._stopping: signal.Signals | None = None
        self._stopping_since = 0.0
        self._reload_wanted = False
        self._started = threading.Event()

    def __enter__(self) -> "Signals":
        self._old_wakeup = self._wake_up_by_signals()
        self._old = {number: signal.signal(number, self._handle) for number in _OURS}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _OURS)
        return self

    def reclaim(self) -> bool:
        """Take the signals back from whatever ran in the main thread: libraries set handlers.

        Returns whether there was anything to take back.
        """
        changed = any(signal.getsignal(number) != self._handle for number in _OURS)
        for number in _OURS:
            signal.signal(number, self._handle)
        wakeup = self._wake_up_by_signals()
        blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, _OURS).intersection(_OURS)
        return changed or bool(blocked) or wakeup != self._sender.fileno()

    def _wake_up_by_signals(self) -> int:
        return signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._started.set()
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_wakeup)
        self._receiver.close()
        self._sender.close()

    @property
    def stopping(self) -> signal.Signals | None:
        """The signal that asked to stop, None if none has."""
        return self._stopping

    def started(self) -> None:
        """Say that from now on somebody waits, and stops in order when asked to."""
        self._started.set()

    def wake(self) -> None:
        """End the current or the next wait."""
        with suppress(BlockingIOError, OSError):  # full: it wakes anyway; or closed
            self._sender.send(b"\0")

    def wait(self, seconds: float | None = None, watched: Iterable[int] = ()) -> None:
        """Return when a signal came, somebody woke us, or `seconds` are over.

        Also when the reader of a pipe in `watched` has gone.
        """
        poll = select.poll()
        poll.register(self._receiver, select.POLLIN)
        for descriptor in watched:
            poll.register(descriptor, 0)  # errors are always reported
        poll.poll(None if seconds is None else seconds * 1000)
        with suppress(BlockingIOError):
            while len(self._receiver.recv(4096)) == 4096:
                pass

    def take_reload(self) -> bool:
        """Whether a reload was asked for since the last call."""
        wanted, self._reload_wanted = self._reload_wanted, False
        return wanted

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == RELOADING:
            self._reload_wanted = True
            return
        now = time.monotonic()
        if self._stopping is None:
            self._stopping, self._stopping_since = signal.Signals(number), now
            if not self._started.is_set():
                # A plugin may hang at import, and nothing is running that would need an order.
                threading.Thread(target=self._end_start, name="end of start", daemon=True).start()
        elif now - self._stopping_since > SAME_BREATH_SECONDS:
            os.write(2, b"pollect: second signal, leaving at once\n")
            os._exit(128 + number)

    def _end_start(self) -> None:
        if not self._started.wait(START_GRACE_SECONDS):
            os.write(2, b"pollect: stopped while it started\n")
            os._exit(0)
