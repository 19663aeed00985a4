"""The process of one command: its standard streams, its command line, its end."""

import io
import os
import sys
import threading
import time
from collections.abc import Sequence

from pollect.version import __version__

#: Seconds that threads of plugins get to end by themselves.
THREAD_GRACE_SECONDS = 0.3
#: Seconds that Python gets to end.
END_SECONDS = 2.0


def run_process(arguments: Sequence[str]) -> int:
    """Run one command line as the work of this process, and return its exit code."""
    _open_standard_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name from a config must not cause a failure in a locale that cannot show it.
        sys.stdout.reconfigure(errors="backslashreplace")
    output = sys.stdout  # whatever a plugin puts into its place
    try:
        code = call(arguments)
        _leave_if_threads_last(code)
        output.flush()
    except KeyboardInterrupt:
        from pollect.cli.exit_codes import INTERRUPTED

        return INTERRUPTED
    except OSError as error:
        code = _drop_output(error) or code
    except ValueError:
        pass  # a plugin closed it
    _leave_in_time(code)
    return code


def _open_standard_streams() -> None:
    """Let closed standard streams lead nowhere: the next socket would take the place of one."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number, which is this one
            os.set_inheritable(descriptor, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115 - for good


def _drop_output(error: OSError) -> int:
    """Let standard output lead nowhere, or Python would complain at its end.

    Returns the exit code: 0 if it is just no longer read, as by `head`, which has seen enough.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if isinstance(error, BrokenPipeError):
        return 0
    from pollect.cli.calling import complain
    from pollect.cli.exit_codes import FAILURE

    complain(f"pollect: cannot write: {error.strerror}")
    return FAILURE


def call(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code, as `calling.run` does."""
    try:
        if list(arguments) == ["--version"]:
            # Often asked for by scripts; what other command lines need takes four times as long.
            print(f"pollect {__version__}")
            return 0
        from pollect.cli.calling import run

        return run(arguments)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and not _is_output_unread():
            from pollect.cli.calling import complain
            from pollect.cli.exit_codes import FAILURE

            complain(f"pollect: {error.strerror}")
            return FAILURE
        return _drop_output(error)


def _is_output_unread() -> bool:
    """Whether standard output leads to a pipe whose reader is gone; a plugin has pipes, too."""
    import select

    poll = select.poll()
    poll.register(1, 0)  # these two events come unasked
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _leave_if_threads_last(code: int) -> None:
    """End the process although a plugin's thread does not end: Python would wait until it does."""
    others = (thread for thread in threading.enumerate() if thread is not threading.main_thread())
    lasting = [thread for thread in others if not thread.daemon]
    for thread in lasting:
        thread.join(THREAD_GRACE_SECONDS)
    names = ", ".join(thread.name for thread in lasting if thread.is_alive())
    if names:
        import logging  # only where a plugin ran, which has imported it
        from contextlib import suppress

        log = logging.getLogger(__name__)
        log.warning("leaving although these threads still run: %s", names)
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # a plugin may have closed it
                stream.flush()
        os._exit(code)


def _leave_in_time(code: int) -> None:
    """End the process although something that a plugin left to the end (`atexit`) hangs."""
    if "logging" not in sys.modules:
        return  # no plugin ran
    from contextlib import suppress

    def leave() -> None:
        time.sleep(END_SECONDS)
        os.write(2, b"pollect: leaving although a plugin's work at the end of Python hangs\n")
        os._exit(code)

    with suppress(RuntimeError, MemoryError):  # no thread to be had
        threading.Thread(target=leave, name="end", daemon=True).start()
