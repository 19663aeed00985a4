"""What the reading thread of a server waits for: clients, their deadlines, and being woken."""

import selectors
import socket
import time
from contextlib import suppress

from pollect.support._serving.connection import Connection

_NEVER = float("inf")


class Waiting:
    """For the reading thread; only `look_up` may be called by others.

    Others read `next_sweep` and `accepts`, to find out whether they have to call it.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        #: When a connection is to be dropped, or later ones are looked at, in monotonic seconds.
        self.next_sweep = _NEVER
        #: When to accept again, while every connection is too young to be dropped.
        self._accept_again = _NEVER
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)

    def begin(self) -> None:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)

    def close(self) -> None:
        self._selector.close()
        self._wake.close()
        self._woken.close()

    def look_up(self) -> None:
        """Make the reading thread look up; it is awake already when there is no room."""
        with suppress(OSError):
            self._wake.send(b"x")

    def ready(self) -> list[Connection | None]:
        """Wait; return the connections that have something to do, and None for newcomers."""
        patience = min(self.next_sweep, self._accept_again) - time.monotonic()
        found = self._selector.select(None if patience == _NEVER else max(0.0, patience))
        ready: list[Connection | None] = []
        for key, _ in found:
            if key.fileobj is self._woken:
                with suppress(OSError):
                    self._woken.recv(4096)
            else:
                ready.append(key.data)
        return ready

    @property
    def accepts(self) -> bool:
        """Whether newcomers are waited for."""
        return self._accept_again == _NEVER

    def pause_accepting(self, seconds: float) -> None:
        self._selector.unregister(self._listener)
        self._accept_again = time.monotonic() + seconds

    def accept_soon(self) -> None:
        """End a pause at the next look: somebody has left."""
        if self._accept_again != _NEVER:
            self._accept_again = 0.0

    def pause_is_over(self) -> bool:
        """Whether newcomers are waited for again, from now on."""
        if self._accept_again > time.monotonic():
            return False
        self._accept_again = _NEVER
        self._selector.register(self._listener, selectors.EVENT_READ)
        return True

    def expect(self, connection: Connection, seconds: float, now: float | None = None) -> None:
        """Give a connection so many seconds for what comes next."""
        connection.expires = (time.monotonic() if now is None else now) + seconds
        self.next_sweep = min(self.next_sweep, connection.expires)

    def watch_for(self, connection: Connection, events: int) -> None:
        """Wait for these events of a connection, and for no others."""
        if events == connection.events:
            return
        if not events:
            self._selector.unregister(connection.socket)
        elif connection.events:
            self._selector.modify(connection.socket, events, connection)
        else:
            self._selector.register(connection.socket, events, connection)
        connection.events = events
