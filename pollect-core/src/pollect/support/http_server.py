"""A small HTTP/1.1 server for plugins that listen, built to be attacked.

One thread reads and writes all connections and never waits for one; a few threads run the handler.
A client that says nothing, sends slowly or reads nothing costs its socket and a few bytes. When all
places are taken, the connection that was of use least gives up its place to a new one. Requests
that could be read in two ways are refused, and so are unknown host names (see `allowed_hosts`).

The standard library's `http.server` costs a thread for each connection, 8 MiB and 24 ms more at the
start: it brings the mail parser, an HTTP client and TLS along.
"""

import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

from pollect.support._serving.answers import Answers, Handler
from pollect.support._serving.connection import Closed, Connection, State
from pollect.support._serving.limits import Limits, affordable_connections
from pollect.support._serving.message import (
    BadRequest,
    Head,
    Later,
    Pending,
    Request,
    Response,
)
from pollect.support._serving.places import Places
from pollect.support._serving.requests import Requests
from pollect.support._serving.token import is_token
from pollect.support._serving.waiting import Waiting
from pollect.support.allowed_hosts import AllowedHosts
from pollect.support.listening import listen

if TYPE_CHECKING:
    from ssl import SSLSocket

__all__ = [
    "BadRequest",
    "Handler",
    "Head",
    "HttpServer",
    "Later",
    "Limits",
    "Pending",
    "Request",
    "Response",
    "is_token",
    "listen",
]

log = logging.getLogger(__name__)

#: Connections accepted before those that are there are looked after again.
_ACCEPTS_AT_ONCE = 64
#: Bytes taken from one connection before the others are looked after again.
_READ_AT_ONCE = 256 * 1024
#: Deadlines are looked after at most this often, in seconds.
_SWEEP_SECONDS = 0.05
#: Puts TLS over a connection, without the handshake yet.
Wrap = Callable[[socket.socket], "SSLSocket"]


def _refuse_in_text(status: HTTPStatus, reason: str) -> Response:
    return Response(f"{reason}\n".encode(), status=status)


def _screen_none(head: Head) -> Response | None:
    return None


class HttpServer:
    """Answers requests with what `handler` returns; `handler` is called from many threads."""

    def __init__(
        self,
        listener: socket.socket,
        handler: Handler,
        *,
        wrap: Wrap | None = None,
        limits: Limits | None = None,
        hosts: AllowedHosts | None = None,
        screen: Callable[[Head], Response | None] = _screen_none,
        refuse: Callable[[HTTPStatus, str], Response] = _refuse_in_text,
        answered: Callable[[HTTPStatus], None] = lambda status: None,
        name: str = "pollect-http",
    ) -> None:
        """`screen` may refuse a request by its head, before its body is read; it must be quick.

        `refuse` words what the server itself refuses; `answered` counts, in any thread.
        """
        self._listener = listener
        listener.setblocking(False)
        self._wrap = wrap
        self._limits = limits or Limits()
        self._places = Places(min(self._limits.connections, affordable_connections()))
        self._waiting = Waiting(listener)
        self._expect = self._waiting.expect
        self._requests = Requests(self._limits, hosts, screen, refuse, self._expect)
        self._refuse = refuse
        self._answered = answered
        self._handed_back: deque[Connection] = deque()
        self._closed = False
        self._answers = Answers(
            handler, refuse, answered, self._hand_back, threads=self._limits.threads, name=name
        )
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop listening and drop all connections."""
        self._closed = True
        self._waiting.look_up()
        if self._thread.ident is not None:
            self._thread.join()
        self._listener.close()
        for connection in self._places:
            connection.shut()
        self._answers.close()
        for connection in self._places:
            connection.close()
        self._places.clear()
        self._waiting.close()

    def _run(self) -> None:
        waiting = self._waiting
        waiting.begin()
        while not self._closed:
            ready = waiting.ready()
            self._take_all_back()
            for connection in ready:
                if connection is None:
                    self._accept()
                else:
                    self._attend(connection)
            self._take_all_back()
            if waiting.next_sweep <= time.monotonic():
                self._sweep()
            if waiting.pause_is_over():
                self._accept()

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_AT_ONCE):
            self._take_all_back()
            if (pause := self._places.seconds_to_wait()) > 0:
                self._waiting.pause_accepting(pause)
                return
            try:
                plain, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:  # the client is gone already, or no descriptor is free
                log.debug("no connection accepted: %s", error)
                # Each of ours that is dropped frees one.
                if not self._make_room(full=True):
                    time.sleep(0.01)
                return
            try:
                if self._places.are_left or self._make_room():
                    self._admit(plain, str(address[0]))
                else:
                    self._turn_away(plain)
            except Exception as error:  # noqa: BLE001 - gone again, or what `wrap` may raise
                log.warning("connection refused: %s", error)
                plain.close()

    def _admit(self, plain: socket.socket, peer: str) -> None:
        plain.setblocking(False)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        secure = self._wrap(plain) if self._wrap is not None else None
        connection = Connection(secure or plain, peer, secure is not None)
        limits = self._limits
        self._places.take(connection)
        self._expect(connection, limits.request_seconds if secure else limits.idle_seconds)
        self._watch(connection)

    def _make_room(self, *, full: bool = False) -> bool:
        """Drop the connection that is of least use; return False if all are being answered.

        `full`: there is no descriptor for another one, however many places are left.
        """
        self._take_all_back()
        for each in self._places.to_give_up(young=full):
            if self._places.are_left and not full:
                break
            # What has arrived is never thrown away unread.
            self._attend(each)
            if each.state is not State.ANSWERING:
                self._drop(each)
                return True
        return self._places.are_left and not full

    def _turn_away(self, plain: socket.socket) -> None:
        self._answered(HTTPStatus.SERVICE_UNAVAILABLE)
        if self._wrap is None:
            response = self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections")
            with suppress(OSError):
                plain.setblocking(False)
                plain.send(b"".join(Connection.answer(response, keep_alive=False, head_only=False)))
        plain.close()

    def _attend(self, connection: Connection) -> None:
        """Do what a connection is ready for."""
        if connection not in self._places:  # dropped since the selector saw it
            return
        try:
            if connection.state is State.ANSWERING:  # there is more already, or the client is gone
                self._waiting.watch_for(connection, 0)
                return
            if connection.state is State.SENDING:
                if connection.send():
                    self._after_answer(connection)
                    self._advance(connection)
                self._watch(connection)
                return
            if connection.state is State.SHAKING_HANDS and not connection.shake_hands():
                self._watch(connection)
                return
            if connection.state is State.DISCARDING:
                connection.discard()
                return
            more = connection.receive(_READ_AT_ONCE)
            self._advance(connection)
            if not more and connection.state is State.READING:
                raise Closed("the client ended the connection")
            self._watch(connection)
        except OSError as error:  # gone, or not TLS
            log.debug("connection of %s ended: %s", connection.peer, error)
            self._drop(connection)
        except Exception as error:
            # A fault of ours costs this connection, never the door.
            log.exception("connection of %s dropped", connection.peer, exc_info=error)
            self._drop(connection)

    def _advance(self, connection: Connection) -> None:
        """Have all requests answered that are complete and need no worker, and one that does."""
        while connection.state is State.READING and self._take_request(connection):
            pass

    def _take_request(self, connection: Connection) -> bool:
        """Deal with the next request; return False if it is not complete yet."""
        try:
            head = connection.head
            if head is None:
                head = self._requests.read_head(connection)
                if head is None:
                    return False
                refusal = self._requests.refusal(head)
                if refusal is not None:
                    self._answer_now(connection, refusal, close=head.has_body)
                    return True
                self._requests.expect_body(connection, head)
            if connection.body is not None and not connection.body.feed(connection.received):
                return False
        except BadRequest as error:
            self._answer_now(connection, self._refuse(error.status, str(error)), close=True)
            return True
        self._hand_over(connection, head)
        return True

    def _answer_now(self, connection: Connection, response: Response, *, close: bool) -> None:
        """Send what needs no handler; with `close` a body may still be coming."""
        head = connection.head
        self._answered(response.status)
        connection.begin_answer(
            response,
            keep_alive=bool(head and head.keep_alive and not close and not response.close),
            head_only=head is not None and head.method == "HEAD",
            discard=close,
        )
        connection.state = State.SENDING
        self._expect(connection, self._limits.send_seconds)
        if connection.send():
            self._after_answer(connection)

    def _hand_over(self, connection: Connection, head: Head) -> None:
        connection.state = State.ANSWERING
        connection.expires = float("inf")
        try:
            self._answers.submit(connection, head)
        except RuntimeError as error:
            log.warning("connection refused: %s", error)
            raise Closed(str(error)) from error

    def _hand_back(self, connection: Connection) -> None:
        connection.answered = time.monotonic()
        self._handed_back.append(connection)
        if not self._can_rest(connection):
            self._waiting.look_up()

    def _can_rest(self, connection: Connection) -> bool:
        """Whether nothing is to be done for a connection until its client says something.

        Its worker asks, and the reading thread sleeps on. The worker has handed the connection back
        before it looks whether that is still watched; the reading thread, when more arrives before
        that, stops watching first and then takes back what was handed back. So one of the two sees
        what the other one did.
        """
        return (
            bool(connection.events)
            and connection.failure is None
            and connection.keep_alive
            and not connection.unsent
            and not connection.received
            and self._waiting.next_sweep <= connection.answered + self._limits.idle_seconds
            and self._waiting.accepts
        )

    def _take_all_back(self) -> None:
        while self._handed_back:
            self._take_back(self._handed_back.popleft())

    def _take_back(self, connection: Connection) -> None:
        if connection.failure is not None:
            log.debug("connection of %s ended: %s", connection.peer, connection.failure)
            self._drop(connection)
            return
        connection.state = State.SENDING
        try:
            if connection.unsent:
                self._expect(connection, self._limits.send_seconds)
                self._bound_unsent(connection)
            else:
                self._after_answer(connection, connection.answered)
                self._advance(connection)
            self._watch(connection)
        except OSError as error:
            log.debug("connection of %s ended: %s", connection.peer, error)
            self._drop(connection)

    def _bound_unsent(self, newest: Connection) -> None:
        """Drop the slowest readers while answers on their way hold too much memory."""
        sending = [each for each in self._places if each.unsent and each is not newest]
        total = newest.unsent + sum(each.unsent for each in sending)
        sending.sort(key=lambda each: each.expires)
        for each in sending:
            if total <= self._limits.unsent_bytes:
                return
            total -= each.unsent
            log.debug("connection of %s dropped: it reads too slowly", each.peer)
            self._drop(each)

    def _after_answer(self, connection: Connection, now: float | None = None) -> None:
        """Wait for the next request, or end the connection."""
        connection.since = float("-inf")  # it has had its time
        if connection.trusted:
            self._places.note_use(connection)
        if not connection.keep_alive:
            if not connection.discards:
                raise Closed("it is over")
            connection.stop_sending(self._limits.discard_bytes)
            self._expect(connection, self._limits.request_seconds)
            return
        connection.expect_request()
        self._expect(connection, self._limits.idle_seconds, now)

    def _sweep(self) -> None:
        now = time.monotonic()
        for connection in [each for each in self._places if each.expires <= now]:
            log.debug("connection of %s dropped: its time is up", connection.peer)
            self._drop(connection)
        soonest = min((each.expires for each in self._places), default=float("inf"))
        self._waiting.next_sweep = max(soonest, now + _SWEEP_SECONDS)

    def _watch(self, connection: Connection) -> None:
        """Be notified of what the connection waits for."""
        # While it is answered it stays watched: clients rarely say more before they have read that.
        if connection in self._places and connection.state is not State.ANSWERING:
            self._waiting.watch_for(connection, connection.awaited_events())

    def _drop(self, connection: Connection) -> None:
        if connection not in self._places:
            return
        self._places.leave(connection)
        self._waiting.accept_soon()
        self._waiting.watch_for(connection, 0)
        connection.close()
