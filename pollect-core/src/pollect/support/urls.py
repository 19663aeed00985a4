"""URLs of targets: checked, shown without their secrets, and used as labels, in one way for all."""

import re
from collections.abc import Collection
from urllib.parse import urlsplit, urlunsplit

from pollect.errors import ConfigError

_SCHEME_AND_REST = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)?(.*)", re.DOTALL)
_IPV6_HOST = re.compile(r"\A\[[0-9A-Fa-f:.]+\](:[0-9]+)?(?=[/?#])")
_AFTER_HOST = re.compile("[/?#]")
#: Schemes that a message shows by example; more are listed.
_MOST_EXAMPLES = 3


def redact_url(url: str) -> str:
    """Return `url` without user information, and with `***` for the values of its query.

    A password may stand there as it should not, with `/`, `?`, `#` or `@` in it: where a colon and
    later an `@` leave a doubt, everything between `//` and the last `@` is taken for the secret.
    """
    scheme, rest = _SCHEME_AND_REST.fullmatch(url).groups("")  # type: ignore[union-attr]
    before, at, behind = rest.rpartition("@")
    # The colons of an address of IPv6 and of the port behind it begin no password.
    if at and (":" in _IPV6_HOST.sub("", before) or not _AFTER_HOST.search(before)):
        scheme, rest = f"{scheme}***@", behind
    path, _, query = rest.partition("#")[0].partition("?")
    values = "&".join(
        f"{name}={'***' if value else ''}" if equals else name
        for name, equals, value in (part.partition("=") for part in query.split("&"))
    )
    return f"{scheme}{path}{'?' if values else ''}{values}"


def check_url(
    url: str,
    *,
    key: str = "url",
    schemes: Collection[str] = ("http", "https"),
    credentials: bool = True,
) -> str:
    """Return `url` if it is complete; for `__init__` of a source or writer.

    Raises `ConfigError` with `key` when scheme or host is missing, the port is not a number, or
    there is user information although `credentials` is false.
    """
    expected = "like " + " or ".join(f"{scheme}://..." for scheme in schemes)
    if len(schemes) > _MOST_EXAMPLES:
        expected = f"with one of the schemes {', '.join(schemes)}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(character.isspace() for character in url.strip()):
        raise ConfigError(f"expected a URL {expected}, got {redact_url(url)!r}", key=key)
    if not credentials and "@" in parts.netloc:
        raise ConfigError(
            f"do not put credentials in the URL {redact_url(url)!r}",
            key=key,
            hint="use the options for the user and the password",
        )
    return url


def check_base_url(url: str, *, key: str = "url", credentials: bool = True) -> str:
    """Return a URL that paths are appended to, without a slash at its end.

    Raises `ConfigError` with `key` as `check_url` does, and for a query or a fragment, into which
    the path would go.
    """
    parts = urlsplit(check_url(url, key=key, credentials=credentials).strip())
    if parts.query or parts.fragment or url.strip().endswith(("?", "#")):
        raise ConfigError(
            f"expected a URL without a query or fragment, got {redact_url(url)!r}",
            key=key,
            hint="paths are appended to it",
        )
    return url.strip().rstrip("/")


def url_label(url: str) -> str:
    """Return a URL that `check_url` let pass as it was configured, without user information."""
    parts = urlsplit(url)
    user_info, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"***@{host}")) if user_info else url
