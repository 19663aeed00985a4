"""Reads a file that a config names, whatever lies there: a device, a pipe, a picture of 5 GB."""

import os
import select
import stat
from pathlib import Path

#: How long to wait for somebody to write into a pipe.
PIPE_SECONDS = 10.0


class Unreadable(Exception):
    """A file cannot be read; the text says why and leaves its name to the caller."""


def read_text(file: Path, *, most_bytes: int, pipes: bool = False) -> str:
    """Return the text of a regular file, with `pipes` also what a pipe gives.

    Raises `Unreadable`, and `UnicodeDecodeError` if the file does not hold UTF-8.
    """
    try:
        # Without this flag, opening a pipe waits until somebody writes into it.
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _check_kind(descriptor, pipes=pipes)
            with open(descriptor, "rb", closefd=False) as opened:
                content = opened.read(most_bytes + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from error
    except ValueError as error:  # a NUL in the name
        raise Unreadable("its name is not one that a file can have") from error
    if len(content) > most_bytes:
        raise Unreadable(f"it is larger than {most_bytes // 1_000_000} MB")
    return content.decode("utf-8-sig")


def _check_kind(descriptor: int, *, pipes: bool) -> None:
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return
    if not (pipes and stat.S_ISFIFO(kind)):
        raise Unreadable(f"expected a file, got {_name_kind(kind)}")
    if not select.select([descriptor], [], [], PIPE_SECONDS)[0]:
        raise Unreadable(f"a pipe that nothing was written to for {PIPE_SECONDS:g} s")
    os.set_blocking(descriptor, True)


def _name_kind(mode: int) -> str:
    kinds = (
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
    )
    return next((name for test, name in kinds if test(mode)), "a device")
