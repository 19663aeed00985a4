"""The dialogues that turn a plain connection into one ready for a TLS handshake.

RFC 3207 (SMTP), 2595 (IMAP, POP3), 4217 (FTP), 4511 section 4.14 (LDAP), and the PostgreSQL
manual, "Message Flow", section "SSL Session Encryption".
"""

import socket
from collections.abc import Callable, Mapping

from pollect.api import BadResponse
from pollect_sources_network.connect import Deadline

#: No server's greeting is longer.
MAX_LINE_BYTES = 4096
MAX_LINES = 100

_LDAP_START_TLS = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"
_LDAP_EXTENDED_RESPONSE = 0x78
_LDAP_SUCCESS = b"\x0a\x01\x00"
_POSTGRES_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


class Dialogue:
    """Lines to and from a server, within a deadline. Every method raises `OSError`."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def send(self, data: bytes) -> None:
        """Send `data` as it is."""
        self._deadline.send(self._sock, data)

    def receive(self, limit: int) -> bytes:
        """Receive up to `limit` bytes; raises `BadResponse` when the server closed."""
        data = self._deadline.receive(self._sock, limit)
        if not data:
            raise BadResponse("the server closed the connection before TLS")
        return data

    def read_line(self) -> bytes:
        """Return one line without its end.

        Bytes are taken one by one, since what follows the last line belongs to TLS.
        """
        line = b""
        while not line.endswith(b"\n"):
            line += self.receive(1)
            if len(line) > MAX_LINE_BYTES:
                raise BadResponse(f"expected a line of text, got {line[:40]!r}")
        return line.rstrip(b"\r\n")

    def expect(self, start: bytes) -> None:
        """Read one line that begins with `start`."""
        line = self.read_line()
        if not line.startswith(start):
            raise BadResponse(f"expected {start.decode()!r}, got {line[:80]!r}")

    def expect_reply(self, code: bytes) -> None:
        """Read a reply of SMTP or FTP, which may have several lines: `250-...`, `250 ...`."""
        for _ in range(MAX_LINES):
            line = self.read_line()
            if not line.startswith(code):
                raise BadResponse(f"expected {code.decode()!r}, got {line[:80]!r}")
            if line[len(code) : len(code) + 1] != b"-":
                return
        raise BadResponse("the reply does not end")


def _smtp(talk: Dialogue) -> None:
    talk.expect_reply(b"220")
    talk.send(b"EHLO pollect\r\n")
    talk.expect_reply(b"250")
    talk.send(b"STARTTLS\r\n")
    talk.expect_reply(b"220")


def _imap(talk: Dialogue) -> None:
    talk.expect(b"* ")
    talk.send(b"a STARTTLS\r\n")
    for _ in range(MAX_LINES):
        line = talk.read_line()
        if line.startswith(b"a OK"):
            return
        if not line.startswith(b"* "):
            raise BadResponse(f"expected 'a OK', got {line[:80]!r}")
    raise BadResponse("the reply does not end")


def _pop3(talk: Dialogue) -> None:
    talk.expect(b"+OK")
    talk.send(b"STLS\r\n")
    talk.expect(b"+OK")


def _ftp(talk: Dialogue) -> None:
    talk.expect_reply(b"220")
    talk.send(b"AUTH TLS\r\n")
    talk.expect_reply(b"234")


def _ldap(talk: Dialogue) -> None:
    talk.send(_LDAP_START_TLS)
    head = b""
    while len(head) < 2:
        head += talk.receive(2 - len(head))
    body = b""
    while len(body) < head[1]:
        body += talk.receive(head[1] - len(body))
    # Short lengths are all one byte, a message number takes three bytes.
    operation = body[3:]
    if head[0] != 0x30 or operation[:1] != bytes([_LDAP_EXTENDED_RESPONSE]):
        raise BadResponse(f"expected an answer of LDAP, got {(head + body)[:40]!r}")
    if operation[2:5] != _LDAP_SUCCESS:
        raise BadResponse("the LDAP server refuses StartTLS")


def _postgres(talk: Dialogue) -> None:
    talk.send(_POSTGRES_SSL_REQUEST)
    answer = talk.receive(1)
    if answer != b"S":
        raise BadResponse(f"expected 'S', the server's consent to TLS, got {answer!r}")


DIALOGUES: Mapping[str, Callable[[Dialogue], None]] = {
    "smtp": _smtp,
    "imap": _imap,
    "pop3": _pop3,
    "ldap": _ldap,
    "ftp": _ftp,
    "postgres": _postgres,
}

#: Ports of the protocols that begin without TLS, and of those that have it at once.
PLAIN_PORTS = {"smtp": 25, "imap": 143, "pop3": 110, "ldap": 389, "ftp": 21, "postgres": 5432}
TLS_PORTS = {"https": 443, "http": 80, "smtps": 465, "imaps": 993, "pop3s": 995, "ldaps": 636}
