"""Lines and bytes to and from a server that is to begin with TLS, or to let somebody through."""

import socket

from pollect.api import BadResponse
from pollect.support.connect import Deadline

#: No server's greeting is longer.
MAX_LINE_BYTES = 4096
MAX_LINES = 100


class Dialogue:
    """A talk over a connected socket, within a deadline. Every method raises `OSError`.

    `server_name` is the name the server is addressed by.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline, server_name: str = "") -> None:
        self._sock = sock
        self._deadline = deadline
        self.server_name = server_name

    def send(self, data: bytes) -> None:
        """Send `data` as it is."""
        self._deadline.send(self._sock, data)

    def receive(self, limit: int) -> bytes:
        """Receive up to `limit` bytes; raises `BadResponse` when the other side closed."""
        data = self._deadline.receive(self._sock, limit)
        if not data:
            raise BadResponse("the connection was closed before TLS")
        return data

    def receive_exactly(self, count: int) -> bytes:
        """Receive `count` bytes, in as many pieces as they come."""
        data = b""
        while len(data) < count:
            data += self.receive(count - len(data))
        return data

    def read_line(self) -> bytes:
        """Return one line without its end.

        Bytes are taken one by one, since what follows the last line belongs to somebody else.
        """
        line = b""
        while not line.endswith(b"\n"):
            line += self.receive(1)
            if len(line) > MAX_LINE_BYTES:
                raise BadResponse(f"expected a line of text, got {line[:40]!r}")
        return line.rstrip(b"\r\n")

    def read_reply(self) -> bytes:
        """Return the last line of a reply of SMTP or FTP, `250 ...` after any `250-...`."""
        code = b""
        for _ in range(MAX_LINES):
            line = self.read_line()
            code = code or line[:3]
            if not (code.isdigit() and line.startswith(code)):
                raise BadResponse(f"expected a reply with a number, got {line[:80]!r}")
            if line[3:4] != b"-":
                return line
        raise BadResponse("the reply does not end")


def expect(line: bytes, start: bytes, problem: str = "") -> None:
    """Raise `BadResponse` unless `line` begins with `start`; `problem` says what that means."""
    if not line.startswith(start):
        said = f"expected {start!r}, got {line[:80]!r}"
        raise BadResponse(f"{problem}: {said}" if problem else said)
