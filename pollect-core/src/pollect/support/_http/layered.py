"""TLS within TLS: to a server through a proxy that is itself reached by TLS."""

import functools
import ssl
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_RECEIVE_BYTES = 16 * 1024


class LayeredSocket:
    """The part of a socket that a connection uses, over a TLS socket. Raises `OSError`."""

    def __init__(self, context: ssl.SSLContext, sock: ssl.SSLSocket, name: str) -> None:
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        #: The inner TLS, with its certificates.
        self.tls_object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._seconds = sock.gettimeout()
        self._run(self.tls_object.do_handshake)

    def settimeout(self, seconds: float | None) -> None:
        """Limit each of the following calls as a whole."""
        self._seconds = seconds

    def sendall(self, data: bytes) -> None:
        """Send all of `data`."""
        view = memoryview(data)
        while view:
            sent = self._run(functools.partial(self.tls_object.write, view))
            view = view[sent:]

    def recv(self, limit: int) -> bytes:
        """Receive something; empty when the peer closed."""
        try:
            return self._run(lambda: self.tls_object.read(limit))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def fileno(self) -> int:
        """Return the descriptor below, for polling."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    def _run(self, step: Callable[[], T]) -> T:
        end = None if self._seconds is None else time.monotonic() + self._seconds
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._flush(end)
                self._limit(end)
                data = self._sock.recv(_RECEIVE_BYTES)
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            else:
                self._flush(end)
                return result

    def _flush(self, end: float | None) -> None:
        if data := self._outgoing.read():
            self._limit(end)
            self._sock.sendall(data)

    def _limit(self, end: float | None) -> None:
        if end is not None:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(left)
