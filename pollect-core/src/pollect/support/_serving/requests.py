"""Requests as they arrive on a connection, and which of them are refused by their head."""

import time
from collections.abc import Callable
from http import HTTPStatus

from pollect.support._serving.connection import Connection
from pollect.support._serving.limits import Limits
from pollect.support._serving.message import BadRequest, BodyReader, Head, Response, parse_head
from pollect.support.allowed_hosts import AllowedHosts

_END_OF_HEAD = b"\r\n\r\n"


class Requests:
    """Reads requests; `expect` is called with the seconds that a client has for the rest."""

    def __init__(
        self,
        limits: Limits,
        hosts: AllowedHosts | None,
        screen: Callable[[Head], Response | None],
        refuse: Callable[[HTTPStatus, str], Response],
        expect: Callable[[Connection, float], None],
    ) -> None:
        self._limits = limits
        self._hosts = hosts
        self._screen = screen
        self._refuse = refuse
        self._expect = expect

    def read_head(self, connection: Connection) -> Head | None:
        """Return the head of the next request, None until it is complete.

        Raises `BadRequest`.
        """
        received = connection.received
        while received[:2] == b"\r\n":  # RFC 9112, 2.2
            del received[:2]
        if received and connection.begun is None:
            connection.begun = time.monotonic()
            self._expect(connection, self._limits.request_seconds)
        end = received.find(_END_OF_HEAD, 0, self._limits.head_bytes)
        if end < 0:
            if len(received) >= self._limits.head_bytes:
                raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return None
        connection.head = parse_head(bytes(received[:end]))
        del received[: end + len(_END_OF_HEAD)]
        return connection.head

    def refusal(self, head: Head) -> Response | None:
        """Return the answer to a request that is refused by its head, None for any other."""
        host = head.headers.get("host")
        if self._hosts is None or self._hosts.allows(host):
            return self._screen(head)
        reason = f"the host name {str(host)[:80]!r} is not allowed here, list it in `allowedHosts`"
        return self._refuse(HTTPStatus.FORBIDDEN, reason)

    def expect_body(self, connection: Connection, head: Head) -> None:
        """Prepare for the body of a request; raises `BadRequest`."""
        if not head.has_body:
            return
        if not self._limits.body_bytes:
            # The body is not read, and would be taken for the next request.
            connection.unread_body = True
            return
        connection.body = BodyReader(head.length, self._limits.body_bytes)
        expects = head.headers.get("expect", "").lower() == "100-continue"
        if expects and not connection.received:
            connection.socket.send(b"HTTP/1.1 100 Continue\r\n\r\n")
