"""Reports to systemd how the daemon fares: the protocol of sd_notify(3), without its library."""

import logging
import os
import socket
import time
from collections.abc import Mapping

log = logging.getLogger(__name__)


class Systemd:
    """The service manager that started us, if one did; else everything here does nothing."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the zero byte of an abstract socket.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_seconds = _watchdog_seconds(environ) if address else None

    def ready(self, status: str) -> None:
        """Say that the daemon is up or has reloaded; `systemctl status` shows `status`."""
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """Say that the config is being read again."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the daemon is on its way out."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Feed the watchdog, without waiting for a manager that is busy."""
        if self.watchdog_seconds is not None:
            self._send("WATCHDOG=1", socket.MSG_DONTWAIT)

    def _send(self, message: str, flags: int = 0) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as peer:
                peer.sendto(message.encode(), flags, self._address)
        except OSError as error:
            log.debug("systemd does not listen on %s: %s", self._address, error)


def _watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """Return how often to feed the watchdog: twice in the time that systemd allows."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        return int(environ["WATCHDOG_USEC"]) / 1e6 / 2
    except (KeyError, ValueError):
        return None
