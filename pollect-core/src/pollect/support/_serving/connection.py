"""One connection of `HttpServer`: what arrived, what is to be sent, what it waits for.

No method blocks. The thread that reads has a connection to itself until its request is complete,
then the worker that answers, then the reading thread again.
"""

import enum
import selectors
import socket
import time
from collections import deque
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from pollect.support._serving.message import BodyReader, Head, Response, format_head

if TYPE_CHECKING:
    from ssl import SSLSocket

#: Bytes up to which pieces are sent together; above, copying costs more than a call.
ONE_PIECE = 64 * 1024
#: Pieces handed to the kernel at once; it takes 1024.
_PIECES_AT_ONCE = 512
_CHUNK_BYTES = 64 * 1024


class Closed(OSError):
    """The connection is over."""


class State(enum.Enum):
    SHAKING_HANDS = enum.auto()
    READING = enum.auto()
    #: A worker has it.
    ANSWERING = enum.auto()
    SENDING = enum.auto()
    #: The answer is sent; what the client still writes is thrown away, for it to see the answer.
    DISCARDING = enum.auto()


class Connection:
    __slots__ = (
        "_discard_left",
        "_outgoing",
        "_secure",
        "_wants_write",
        "answered",
        "begun",
        "body",
        "discards",
        "events",
        "expires",
        "failure",
        "head",
        "keep_alive",
        "peer",
        "received",
        "since",
        "socket",
        "state",
        "trusted",
        "unread_body",
        "unsent",
    )

    def __init__(self, plain_or_secure: "socket.socket", peer: str, is_secure: bool) -> None:
        self.socket = plain_or_secure
        self._secure = is_secure
        self.peer = peer
        #: Monotonic seconds when it came, minus infinity once it got an answer.
        self.since = time.monotonic()
        self.state = State.SHAKING_HANDS if is_secure else State.READING
        #: What the selector watches now, 0 for nothing.
        self.events = 0
        #: Monotonic seconds when it has taken too long.
        self.expires = float("inf")
        #: A client that has shown a password, or got what not everybody gets.
        self.trusted = False
        self.failure: OSError | None = None
        #: Monotonic seconds when its worker was done.
        self.answered = 0.0
        self.keep_alive = True
        self.discards = False
        self.received = bytearray()
        self._outgoing: deque[memoryview] = deque()
        #: Bytes of the answer that the client has not taken yet.
        self.unsent = 0
        self._wants_write = False
        self._discard_left = 0
        self.expect_request()
        self.state = State.SHAKING_HANDS if is_secure else State.READING

    def expect_request(self) -> None:
        """Forget the last request."""
        self.state = State.READING
        self.head: Head | None = None
        self.body: BodyReader | None = None
        self.unread_body = False
        #: Monotonic seconds of the first byte of a request.
        self.begun: float | None = None

    def awaited_events(self) -> int:
        """Return what the selector is to watch."""
        match self.state:
            case State.SENDING:
                return selectors.EVENT_WRITE
            case _:
                return selectors.EVENT_WRITE if self._wants_write else selectors.EVENT_READ

    def shake_hands(self) -> bool:
        """Go on with the handshake of TLS; return whether it is done. Raises `OSError`."""
        secure: SSLSocket = self.socket  # type: ignore[assignment]
        self._wants_write = False
        try:
            secure.do_handshake()
        except OSError as error:
            if not self._must_wait(error):
                raise
            return False
        self.state = State.READING
        return True

    def receive(self, limit: int) -> bool:
        """Take what has arrived, about `limit` bytes at most; return False at its end.

        Raises `OSError`.
        """
        self._wants_write = False
        taken = 0
        # What TLS has unpacked already is not announced again, so it is taken whole.
        while taken < limit or (self._secure and self.socket.pending()):  # type: ignore[attr-defined]
            try:
                chunk = self.socket.recv(_CHUNK_BYTES)
            except OSError as error:
                if not self._must_wait(error):
                    raise
                return True
            if not chunk:
                return False
            self.received += chunk
            taken += len(chunk)
            if len(chunk) < _CHUNK_BYTES and not self._secure:
                return True
        return True

    @staticmethod
    def answer(response: Response, *, keep_alive: bool, head_only: bool) -> list[bytes]:
        """Return the bytes of an answer, small pieces joined and large ones shared."""
        pieces = [format_head(response, keep_alive)]
        small = len(pieces[0])
        if head_only:
            return pieces
        whole: list[bytes] = []
        for piece in response.pieces:
            if small + len(piece) > ONE_PIECE:
                whole.append(pieces[0] if len(pieces) == 1 else b"".join(pieces))
                pieces, small = [], 0
            pieces.append(piece)
            small += len(piece)
        if pieces:
            whole.append(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        return whole

    def begin_answer(
        self, response: Response, *, keep_alive: bool, head_only: bool, discard: bool
    ) -> None:
        self.keep_alive = keep_alive
        self.discards = discard
        self.trusted = self.trusted or response.earns_trust
        pieces = self.answer(response, keep_alive=keep_alive, head_only=head_only)
        self._outgoing = deque(memoryview(piece) for piece in pieces if piece)
        self.unsent = sum(map(len, self._outgoing))

    def send(self) -> bool:
        """Send what the client takes now; return whether that was all. Raises `OSError`."""
        while self._outgoing:
            try:
                if self._secure or len(self._outgoing) == 1:
                    sent = self.socket.send(self._outgoing[0])
                else:
                    sent = self.socket.sendmsg(list(islice(self._outgoing, _PIECES_AT_ONCE)))
            except OSError as error:
                if not self._must_wait(error):
                    raise
                return False
            self._forget_sent(sent)
        return True

    def _forget_sent(self, sent: int) -> None:
        self.unsent -= sent
        while sent:
            first = self._outgoing[0]
            if sent < len(first):
                self._outgoing[0] = first[sent:]
                return
            sent -= len(first)
            self._outgoing.popleft()

    def is_gone(self) -> bool:
        """Whether the client has closed its side, or reset the connection; from any thread."""
        try:
            # Not the method of a TLS connection, which does not peek.
            return not socket.socket.recv(self.socket, 1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def stop_sending(self, discard_bytes: int) -> None:
        """Say that no more will come, and throw away up to so many bytes of what arrives."""
        self.state = State.DISCARDING
        self._discard_left = discard_bytes - len(self.received)
        self.received.clear()
        socket.socket.shutdown(self.socket, socket.SHUT_WR)

    def discard(self) -> None:
        """Throw away what arrived. Raises `Closed` when the client has finished, or sent enough."""
        more = self.receive(_CHUNK_BYTES)
        self._discard_left -= len(self.received)
        self.received.clear()
        if not more or self._discard_left <= 0:
            raise Closed("it is over")

    def shut(self) -> None:
        """End the connection for both sides; its descriptor stays, a worker may use it still."""
        with suppress(OSError):
            # Not the method of a TLS connection, which would pull the rug from under its worker.
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)

    def close(self) -> None:
        self._outgoing.clear()
        self.unsent = 0
        self.shut()
        with suppress(OSError):
            self.socket.close()

    def _must_wait(self, error: OSError) -> bool:
        """Whether an error only means that the other side must do something first."""
        if isinstance(error, BlockingIOError | InterruptedError):
            return True
        if not self._secure:
            return False
        import ssl

        self._wants_write = isinstance(error, ssl.SSLWantWriteError)
        return self._wants_write or isinstance(error, ssl.SSLWantReadError)
