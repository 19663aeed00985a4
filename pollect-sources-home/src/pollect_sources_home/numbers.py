"""Numbers in what devices answer; what is not a finite number is None."""

import math
import re

_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def json_number(value: object) -> float | None:
    """Return a number or boolean of JSON as a number, True as 1."""
    if not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # JSON knows integers of any length
        return None
    return number if math.isfinite(number) else None


def decimal_number(text: str) -> float | None:
    """Return a text that is a decimal number and nothing else, as in `-21.5` or `1.2E3`.

    Stricter than `float`, which takes `nan`, `infinity` and `1_000` as well.
    """
    text = text.strip()
    if not _DECIMAL.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None
