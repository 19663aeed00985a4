"""Runs one command line, and turns every error into one line."""

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

from pollect.cli import exit_codes
from pollect.cli.session import Session
from pollect.daemon.old_distribution import refuse_old_distribution
from pollect.errors import ConfigError, PollectError, describe
from pollect.text import visible_text

#: What writing may come upon without any mistake of pollect: a disk that is full or broken.
_NO_MISTAKE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code.

    0 is fine, 1 a failure at run time, 2 a mistake in the config or the command line, 3 a plugin
    or a dependency that is missing. Raises `OSError` when a disk or the output takes nothing any
    more, and `KeyboardInterrupt`.
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
    except PollectError as error:
        if session.debug:
            traceback.print_exc()
        else:
            print_error(error)
        return exit_codes.exit_code(error)
    except Exception as error:
        if isinstance(error, OSError) and (
            isinstance(error, BrokenPipeError) or error.errno in _NO_MISTAKE
        ):
            raise  # for the process, which knows where the output leads
        # Users get one line, not a traceback.
        if session.debug:
            traceback.print_exc()
        else:
            complain(_describe_mistake(error))
        return exit_codes.FAILURE


def _describe_mistake(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        try:
            os.getcwd()
        except FileNotFoundError:
            return "pollect: the working directory no longer exists"
    return (
        f"pollect: internal error: {describe(error)} "
        "(please report it, with what the same command says with --debug)"
    )


def config_of_plain_run(arguments: Sequence[str]) -> str | None:
    """Return FILE of `run -c FILE` or `run FILE`, None for any other command line.

    That is how services and containers start a daemon, and click, which reads all other command
    lines, takes 1.2 MB of memory for as long as it runs.
    """
    match arguments:
        case ["run", file] | ["run", "-c" | "--config", file] if file and file[0] != "-":
            return file
    return None


def print_error(error: PollectError) -> None:
    """Print an error on standard error; mistakes of a config one a line, as compilers do."""
    text = str(error) if isinstance(error, ConfigError) else f"pollect: {error}"
    complain(visible_text(text))


def complain(text: str) -> None:
    """Print a line on standard error, if it takes one."""
    with suppress(OSError):  # the exit code says it, too
        print(text, file=sys.stderr)
