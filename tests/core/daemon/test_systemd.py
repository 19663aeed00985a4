"""What systemd is notified of, and when."""

import os
import socket
from pathlib import Path

import pytest

from pollect.daemon.systemd import Systemd


def test_messages_reach_the_socket_of_the_manager(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        Systemd({"NOTIFY_SOCKET": address}).ready("2 sources")
        assert manager.recv(100) == b"READY=1\nSTATUS=2 sources"


def test_abstract_socket_is_written_with_an_at_sign() -> None:
    name = f"pollect-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name)
        Systemd({"NOTIFY_SOCKET": f"@{name}"}).stopping()
        assert manager.recv(100) == b"STOPPING=1"


def test_manager_that_went_away_is_no_error(tmp_path: Path) -> None:
    Systemd({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("")
    Systemd({}).ready("")


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "10000000"}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_watchdog_is_fed_twice_in_its_time_if_it_is_ours(
    environ: dict[str, str], seconds: float | None
) -> None:
    assert Systemd({"NOTIFY_SOCKET": "/run/x", **environ}).watchdog_seconds == seconds
