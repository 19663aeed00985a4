"""Signals of a daemon, taken up one by one in the main thread.

Handlers are set for each of them, so that they also arrive in process 1 of a container, for which
the kernel has no default action.
"""

import os
import select
import signal
import socket
import time
from types import FrameType, TracebackType

STOPPING = (signal.SIGTERM, signal.SIGINT)
RELOADING = signal.SIGHUP
#: `timeout` and some supervisors signal a process and its group in one breath; within this many
#: seconds two signals to stop are one.
SAME_BREATH_SECONDS = 0.25


class Signals:
    """Waits for SIGTERM, SIGINT and SIGHUP; leaves the process at the second signal to stop.

    Only the main thread may use it, as a context manager.
    """

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self._stopping_since: float | None = None

    def __enter__(self) -> "Signals":
        self._old_wakeup = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        self._old = {
            number: signal.signal(number, self._handle) for number in (*STOPPING, RELOADING)
        }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_wakeup)
        self._receiver.close()
        self._sender.close()

    def wait(self) -> signal.Signals:
        """Return the next signal.

        A plugin that handles further signals brings those here too.
        """
        select.select([self._receiver], [], [])
        number = self._receiver.recv(1)[0]
        return signal.Signals(number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number not in STOPPING:
            return
        now = time.monotonic()
        if self._stopping_since is None:
            self._stopping_since = now
        elif now - self._stopping_since > SAME_BREATH_SECONDS:
            os.write(2, b"pollect: second signal, leaving at once\n")
            os._exit(128 + number)
