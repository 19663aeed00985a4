"""What the sources share whose device is a web server."""

from collections.abc import Iterator
from contextlib import contextmanager

from pollect.api import AuthenticationFailed, ConfigError, SourceContext
from pollect.support.urls import check_base_url, redact_url

#: For one answer, and for most sources for the whole probe.
DEFAULT_TIMEOUT_SECONDS = 10.0
#: What a source asks of the engine beyond its own limit, so that it can report a failure itself.
REPORT_SECONDS = 1.0


def base_url(host: str, port: int | None = None, *, key: str = "host") -> str:
    """Return the URL of a device, without a slash at the end.

    `host` is a name or an address, with a port or without; or a URL, which says everything. `port`
    is for a host without one.
    Raises `ConfigError` with `key` when neither fits.
    """
    host = host.strip()
    if "://" in host:
        return check_base_url(host, key=key)
    place, slash, path = host.partition("/")
    if place.count(":") > 1 and not place.startswith("["):
        place = f"[{place}]"
    if port and ":" not in place.rpartition("]")[2]:
        place = f"{place}:{port}"
    try:
        return check_base_url(f"http://{place}{slash}{path}", key=key)
    except ConfigError as error:
        raise ConfigError(
            f"expected a host, with port or without, or a URL, got {redact_url(host)!r}",
            key=key,
            hint=error.hint,
        ) from error


def deadline_seconds(context: SourceContext, limit_seconds: float) -> float:
    """Return the deadline of a probe whose requests take `limit_seconds` at most, all together."""
    return max(context.interval, DEFAULT_TIMEOUT_SECONDS, limit_seconds + REPORT_SECONDS)


@contextmanager
def hint_on_refusal(hint: str) -> Iterator[None]:
    """Say what to do when the device refuses the credentials, or wants some."""
    try:
        yield
    except AuthenticationFailed as error:
        raise AuthenticationFailed(f"{error}: {hint}") from error
