"""What `pollect init` writes into the config of a new host: an endpoint, and a broker."""

import socket
from collections.abc import Iterator

from pollect.api import Suggestion

#: Tried in order for the endpoint of Prometheus.
PORTS = range(8000, 8100)
MQTT_PORT = 1883
#: Long enough for a program on this host.
CONNECT_SECONDS = 0.2


def suggest() -> Iterator[Suggestion]:
    """Yield the writers that make sense on this host."""
    port = next((port for port in PORTS if _is_free(port)), PORTS[0])
    yield Suggestion(
        "writer",
        {"type": "Prometheus", "port": port},
        f"A page at http://localhost:{port}/ that shows what runs, and all values at /metrics for "
        "a Prometheus server. `bind: 127.0.0.1` keeps it on this host.",
    )
    if _answers(MQTT_PORT):
        yield Suggestion(
            "writer",
            {"type": "Mqtt", "host": "127.0.0.1", "port": MQTT_PORT},
            "The MQTT broker of this host; it may ask for `user` and `password`.",
            caveat="whether its clients are to see all this is yours to decide",
        )


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("0.0.0.0", port))
        except OSError:
            return False
        return True


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
