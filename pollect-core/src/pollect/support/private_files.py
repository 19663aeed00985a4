"""Files that only their owner may read: tokens, counts, everything kept in the state folder.

A file is replaced as a whole: another process sees the old text or the new one, and so does
whoever looks after a power cut. It is readable by its owner alone from the first byte.
"""

import errno
import logging
import os
import stat
from contextlib import suppress
from pathlib import Path

FILE_MODE = 0o600
FOLDER_MODE = 0o700
#: Larger than any state that is meant for such a file.
MAX_BYTES = 1024 * 1024

_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

log = logging.getLogger(__name__)


def read_private(file: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Return what is in a file, and take away what others may do with it.

    Raises `FileNotFoundError`, and another `OSError` for a link, a folder, a pipe, or a file that
    is larger than `max_bytes`.
    """
    try:
        descriptor = os.open(file, _READ_FLAGS)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "is a symbolic link, expected a file", str(file)) from error
        raise
    with open(descriptor, "rb") as opened:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(errno.EINVAL, "expected a regular file", str(file))
        if facts.st_mode & _OTHERS:
            _tighten(descriptor, file)
        content = opened.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"is larger than {max_bytes} bytes", str(file))
    return content


def write_private(file: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace a file as a whole; its folder is made when it is missing.

    With `durable` the content is on the disk when this returns. Run by root, the file gets the
    owner of its folder, so that a service that runs as another user can read what `sudo pollect`
    wrote. Raises `OSError`; the file is then as it was.
    """
    file.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
    new = file.with_name(f".{file.name}.{os.urandom(8).hex()}")
    descriptor = os.open(new, _WRITE_FLAGS, FILE_MODE)
    try:
        with open(descriptor, "wb") as opened:
            os.fchmod(descriptor, FILE_MODE)  # whatever the umask took away
            _give_to_owner_of_folder(descriptor, file.parent)
            opened.write(content)
            opened.flush()
            if durable:
                os.fsync(descriptor)
        new.replace(file)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
    if durable:
        _sync_folder(file.parent)


def _tighten(descriptor: int, file: Path) -> None:
    try:
        os.fchmod(descriptor, FILE_MODE)
    except OSError as error:
        log.warning("%s: others can read it, and its mode cannot be changed: %s", file, error)
    else:
        log.warning("%s: others could read it; its mode is 0600 now", file)


def _give_to_owner_of_folder(descriptor: int, folder: Path) -> None:
    if os.geteuid() != 0:
        return
    owner = folder.stat()
    with suppress(OSError):  # a file system without owners
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _sync_folder(folder: Path) -> None:
    """Have the new name of a file on the disk, too."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
