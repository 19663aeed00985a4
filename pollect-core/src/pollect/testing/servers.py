"""The simulators' base: real TCP and UDP servers on loopback, able to misbehave.

A simulator of a device is a function that talks to one connection (`serve_tcp`) or answers one
datagram (`serve_udp`). The server has a port of its own from the kernel, is ready when the `with`
block begins, and is gone with all its connections and threads when the block ends. A mistake in the
function itself (anything but an `OSError`, which only means that the other side went away) fails
the test at the end of the block.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from types import TracebackType
from typing import Self, TypeAlias

LOOPBACK = "127.0.0.1"
#: How long the threads of a server may take to end; they end at once unless a simulator hangs.
STOP_SECONDS = 30.0
#: What no protocol begins with: an escape sequence, bytes that are not UTF-8, a lone NUL.
RUBBISH = b"\x1b[0m\xff\xfe\x00 pardon?\r\n\r\n"

#: Talks to one connection; the socket is closed when it returns.
Talk: TypeAlias = Callable[[socket.socket], None]
#: Answers one datagram with none, one or several.
Reply: TypeAlias = Callable[[bytes], bytes | Iterable[bytes] | None]


class Server:
    """What all simulators have: an address, a start and a stop.

    `stop()` and `start()` inside the `with` block make the device go away and come back on the same
    port.
    """

    def __init__(self, kind: socket.SocketKind, host: str = LOOPBACK) -> None:
        self.host = host
        #: Given by the kernel at the first start.
        self.port = 0
        #: Mistakes of the simulator itself, in the order they happened.
        self.errors: list[Exception] = []
        self._kind = kind
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """`host:port`, with brackets around an IPv6 address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def start(self) -> None:
        """Begin to serve; ready when this returns."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        bound = socket.socket(family, self._kind)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((self.host, self.port))
            if self._kind == socket.SOCK_STREAM:
                bound.listen(128)
        except OSError:
            bound.close()
            raise
        self.port = bound.getsockname()[1]
        self._socket = bound
        self._thread = threading.Thread(
            target=self._serve, args=(bound,), name=f"simulator-{self.port}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Go away: from now on connections are refused and datagrams are lost. Idempotent."""
        if self._socket is None or self._thread is None:
            return
        bound, self._socket = self._socket, None
        self._wake()
        self._thread.join(STOP_SECONDS)
        bound.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        if self.errors and error is None:
            raise self.errors[0]

    def _serve(self, bound: socket.socket) -> None:
        raise NotImplementedError

    def _wake(self) -> None:
        """Make the serving thread see that `_socket` is gone."""
        raise NotImplementedError


class TcpServer(Server):
    """Accepts connections and talks to each in a thread of its own."""

    def __init__(
        self, talk: Talk, *, tls: ssl.SSLContext | None = None, host: str = LOOPBACK
    ) -> None:
        super().__init__(socket.SOCK_STREAM, host)
        #: May be replaced at any time, for the connections to come.
        self.talk = talk
        #: How many connections were accepted so far.
        self.accepted = 0
        self._tls = tls
        self._lock = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}

    def stop(self) -> None:
        super().stop()
        with self._lock:
            left = dict(self._open)
        for connection, thread in left.items():
            _shut_down(connection)
            thread.join(STOP_SECONDS)

    def disconnect(self) -> None:
        """Break all connections as a power cut does; new ones are accepted."""
        with self._lock:
            left = list(self._open)
        for connection in left:
            _shut_down(connection)

    def _serve(self, bound: socket.socket) -> None:
        while True:
            connection, _ = bound.accept()
            if self._socket is not bound:
                connection.close()
                return
            thread = threading.Thread(
                target=self._talk_to, args=(connection,), name=f"{self.port}-peer", daemon=True
            )
            with self._lock:
                self.accepted += 1
                self._open[connection] = thread
            thread.start()

    def _talk_to(self, connection: socket.socket) -> None:
        secured = connection
        try:
            if self._tls is not None:
                # The handshake is done here, where a peer that never ends it blocks no other.
                secured = self._tls.wrap_socket(connection.dup(), server_side=True)
            self.talk(secured)
        except OSError:
            pass
        except Exception as error:  # noqa: BLE001 - shown by __exit__
            self.errors.append(error)
        finally:
            if secured is not connection:
                secured.close()
            _shut_down(connection)
            connection.close()
            with self._lock:
                del self._open[connection]

    def _wake(self) -> None:
        with suppress(OSError), closing(socket.create_connection((self.host, self.port))):
            pass


class UdpServer(Server):
    """Answers datagrams one after the other."""

    def __init__(self, reply: Reply, *, host: str = LOOPBACK) -> None:
        super().__init__(socket.SOCK_DGRAM, host)
        #: May be replaced at any time.
        self.reply = reply
        #: Every datagram that came.
        self.received: list[bytes] = []

    def _serve(self, bound: socket.socket) -> None:
        while True:
            datagram, peer = bound.recvfrom(65_535)
            if self._socket is not bound:
                return
            self.received.append(datagram)
            try:
                answers = self.reply(datagram)
            except Exception as error:  # noqa: BLE001 - shown by __exit__
                self.errors.append(error)
                continue
            for answer in [answers] if isinstance(answers, bytes) else answers or ():
                with suppress(OSError):
                    bound.sendto(answer, peer)

    def _wake(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with closing(socket.socket(family, socket.SOCK_DGRAM)) as sender:
            sender.sendto(b"", (self.host, self.port))


def serve_tcp(talk: Talk, *, tls: ssl.SSLContext | None = None, host: str = LOOPBACK) -> TcpServer:
    """Return a TCP server (for `with`) that calls `talk` with each connection.

    `tls`: the server's side of TLS, for example `Certificate.server_context()` of
    `pollect.testing.certificates`.
    """
    return TcpServer(talk, tls=tls, host=host)


def serve_udp(reply: Reply, *, host: str = LOOPBACK) -> UdpServer:
    """Return a UDP server (for `with`) that answers each datagram with what `reply` returns."""
    return UdpServer(reply, host=host)


def stay_silent(connection: socket.socket) -> None:
    """A device that hangs: listens and never answers."""
    while connection.recv(65_536):
        pass


def hang_up(connection: socket.socket) -> None:
    """Talk of a device that closes every connection at once."""


def talk_rubbish(connection: socket.socket) -> None:
    """Talk of a device of another kind: says what no protocol knows, then listens."""
    connection.sendall(RUBBISH)
    stay_silent(connection)


@contextmanager
def absent_port(host: str = LOOPBACK) -> Iterator[int]:
    """Give a TCP port that refuses connections for as long as the block lasts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as bound:
        bound.bind((host, 0))  # bound and never listening: refused, and no other program gets it
        yield bound.getsockname()[1]


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
