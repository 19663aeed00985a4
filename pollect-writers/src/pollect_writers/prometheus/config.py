"""The options of `Prometheus` and `PrometheusSsl`."""

from typing import Annotated

import msgspec
from msgspec import Meta

from pollect.api import FilePath, Host, Secret, WriterConfig
from pollect.support.allowed_hosts import HostPatterns


class TlsConfig(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Serve HTTPS with this certificate; changed files are read again by themselves."""

    cert: Annotated[FilePath, Meta(description="PEM file with the certificate and its chain.")]
    key: Annotated[FilePath, Meta(description="PEM file with the private key.")]
    key_password: Annotated[Secret, Meta(description="Password of the private key.")] = Secret("")
    client_ca: Annotated[
        FilePath | None,
        Meta(description="PEM file with authorities; only clients with their certificates enter."),
    ] = None


class AuthConfig(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Answer only those who know a password or the token; health checks need neither."""

    users: Annotated[
        dict[str, Secret],
        Meta(description="User names with their hashes, made by `pollect hash-password`."),
    ] = msgspec.field(default_factory=dict)
    token: Annotated[
        Secret, Meta(description="Text that a client may send as bearer token instead.")
    ] = Secret("")


class EndpointConfig(WriterConfig, frozen=True, kw_only=True):
    """Options of everything that listens for browsers and scrapers."""

    port: Annotated[
        Annotated[int, Meta(ge=0, le=65535)],
        Meta(description="TCP port to listen on; 0 takes any free one."),
    ] = 8080
    bind: Annotated[
        Host,
        Meta(description="Address to listen on; `::` takes IPv6 and IPv4, `127.0.0.1` this host."),
    ] = "0.0.0.0"
    tls: Annotated[TlsConfig | None, Meta(description="Serve HTTPS instead of HTTP.")] = None
    auth: Annotated[
        AuthConfig | None, Meta(description="Who may see the metrics; default: anyone.")
    ] = None
    allowed_hosts: HostPatterns = ()
    read_only: Annotated[
        bool, Meta(description="Whether to leave out the button that probes a source now.")
    ] = False


class PrometheusConfig(EndpointConfig, frozen=True, kw_only=True):
    page: Annotated[
        bool,
        Meta(
            description="Whether browsers get a page at `/`, with values, curves and what is wrong."
        ),
    ] = True
    process_metrics: Annotated[
        bool, Meta(description="Whether to show `process_*` and `python_*` of the daemon itself.")
    ] = True
    client_registry: Annotated[
        bool,
        Meta(
            description="Whether to show what plugins and extensions count with prometheus-client: "
            "its default registry, once anything in the process has imported it."
        ),
    ] = True


class PrometheusSslConfig(PrometheusConfig, frozen=True, kw_only=True):
    cert: Annotated[
        FilePath | None, Meta(description="PEM file with the certificate; or use `tls`.")
    ] = None
    key: Annotated[
        FilePath | None, Meta(description="PEM file with the private key; or use `tls`.")
    ] = None
