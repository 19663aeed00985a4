"""Proxies beside tinyproxy: a real one of SOCKS 5, and one of HTTP that is reached by TLS."""

import contextlib
import select
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.simulators.daemons import find_program, free_port, run_daemon
from tests.simulators.tcp import LOOPBACK, Peer, serve_tcp

_CHUNK = 65_536


@dataclass(frozen=True)
class TlsProxy:
    """A running proxy."""

    url: str


@contextlib.contextmanager
def serve_tls_proxy(tls: ssl.SSLContext) -> Iterator[TlsProxy]:
    """Serve a proxy behind TLS."""
    with serve_tcp(_serve, tls=tls) as peer:
        yield TlsProxy(f"https://{peer.address}")


@contextlib.contextmanager
def run_microsocks(folder: Path, *options: str) -> Iterator[int]:
    """Run microsocks, a server of SOCKS 5; yields its port."""
    program = find_program("microsocks", "microsocks")
    port = free_port()

    command = [program, "-i", LOOPBACK, "-p", str(port), *options]
    with run_daemon(command, folder, port):
        yield port


def _serve(client: socket.socket, peer: Peer) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        part = client.recv(_CHUNK)
        if not part:
            return
        head += part
    method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
    if method == "CONNECT":
        host, _, port = target.rpartition(":")
        with socket.create_connection((host, int(port)), 5) as server:
            client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            _pass_on(client, server, peer)
        return
    parts = urlsplit(target)
    with socket.create_connection((parts.hostname, parts.port), 5) as server:
        path = parts.path or "/"
        server.sendall(head.replace(target.encode(), path.encode(), 1))
        _pass_on(client, server, peer)


def _pass_on(client: socket.socket, server: socket.socket, peer: Peer) -> None:
    """Copy in both directions until one side ends."""
    while not peer.over.is_set():
        pending = isinstance(client, ssl.SSLSocket) and client.pending()
        ready = [client] if pending else select.select([client, server], [], [], 0.1)[0]
        for source in ready:
            data = source.recv(_CHUNK)
            if not data:
                return
            (server if source is client else client).sendall(data)
