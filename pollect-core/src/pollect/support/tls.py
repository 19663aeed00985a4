"""TLS of a client: whom it trusts, and what the other side showed."""

import errno
import functools
import importlib.util
import os
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

#: Where pollect 1.x took private authorities from, in this order.
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def build_ssl_context(
    *,
    verify: bool = True,
    ca_file: Path | None = None,
    client_cert: Path | None = None,
    client_key: Path | None = None,
    alpn: tuple[str, ...] = (),
) -> ssl.SSLContext:
    """Return a context for connections to a server; change nothing in it, it may be shared.

    Trusted are the authorities in `ca_file` (a file or a folder), else in what the environment
    names as `REQUESTS_CA_BUNDLE` or `CURL_CA_BUNDLE`, else those of OpenSSL (`SSL_CERT_FILE`,
    `SSL_CERT_DIR`, the system), and where there are none those of the library certifi. `alpn` is
    what is offered to the server as protocols to go on with.

    Raises `OSError` when a file is missing or is not what it should be.
    """
    if not verify:
        trust_all = _trusting_all if client_cert is None else _trusting_all.__wrapped__
        context = trust_all(alpn)
    else:
        bundle = ca_file or _bundle_of_environment()
        if bundle is None and not _has_system_authorities():
            bundle = _bundle_of_certifi()
        stamp = _stamp_of_system() if bundle is None else (bundle.stat().st_mtime_ns,)
        # A context with a certificate of its own is not shared.
        build = _trusting_context if client_cert is None else _trusting_context.__wrapped__
        context = build(bundle, stamp, alpn)
    if client_cert is not None:
        _load_client(context, client_cert, client_key)
    return context


# Some 140 authorities take 20 ms and 0.8 MB: one set of them does for all sources.
@functools.lru_cache(maxsize=8)
def _trusting_context(
    bundle: Path | None, stamp: tuple[object, ...], alpn: tuple[str, ...]
) -> ssl.SSLContext:
    is_folder = bundle is not None and bundle.is_dir()
    try:
        context = ssl.create_default_context(
            cafile=None if is_folder else bundle, capath=bundle if is_folder else None
        )
    except ssl.SSLError as error:
        raise _unusable("no certificate in PEM", bundle) from error
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(bundle)) from error
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


@functools.lru_cache(maxsize=8)
def _trusting_all(alpn: tuple[str, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def _load_client(context: ssl.SSLContext, cert: Path, key: Path | None) -> None:
    def refuse() -> str:
        # OpenSSL would ask on the terminal.
        raise _unusable("the key has a password", key or cert)

    for file in (cert, key or cert):
        with file.open("rb"):  # names the file that is missing or unreadable, unlike OpenSSL
            pass
    try:
        context.load_cert_chain(cert, key, refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise _unusable(f"not the key of {cert}", key or cert) from error
        raise _unusable("no certificate with its key in PEM", key or cert) from error


def _unusable(problem: str, file: Path | None) -> OSError:
    return OSError(errno.EINVAL, problem, str(file))


def shake_hands(context: ssl.SSLContext, sock: socket.socket, server_name: str) -> ssl.SSLSocket:
    """Return `sock` with TLS over it, as a client of `server_name`.

    Raises what the handshake raises, all of it `OSError`; `ConnectionResetError` also where Python
    leaves the handshake out without a word, because the peer has reset the connection before.
    """
    reset = ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
    try:
        sock.getpeername()
    except OSError as error:
        raise reset from error
    wrapped = context.wrap_socket(sock, server_hostname=server_name)
    if wrapped.version() is None:  # it was reset since
        wrapped.close()
        raise reset
    return wrapped


def presented_certificates(sock: ssl.SSLSocket) -> tuple[bytes, ...]:
    """Return the certificates a server sent in DER, its own first, verified or not.

    It may be asked for after a handshake that failed as well; empty when that got not so far. Where
    Python gives no access to the chain it is the server's own alone.
    """
    inner: Any = getattr(sock, "_sslobj", None)
    if inner is None:  # the peer reset the connection before a handshake
        return ()
    if hasattr(sock, "get_unverified_chain"):  # from Python 3.13 on
        return tuple(sock.get_unverified_chain())
    if hasattr(inner, "get_unverified_chain"):
        der = ssl._ssl.ENCODING_DER  # type: ignore[attr-defined]
        chain = inner.get_unverified_chain() or ()
        return tuple(certificate.public_bytes(der) for certificate in chain)
    try:
        own = sock.getpeercert(binary_form=True)
    except ValueError:  # the handshake is not done
        own = None
    return (own,) if own else ()


def _bundle_of_environment() -> Path | None:
    named = (os.environ.get(variable) for variable in _CA_VARIABLES)
    return next((Path(path) for path in named if path), None)


def _has_system_authorities() -> bool:
    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        return True
    return paths.capath is not None and any(Path(paths.capath).iterdir())


def _stamp_of_system() -> tuple[object, ...]:
    """Return what changes when the authorities of the system do."""
    paths = ssl.get_default_verify_paths()
    found: list[object] = []
    for path in (paths.cafile, paths.capath):
        with suppress(OSError):
            found += [path, Path(path).stat().st_mtime_ns if path else 0]
    return tuple(found)


def _bundle_of_certifi() -> Path | None:
    if importlib.util.find_spec("certifi") is None:
        return None
    import certifi

    return Path(certifi.where())
