"""Debian's snmpd, started on a free port with a configuration of the test's own."""

import contextlib
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulators.daemons import free_udp_port
from tests.simulators.snmp_agent import (
    GET,
    INTEGER,
    NULL,
    OCTETS,
    SEQUENCE,
    UPTIME,
    encode,
    encode_binding,
    from_int,
)

SNMPD = shutil.which("snmpd", path="/usr/sbin:/usr/bin:/sbin:/bin")
needs_snmpd = pytest.mark.skipif(SNMPD is None, reason="snmpd is not installed")

READY_SECONDS = 30.0
COMMUNITY = "public"
START_TRIES = 5


class NoAgent(AssertionError):
    """No answer came in time."""


@contextlib.contextmanager
def run_snmpd(folder: Path, settings: str = "", *, port: int | None = None) -> Iterator[str]:
    """Yield `127.0.0.1:port` of a snmpd with `settings` added to its snmpd.conf.

    Runs with the same `folder` share the engine id and count its boots. A port that somebody took
    between the choice and the start is given up for another one.
    """
    for _ in range(START_TRIES):
        tried = port or free_udp_port()
        process, community = _start(folder, settings, tried)
        try:
            if await_agent(("127.0.0.1", tried), community, process):
                yield f"127.0.0.1:{tried}"
                return
        except NoAgent as failure:
            raise AssertionError(f"{failure}: {_log(folder)}") from None
        finally:
            process.terminate()
            process.wait(30)
    raise AssertionError(f"snmpd ended {START_TRIES} times: {_log(folder)}")


def _start(folder: Path, settings: str, port: int) -> tuple["subprocess.Popen[bytes]", str]:
    """Start a snmpd; return it and a community that no other agent knows."""
    assert SNMPD is not None
    config = folder / "snmpd.conf"
    community = f"ready-{secrets.token_hex(8)}"
    config.write_text(
        f"agentAddress udp:127.0.0.1:{port},tcp:127.0.0.1:{port}\n"
        f"rocommunity {COMMUNITY} 127.0.0.1\nrocommunity {community} 127.0.0.1\n{settings}"
    )
    process = subprocess.Popen(
        [SNMPD, "-f", "-Lf", str(folder / "snmpd.log"), "-C", "-c", str(config)],
        env={"SNMP_PERSISTENT_DIR": str(folder / "persistent"), "MIBS": "", "PATH": "/usr/bin"},
        stdin=subprocess.DEVNULL,
    )
    return process, community


def _log(folder: Path) -> str:
    log = folder / "snmpd.log"
    return log.read_text(errors="replace")[-2000:] if log.exists() else "no log"


def await_agent(
    address: tuple[str, int],
    community: str = COMMUNITY,
    process: "subprocess.Popen[bytes] | None" = None,
) -> bool:
    """Return True as soon as an agent answers, False when `process` ended.

    Raises `NoAgent` after half a minute.
    """
    body = b"".join(encode(INTEGER, from_int(number)) for number in (1, 0, 0))
    body += encode(SEQUENCE, encode_binding((UPTIME, (NULL, None))))
    request = encode(
        SEQUENCE,
        encode(INTEGER, from_int(1)) + encode(OCTETS, community.encode()) + encode(GET, body),
    )
    limit = time.monotonic() + READY_SECONDS
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.1)
        while time.monotonic() < limit:
            with contextlib.suppress(OSError):
                probe.sendto(request, address)
                probe.recv(65535)
                return True
            if process is not None and process.poll() is not None:
                return False
    raise NoAgent(f"no SNMP agent at {address} within {READY_SECONDS:g} s")
