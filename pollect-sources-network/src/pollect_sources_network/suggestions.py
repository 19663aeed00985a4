"""What `pollect init` writes into the config of a new host: the resolver that runs on it."""

import socket
from collections.abc import Iterator

from pollect.api import Suggestion

DNS_PORT = 53
#: Where named.conf examples put BIND's statistics channel.
BIND_STATISTICS_PORT = 8053
#: systemd-resolved listens here and not at 127.0.0.1.
ADDRESSES = ("127.0.0.1", "127.0.0.53")
#: Long enough for a program on this host.
CONNECT_SECONDS = 0.2


def suggest() -> Iterator[Suggestion]:
    """Yield the sources for what answers on this host."""
    address = next((address for address in ADDRESSES if _answers(address, DNS_PORT)), None)
    if address:
        yield Suggestion(
            "source",
            {"type": "Dns", "server": address, "query": "example.org"},
            "Whether the resolver of this host answers, and how long it takes.",
        )
    if _answers("127.0.0.1", BIND_STATISTICS_PORT):
        yield Suggestion(
            "source",
            {"type": "Bind", "url": f"http://127.0.0.1:{BIND_STATISTICS_PORT}"},
            "Queries, resolver and cache of the BIND on this host.",
        )


def _answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
