"""The most important values of a source, and how they are shown at a glance."""

import math
from collections.abc import Collection, Iterable
from typing import NamedTuple

from pollect.engine.ring import Line, Past
from pollect.hints import Headline
from pollect.human import format_quantity, format_value, rate_unit
from pollect.model import Kind, Metric
from pollect.status import Glance
from pollect.units import UNIT_LABEL, unit_of, unit_word

#: Values of a source that are shown at a glance.
GLANCES = 3
#: What the name of a value says about its unit, which stands behind the number anyway.
_UNIT_ENDINGS = ("total", "seconds", "bytes", "ratio", "percent", "celsius", "per_second", "sec")


class Telling(NamedTuple):
    """A line that is important for its source."""

    title: str
    line: Line
    #: Of a counter: how far it has counted is shown, not how fast.
    total: bool = False


def telling(past: Past) -> list[Telling]:
    """Return the most important lines."""
    present = [line for line in past.lines if line.present]
    first: dict[int, Telling] = {}
    rest: dict[int, Telling] = {}
    for metric in dict.fromkeys(line.metric for line in present):
        for headline in metric.headline:
            found = [line for line in present if _fits(headline, metric, line)]
            found.sort(key=_is_idle)
            for number, line in enumerate(found):
                words = headline.title or _words(metric)
                labels = (headline.words.get(v, v) for v in _other_labels(line, headline.labels))
                chosen = Telling(_joined(words, labels), line, headline.total)
                (rest if number else first).setdefault(id(line), chosen)
    if not first:
        # What describes the device and not its state is always 1.
        telling_more = [line for line in present if not _is_info(line.metric)] or present
        return [
            Telling(_joined(_words(line.metric), _other_labels(line, ())), line)
            for line in telling_more[:GLANCES]
        ]
    others = [chosen for key, chosen in rest.items() if key not in first]
    return [*first.values(), *others][:GLANCES]


def _fits(headline: Headline, metric: Metric, line: Line) -> bool:
    if line.metric != metric:
        return False
    labels = dict(zip(metric.labels, line.label_values, strict=True))
    return all(labels[name] == value for name, value in headline.labels.items())


def _is_idle(line: Line) -> bool:
    """Whether it shows what moves, and nothing does: a network card without a cable."""
    if line.metric.kind is Kind.COUNTER:
        return not line.last
    is_rate = unit_word(line.metric.unit).endswith("_per_second")
    return is_rate and not line.last and all(math.isnan(v) or not v for v in line.values)


def _is_info(metric: Metric) -> bool:
    return (metric.name or "").rpartition("_")[2] == "info"


def _other_labels(line: Line, fixed: Collection[str]) -> list[str]:
    """Return what else distinguishes a line; the number of a row only if it has no name."""
    pairs = [
        (name, value)
        for name, value in zip(line.metric.labels, line.label_values, strict=True)
        if name not in fixed and name != UNIT_LABEL and value
    ]
    named = [value for name, value in pairs if name != "index"]
    return named or [value for _, value in pairs]


def _joined(title: str, labels: Iterable[str]) -> str:
    return " ".join(part for part in dict.fromkeys((title, *labels)) if part)


def _words(metric: Metric) -> str:
    """Return the name of a value in words, without its unit."""
    name = metric.name or ""
    for ending in _UNIT_ENDINGS:
        name = name.removesuffix(f"_{ending}")
    return name.replace("_", " ")


def glance(chosen: Telling, past: Past) -> Glance:
    """Return such a line as it is shown."""
    title, line, total = chosen
    return Glance(
        title=title or "value",
        text=total_of(line) if total else text_of(line, past),
        value=line.last,
        unit=unit_of(line.metric, line.label_values),
    )


def total_of(line: Line) -> str:
    """Return the last value as people read it."""
    return format_value(line.last, line.metric, unit_of(line.metric, line.label_values))


def text_of(line: Line, past: Past) -> str:
    """Return the last value as people read it: a counter by how fast it grows, if that is known."""
    if line.metric.kind is Kind.COUNTER:
        rate = line.points(past.times)[-1] if past.times else math.nan
        if not math.isnan(rate):
            unit = unit_of(line.metric, line.label_values)
            return format_quantity(rate, rate_unit(unit))
    return total_of(line)
