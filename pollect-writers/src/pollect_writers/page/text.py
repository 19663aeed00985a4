"""Text as HTML."""

from pollect.api import format_span

_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;", "\0": "\ufffd"}
)


def escaped(text: str) -> str:
    """Return text for between tags and in attributes.

    The standard library's own brings the names of all HTML entities along, 0.2 MB.
    """
    return text.translate(_ESCAPES)


def breakable(text: str) -> str:
    """Return escaped text that may be broken behind the separators of long names."""
    pieces = escaped(text)
    for mark in "/_.:":
        pieces = pieces.replace(mark, f"{mark}<wbr>")
    return pieces


def ago(time: float | None, now: float, *, missing: str = "never") -> str:
    """Return how long ago something was, as an element that the script keeps up to date."""
    if time is None:
        return missing
    return f'<time data-at="{time:.1f}">{span_text(now - time)}</time>'


def until(time: float | None, now: float) -> str:
    """Return in how much time something will be."""
    if time is None:
        return "–"
    return f'<time data-due="{time:.1f}">{due_text(time - now)}</time>'


def span_text(seconds: float) -> str:
    return f"{format_span(max(0.0, seconds))} ago"


def due_text(seconds: float) -> str:
    return f"in {format_span(seconds)}" if seconds >= 1 else "now"


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
