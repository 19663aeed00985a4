"""Options that several plugins share: each is one class here."""

from pathlib import Path
from typing import Annotated, TypedDict

import msgspec
from msgspec import Meta


class TlsFiles(TypedDict):
    """What `HttpClient` and `build_ssl_context` take."""

    verify: bool
    ca_file: Path | None
    client_cert: Path | None
    client_key: Path | None


class ClientTls(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Certificates for connections to a server."""

    ca: Annotated[
        str | None, Meta(description="PEM file of the authorities to trust; default: the system's.")
    ] = None
    cert: Annotated[str | None, Meta(description="PEM file of the client certificate.")] = None
    key: Annotated[
        str | None, Meta(description="PEM file of its key, when `cert` does not hold it.")
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
