"""Where to send OTLP: the `OTEL_*` variables, overridden by the config.

Specification: OpenTelemetry, "OTLP Exporter Configuration" and "Environment Variable
Specification". A variable for metrics (`OTEL_EXPORTER_OTLP_METRICS_...`) wins over the general
one. Without effect are `OTEL_METRIC_EXPORT_INTERVAL` (samples are sent at the end of their tick,
each with its own time) and the temporality preference (always cumulative).
"""

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

import msgspec
from msgspec import Meta

from pollect.api import ConfigError, Seconds
from pollect.support.options import TlsFiles
from pollect.support.urls import check_base_url, check_url
from pollect_writers.http import (
    DEFAULT_TIMEOUT_SECONDS,
    Compression,
    Endpoint,
    HttpWriterConfig,
)

DEFAULT_ENDPOINT = "http://localhost:4318"
METRICS_PATH = "/v1/metrics"
DEFAULT_SERVICE_NAME = "pollect"

#: The only ones that OTLP 1.x allows to repeat ("Failures" and "Retryable Response Codes").
RETRIED_STATUSES = frozenset({429, 502, 503, 504})

_COMPRESSIONS: Mapping[str, Compression] = {"none": "none", "gzip": "gzip", "deflate": "deflate"}


class OtelWriterConfig(HttpWriterConfig, frozen=True, kw_only=True):
    """What the config says; None and empty leave it to the environment."""

    endpoint: Annotated[
        str | None,
        Meta(
            description="Full address, path included; default: OTEL_EXPORTER_OTLP_METRICS_ENDPOINT "
            "or OTEL_EXPORTER_OTLP_ENDPOINT, else http://localhost:4318/v1/metrics."
        ),
    ] = None
    timeout: Annotated[
        Seconds | None,
        Meta(
            description="Seconds one request may take; default: OTEL_EXPORTER_OTLP_TIMEOUT or 10."
        ),
    ] = None
    compression: Annotated[
        Compression | None,
        Meta(description="How to compress; default: OTEL_EXPORTER_OTLP_COMPRESSION or gzip."),
    ] = None
    service_name: Annotated[
        str | None,
        Meta(description="Attribute `service.name`; default: OTEL_SERVICE_NAME or `pollect`."),
    ] = None
    instance: Annotated[
        str | None,
        Meta(description="Attribute `service.instance.id`; default: the name of this host."),
    ] = None
    resource_attributes: Annotated[
        dict[str, str],
        Meta(description="Further resource attributes, beside OTEL_RESOURCE_ATTRIBUTES."),
    ] = msgspec.field(default_factory=dict)


def read_endpoint(
    environ: Mapping[str, str], config: OtelWriterConfig, config_dir: Path
) -> Endpoint:
    """Return the endpoint that the config and the environment describe.

    Raises `ConfigError` for an address, number or compression that is none.
    """

    def choose(configured: str | None, variable: str) -> Path | None:
        if configured is not None:
            return config_dir / configured
        found = _exporter_variable(environ, variable)
        return Path(found) if found else None

    headers = _parse_pairs(_exporter_variable(environ, "HEADERS"))
    headers.update((name, value.reveal()) for name, value in config.headers.items())
    return Endpoint(
        url=_choose_url(environ, config.endpoint),
        timeout_seconds=_choose_timeout(environ, config.timeout),
        headers={**headers, "Content-Type": "application/x-protobuf"},
        compression=config.compression or _choose_compression(environ),
        tls=TlsFiles(
            verify=not config.tls.insecure,
            ca_file=choose(config.tls.ca, "CERTIFICATE"),
            client_cert=choose(config.tls.cert, "CLIENT_CERTIFICATE"),
            client_key=choose(config.tls.key, "CLIENT_KEY"),
        ),
        retried_statuses=RETRIED_STATUSES,
    )


def read_resource(environ: Mapping[str, str], config: OtelWriterConfig) -> dict[str, str]:
    """Return the resource attributes: who sends.

    `service.instance.id` is the host name unless somebody says otherwise: a random one, as SDKs
    make it, would start all series again with every restart.
    """
    host = socket.gethostname()
    attributes = {
        "service.name": DEFAULT_SERVICE_NAME,
        "service.instance.id": host,
        "host.name": host,
        **_parse_pairs(environ.get("OTEL_RESOURCE_ATTRIBUTES", "")),
    }
    if service_name := environ.get("OTEL_SERVICE_NAME"):
        attributes["service.name"] = service_name
    attributes.update(config.resource_attributes)
    if config.service_name is not None:
        attributes["service.name"] = config.service_name
    if config.instance is not None:
        attributes["service.instance.id"] = config.instance
    return attributes


def is_disabled(environ: Mapping[str, str]) -> bool:
    """Return whether `OTEL_SDK_DISABLED` switches the sending off."""
    return environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def _exporter_variable(environ: Mapping[str, str], name: str) -> str:
    specific = environ.get(f"OTEL_EXPORTER_OTLP_METRICS_{name}", "")
    return specific.strip() or environ.get(f"OTEL_EXPORTER_OTLP_{name}", "").strip()


def _choose_url(environ: Mapping[str, str], configured: str | None) -> str:
    if configured is not None:
        return check_url(configured, key="endpoint", credentials=False)
    if exact := environ.get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "").strip():
        return check_url(exact, key="OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", credentials=False)
    base = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip() or DEFAULT_ENDPOINT
    base = check_base_url(base, key="OTEL_EXPORTER_OTLP_ENDPOINT", credentials=False)
    return base + METRICS_PATH


def _choose_timeout(environ: Mapping[str, str], configured: float | None) -> float:
    if configured is not None:
        return configured
    exporter = _parse_seconds(_exporter_variable(environ, "TIMEOUT"), "OTEL_EXPORTER_OTLP_TIMEOUT")
    export_ms = _parse_seconds(
        environ.get("OTEL_METRIC_EXPORT_TIMEOUT", "").strip(), "OTEL_METRIC_EXPORT_TIMEOUT"
    )
    limits = [exporter or DEFAULT_TIMEOUT_SECONDS]
    if export_ms is not None:
        limits.append(export_ms / 1000)
    return min(limits)


def _parse_seconds(text: str, key: str) -> float | None:
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if number <= 0:
        raise ConfigError(f"expected a number above 0, got {text!r}", key=key)
    return number


def _choose_compression(environ: Mapping[str, str]) -> Compression:
    text = _exporter_variable(environ, "COMPRESSION").lower() or "gzip"
    if text not in _COMPRESSIONS:
        raise ConfigError(
            f"expected none, gzip or deflate, got {text!r}", key="OTEL_EXPORTER_OTLP_COMPRESSION"
        )
    return _COMPRESSIONS[text]


def _parse_pairs(text: str) -> dict[str, str]:
    """Parse `key=value,key=value` with percent-encoded values, as W3C Baggage writes them."""
    pairs = (part.partition("=") for part in text.split(",") if "=" in part)
    return {unquote(key.strip()): unquote(value.strip()) for key, _, value in pairs if key.strip()}
