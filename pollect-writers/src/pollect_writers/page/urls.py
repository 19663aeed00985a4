"""The addresses of the page, relative to the root of the endpoint, wherever a proxy puts it."""

from urllib.parse import quote


def source_url(source: str) -> str:
    """Return the page of one source."""
    return f"./?source={_quoted(source)}"


def probe_url(source: str) -> str:
    """Return where a POST probes a source now."""
    return f"-/probe?source={_quoted(source)}"


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="replace")
