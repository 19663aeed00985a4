"""Looks for plugins in a process of its own, which takes with it what looking for them costs.

The imports and the metadata would stay resident for as long as a daemon runs: 2.4 MB.
"""

import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn, Self

import msgspec

from pollect.discovery.plugins import Found

#: In place of the status of a process.
NOBODY_KNOWS = -1


class PluginSearch:
    """A search for plugins that goes on beside its context, in a forked process.

    Only where that is safe: on Linux, and while no other thread runs.
    """

    def __init__(self) -> None:
        #: 0 if there is no process.
        self._child = 0

    def __enter__(self) -> Self:
        if sys.platform == "linux" and threading.active_count() == 1:
            # Where there may be no further process, the search is left to the caller.
            with suppress(OSError):
                self._start()
        return self

    def result(self) -> Sequence[Found] | None:
        """Return the plugins that are installed; None if they are to be looked for here."""
        if not self._child:
            return None
        answer = self._pipe.read()
        return msgspec.json.decode(answer, type=list[Found]) if self._end() == 0 else None

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
                _send_plugins(sender)
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
            return NOBODY_KNOWS


def _send_plugins(sender: int) -> NoReturn:
    """Be the child: whatever happens, it ends here and says nothing but its answer."""
    status = 1
    try:
        # A plugin that prints at import does so once more, where it is used.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        from pollect.discovery.plugins import find_plugins

        with open(sender, "wb") as pipe:
            pipe.write(msgspec.json.encode(find_plugins()))
        status = 0
    finally:
        os._exit(status)
