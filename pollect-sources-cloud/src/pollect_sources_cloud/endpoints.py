"""Addresses of cloud services: encrypted, unless they are on this machine."""

import ipaddress
from urllib.parse import urlsplit

from pollect.api import ConfigError
from pollect.support.urls import check_url, redact_url


def check_endpoint(url: str, *, key: str) -> str:
    """Return the base URL of a service without a slash at its end.

    Credentials travel there, so plain http is for loopback addresses only, where test servers
    are. Raises `ConfigError` with `key`.
    """
    parts = urlsplit(check_url(url, key=key))
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ConfigError(
            f"expected https://..., got {redact_url(url)!r}: "
            "plain http is accepted for loopback addresses only",
            key=key,
        )
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
