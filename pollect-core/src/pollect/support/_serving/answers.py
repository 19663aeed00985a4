"""The threads that run the handler of a server and begin to send what it returns."""

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeAlias

from pollect.support._serving.connection import Closed, Connection
from pollect.support._serving.message import Head, Later, Pending, Request, Response
from pollect.support._serving.pool import Pool

log = logging.getLogger("pollect.support.http_server")

_CLOSE_SECONDS = 2.0

Handler: TypeAlias = Callable[[Request], Response | Later | Pending]


class Answers:
    """Answers complete requests; `hand_back` is called with each connection, in a worker."""

    def __init__(
        self,
        handler: Handler,
        refuse: Callable[[HTTPStatus, str], Response],
        answered: Callable[[HTTPStatus], None],
        hand_back: Callable[[Connection], None],
        *,
        threads: int,
        name: str,
    ) -> None:
        self._handler = handler
        self._refuse = refuse
        self._answered = answered
        self._hand_back = hand_back
        self._pool = Pool(f"{name}-worker", threads)
        #: For what takes its time, see `Later`.
        self._slow = Pool(f"{name}-slow", 1)

    def submit(self, connection: Connection, head: Head) -> None:
        """Have a request answered; raises `RuntimeError` when there is no thread for it."""
        self._pool.submit(lambda: self._answer(connection, head))

    def close(self) -> None:
        """End the threads, waiting a moment for them."""
        self._pool.close(_CLOSE_SECONDS)
        self._slow.close(_CLOSE_SECONDS)

    def _answer(self, connection: Connection, head: Head) -> None:
        body = connection.body.body if connection.body is not None else b""
        request = head.request(body, connection.peer, connection.is_gone)
        self._answer_with(connection, head, lambda: self._handler(request))

    def _answer_with(
        self, connection: Connection, head: Head, make: Callable[[], Response | Later | Pending]
    ) -> None:
        """Make the answer and send it, as far as it goes at once."""
        try:
            response = self._made(head, make)
            if isinstance(response, Later):
                later = response.make
                try:
                    self._slow.submit(lambda: self._answer_with(connection, head, later))
                except RuntimeError as error:
                    raise Closed(str(error)) from error
                return
            if isinstance(response, Pending):
                self._begin(connection, head, response)
                return
            self._answered(response.status)
            connection.begin_answer(
                response,
                keep_alive=head.keep_alive and not response.close and not connection.unread_body,
                head_only=head.method == "HEAD",
                discard=connection.unread_body,
            )
            connection.send()
        except OSError as error:
            connection.failure = error
        self._hand_back(connection)

    def _begin(self, connection: Connection, head: Head, pending: Pending) -> None:
        """Let an answer be made that comes some time, and is sent by the thread that makes it."""

        def send(response: Response) -> None:
            self._answer_with(connection, head, lambda: response)

        def fail(error: Exception) -> Response:
            raise error

        try:
            pending.begin(send)
        except Exception as error:  # noqa: BLE001 - logged as any fault of a handler
            raised = error
            self._answer_with(connection, head, lambda: fail(raised))

    def _made(
        self, head: Head, make: Callable[[], Response | Later | Pending]
    ) -> Response | Later | Pending:
        try:
            return make()
        except Exception as error:
            log.exception("%s %s", head.method, head.target[:80], exc_info=error)
            reason = "this is a fault of the server, its log has more"
            return self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, reason)
