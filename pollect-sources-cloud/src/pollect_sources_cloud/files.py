"""Key files, and files that only their owner may read."""

import logging
import os
import stat
from pathlib import Path

from pollect.api import ProbeError
from pollect.support.private_files import write_private

MAX_KEY_BYTES = 64 * 1024


class KeyFile:
    """A file with a private key, read again whenever something is signed.

    A key can so be replaced while the daemon runs.
    """

    def __init__(self, path: Path, log: logging.Logger) -> None:
        self.path = path
        self._log = log
        self._warned = False

    def read(self) -> str:
        """Return the text of the file; raises `ProbeError`."""
        try:
            with self.path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                content = file.read(MAX_KEY_BYTES + 1)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ProbeError(f"cannot read the key file {self.path}: {reason}") from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO) and not self._warned:
            self._warned = True
            self._log.warning("%s: others can read this key: chmod 600 %s", self.path, self.path)
        try:
            if len(content) > MAX_KEY_BYTES:
                raise ValueError("too large")
            return content.decode()
        except ValueError as error:
            raise ProbeError(f"{self.path}: expected a key as text, got something else") from error


def keep(file: Path, content: bytes) -> None:
    """Replace `file` as a whole, readable by its owner only; raises `ProbeError`."""
    try:
        write_private(file, content)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ProbeError(f"cannot write {file}: {reason}") from error
