"""TCP peers that do whatever a test wants, well-behaved or not."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

LOOPBACK = "127.0.0.1"
#: What ends after a second or so, on a machine that is busy or slow.
IN_TIME_SECONDS = 40.0
#: How long a silent peer is silent: a client without a limit of its own takes this long.
SILENT_SECONDS = 50.0
_JOIN_SECONDS = 30.0


@dataclass
class Peer:
    """A listening peer; `address` is `127.0.0.1:port`."""

    port: int
    host: str = LOOPBACK
    #: Set when the test is over; a handler that waits, waits on this.
    over: threading.Event = field(default_factory=threading.Event)
    #: Connections accepted so far.
    accepted: int = 0

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


Handler = Callable[[socket.socket, Peer], None]


@contextlib.contextmanager
def serve_tcp(
    handler: Handler, *, tls: ssl.SSLContext | None = None, host: str = LOOPBACK
) -> Iterator[Peer]:
    """Run `handler` for every connection, in a thread each; the connection is closed after it.

    A handler that fails because the client went away has done its job.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family, backlog=64) as listener:
        peer = Peer(listener.getsockname()[1], host)
        threads: list[threading.Thread] = []

        def serve(connection: socket.socket) -> None:
            # Whatever happens, the socket must not outlive the test.
            with connection, contextlib.suppress(OSError):
                connection.settimeout(_JOIN_SECONDS)
                if tls is None:
                    handler(connection, peer)
                else:
                    with tls.wrap_socket(connection, server_side=True) as wrapped:
                        handler(wrapped, peer)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                peer.accepted += 1
                thread = threading.Thread(target=serve, args=(connection,), daemon=True)
                threads.append(thread)
                thread.start()

        acceptor = threading.Thread(target=accept, daemon=True)
        acceptor.start()
        try:
            yield peer
        finally:
            peer.over.set()
            # Closing alone does not wake an accept().
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            acceptor.join(_JOIN_SECONDS)
            for thread in threads:
                thread.join(_JOIN_SECONDS)


def silent(connection: socket.socket, peer: Peer) -> None:
    """Accept and never say a word."""
    peer.over.wait(SILENT_SECONDS)


def listen(connection: socket.socket, peer: Peer) -> None:
    """Read until the client is done, and say nothing."""
    while connection.recv(65536):
        pass


def hang_up(connection: socket.socket, peer: Peer) -> None:
    """Reset the connection at once."""
    linger_zero = b"\1\0\0\0\0\0\0\0"
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)


def rubbish(connection: socket.socket, peer: Peer) -> None:
    """Answer with bytes of no protocol."""
    connection.sendall(b"\x00\xff\x17%%% nonsense %%%\r\n\r\n" * 3)


def trickle(data: bytes, pause_seconds: float = 0.1) -> Handler:
    """Send `data` byte by byte, over and over: a slow loris."""

    def handler(connection: socket.socket, peer: Peer) -> None:
        while not peer.over.is_set():
            for byte in data:
                if peer.over.wait(pause_seconds):
                    return
                connection.sendall(bytes([byte]))

    return handler


def say(data: bytes) -> Handler:
    """Read what is there, answer with `data`, and close."""

    def handler(connection: socket.socket, peer: Peer) -> None:
        connection.recv(65536)
        connection.sendall(data)

    return handler


def half_answer(data: bytes) -> Handler:
    """Read what is there, send `data`, and keep the connection open without another byte."""

    def handler(connection: socket.socket, peer: Peer) -> None:
        connection.recv(65536)
        connection.sendall(data)
        peer.over.wait(SILENT_SECONDS)

    return handler


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port of 127.0.0.1 that refuses connections and is kept from others meanwhile."""
    with socket.socket() as placeholder:
        placeholder.bind((LOOPBACK, 0))
        yield placeholder.getsockname()[1]


@contextlib.contextmanager
def full_backlog() -> Iterator[int]:
    """A port of 127.0.0.1 whose connections are never completed: its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((LOOPBACK, 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(address)
        yield address[1]
