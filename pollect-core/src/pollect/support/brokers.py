"""What sources and writers of brokers share: the error of a broker, and who we are there."""

import socket
import zlib
from pathlib import Path

from pollect.errors import AuthenticationFailed, PollectError, ProbeError, TargetUnavailable


class BrokerError(PollectError):
    """A broker is away, refuses something, or lacks what we need; worth another try later."""

    def __init__(self, reason: str, *, authentication: bool = False) -> None:
        super().__init__(reason)
        #: Whether it refuses the credentials.
        self.authentication = authentication

    def as_probe_error(self) -> ProbeError:
        """Return the same for a source."""
        return (AuthenticationFailed if self.authentication else TargetUnavailable)(str(self))


def default_origin(folder: Path) -> str:
    """Return what tells the daemon with this folder of its config from all others: host and number.

    It stays the same over restarts.
    """
    host = socket.gethostname().partition(".")[0][:32]
    return f"{host}-{zlib.crc32(str(folder.absolute()).encode(errors='replace')):08x}"
