"""Whether this process may send pings."""

import socket

from pollect.api import TargetUnavailable
from pollect_sources_network.icmp import EchoSocket


def may_ping() -> bool:
    try:
        EchoSocket(socket.AF_INET).close()
    except TargetUnavailable:
        return False
    return True
