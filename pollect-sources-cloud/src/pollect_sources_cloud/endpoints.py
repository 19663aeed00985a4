"""Addresses of cloud services: encrypted, unless they are on this machine."""

import ipaddress
from urllib.parse import urlsplit

from pollect.api import ConfigError
from pollect.support.urls import check_base_url, check_url, redact_url


def check_endpoint(url: str, *, key: str) -> str:
    """Return the base URL of a service without a slash at its end.

    Raises `ConfigError` with `key`, also as `check_encrypted` does.
    """
    url = check_base_url(url, key=key)
    check_encrypted(url, key=key)
    return url


def check_encrypted(url: str, *, key: str) -> None:
    """Raise `ConfigError` with `key` for a URL that would send credentials unencrypted.

    Plain http is for loopback addresses only, where test servers are.
    """
    parts = urlsplit(check_url(url, key=key))
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ConfigError(
            f"expected https://..., got {redact_url(url)!r}: "
            "plain http is accepted for loopback addresses only",
            key=key,
        )


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
