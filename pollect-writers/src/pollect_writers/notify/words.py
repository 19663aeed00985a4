"""Numbers, labels and times as messages show them."""

import datetime
from collections.abc import Mapping

from pollect.api import describe_unit

_MOST_LABELS = 12
_SCALED = {"bytes": "B", "bytes_per_second": "B/s", "bits_per_second": "bit/s"}
_PREFIXES = ("", "k", "M", "G", "T", "P", "E")
_THOUSAND = 1000
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def format_value(value: float, unit: str) -> str:
    """Return a number with its unit, in a size that people read: `4.2 GB`, `93 %`, `3 h`."""
    if unit in _SCALED:
        number, prefix = float(value), 0
        while abs(number) >= _THOUSAND and prefix + 1 < len(_PREFIXES):
            number, prefix = number / _THOUSAND, prefix + 1
        return f"{number:.3g} {_PREFIXES[prefix]}{_SCALED[unit]}"
    if unit == "ratio":
        return f"{value * 100:.3g} %"
    if unit == "seconds" and abs(value) >= _MINUTE:
        return format_duration(value)
    text = str(int(value)) if value == int(value) and abs(value) < 1e15 else f"{value:.6g}"
    return f"{text} {describe_unit(unit).symbol}".rstrip()


def format_duration(seconds: float) -> str:
    """Return a duration in the one or two units that matter: `40 s`, `1 h 12 min`, `3 d`."""
    whole = round(abs(seconds))
    sign = "-" if seconds < 0 else ""
    for size, name, smaller, smaller_name in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{sign}{whole // size} {name}" + (f" {rest} {smaller_name}" if rest else "")
    return f"{sign}{whole} s"


def format_time(moment: float) -> str:
    """Return a Unix time as local date and time."""
    local = datetime.datetime.fromtimestamp(moment, datetime.UTC).astimezone()
    return local.strftime("%Y-%m-%d %H:%M")


def describe_labels(labels: Mapping[str, str]) -> str:
    """Return labels in the form of Prometheus, on one line; empty for none."""
    shown = [f'{name}="{_one_line(value)}"' for name, value in labels.items() if value]
    if len(shown) > _MOST_LABELS:
        shown[_MOST_LABELS:] = ["..."]
    return f"{{{', '.join(shown)}}}" if shown else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]
