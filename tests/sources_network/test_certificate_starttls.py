"""STARTTLS of `Certificate`: real servers of each protocol, and peers that refuse or misbehave."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pollect.testing import FakeClock, build_source
from pollect_sources_network.certificate.source import CertificateSource
from tests.simulators import starttls
from tests.simulators.certificates import Authority
from tests.simulators.tcp import (
    SILENT_SECONDS,
    Handler,
    Peer,
    half_answer,
    hang_up,
    rubbish,
    say,
    serve_tcp,
    silent,
    trickle,
)
from tests.sources_network.samples import probe
from tests.writers.servers import postgresql

DAYS = 40
SHORT_SECONDS = 0.15


@pytest.fixture(scope="module")
def pem(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key, certificate and chain of `localhost` in one file."""
    file = tmp_path_factory.mktemp("pem") / "server.pem"
    return authority.write_pem(file, "localhost", "127.0.0.1", days=DAYS + 0.5)


def check(**section: object) -> dict[str, float]:
    return probe(build_source(section, CertificateSource, clock=FakeClock(time=time.time())))


@contextmanager
def run_postgresql(folder: Path, pem: Path) -> Iterator[int]:
    with postgresql(pem) as url:
        yield urlsplit(url).port or 0


Server = Callable[[Path, Path], AbstractContextManager[int]]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("protocol", "run"),
    [
        ("smtp", starttls.run_aiosmtpd),
        ("ftp", starttls.run_vsftpd),
        ("ldap", starttls.run_slapd),
        ("mysql", starttls.run_mariadb),
        ("postgres", run_postgresql),
        ("xmpp", starttls.run_prosody),
    ],
)
def test_real_server_shows_its_certificate(
    protocol: str, run: Server, authority: Authority, pem: Path, tmp_path: Path
) -> None:
    with run(tmp_path, pem) as port:
        found = check(url=f"{protocol}://localhost:{port}")
        assert found == {"success": 1, "cert_expire_days": DAYS}
        section = {"host": "localhost", "port": port, "starttls": protocol, "details": True}
        assert check(**section, caFile=str(authority.ca_file))["cert_valid"] == 1


@pytest.fixture(scope="module")
def dovecot(pem: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    with starttls.run_dovecot(tmp_path_factory.mktemp("dovecot"), pem) as ports:
        yield ports


@pytest.mark.integration
@pytest.mark.parametrize("protocol", ["imap", "pop3", "lmtp"])
def test_dovecot_shows_its_certificate(dovecot: dict[str, int], protocol: str) -> None:
    found = check(url=f"{protocol}://localhost:{dovecot[protocol]}")
    assert found == {"success": 1, "cert_expire_days": DAYS}


@pytest.mark.integration
@pytest.mark.parametrize(
    ("protocol", "run"), [("mysql", starttls.run_mariadb), ("xmpp", starttls.run_prosody)]
)
def test_real_server_without_tls_is_named_so(
    protocol: str,
    run: Callable[[Path, None], AbstractContextManager[int]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with run(tmp_path, None) as port:
        assert check(url=f"{protocol}://localhost:{port}") == {"success": 0}
    assert f"localhost port {port}: the server offers no TLS" in caplog.text


@pytest.mark.integration
def test_domain_that_an_xmpp_server_does_not_know_is_named(
    pem: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with starttls.run_prosody(tmp_path, pem) as port:
        section = {"url": f"xmpp://127.0.0.1:{port}"}
        assert check(**section) == {"success": 0}
        assert check(**section, serverName="localhost")["success"] == 1
    assert "got 'error host-unknown" in caplog.text


@dataclass(frozen=True)
class Script:
    """What a server says, and the words of the client that it waits for before it goes on."""

    steps: tuple[tuple[bytes, bytes], ...]
    #: Its last words before TLS, and those instead when it has none.
    consent: bytes
    refusal: bytes


def mysql_greeting(capabilities: int) -> bytes:
    """Return a greeting as MariaDB sends it, with the lower half of its capabilities."""
    greeting = b"\x0a5.5.5-10.11.19-MariaDB\0" + b"\x2a\0\0\0" + b"scramble" + b"\0"
    greeting += capabilities.to_bytes(2, "little") + b"\x21\x02\0" + b"\0" * 30
    return len(greeting).to_bytes(3, "little") + b"\0" + greeting


XMPP_HEADER = (
    b"<?xml version='1.0'?>\n<s:stream xmlns='jabber:client' id='1' from='localhost' version='1.0'"
    b" xmlns:s='http://etherx.jabber.org/streams'>"
)
XMPP_TLS = b"xmlns='urn:ietf:params:xml:ns:xmpp-tls'"
XMPP_FEATURES = b"<s:features><starttls %s><required/></starttls></s:features>" % XMPP_TLS
SMTP_HELLO = (b"250-localhost\r\n250-STARTTLS\r\n250 HELP\r\n", b"STARTTLS\r\n")

SCRIPTS = {
    "smtp": Script(
        ((b"220-hello\r\n220 ready\r\n", b"EHLO pollect\r\n"), SMTP_HELLO),
        b"220 go ahead\r\n",
        b"454 TLS not available\r\n",
    ),
    "lmtp": Script(
        ((b"220 ready\r\n", b"LHLO pollect\r\n"), SMTP_HELLO),
        b"220 go ahead\r\n",
        b"502 5.5.1 not known\r\n",
    ),
    "imap": Script(
        ((b"* OK [CAPABILITY STARTTLS] ready\r\n", b"a STARTTLS\r\n"),),
        b"* an untagged line\r\na OK begin\r\n",
        b"a BAD not known\r\n",
    ),
    "pop3": Script(((b"+OK ready\r\n", b"STLS\r\n"),), b"+OK begin\r\n", b"-ERR not known\r\n"),
    "ftp": Script(
        ((b"220-hello\r\n220 ready\r\n", b"AUTH TLS\r\n"),),
        b"234 go ahead\r\n",
        b"502 not known\r\n",
    ),
    "ldap": Script(
        ((b"", b"1.3.6.1.4.1.1466.20037"),),
        bytes.fromhex("300c020101 78070a010004000400"),
        bytes.fromhex("300c020101 78070a013404000400"),
    ),
    "postgres": Script(((b"", bytes.fromhex("0000000804d2162f")),), b"S", b"N"),
    "mysql": Script(
        ((mysql_greeting(0xFFFE), bytes.fromhex("20000001 000a0000 00000001 21") + b"\0" * 23),),
        b"",
        b"",
    ),
    "xmpp": Script(
        ((b"", b"to='localhost'>"), (XMPP_HEADER + XMPP_FEATURES, b"<starttls %s/>" % XMPP_TLS)),
        b"<proceed %s/>" % XMPP_TLS,
        b"<failure %s/></s:stream>" % XMPP_TLS,
    ),
}
PROTOCOLS = pytest.mark.parametrize("protocol", SCRIPTS)


def follow(script: Script, last_words: bytes, tls: ssl.SSLContext | None, piece: int) -> Handler:
    """Say the words of a script in pieces of some bytes, then shake hands or wait."""

    def handler(connection, peer: Peer) -> None:
        def speak(words: bytes) -> None:
            for begin in range(0, len(words), piece):
                connection.sendall(words[begin : begin + piece])

        for words, wanted in script.steps:
            speak(words)
            heard = b""
            while wanted not in heard:
                word = connection.recv(1)
                if not word:
                    return
                heard += word
        speak(last_words)
        if tls is None:
            peer.over.wait(SILENT_SECONDS)
            return
        with tls.wrap_socket(connection, server_side=True) as wrapped:
            silent(wrapped, peer)

    return handler


@PROTOCOLS
@pytest.mark.parametrize("piece", [1000, 1], ids=["at once", "byte by byte"])
def test_answers_may_come_in_pieces(authority: Authority, protocol: str, piece: int) -> None:
    script, tls = SCRIPTS[protocol], authority.server("localhost", days=DAYS + 0.5)
    with serve_tcp(follow(script, script.consent, tls, piece)) as server:
        found = check(url=f"{protocol}://localhost:{server.port}")
    assert found == {"success": 1, "cert_expire_days": DAYS}


@pytest.mark.parametrize("protocol", [each for each in SCRIPTS if SCRIPTS[each].refusal])
def test_refusal_is_named(protocol: str, caplog: pytest.LogCaptureFixture) -> None:
    script = SCRIPTS[protocol]
    with serve_tcp(follow(script, script.refusal, None, 1000)) as server:
        found = check(url=f"{protocol}://localhost:{server.port}", timeout=30)
    assert found == {"success": 0}
    assert "the server offers no TLS" in caplog.text


@pytest.mark.parametrize(
    ("protocol", "words", "problem"),
    [
        ("smtp", b"554 go away\r\n", "got b'554 go away'"),
        ("smtp", b"220-without end\r\n" * 200, "the reply does not end"),
        ("imap", b"* OK\r\n" + b"* more\r\n" * 200, "the reply does not end"),
        ("pop3", b"+OK " + b"x" * 5000, "expected a line of text"),
        ("mysql", mysql_greeting(0xF7FE), "the server offers no TLS"),
        ("mysql", b"\x17\0\0\0\xff\x10\x04Too many connections", "b'Too many connections'"),
        ("mysql", b"\x05\0\0\0\x0a10.1", "expected a greeting of MySQL"),
        ("mysql", b"\0\0\0\0", "expected a greeting of MySQL, got one of 0 bytes"),
        ("mysql", b"HTTP/1.1 400 Bad\r\n", "expected a greeting of MySQL"),
        ("xmpp", XMPP_HEADER + b"<s:features/>", "the server offers no TLS"),
        ("xmpp", XMPP_HEADER + b"<message/>", "expected features of XMPP, got 'message'"),
        ("xmpp", XMPP_HEADER + b"<a><b></a>", "expected XML"),
        ("xmpp", XMPP_HEADER + b"<a>" + b"x" * 100_000, "the answer does not end"),
        ("xmpp", XMPP_HEADER + b"</s:stream>", "the connection was closed before TLS"),
        ("ldap", bytes.fromhex("300c020101 61070a010004000400"), "expected b'x'"),
    ],
)
def test_odd_answers_are_named(
    protocol: str, words: bytes, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    def speak(connection, peer: Peer) -> None:
        connection.sendall(words)
        connection.shutdown(socket.SHUT_WR)
        peer.over.wait(SILENT_SECONDS)

    with serve_tcp(speak) as server:
        assert check(url=f"{protocol}://localhost:{server.port}", timeout=30) == {"success": 0}
    assert problem in caplog.text


@PROTOCOLS
@pytest.mark.parametrize(
    "peer",
    [silent, trickle(b"x"), trickle(b"2"), rubbish, hang_up, half_answer(b"220"), say(b"")],
    ids=["silent", "slow loris", "slow reply", "rubbish", "reset", "half open", "closed"],
)
def test_broken_dialogues_end_in_time(protocol: str, peer: Handler) -> None:
    with serve_tcp(peer) as server:
        section = {"url": f"{protocol}://{server.address}", "timeout": SHORT_SECONDS}
        assert check(**section) == {"success": 0}


@PROTOCOLS
def test_handshake_that_never_begins_ends_in_time(protocol: str) -> None:
    script = SCRIPTS[protocol]
    with serve_tcp(follow(script, script.consent, None, 1000)) as server:
        section = {"url": f"{protocol}://localhost:{server.port}", "timeout": SHORT_SECONDS}
        assert check(**section) == {"success": 0}
