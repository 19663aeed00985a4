"""Start a program of Debian for a test, wait until it answers, and stop it by its pid."""

import contextlib
import random
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from pollect.testing.waiting import wait_until

START_SECONDS = 90.0
_STOP_SECONDS = 30.0
#: Below those that Linux hands out by itself, which other sockets on this machine get at any time.
_OWN_PORTS = range(10_000, 32_768)


def find_program(name: str, package: str) -> str:
    """Return the path of a program; skips the test when it is not installed."""
    path = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if path is None:
        pytest.skip(f"needs {name} of Debian's {package}")
    return path


def free_port(*kinds: socket.SocketKind) -> int:
    """Return a port of 127.0.0.1 that is free now for TCP, or for sockets of all these kinds."""
    while True:
        port = random.SystemRandom().choice(_OWN_PORTS)
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for kind in kinds or (socket.SOCK_STREAM,):
                stack.enter_context(socket.socket(socket.AF_INET, kind)).bind(("127.0.0.1", port))
            return port


def free_udp_port() -> int:
    """Return a port of 127.0.0.1 that is free for UDP and TCP, as snmpd and named need both."""
    return free_port(socket.SOCK_DGRAM, socket.SOCK_STREAM)


def answers(port: int) -> bool:
    """Tell whether something listens on a TCP port of 127.0.0.1."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
        return True
    return False


def await_start(process: "subprocess.Popen[bytes]", ready: Callable[[], object], log: Path) -> None:
    """Wait until a program is ready; the error has what it printed into `log`."""

    def is_up() -> bool:
        assert process.poll() is None, f"ended with {process.returncode}"
        return bool(ready())

    try:
        wait_until(is_up, "its start", limit_seconds=START_SECONDS)
    except AssertionError as error:
        printed = log.read_text(errors="replace")[-2000:]
        raise AssertionError(f"{process.args!r}: {error}; it printed: {printed}") from None


@contextlib.contextmanager
def run_daemon(
    command: Sequence[str], folder: Path, *ports: int
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program in the foreground until the end of the block; ready when all ports answer."""
    log = folder / "daemon.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=output, stderr=output, cwd=folder
        )
    try:
        await_start(process, lambda: all(answers(port) for port in ports), log)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # Until here, since some end with their input.
        if process.stdin is not None:
            process.stdin.close()
