"""TLS handshakes that look at a certificate instead of judging it."""

import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pollect.api import BadResponse
from pollect.support.tls import build_ssl_context, presented_certificates
from pollect_sources_network.certificate.dialogue import Dialogue
from pollect_sources_network.certificate.proxy import Proxy, open_tunnel
from pollect_sources_network.certificate.starttls import DIALOGUES
from pollect_sources_network.connect import Deadline, connect

#: OpenSSL's code for "the certificate is fine".
VERIFIED = 0

_CERTIFICATE_MESSAGE = 11
_LENGTH_BYTES = 3


@dataclass(frozen=True, slots=True)
class Target:
    """Where a certificate is to be had."""

    host: str
    port: int
    #: What is asked for in the handshake and expected in the certificate.
    server_name: str
    #: Key of `DIALOGUES`, or empty for TLS at once.
    starttls: str = ""
    #: Through whom to connect; None for nobody.
    proxy: Proxy | None = None

    def __str__(self) -> str:
        return f"{self.host} port {self.port}"


@dataclass(frozen=True, slots=True)
class Presented:
    """What a server showed. `chain` is in DER, its own certificate first."""

    chain: tuple[bytes, ...]
    handshake_seconds: float
    #: As OpenSSL names it, `TLSv1.3`; empty if the server broke off.
    tls_version: str = ""


def fetch_chain(target: Target, deadline: Deadline) -> Presented:
    """Return the certificates of a server, whatever is wrong with them.

    A server that asks for a client certificate and breaks off without one has shown its own by
    then. Raises `OSError`, `BadResponse` when there is no TLS or no certificate, or another
    `ProbeError` of the proxy.
    """
    context = _permissive_context()
    seen: list[tuple[bytes, ...]] = []
    _watch_certificates(context, seen)
    begin = time.monotonic()
    try:
        with _handshake(context, target, deadline) as sock:
            seconds = time.monotonic() - begin
            chain = presented_certificates(sock)
            version = sock.version() or ""
    except ssl.SSLError:
        if not seen:
            raise
        chain, seconds, version = seen[0], time.monotonic() - begin, ""
    if not chain:
        raise BadResponse("the server shows no certificate")
    return Presented(chain, seconds, version)


def fetch_verdict(target: Target, deadline: Deadline, ca_file: Path | None) -> int:
    """Return OpenSSL's verification code: 0 fine, 10 expired, 18 self-signed, 62 wrong host.

    Raises `OSError` or `ProbeError` when the handshake fails for another reason.
    """
    try:
        _handshake(build_ssl_context(ca_file=ca_file), target, deadline).close()
    except ssl.SSLCertVerificationError as error:
        return error.verify_code
    return VERIFIED


def _handshake(context: ssl.SSLContext, target: Target, deadline: Deadline) -> ssl.SSLSocket:
    if target.proxy is not None:
        sock = open_tunnel(target.proxy, target.host, target.port, deadline)
    else:
        sock = connect(target.host, target.port, deadline).sock
    try:
        if target.starttls:
            DIALOGUES[target.starttls](Dialogue(sock, deadline, target.server_name))
        sock.settimeout(deadline.left())
        return context.wrap_socket(sock, server_hostname=target.server_name)
    except BaseException:
        sock.close()
        raise


def _permissive_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # Old devices speak nothing newer, and nothing secret is sent. Without the anonymous ones, since
    # mail servers may prefer them and then show no certificate.
    context.set_ciphers("ALL:!aNULL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    return context


def _watch_certificates(context: Any, seen: list[tuple[bytes, ...]]) -> None:
    """Note the chain as it goes by, with the hook that Python has for debugging.

    It is the only way to it when the handshake fails afterwards; without it there is no chain.
    """

    def note(
        sock: object, direction: str, version: Any, kind: Any, message: Any, data: bytes
    ) -> None:
        if direction == "read" and message == _CERTIFICATE_MESSAGE:
            seen.append(parse_certificate_message(data, version == ssl.TLSVersion.TLSv1_3))

    if hasattr(context, "_msg_callback"):
        context._msg_callback = note


def parse_certificate_message(data: bytes, tls_1_3: bool) -> tuple[bytes, ...]:
    """Return the chain in a handshake message of type 11 (RFC 5246 7.4.2, RFC 8446 4.4.2)."""
    position = 1 + _LENGTH_BYTES
    if tls_1_3:
        position += 1 + data[position]  # the context of the request
    position += _LENGTH_BYTES
    chain = []
    while position + _LENGTH_BYTES <= len(data):
        length = int.from_bytes(data[position : position + _LENGTH_BYTES], "big")
        position += _LENGTH_BYTES
        chain.append(data[position : position + length])
        position += length
        if tls_1_3:
            position += 2 + int.from_bytes(data[position : position + 2], "big")
    return tuple(chain)
