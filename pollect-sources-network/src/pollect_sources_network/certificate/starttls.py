"""The dialogues that turn a plain connection into one ready for a TLS handshake.

RFC 3207 (SMTP), 2033 (LMTP), 2595 (IMAP, POP3), 4217 (FTP), 4511 section 4.14 (LDAP), 6120 section
5 (XMPP); the PostgreSQL manual, "Message Flow", section "SSL Session Encryption"; the MySQL manual,
"Connection Phase".
"""

import html
import struct
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from pollect.api import BadResponse
from pollect_sources_network.certificate.dialogue import MAX_LINES, Dialogue, expect

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

NO_TLS = "the server offers no TLS"

_LDAP_START_TLS = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"
_LDAP_EXTENDED_RESPONSE = 0x78
_LDAP_SUCCESS = b"\x0a\x01\x00"

_POSTGRES_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"

_MYSQL_PROTOCOL, _MYSQL_ERROR = 10, 0xFF
#: A greeting has some 100 bytes, most of them the version.
_MYSQL_GREETING_BYTES = 1024
#: Thread, first part of the scramble and a zero stand between version and capabilities.
_MYSQL_GAP_BYTES = 4 + 8 + 1
_MYSQL_PROTOCOL_41, _MYSQL_SSL = 0x0200, 0x0800
_MYSQL_MAX_PACKET_BYTES = 1 << 24
_MYSQL_UTF8 = 33
#: Length in 3 bytes, sequence number, capabilities, largest packet, character set, zeros.
_MYSQL_SSL_REQUEST = b"\x20\x00\x00\x01" + struct.pack(
    "<IIB23x", _MYSQL_PROTOCOL_41 | _MYSQL_SSL, _MYSQL_MAX_PACKET_BYTES, _MYSQL_UTF8
)

_XMPP_TLS = "{urn:ietf:params:xml:ns:xmpp-tls}"
_XMPP_STREAM = "{http://etherx.jabber.org/streams}"
_XMPP_MAX_BYTES = 64 * 1024
_XMPP_HEADER = (
    "<?xml version='1.0'?><stream:stream version='1.0' xmlns='jabber:client' "
    "xmlns:stream='http://etherx.jabber.org/streams'"
)


def _smtp(talk: Dialogue, hello: bytes = b"EHLO") -> None:
    expect(talk.read_reply(), b"220")
    talk.send(hello + b" pollect\r\n")
    expect(talk.read_reply(), b"250")
    talk.send(b"STARTTLS\r\n")
    expect(talk.read_reply(), b"220", NO_TLS)


def _imap(talk: Dialogue) -> None:
    expect(talk.read_line(), b"* ")
    talk.send(b"a STARTTLS\r\n")
    for _ in range(MAX_LINES):
        line = talk.read_line()
        if not line.startswith(b"* "):
            expect(line, b"a OK", NO_TLS)
            return
    raise BadResponse("the reply does not end")


def _pop3(talk: Dialogue) -> None:
    expect(talk.read_line(), b"+OK")
    talk.send(b"STLS\r\n")
    expect(talk.read_line(), b"+OK", NO_TLS)


def _ftp(talk: Dialogue) -> None:
    expect(talk.read_reply(), b"220")
    talk.send(b"AUTH TLS\r\n")
    expect(talk.read_reply(), b"234", NO_TLS)


def _ldap(talk: Dialogue) -> None:
    talk.send(_LDAP_START_TLS)
    head = talk.receive_exactly(2)
    expect(head, b"\x30")
    body = talk.receive_exactly(head[1])
    # Short lengths are all one byte, a message number takes three bytes.
    operation = body[3:]
    expect(operation, bytes([_LDAP_EXTENDED_RESPONSE]))
    if operation[2:5] != _LDAP_SUCCESS:
        code = int.from_bytes(operation[4:5], "big")
        raise BadResponse(f"{NO_TLS}: it rejected StartTLS with code {code}")


def _postgres(talk: Dialogue) -> None:
    talk.send(_POSTGRES_SSL_REQUEST)
    expect(talk.receive(1), b"S", NO_TLS)


def _mysql(talk: Dialogue) -> None:
    length = int.from_bytes(talk.receive_exactly(4)[:3], "little")
    if not 0 < length <= _MYSQL_GREETING_BYTES:
        raise BadResponse(f"expected a greeting of MySQL, got one of {length} bytes")
    greeting = talk.receive_exactly(length)
    if greeting[0] == _MYSQL_ERROR:
        raise BadResponse(f"the server rejects the connection: {greeting[3:83]!r}")
    _, end, rest = greeting.partition(b"\0")
    capabilities = rest[_MYSQL_GAP_BYTES : _MYSQL_GAP_BYTES + 2]
    if greeting[0] != _MYSQL_PROTOCOL or not end or len(capabilities) < 2:
        raise BadResponse(f"expected a greeting of MySQL, got {greeting[:40]!r}")
    if not int.from_bytes(capabilities, "little") & _MYSQL_SSL:
        raise BadResponse(NO_TLS)
    talk.send(_MYSQL_SSL_REQUEST)


def _xmpp(talk: Dialogue) -> None:
    elements = _xmpp_elements(talk)
    to = html.escape(talk.server_name)
    talk.send(f"{_XMPP_HEADER} to='{to}'>".encode())
    features = next(elements)
    if features.tag != f"{_XMPP_STREAM}features":
        raise BadResponse(f"expected features of XMPP, got {_describe(features)}")
    if features.find(f"{_XMPP_TLS}starttls") is None:
        raise BadResponse(NO_TLS)
    talk.send(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
    answer = next(elements)
    if answer.tag != f"{_XMPP_TLS}proceed":
        raise BadResponse(f"{NO_TLS}: it answers {_describe(answer)}")


def _xmpp_elements(talk: Dialogue) -> Iterator["Element"]:
    """Yield the elements directly below the root of a stream, as each of them is complete."""
    from xml.etree.ElementTree import ParseError, XMLPullParser

    parser: Any = XMLPullParser(("start", "end"))
    depth = size = 0
    while size < _XMPP_MAX_BYTES:
        data = talk.receive(4096)
        size += len(data)
        try:
            parser.feed(data)
            if hasattr(parser, "flush"):  # Python 3.11.9, 3.12.3, 3.13
                # Expat since 2.6 keeps back a token that came in pieces until much more comes.
                parser.flush()
            for event, element in parser.read_events():
                depth += 1 if event == "start" else -1
                if event == "end" and depth == 1:
                    yield element
        except ParseError as error:
            raise BadResponse(f"expected XML, got {data[:40]!r}") from error
    raise BadResponse("the answer does not end")


def _describe(element: "Element") -> str:
    """Return the names of an element and what is in it: `error host-unknown`."""
    names = (each.tag.rpartition("}")[-1] for each in element.iter())
    return repr(" ".join(names)[:80])


DIALOGUES: Mapping[str, Callable[[Dialogue], None]] = {
    "smtp": _smtp,
    "lmtp": partial(_smtp, hello=b"LHLO"),
    "imap": _imap,
    "pop3": _pop3,
    "ldap": _ldap,
    "ftp": _ftp,
    "postgres": _postgres,
    "mysql": _mysql,
    "xmpp": _xmpp,
}

#: Ports of the protocols that begin without TLS, and of those that have it at once.
PLAIN_PORTS = {
    "smtp": 25,
    "lmtp": 24,
    "imap": 143,
    "pop3": 110,
    "ldap": 389,
    "ftp": 21,
    "postgres": 5432,
    "mysql": 3306,
    "xmpp": 5222,
}
TLS_PORTS = {"https": 443, "http": 80, "smtps": 465, "imaps": 993, "pop3s": 995, "ldaps": 636}
