"""What stands in the header fields of HTTP: whole numbers, dates, and how long to wait.

Peers write what they like there; what is not of the form asked for is None.
"""

from datetime import UTC

#: More than any length in bytes or number of seconds has, and quick to convert.
_MOST_DIGITS = 18


def parse_whole(text: str) -> int | None:
    """Return a number of at most 18 digits, None for anything else."""
    text = text.strip()
    usable = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    return int(text) if usable else None


def parse_date(text: str) -> float | None:
    """Return the Unix time in seconds of an HTTP date in any of its forms, None for anything else.

    All of them are in GMT, whether they say so or not (RFC 9110, section 5.6.7).
    """
    text = text.strip()
    if not text:
        return None
    from email.utils import parsedate_to_datetime  # large, and seldom needed

    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def parse_retry_after(text: str, now: float) -> float | None:
    """Return the seconds that a `Retry-After` asks to wait, None if it makes no sense.

    Its two forms are seconds and an HTTP date; `now` is Unix time in seconds.
    """
    # A pause of more digits than that is a long one all the same.
    seconds = parse_whole(text.strip()[:_MOST_DIGITS])
    if seconds is not None:
        return float(seconds)
    moment = parse_date(text)
    return None if moment is None else max(0.0, moment - now)
