"""A real tinyproxy, plain and CONNECT, with whatever it is to refuse."""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pollect.testing.waiting import wait_until
from tests.simulators.daemons import find_program, free_port, run_daemon
from tests.simulators.tcp import LOOPBACK


@dataclass(frozen=True)
class Tinyproxy:
    """A running proxy; `address` is `127.0.0.1:port`, `log` names what was asked of it."""

    address: str
    log: Path


@contextlib.contextmanager
def run_tinyproxy(folder: Path, *settings: str, host: str = LOOPBACK) -> Iterator[Tinyproxy]:
    """Run tinyproxy on `host` with lines of its configuration added to the usual ones."""
    program = find_program("tinyproxy", "tinyproxy")
    port = free_port()
    log, config = folder / "tinyproxy.log", folder / "tinyproxy.conf"
    lines = [f"Port {port}", f"Listen {host}", "Timeout 10", f"Allow {host}", f'LogFile "{log}"']
    config.write_text("\n".join([*lines, "LogLevel Connect", *settings, ""]))

    def answers() -> bool:
        with contextlib.suppress(OSError), socket.create_connection((host, port), 1.0):
            return True
        return False

    with run_daemon([program, "-d", "-c", str(config)], folder):
        wait_until(answers)
        yield Tinyproxy(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", log)
