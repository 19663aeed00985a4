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


class UnusableFile(WriteError):
    """A file that TLS cannot do with; `option` is the one of `TlsConfig` that names it."""

    def __init__(self, message: str, *, option: str) -> None:
        super().__init__(message)
        self.option = option


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
        #: Why the files cannot be read again; logged once.
        self._trouble = ""
        self._context: SSLContext | None = None

    def load(self) -> None:
        """Read the files. Raises `UnusableFile` naming the one that cannot be used."""
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
            self._context = self._build()
        except UnusableFile as error:
            # Tried again with every connection: a mode that is put right changes no stamp.
            self._stamp = ()
            if str(error) != self._trouble:
                self._log.warning("the old certificate stays in use: %s", error)
            self._trouble = str(error)
        else:
            self._stamp = stamp
            self._trouble = ""
            self._log.info("certificate %s read again", self._cert)

    def _look(self) -> _Stamp:
        files = {"cert": self._cert, "key": self._key}
        if self._client_ca is not None:
            files["clientCa"] = self._client_ca
        stats = []
        for option, file in files.items():
            try:
                stats.append(file.stat())
            except OSError as error:
                raise _unreadable(error, file, option) from error
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)

    def _build(self) -> "SSLContext":
        # Costs 6 MiB, so only those who use TLS pay for it.
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        # OpenSSL does not tell a bad certificate from a bad key: the certificate goes first, alone.
        _load_certificates(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self._cert, "cert")
        try:
            # Without a password OpenSSL would ask for one on the terminal.
            context.load_cert_chain(self._cert, self._key, self._config.key_password.reveal)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                problem = f"the key {self._key} does not belong to the certificate {self._cert}"
            else:
                problem = (
                    f"cannot use the key {self._key}: it is not a private key in PEM format, "
                    "or `keyPassword` does not open it"
                )
            raise UnusableFile(problem, option="key") from error
        except OSError as error:
            raise _unreadable(error, self._key, "key") from error
        if self._client_ca is not None:
            _load_certificates(context, self._client_ca, "clientCa")
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def _load_certificates(context: "SSLContext", file: Path, option: str) -> None:
    import ssl

    try:
        context.load_verify_locations(file)
    except ssl.SSLError as error:
        raise UnusableFile(f"{file} contains no PEM certificate", option=option) from error
    except OSError as error:
        raise _unreadable(error, file, option) from error


def _unreadable(error: OSError, file: Path, option: str) -> UnusableFile:
    return UnusableFile(f"cannot read {file}: {error.strerror}", option=option)
