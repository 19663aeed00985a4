"""The TLS side of the endpoint: certificates that are read again when their files change."""

import logging
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from pollect.api import WriteError
from pollect_writers.prometheus.config import TlsConfig

if TYPE_CHECKING:
    from ssl import SSLContext, SSLSocket

#: Time of change, size and number of each file.
_Stamp: TypeAlias = tuple[tuple[int, int, int], ...]


class ServerTls:
    """Puts TLS over accepted connections."""

    def __init__(self, config: TlsConfig, folder: Path, log: logging.Logger) -> None:
        self._config = config
        self._cert = folder / config.cert
        self._key = folder / config.key
        self._client_ca = folder / config.client_ca if config.client_ca else None
        self._log = log
        self._lock = threading.Lock()
        self._stamp: _Stamp = ()
        self._context: SSLContext | None = None

    def load(self) -> None:
        """Read the files. Raises `WriteError` naming the file that is no good."""
        stamp = self._look()
        self._context = self._build()
        self._stamp = stamp

    def wrap(self, connection: socket.socket) -> "SSLSocket":
        """Return `connection` with TLS over it; the handshake is still to come."""
        with self._lock:
            self._refresh()
            context = self._context
        if context is None:
            raise OSError("no certificate was loaded")
        return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)

    def _refresh(self) -> None:
        """Read the files again if they changed; what cannot be read changes nothing."""
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return
            self._stamp = stamp
            self._context = self._build()
        except WriteError as error:
            if self._stamp:
                self._log.warning("the old certificate stays in use: %s", error)
            self._stamp = ()
        else:
            self._log.info("certificate %s read again", self._cert)

    def _look(self) -> _Stamp:
        files = [self._cert, self._key, *([self._client_ca] if self._client_ca else [])]
        try:
            stats = [file.stat() for file in files]
        except OSError as error:
            raise WriteError(f"cannot read {error.filename}: {error.strerror}") from error
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)

    def _build(self) -> "SSLContext":
        # Costs 6 MiB, so only those who use TLS pay for it.
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            # Without a password OpenSSL would ask for one on the terminal.
            context.load_cert_chain(self._cert, self._key, self._config.key_password.reveal)
        except OSError as error:  # which an SSLError is too
            raise WriteError(
                f"cannot use the certificate {self._cert} with the key {self._key}: {_why(error)}"
            ) from error
        if self._client_ca is not None:
            try:
                context.load_verify_locations(self._client_ca)
            except OSError as error:
                raise WriteError(f"cannot use {self._client_ca}: {_why(error)}") from error
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def _why(error: OSError) -> str:
    return str(getattr(error, "reason", None) or error.strerror or error)
