"""Sockets that listen: how they are made, who can reach them, why they fail."""

import errno
import os
import socket

#: Ports below this one belong to root, unless the host is configured otherwise.
FIRST_FREE_PORT = 1024
#: Connections that wait to be accepted, so that a flood costs the others no retry.
_BACKLOG = 4096


def is_local(listener: socket.socket) -> bool:
    """Return whether only this host can connect, so that others cannot read what is sent."""
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


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; `::` takes IPv4 as well. Raises `OSError`."""
    # As bytes an address needs no tables of Unicode for foreign domain names, 0.2 MB.
    name = host.encode() if host.isascii() else host
    family = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    both = (host == "::" or host.startswith("::ffff:")) and socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            (host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=both
        )
    except OSError as error:
        if error.errno is None:
            raise
        # Python adds the address to the words, which whoever reports them does as well.
        raise OSError(error.errno, os.strerror(error.errno)) from error
