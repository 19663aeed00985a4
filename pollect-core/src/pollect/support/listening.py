"""Sockets that listen: who can reach them."""

import socket


def is_local(listener: socket.socket) -> bool:
    """Tell whether only this host can connect, so that nobody can read what is sent to it."""
    address: str = listener.getsockname()[0]
    return address == "::1" or address.removeprefix("::ffff:").startswith("127.")
