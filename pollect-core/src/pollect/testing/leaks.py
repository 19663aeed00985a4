"""Guards against what a source or writer may leave behind: threads and open sockets."""

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pollect.testing.waiting import wait_until

#: Where the kernel lists the open files of this process: Linux and macOS have it.
_OPEN_FILES = Path("/dev/fd")


@contextmanager
def no_leaks(*, limit_seconds: float = 30.0) -> Iterator[None]:
    """Fail with `AssertionError` when the block leaves threads or sockets that it found not there.

    What is about to end gets `limit_seconds` for it.
    """
    threads, sockets = set(threading.enumerate()), _open_sockets()
    yield

    def left() -> list[str]:
        alive = [thread for thread in threading.enumerate() if thread not in threads]
        return [
            *(f"thread {thread.name!r}" for thread in alive),
            *(f"socket of file descriptor {number}" for number, _ in _open_sockets() - sockets),
        ]

    try:
        wait_until(lambda: not left(), limit_seconds=limit_seconds)
    except AssertionError:
        raise AssertionError(f"left behind: {', '.join(left())}") from None


def _open_sockets() -> set[tuple[int, int]]:
    """Return number and inode of every open socket of this process."""
    found = set()
    for name in os.listdir(_OPEN_FILES) if _OPEN_FILES.is_dir() else ():
        try:
            status = os.fstat(int(name))
        except OSError:  # the folder's own descriptor, closed by now
            continue
        if stat.S_ISSOCK(status.st_mode):
            found.add((int(name), status.st_ino))
    return found
