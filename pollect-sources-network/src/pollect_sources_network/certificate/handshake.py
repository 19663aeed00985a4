"""TLS handshakes that look at a certificate instead of judging it."""

import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from pollect.api import BadResponse
from pollect.support.connect import Deadline, connect
from pollect.support.options import IpProtocol
from pollect.support.proxies import Proxy
from pollect.support.tls import build_ssl_context, presented_certificates
from pollect.support.tunnels import connect_through
from pollect_sources_network.certificate.dialogue import Dialogue
from pollect_sources_network.certificate.starttls import DIALOGUES

#: OpenSSL's code for "the certificate is fine".
VERIFIED = 0


@dataclass(frozen=True, slots=True)
class Target:
    """Where a certificate is to be had."""

    host: str
    port: int
    #: What is asked for in the handshake and expected in the certificate.
    server_name: str
    #: Key of `DIALOGUES`, or empty for TLS at once.
    starttls: str = ""
    #: What to connect through.
    proxy: Proxy | None = None
    ip_protocol: IpProtocol = "any"

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
    begin = time.monotonic()
    with _prepare(_permissive_context(), target, deadline) as sock:
        try:
            sock.do_handshake()
        except OSError:
            if not presented_certificates(sock):
                raise
        seconds = time.monotonic() - begin
        chain = presented_certificates(sock)
        if not chain:
            raise BadResponse("the server shows no certificate")
        return Presented(chain, seconds, sock.version() or "")


def fetch_verdict(target: Target, deadline: Deadline, ca_file: Path | None) -> int:
    """Return OpenSSL's verification code: 0 fine, 10 expired, 18 self-signed, 62 wrong host.

    Raises `OSError` or `ProbeError` when the handshake fails for another reason.
    """
    with _prepare(build_ssl_context(ca_file=ca_file), target, deadline) as sock:
        try:
            sock.do_handshake()
        except ssl.SSLCertVerificationError as error:
            return error.verify_code
        except OSError as error:
            # A certificate is judged as it comes in; that the server wants ours is said after it.
            if not (_is_refusal(error) and presented_certificates(sock)):
                raise
    return VERIFIED


def _prepare(context: ssl.SSLContext, target: Target, deadline: Deadline) -> ssl.SSLSocket:
    """Connect and talk until the handshake may begin."""
    if target.proxy is not None:
        sock = connect_through(target.proxy, target.host, target.port, deadline, target.ip_protocol)
    else:
        sock = connect(target.host, target.port, deadline, target.ip_protocol).sock
    try:
        if target.starttls:
            DIALOGUES[target.starttls](Dialogue(sock, deadline, target.server_name))
        sock.settimeout(deadline.left())
        return context.wrap_socket(
            sock, server_hostname=target.server_name, do_handshake_on_connect=False
        )
    except BaseException:
        sock.close()
        raise


def _is_refusal(error: OSError) -> bool:
    """Tell whether it was the server that broke off a handshake, by an alert or without a word."""
    if isinstance(error, ssl.SSLEOFError | ConnectionError):
        return True
    return isinstance(error, ssl.SSLError) and "_ALERT_" in (error.reason or "")


def _permissive_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # Old devices speak nothing newer, and nothing secret is sent. Without the anonymous ones, since
    # mail servers may prefer them and then show no certificate.
    context.set_ciphers("ALL:!aNULL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    return context
