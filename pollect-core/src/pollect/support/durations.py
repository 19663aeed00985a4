"""Durations as people write them: `90`, `90s`, `5m`, `1h30m`, `2d`."""

import re

_UNITS = {
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
    "y": 31536000.0,
}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdwy])")


def parse_duration(text: str | float) -> float:
    """Return a duration in seconds.

    A number is seconds; a text is a number or, as Prometheus writes durations, numbers with the
    units ms, s, m, h, d, w and y (365 days) in a row. Raises `ValueError` with the problem.
    """
    if isinstance(text, int | float):
        return _positive(float(text), str(text))
    compact = text.strip()
    try:
        return _positive(float(compact), text)
    except ValueError:
        pass
    parts = _PART.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise ValueError(f"expected a duration such as 30s, 5m or 1h30m, got {text!r}")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _positive(seconds: float, text: str) -> float:
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"expected a duration of 0 or more, got {text}")
    return seconds
