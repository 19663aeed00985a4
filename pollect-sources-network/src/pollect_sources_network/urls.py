"""URLs as labels."""

from urllib.parse import urlsplit, urlunsplit


def url_label(url: str) -> str:
    """Return `url` as configured, without the user information it may have."""
    parts = urlsplit(url)
    user_info, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"***@{host}")) if user_info else url
