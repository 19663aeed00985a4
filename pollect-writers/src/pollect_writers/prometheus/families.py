"""Names, headers and series prefixes of the Prometheus text formats.

Formats: "Exposition formats" of the Prometheus documentation (text 0.0.4) and the OpenMetrics 1.0
specification. Metric names stay those of pollect 1.x; what neither format can carry becomes
an underscore, whatever the scraper claims to accept.
"""

import functools
import re
from collections.abc import Callable, Sequence

from pollect.api import Kind, Metric, unit_word
from pollect.support.names import label_name

_LABEL_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_OPEN_HELP_ESCAPES = _LABEL_ESCAPES
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})
_TO_BE_ESCAPED = re.compile(r'[\\\n"]')
_TOTAL = "_total"
_FAMILIES_KEPT = 512

#: Builds `name{labels} ` of one series from the values of its own labels.
FormatSeries = Callable[[Sequence[str]], str]


def escape_label_value(value: str) -> str:
    return value.translate(_LABEL_ESCAPES) if _TO_BE_ESCAPED.search(value) else value


class Family:
    """One metric name with its help and kind, and the header lines of both formats."""

    __slots__ = ("_metric", "_open_header", "name", "open_name", "text_header")

    def __init__(self, name: str, metric: Metric) -> None:
        counter = metric.kind is Kind.COUNTER
        self._metric = metric
        self._open_header = b""
        self.name = name
        #: OpenMetrics names a family of counters without the `_total` of its samples.
        self.open_name = name.removesuffix(_TOTAL) if counter else name
        help = (metric.help or name).translate(_HELP_ESCAPES)
        lines = f"# HELP {name} {help}\n# TYPE {name} {metric.kind.value}"
        self.text_header = lines.encode("utf-8", "replace")

    @property
    def names(self) -> tuple[str, str]:
        """The names that no other family of the same exposition may have."""
        return self.name, self.open_name

    @property
    def open_header(self) -> bytes:
        """The header in OpenMetrics, made when the first scraper asks for it."""
        if not self._open_header:
            if self._metric.kind is Kind.GAUGE:
                self._open_header = self._encode(self.name, "gauge")
            elif self.open_name != self.name:
                self._open_header = self._encode(self.open_name, "counter")
            else:
                # A counter that is not called so keeps its name, which OpenMetrics calls unknown.
                self._open_header = self.open_unknown_header
        return self._open_header

    @property
    def open_unknown_header(self) -> bytes:
        """The header of a counter whose name without `_total` another family has."""
        return self._encode(self.name, "unknown")

    def _encode(self, name: str, type_name: str) -> bytes:
        help = (self._metric.help or self.name).translate(_OPEN_HELP_ESCAPES)
        lines = f"# HELP {name} {help}\n# TYPE {name} {type_name}"
        unit = unit_word(self._metric.unit)
        if unit and name.endswith(f"_{unit}"):  # OpenMetrics wants the name to end in its unit
            lines += f"\n# UNIT {name} {unit}"
        return lines.encode("utf-8", "replace")


@functools.lru_cache(maxsize=_FAMILIES_KEPT)
def family_of(name: str, metric: Metric) -> Family:
    """Return a family; sources that share their names share it."""
    return Family(name, metric)


def series_formatter(
    name: str, own: Sequence[str], static: Sequence[tuple[str, str]]
) -> FormatSeries:
    """Return what formats the series of one metric: labels sorted by name, its own ones first.

    Two label names that become equal are one label, and the first of them counts.
    """
    pieces: dict[str, str] = {}
    order: dict[str, int] = {}
    for index, label in enumerate(own):
        clean = label_name(label)
        if clean not in pieces:
            pieces[clean] = f'{clean}="%s"'
            order[clean] = index
    for label, value in static:
        clean = label_name(label)
        if clean not in pieces:
            pieces[clean] = f'{clean}="{escape_label_value(value).replace("%", "%%")}"'
    names = sorted(pieces)
    labels = ",".join(pieces[clean] for clean in names)
    template = f"\n{name}{{{labels}}} " if labels else f"\n{name} "
    picked = [order[clean] for clean in names if clean in order]
    width = len(own)

    def format_series(values: Sequence[str]) -> str:
        if len(values) != width:
            raise ValueError(f"{name}: {len(values)} label values for {width} labels")
        return template % tuple([escape_label_value(values[index]) for index in picked])

    return format_series
