"""What the clients of a server may do."""

import resource

import msgspec

#: How many of the descriptors that the process may have are for connections.
_SHARE_OF_DESCRIPTORS = 4
_FEWEST_CONNECTIONS = 32


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What clients may do; times are in seconds, sizes in bytes."""

    connections: int = 512
    #: Requests answered at the same time.
    threads: int = 8
    #: A request line with all its headers.
    head_bytes: int = 16 * 1024
    #: A body; 0 for a server that takes none.
    body_bytes: int = 0
    #: How long a connection may rest between two requests; Prometheus scrapes every minute or so.
    idle_seconds: float = 300.0
    #: For a TLS handshake, and for a request from its first byte to its last.
    request_seconds: float = 5.0
    #: For a client to read one answer.
    send_seconds: float = 30.0
    #: What answers that clients have not read yet may hold; beyond it the slowest are dropped.
    unsent_bytes: int = 128 * 1024 * 1024
    #: Of a body that is refused unread, so much is still taken: a client that is writing while the
    #: connection closes never sees the answer.
    discard_bytes: int = 8 * 1024 * 1024


def affordable_connections() -> int:
    """Return how many connections this process has descriptors for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return Limits().connections
    return max(_FEWEST_CONNECTIONS, soft // _SHARE_OF_DESCRIPTORS)
