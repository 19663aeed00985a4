"""TLS to a server that the core itself talks to."""

from typing import Annotated

import msgspec
from msgspec import Meta

from pollect.plugin import FilePath


class TlsOptions(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Certificates for connections to a server."""

    insecure: Annotated[bool, Meta(description="Do not check the server's certificate.")] = False
    ca: Annotated[
        FilePath | None,
        Meta(description="File with the authorities to trust instead of the system's."),
    ] = None
    cert: Annotated[
        FilePath | None,
        Meta(description="File with this daemon's certificate, and its key if in there."),
    ] = None
    key: Annotated[FilePath | None, Meta(description="File with the key of `cert`.")] = None
