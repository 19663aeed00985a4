"""Debian's named, started on free ports with a configuration of the test's own."""

import contextlib
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulators.daemons import await_start

NAMED = shutil.which("named", path="/usr/sbin:/usr/bin:/sbin:/bin")
needs_named = pytest.mark.skipif(NAMED is None, reason="named is not installed")

ZONE = """\
$TTL 300
@ IN SOA ns.example. admin.example. 1 3600 600 86400 60
@ IN NS ns.example.
ns IN A 127.0.0.1
www IN A 192.0.2.1
www IN AAAA 2001:db8::1
"""


@contextlib.contextmanager
def run_named(
    folder: Path, settings: str, *, dns_port: int, statistics_port: int
) -> Iterator[None]:
    """Run a named with `settings` added to the usual ones; ready when its statistics answer."""
    assert NAMED is not None
    folder.mkdir(exist_ok=True)
    config = folder / "named.conf"
    config.write_text(
        f'options {{ directory "{folder}"; pid-file "{folder}/pid";\n'
        f'  session-keyfile "{folder}/key";\n'
        f"  listen-on port {dns_port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};\n"
        "  dnssec-validation no; querylog no; };\n"
        "controls { };\n"
        f"statistics-channels {{ inet 127.0.0.1 port {statistics_port}; }};\n{settings}\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([NAMED, "-g", "-n", "1", "-c", str(config)], stderr=log)

    def answers() -> bool:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{statistics_port}/json/v1/status").close()
            return True
        return False

    try:
        await_start(process, answers, folder / "log")
        yield
    finally:
        process.terminate()
        process.wait(30)


def ask(port: int, name: str, kind: int = 1, *, tcp: bool = False) -> None:
    """Send one query and wait for the answer; `kind` 1 is A, 28 AAAA, 15 MX."""
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    query = bytes.fromhex("1234 0100 0001 0000 0000 0000") + labels + b"\0" + bytes((0, kind, 0, 1))
    if tcp:
        with socket.create_connection(("127.0.0.1", port), 30) as connection:
            connection.sendall(len(query).to_bytes(2, "big") + query)
            connection.recv(4096)
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(30)
        asker.sendto(query, ("127.0.0.1", port))
        asker.recv(4096)
