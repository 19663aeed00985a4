"""Does something in a forked process, which takes with it what it costs.

What is imported and built only for an answer would stay resident for as long as a daemon runs.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn, Self

#: In place of the status of a process.
_STATUS_UNKNOWN = -1


class Forked:
    """Calls a function that returns bytes, in a process that goes on beside the context.

    Only where that is safe: on Linux, and while no other thread runs.
    """

    def __init__(self, function: Callable[[], bytes]) -> None:
        self._function = function
        #: 0 if there is no process.
        self._child = 0

    def __enter__(self) -> Self:
        if sys.platform == "linux" and threading.active_count() == 1:
            # Where there may be no further process, the work is left to the caller.
            with suppress(OSError):
                self._start()
        return self

    def answer(self) -> bytes | None:
        """Wait for the answer; None if it is to be found here, because that failed."""
        if not self._child:
            return None
        answer = self._pipe.read()
        return answer if self._end() == 0 else None

    def __exit__(self, *error: object) -> None:
        if self._child:
            with suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGKILL)
            self._end()

    def _start(self) -> None:
        receiver, sender = os.pipe()
        try:
            self._child = os.fork()
            if not self._child:
                self._send(sender)
        except OSError:
            os.close(receiver)
            raise
        finally:
            os.close(sender)
        self._pipe = open(receiver, "rb")  # noqa: SIM115 - closed when the process ends

    def _end(self) -> int:
        """Wait for the process; return how it ended, 0 if well."""
        self._pipe.close()
        child, self._child = self._child, 0
        try:
            return os.waitpid(child, 0)[1]
        except ChildProcessError:  # whoever started us ignores SIGCHLD, and so do we
            return _STATUS_UNKNOWN

    def _send(self, sender: int) -> NoReturn:
        """Be the child: whatever happens, it ends here and says nothing but its answer."""
        status = 1
        try:
            # A signal for the whole group, as Ctrl-C sends it, is for the parent to obey in order.
            signal.set_wakeup_fd(-1)
            for number in signal.valid_signals():
                if callable(signal.getsignal(number)):
                    signal.signal(number, signal.SIG_DFL)
            # What is printed here is printed once more where the same is done again.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for stream in (1, 2):
                os.dup2(nowhere, stream)
            answer = self._function()
            with open(sender, "wb") as pipe:
                pipe.write(answer)
            status = 0
        finally:
            os._exit(status)
