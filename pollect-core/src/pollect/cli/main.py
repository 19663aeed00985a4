"""The command `pollect`: runs one command line, and turns every error into one line."""

import io
import logging
import os
import sys
import threading
import traceback
from collections.abc import Sequence

from pollect.cli import exit_codes
from pollect.cli.session import Session
from pollect.daemon.old_distribution import refuse_old_distribution
from pollect.errors import ConfigError, PollectError, describe
from pollect.text import visible_text

#: Seconds that threads of plugins get to end by themselves.
THREAD_GRACE_SECONDS = 0.3

log = logging.getLogger(__name__)


def main() -> int:
    """Run the command line of this process; the console script calls it."""
    _open_standard_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name from a config must not cause a failure in a locale that cannot show it.
        sys.stdout.reconfigure(errors="backslashreplace")
    code = call(sys.argv[1:])
    _leave_if_threads_last(code)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
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


def _drop_output() -> None:
    """Let standard output lead nowhere, or Python would complain at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def call(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code.

    0 is fine, 1 a failure at run time, 2 a mistake in the config or the command line, 3 a plugin
    or a dependency that is missing.
    """
    session = Session()
    try:
        config = config_of_plain_run(arguments)
        if config is not None:
            from pollect.cli.start import run_daemon

            refuse_old_distribution()
            return run_daemon(config, session)
        from pollect.cli.commands import run_command_line

        return run_command_line(arguments, session)
    except KeyboardInterrupt:
        return exit_codes.INTERRUPTED
    except BrokenPipeError:
        _drop_output()  # the reader, `head` for example, has seen enough
        return exit_codes.FAILURE
    except PollectError as error:
        if session.debug:
            traceback.print_exc()
        else:
            print_error(error)
        return exit_codes.exit_code(error)
    except Exception as error:  # noqa: BLE001 - users get one line, not a traceback
        if session.debug:
            traceback.print_exc()
        else:
            print(
                f"pollect: internal error: {describe(error)} "
                "(please report it, with what the same command says with --debug)",
                file=sys.stderr,
            )
        return exit_codes.FAILURE


def config_of_plain_run(arguments: Sequence[str]) -> str | None:
    """Return FILE of `run -c FILE`, None for any other command line.

    That is how services and containers start a daemon, and click, which reads all other command
    lines, takes 1.2 MB of memory for as long as it runs.
    """
    match arguments:
        case ["run", "-c" | "--config", file] if file and not file.startswith("-"):
            return file
    return None


def print_error(error: PollectError) -> None:
    """Print an error on standard error; mistakes of a config one a line, as compilers do."""
    text = str(error) if isinstance(error, ConfigError) else f"pollect: {error}"
    print(visible_text(text), file=sys.stderr)


def _leave_if_threads_last(code: int) -> None:
    """End the process although a plugin's thread does not end: Python would wait until it does."""
    others = (thread for thread in threading.enumerate() if thread is not threading.main_thread())
    lasting = [thread for thread in others if not thread.daemon]
    for thread in lasting:
        thread.join(THREAD_GRACE_SECONDS)
    names = ", ".join(thread.name for thread in lasting if thread.is_alive())
    if names:
        log.warning("leaving although these threads still run: %s", names)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
