"""Why a port cannot be opened, in words that lead to a cure."""

import errno
import os
import socket
import subprocess
import sys

import pytest

from pollect.support.listening import explain_listen_error


@pytest.mark.parametrize(
    ("number", "port", "text"),
    [
        (errno.EACCES, 81, "CAP_NET_BIND_SERVICE"),
        (errno.EACCES, 81, "use a port above 1023"),
        (errno.EACCES, 8080, "Permission denied"),
        (errno.EADDRNOTAVAIL, 8080, "this host does not have that address; change `bind`"),
    ],
)
def test_the_cure_is_named(number: int, port: int, text: str) -> None:
    assert text in explain_listen_error(OSError(number, os.strerror(number)), port)


def test_a_port_in_use_is_said_to_be_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.socket() as second, pytest.raises(OSError, match="in use") as caught:
            second.bind(("127.0.0.1", port))
        assert explain_listen_error(caught.value, port).startswith("the port is in use; choose")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_who_wants_a_port_of_root_learns_what_helps() -> None:
    start = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
    with open(start, encoding="ascii") as file:
        if int(file.read()) <= 81:
            pytest.skip("every user may have every port here")
    script = (
        "import os, socket; os.setuid(65534)\n"
        "from pollect.support.listening import explain_listen_error\n"
        "try:\n    socket.create_server(('127.0.0.1', 81))\n"
        "except OSError as error:\n    print(explain_listen_error(error, 81))\n"
    )
    # Imported before the user changes, who may not read the folder of this environment.
    script = "import pollect.support.listening\n" + script
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("only root may use ports below 1024; use a port above 1023")
