"""Sockets that listen: who can reach them."""

import errno
import socket

#: Ports below this one belong to root, unless the host is configured otherwise.
FIRST_FREE_PORT = 1024


def is_local(listener: socket.socket) -> bool:
    """Tell whether only this host can connect, so that nobody can read what is sent to it."""
    address: str = listener.getsockname()[0]
    return address == "::1" or address.removeprefix("::ffff:").startswith("127.")


def explain_listen_error(error: OSError, port: int) -> str:
    """Return in words why `bind` or `listen` failed for a TCP port, and what helps."""
    if error.errno in (errno.EACCES, errno.EPERM) and 0 < port < FIRST_FREE_PORT:
        return (
            f"only root may use ports below {FIRST_FREE_PORT}; use a port above 1023, or give "
            "the daemon CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE)"
        )
    if error.errno == errno.EADDRINUSE:
        return "the port is in use; choose another `port`, or stop the program that listens there"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this host does not have that address; change `bind`"
    return error.strerror or str(error)
