"""Numbers as people read them: three digits that count, a fitting prefix, the unit behind."""

import math
from datetime import datetime
from typing import Final, NamedTuple

from pollect.model import Metric
from pollect.units import UNITS, describe_unit, unit_word

_SI: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_SMALL: Final = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
_BINARY: Final = (
    (2.0**50, "Pi"),
    (2.0**40, "Ti"),
    (2.0**30, "Gi"),
    (2.0**20, "Mi"),
    (2.0**10, "Ki"),
    (1.0, ""),
)
#: Units that a prefix of powers of 1024 suits, those of 1000, and those that are often small.
_BINARY_UNITS = frozenset({"bytes", "bytes_per_second"})
_SI_UNITS = frozenset(
    {"watts", "watt_hours", "joules", "hertz", "bits", "bits_per_second", "voltamperes"}
)
_SMALL_UNITS = frozenset({"seconds", "amperes", "volts"})
_SPANS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
#: Seconds from which a time is written in two units.
_LONG_SECONDS = 120.0
#: A metric whose name ends so says a moment, not a span; and the earliest moment that is meant.
_MOMENTS = ("timestamp_seconds", "boot_time_seconds")
_EARLIEST_MOMENT = 1e8


class Scale(NamedTuple):
    """What a value is divided by, and what is written behind it."""

    divisor: float
    symbol: str

    def tick(self, value: float) -> str:
        """Return a round value of an axis, without digits that say nothing."""
        return self._with_symbol(f"{value / self.divisor:.6g}")

    def format(self, value: float) -> str:
        return self._with_symbol(format_number(value / self.divisor))

    def _with_symbol(self, text: str) -> str:
        return f"{text}{self.symbol if self.symbol in ('%', '°') else _behind(self.symbol)}"


def rate_unit(unit: str) -> str:
    """Return the unit of what a counter grows by per second."""
    word = unit_word(unit)
    if not word:
        return "/s"
    known = f"{word}_per_second"
    return known if known in UNITS else f"{describe_unit(word).symbol}/s"


def scale_of(unit: str, largest: float) -> Scale:
    """Return how to write values of a unit whose largest, in amount, is `largest`."""
    word = unit_word(unit)
    symbol = describe_unit(unit).symbol
    amount = abs(largest)
    if word == "ratio":
        return Scale(0.01, "%")
    if word == "milliseconds" and amount >= 1000:
        return Scale(1000.0, "s")
    if word in _BINARY_UNITS:
        return _prefixed(_BINARY, amount, symbol)
    if word in _SI_UNITS:
        return _prefixed(_SI, amount, symbol)
    if word == "seconds" and amount >= _LONG_SECONDS:
        return _long_scale(amount)
    if word in _SMALL_UNITS and 0 < amount < 1:
        return _prefixed(_SMALL, amount, symbol)
    if describe_unit(unit).is_count and word.endswith("_per_second"):
        return Scale(1.0, symbol)
    if not symbol or describe_unit(unit).is_count:
        return _prefixed(_SI, amount, "") if amount >= 1e5 else Scale(1.0, "")
    return Scale(1.0, symbol)


def format_quantity(value: float, unit: str = "") -> str:
    """Return a number with its unit.

    >>> format_quantity(2202009600, "bytes"), format_quantity(0.4213, "ratio")
    ('2.05 GiB', '42.1%')
    >>> format_quantity(0.00123, "seconds"), format_quantity(90061, "seconds")
    ('1.23 ms', '1 d 1 h')
    """
    if not math.isfinite(value):
        return "–"
    if unit_word(unit) == "seconds" and abs(value) >= _LONG_SECONDS:
        return format_span(value)
    return scale_of(unit, value).format(value)


def format_value(value: float, metric: Metric, unit: str) -> str:
    """Return a value of a metric as people read it: a state by its name, a moment as a date.

    `unit` is that of the series, see `pollect.units.unit_of`.
    """
    if metric.panel is not None and value in metric.panel.states:
        return metric.panel.states[value]
    if is_moment(metric) and value >= _EARLIEST_MOMENT:
        return format_moment(value)
    return format_quantity(value, unit)


def is_moment(metric: Metric) -> bool:
    """Whether the values of a metric are Unix times in seconds, not how long something took."""
    if metric.panel is not None and metric.panel.moment:
        return True
    return unit_word(metric.unit) == "seconds" and (metric.name or "").endswith(_MOMENTS)


def format_number(value: float) -> str:
    """Return a number with three digits that count, whole ones as they are.

    >>> format_number(3.0), format_number(1234567.0), format_number(0.012345)
    ('3', '1,234,567', '0.0123')
    """
    if not math.isfinite(value):
        return "–"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    amount = abs(value)
    if amount >= 1e15 or amount < 1e-4:
        return f"{value:.3g}"
    if amount >= 99.95:
        return f"{value:,.0f}"
    digits = 2 - math.floor(math.log10(amount))
    return f"{value:.{min(digits, 6)}f}"


def format_span(seconds: float) -> str:
    """Return how long something takes, in the two largest units.

    >>> format_span(90061), format_span(59), format_span(0.2)
    ('1 d 1 h', '59 s', '0 s')
    """
    rest = int(abs(seconds))
    shown: list[str] = []
    for size, symbol in _SPANS:
        number, rest = divmod(rest, size)
        if number or shown:
            shown.append(f"{number} {symbol}" if number else "")
    text = " ".join(part for part in shown[:2] if part) or "0 s"
    return f"-{text}" if seconds <= -1 else text


def format_moment(time: float) -> str:
    """Return a Unix time in seconds as date and time of this host's zone."""
    try:
        return datetime.fromtimestamp(time).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return format_number(time)


def format_clock(time: float, span: float) -> str:
    """Return a Unix time for an axis that covers `span` seconds, in this host's zone."""
    moment = datetime.fromtimestamp(time).astimezone()
    return moment.strftime("%H:%M" if span <= 2 * 86400 else "%m-%d")


def _behind(symbol: str) -> str:
    return f" {symbol}" if symbol else ""


def _prefixed(prefixes: tuple[tuple[float, str], ...], amount: float, symbol: str) -> Scale:
    for divisor, prefix in prefixes:
        if amount >= divisor:
            return Scale(divisor, f"{prefix}{symbol}")
    divisor, prefix = prefixes[-1]
    return Scale(divisor, f"{prefix}{symbol}")


def _long_scale(amount: float) -> Scale:
    for size, symbol in _SPANS:
        if amount >= 2 * size:
            return Scale(float(size), symbol)
    return Scale(1.0, "s")
