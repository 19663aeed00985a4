"""Process 1 of a container: a parent that does what the kernel expects of process 1.

Orphans become its children, and stay zombies until it takes note of their end. The daemon cannot
do that itself: it would take the ends of programs that its plugins wait for. So it runs as the
child of a small process, which passes signals on and reaps.
"""

import os
import signal
from contextlib import suppress

#: What the parent passes on to the daemon.
_PASSED_ON = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


def reap_as_process_1() -> None:
    """If this is process 1, go on in a child and be its reaper; the parent never returns."""
    if os.getpid() != 1:
        return
    numbers = {*_PASSED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        daemon = os.fork()
    except OSError:  # then without a reaper, as good as it gets
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    if not daemon:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    while True:
        number = signal.sigwait(numbers)
        if number != signal.SIGCHLD:
            with suppress(ProcessLookupError):
                os.kill(daemon, number)
            continue
        status = _reap(daemon)
        if status is not None:
            os._exit(status if status >= 0 else 128 - status)


def _reap(daemon: int) -> int | None:
    """Take note of every child that has ended; return the exit code of the daemon if it has."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if not pid:
            return code
        if pid == daemon:
            code = os.waitstatus_to_exitcode(status)
