"""Targets that do not work, for each protocol."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Literal, TypeAlias

from pollect.testing.http import serve_http
from pollect.testing.servers import (
    LOOPBACK,
    RUBBISH,
    Server,
    absent_port,
    serve_tcp,
    serve_udp,
    stay_silent,
    talk_rubbish,
)

Protocol: TypeAlias = Literal["http", "tcp", "udp"]
#: Host and port.
Place: TypeAlias = tuple[str, int]

#: What a target says before it falls silent or slows down.
_BEGINNINGS: dict[Protocol, bytes] = {
    "http": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n{",
    "tcp": b" ",
}
#: Shorter than any limit on a single read.
TRICKLE_SECONDS = 0.05

STRANGE_PAGE = "<html><p>This page \x07 is about cats.</p>"


@contextmanager
def absent(protocol: Protocol) -> Iterator[Place]:
    """Give a place where nothing listens."""
    if protocol == "udp":
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as bound:
            bound.bind((LOOPBACK, 0))
            port = bound.getsockname()[1]
        yield LOOPBACK, port
        return
    with absent_port() as port:
        yield LOOPBACK, port


@contextmanager
def silent(protocol: Protocol) -> Iterator[Place]:
    """Give a place where somebody listens and never answers."""
    server = serve_udp(lambda _: None) if protocol == "udp" else serve_tcp(stay_silent)
    with server:
        yield server.host, server.port


@contextmanager
def rubbish(protocol: Protocol) -> Iterator[Place]:
    """Give a place that answers what makes no sense."""
    with _babbler(protocol) as server:
        yield server.host, server.port


@contextmanager
def stalling(protocol: Protocol) -> Iterator[Place]:
    """Give a place that begins to answer, and falls silent in the middle."""

    def talk(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(_BEGINNINGS[protocol])
        stay_silent(connection)

    with serve_tcp(talk) as server:
        yield server.host, server.port


@contextmanager
def trickling(protocol: Protocol) -> Iterator[Place]:
    """Give a place that answers a byte at a time, and never comes to an end."""

    def talk(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(_BEGINNINGS[protocol])
        while True:
            time.sleep(TRICKLE_SECONDS)
            connection.sendall(b" ")

    with serve_tcp(talk) as server:
        yield server.host, server.port


def _babbler(protocol: Protocol) -> Server:
    match protocol:
        case "http":
            return serve_http({"*": STRANGE_PAGE})
        case "tcp":
            return serve_tcp(talk_rubbish)
        case "udp":
            return serve_udp(lambda _: RUBBISH)
