"""Debian's snmpd, started on a free port with a configuration of the test's own."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

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


def free_udp_port() -> int:
    """Return a port that is free for TCP as well: snmpd ends if it cannot have both."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                tcp.bind(udp.getsockname())
                return int(udp.getsockname()[1])


@contextlib.contextmanager
def run_snmpd(folder: Path, settings: str = "", *, port: int | None = None) -> Iterator[str]:
    """Yield `127.0.0.1:port` of a snmpd with `settings` added to its snmpd.conf.

    Runs with the same `folder` share the engine id and count its boots.
    """
    assert SNMPD is not None
    port = port or free_udp_port()
    config = folder / "snmpd.conf"
    config.write_text(
        f"agentAddress udp:127.0.0.1:{port},tcp:127.0.0.1:{port}\n"
        f"rocommunity {COMMUNITY} 127.0.0.1\n{settings}"
    )
    process = subprocess.Popen(
        [SNMPD, "-f", "-Lf", str(folder / "snmpd.log"), "-C", "-c", str(config)],
        env={"SNMP_PERSISTENT_DIR": str(folder / "persistent"), "MIBS": "", "PATH": "/usr/bin"},
        stdin=subprocess.DEVNULL,
    )
    try:
        await_agent(("127.0.0.1", port))
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def await_agent(address: tuple[str, int], community: str = COMMUNITY) -> None:
    """Return as soon as an agent answers."""
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
                return
    raise AssertionError(f"no SNMP agent at {address}")
