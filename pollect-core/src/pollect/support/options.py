"""Options that several plugins share: each is one class here."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias, TypedDict

import msgspec
from msgspec import Meta

from pollect.plugin import FilePath, Seconds, SourceConfig

IpProtocol: TypeAlias = Literal["any", 4, 6]


class TlsFiles(TypedDict):
    """What `HttpClient` and `build_ssl_context` take."""

    verify: bool
    ca_file: Path | None
    client_cert: Path | None
    client_key: Path | None


class ClientTls(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Certificates for connections to a server."""

    ca: Annotated[
        FilePath | None,
        Meta(description="PEM file of the authorities to trust; default: the system's."),
    ] = None
    cert: Annotated[FilePath | None, Meta(description="PEM file of the client certificate.")] = None
    key: Annotated[
        FilePath | None, Meta(description="PEM file of its key, when `cert` does not hold it.")
    ] = None
    insecure: Annotated[
        bool, Meta(description="Do not check the certificate of the target; this protects nothing.")
    ] = False

    def files(self, folder: Path) -> TlsFiles:
        """Return the options with their files found from `folder`."""

        def find(file: str | None) -> Path | None:
            return None if file is None else folder / file

        return TlsFiles(
            verify=not self.insecure,
            ca_file=find(self.ca),
            client_cert=find(self.cert),
            client_key=find(self.key),
        )


class TargetOptions(SourceConfig, frozen=True, kw_only=True):
    """Options of a source that checks one or several targets over the network."""

    timeout: Annotated[Seconds, Meta(description="Seconds that one check may take.")] = 10.0
    ip_protocol: Annotated[IpProtocol, Meta(description="Version of IP to use.")] = "any"
    parallel: Annotated[
        Annotated[int, Meta(ge=1)], Meta(description="Number of targets checked at the same time.")
    ] = 8


class TlsTargetOptions(TargetOptions, frozen=True, kw_only=True):
    """The same for targets that speak TLS."""

    verify: Annotated[bool, Meta(description="Whether to verify the server's certificate.")] = True
    ca_file: Annotated[
        FilePath | None,
        Meta(
            description="File or folder of the authorities to trust instead of those of the system."
        ),
    ] = None
    server_name: Annotated[
        str | None,
        Meta(
            description="Name to ask for in TLS and to expect in the certificate; default: the "
            "host."
        ),
    ] = None

    def tls_files(
        self, folder: Path, client_cert: str | None = None, client_key: str | None = None
    ) -> TlsFiles:
        """Return the options with their files, and those of a client, found from `folder`."""
        given = ClientTls(
            ca=self.ca_file, cert=client_cert, key=client_key, insecure=not self.verify
        )
        return given.files(folder)
