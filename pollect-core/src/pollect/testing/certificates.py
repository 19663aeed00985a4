"""A throw-away certificate authority for tests with TLS, made by the `openssl` program.

authority = CertificateAuthority(tmp_path)
device = authority.issue("localhost")
with serve_http({"/": "hello"}, tls=device.server_context()) as server: ...
"""

import shutil
import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

_CONFIG = """
[ca]
default_ca = throw_away
[throw_away]
database = {folder}/index.txt
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[req]
distinguished_name = subject
[subject]
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:FALSE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""


@dataclass(frozen=True)
class Certificate:
    """A certificate with its private key, as PEM files; `chain` starts with the certificate."""

    certificate: Path
    key: Path
    chain: Path

    def server_context(self, client_ca: Path | None = None) -> ssl.SSLContext:
        """Return TLS settings of a server; with `client_ca` it demands a client certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client_context(self, ca: Path) -> ssl.SSLContext:
        """Return TLS settings of a client that shows this certificate and trusts `ca`."""
        context = ssl.create_default_context(cafile=str(ca))
        context.load_cert_chain(self.chain, self.key)
        return context


class CertificateAuthority:
    """Signs certificates that only a test trusts; all files stay in `folder`.

    With `parent` it is an intermediate authority. Raises `FileNotFoundError` when there is no
    `openssl` program.
    """

    def __init__(
        self,
        folder: Path,
        name: str = "Throw-away authority",
        *,
        parent: "CertificateAuthority | None" = None,
    ) -> None:
        if shutil.which("openssl") is None:
            raise FileNotFoundError("certificates for tests need the program openssl")
        self._folder = folder / name.replace(" ", "-")
        self._folder.mkdir(parents=True)
        (self._folder / "index.txt").touch()
        (self._folder / "serial").write_text("1000\n")
        self._is_root = parent is None
        self._count = 0
        #: The authority's certificate (PEM), for clients that shall trust it.
        self.certificate = self._folder / "authority.pem"
        self._key, request = self._request("authority", name)
        validity = _days(-1), _days(365)
        if parent is None:
            self._sign(request, self.certificate, "root", *validity, signer=("-selfsign",))
        else:
            parent._sign(request, self.certificate, "root", *validity)

    def issue(
        self,
        name: str = "localhost",
        *,
        names: Sequence[str] = ("DNS:localhost", "IP:127.0.0.1"),
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Certificate:
        """Return a new certificate for the common name `name`.

        `names` are the alternative names as OpenSSL writes them; validity is from yesterday for a
        month unless given.
        """
        self._count += 1
        stem = f"issued-{self._count}"
        key, request = self._request(stem, name)
        certificate = self._folder / f"{stem}.pem"
        begin, end = not_before or _days(-1), not_after or _days(30)
        self._sign(request, certificate, "leaf", begin, end, names=", ".join(names))
        chain = self._folder / f"{stem}-chain.pem"
        issuers = [] if self._is_root else [self.certificate]
        chain.write_text("".join(part.read_text() for part in (certificate, *issuers)))
        return Certificate(certificate, key, chain)

    def client_context(self) -> ssl.SSLContext:
        """Return TLS settings of a client that trusts this authority only."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def _request(self, stem: str, name: str) -> tuple[Path, Path]:
        key, request = self._folder / f"{stem}.key", self._folder / f"{stem}.csr"
        _openssl(
            *("req", "-config", self._config(), "-new", "-subj", f"/CN={name}"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", key, "-out", request),
        )
        return key, request

    def _sign(
        self,
        request: Path,
        certificate: Path,
        extensions: str,
        begin: datetime,
        end: datetime,
        *,
        names: str = "DNS:localhost",
        signer: Sequence[object] = (),
    ) -> None:
        # `openssl ca` and not `x509`, which cannot set the dates before OpenSSL 3.4.
        _openssl(
            *("ca", "-batch", "-notext", "-config", self._config(names)),
            *(signer or ("-cert", self.certificate)),
            *("-keyfile", self._key, "-extensions", extensions),
            *("-startdate", f"{begin:%Y%m%d%H%M%SZ}", "-enddate", f"{end:%Y%m%d%H%M%SZ}"),
            *("-in", request, "-out", certificate),
        )

    def _config(self, names: str = "DNS:localhost") -> Path:
        config = self._folder / "openssl.cnf"
        config.write_text(_CONFIG.format(folder=self._folder, names=names))
        return config


def _days(count: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=count)


def _openssl(*arguments: object) -> None:
    command = ["openssl", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {arguments[0]} failed: {done.stderr.strip()}")
