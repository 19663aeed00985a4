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

#: Bytes in front of each answer: its length, signed.
_LENGTH_BYTES = 8
#: In place of a length: there is no answer.
_FAILED = -1


class Task:
    """A function that returns bytes, to be called by a `Forked`."""

    def __init__(self, function: Callable[[], bytes]) -> None:
        self.function = function
        #: That does it, or did.
        self.process: Forked | None = None

    def answer(self) -> bytes | None:
        """Wait for the answer; None if it is to be found here, because that failed."""
        return None if self.process is None else self.process.answer(self)


class Forked:
    """Does tasks in turn, in one process for all of them that goes on beside the context.

    Only where that is safe: on Linux, and while no other thread runs. One process, as each costs a
    twentieth of a start: what it shares with this one is copied page by page.
    """

    def __init__(self, *tasks: Task) -> None:
        self._tasks = tasks
        #: In the order of the tasks, as far as they came.
        self._answers: dict[Task, bytes | None] = {}
        #: 0 if there is no process.
        self._child = 0

    def __enter__(self) -> Self:
        if sys.platform == "linux" and threading.active_count() == 1:
            # Where there may be no further process, the work is left to the caller.
            with suppress(OSError):
                self._start()
        for task in self._tasks:
            task.process = self
        return self

    def answer(self, task: Task) -> bytes | None:
        """Wait for the answer to a task; see `Task.answer`."""
        while self._child and task not in self._answers:
            self._receive()
        return self._answers.get(task)

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

    def _receive(self) -> None:
        """Wait for the next answer, or for the end of the process."""
        header = self._pipe.read(_LENGTH_BYTES)
        length = int.from_bytes(header, signed=True)
        answer = None if length == _FAILED else self._pipe.read(length)
        if len(header) < _LENGTH_BYTES or (answer is not None and len(answer) < length):
            self._end()  # it ended too early
            return
        self._answers[self._tasks[len(self._answers)]] = answer
        if len(self._answers) == len(self._tasks):
            self._end()

    def _end(self) -> None:
        """Wait for the process."""
        self._pipe.close()
        child, self._child = self._child, 0
        # Whoever started us may ignore SIGCHLD, and so do we then: it is gone without a word.
        with suppress(ChildProcessError):
            os.waitpid(child, 0)

    def _send(self, sender: int) -> NoReturn:
        """Be the child: whatever happens, it ends here and says nothing but its answers."""
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
            with open(sender, "wb") as pipe:
                for task in self._tasks:
                    answer = _attempt(task)
                    length = _FAILED if answer is None else len(answer)
                    pipe.write(length.to_bytes(_LENGTH_BYTES, signed=True))
                    pipe.write(answer or b"")
                    pipe.flush()
        finally:
            os._exit(0)


def _attempt(task: Task) -> bytes | None:
    try:
        return task.function()
    except BaseException:  # noqa: BLE001 - it is raised again, and reported, where it is done again
        return None
