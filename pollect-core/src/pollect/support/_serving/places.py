"""Who has a place among the connections of a server, and who gives one up for a newcomer."""

import time
from collections.abc import Iterator

from pollect.support._serving.connection import Connection, State

#: How long a connection has its place for sure, whoever else comes: a client on a busy machine
#: needs a moment from connecting to the first byte, and to the last one.
_TIME_TO_BEGIN, _TIME_TO_GO_ON = 0.1, 0.02


class Places:
    """The connections of a server, for its reading thread; the least recently useful come first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: dict[Connection, None] = {}

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._taken)

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._taken

    @property
    def are_left(self) -> bool:
        return len(self._taken) < self._most

    def take(self, connection: Connection) -> None:
        self._taken[connection] = None

    def leave(self, connection: Connection) -> None:
        del self._taken[connection]

    def note_use(self, connection: Connection) -> None:
        """Let a connection that was of use give up its place after all others."""
        if connection in self._taken:
            self.leave(connection)
            self.take(connection)

    def clear(self) -> None:
        self._taken.clear()

    def seconds_to_wait(self) -> float:
        """Return after how long one more connection has a place, or can be turned away."""
        if self.are_left:
            return 0.0
        now = time.monotonic()
        return min((_kept_until(each) - now for each in self._idle()), default=0.0)

    def to_give_up(self, *, young: bool = False) -> list[Connection]:
        """Return the connections that may be dropped for another one, the first of them first.

        With `young` also those that came, or began to ask, a moment ago.
        """
        now = time.monotonic()
        return [each for each in self._idle() if young or _kept_until(each) <= now]

    def _idle(self) -> list[Connection]:
        """Return the connections of strangers that wait, or else of all that do."""
        idle = [each for each in self._taken if each.state is not State.ANSWERING]
        return [each for each in idle if not each.trusted] or idle


def _kept_until(connection: Connection) -> float:
    """Return until when a connection cannot be dropped for another one, in monotonic seconds."""
    begun = connection.begun
    return connection.since + _TIME_TO_BEGIN if begun is None else begun + _TIME_TO_GO_ON
