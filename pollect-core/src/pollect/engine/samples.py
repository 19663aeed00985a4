"""From what `probe()` returned to clean samples.

One bad value costs only itself: it is left out, counted, and logged once per metric and reason.
Here it is decided what text is: label values are valid Unicode from here on (names are so by their
`Metric`). What a backend reserves or forbids beyond that is decided in its writer.
"""

import itertools
import logging
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from numbers import Real
from typing import Any

import msgspec

from pollect.engine.shaping import LabelRules, SeriesLimit, Shaper
from pollect.errors import describe
from pollect.model import LATEST_TIME, Batch, Metric, Sample, SourceId, log_of
from pollect.plugin import MetricFilter, ProbeValue
from pollect.text import REPLACEMENT, valid_text

#: The largest number a writer can take, and the largest integers that stay integers: backends and
#: formats have 64 bits for them, and a float holds a larger one as well as any of them can.
LARGEST = sys.float_info.max
LOWEST_INTEGER, LARGEST_INTEGER = -(2**63), 2**64 - 1
_NO_RULES = LabelRules()
_END = object()
#: Texts with something in them that is not text, remembered at most.
MOST_TEXTS = 10_000
#: Values of one probe that are looked at with `maxSeries`, and without.
SPARE_VALUES, SPARE_FACTOR = 10_000, 4
MOST_VALUES = 1_000_000
#: Names of values that a source makes up as it goes, remembered at most.
MOST_NAMES = 10_000
#: Sources, those of other daemons included, whose filtered values are remembered at most.
MOST_FILTERED = 10_000
#: Complaints about values of one source that are warnings; any further ones are debug lines.
MOST_COMPLAINTS = 100
#: What a warning of two equal series is remembered as.
TWINS = "twins"
#: Iterable, but never what a probe means to return.
_TEXT: tuple[type[Any], ...] = (str, bytes)


class _Senseless(Exception):
    """What is wrong with one part of a sample, for a log."""


class Normalizer:
    """Cleans the samples of one source and keeps those its config wants."""

    def __init__(
        self,
        declared: Iterable[Metric],
        wanted: MetricFilter,
        log: logging.Logger,
        labels: LabelRules = _NO_RULES,
        max_series: int = 0,
    ) -> None:
        self._declared = {metric.name: metric for metric in declared if not metric.labels}
        self._made_up: dict[str | None, Metric] = {}
        self._filter = wanted if wanted.include or wanted.exclude else None
        self._kept: dict[str | None, bool] = {}
        shapes = wanted.rename or wanted.scale or labels
        self._shaper = Shaper(wanted, labels, log) if shapes else None
        self.limit = SeriesLimit(max_series, log)
        #: Values taken from an iterator: filters and rules for labels may leave few of many.
        self._most = SPARE_VALUES + SPARE_FACTOR * max_series if max_series else MOST_VALUES
        self._is_endless = False
        self._log = log
        # Empty for nearly all; an empty tuple takes no memory, an empty set 216 bytes.
        self._complained: tuple[tuple[str | None, str], ...] = ()
        self._label_texts = DistinctTexts()
        self._names = DistinctTexts()
        #: How many samples there were when they were last searched for twins.
        self._searched = 0

    def clean(self, value: ProbeValue) -> list[Sample]:
        """Return the samples worth writing.

        Raises `TypeError` when `value` is nothing a probe may return.
        """
        samples: list[Sample] = []
        keep = samples.append
        values, rest = self.samples_of(value), None
        if type(values) is not list and type(values) is not tuple:
            # A generator may never end.
            rest = iter(values)
            values = itertools.islice(rest, self._most)
        for sample in values:
            try:
                metric, number, labels, time = sample
                # What is of another type, a subclass included, may do anything in a writer.
                if (
                    (
                        (type(number) is float and -LARGEST <= number <= LARGEST)
                        or (type(number) is int and LOWEST_INTEGER <= number <= LARGEST_INTEGER)
                    )
                    and time is None
                    and type(labels) is tuple
                    and type(sample) is Sample
                    and type(metric) is Metric
                    and len(labels) == len(metric.labels)
                ):
                    for label in labels:
                        if type(label) is not str:
                            break
                    else:
                        # Most of it is ASCII, which one call of C shows for all labels.
                        if not labels or (text := "".join(labels)).isascii() or is_whole(text):
                            keep(sample)
                            continue
                repaired = self._repair(sample)
            except BaseException:  # noqa: BLE001 - methods of what a plugin made
                repaired = self._repair(sample)
            if repaired is not None:
                keep(repaired)
        if rest is not None and next(rest, _END) is not _END:
            self._stop(rest)
        if len(samples) != self._searched:
            # Series come and go in number; to look at each probe would cost more than it finds.
            self._searched = len(samples)
            self._warn_of_twins(samples)
        if self._filter is not None:
            samples = [sample for sample in samples if self._wanted(sample.metric.name)]
        if self._shaper is not None:
            samples = self._shaper.shape(samples, LARGEST)
        return self.limit.apply(samples)

    def _stop(self, endless: Iterator[Any]) -> None:
        """Give up an iterator that goes on beyond every limit."""
        if not self._is_endless:
            self._is_endless = True
            self._log.warning(
                "its probe still yields values after %d of them: the rest is left out", self._most
            )
        close = getattr(endless, "close", None)
        if callable(close):
            close()

    def _warn_of_twins(self, samples: Iterable[Sample]) -> None:
        """Report two values that no backend can tell apart: it would keep one of them."""
        seen: set[tuple[object, ...]] = set()
        for metric, _, labels, time in samples:
            series = (metric.name, metric.labels, labels, time)
            if series in seen and self._is_new(metric.name, TWINS):
                pairs = zip(metric.labels, labels, strict=True)
                text = ", ".join(f"{name}={value!r}" for name, value in pairs) or "no labels"
                self._log.warning(
                    "value %s is reported twice with %.200s: only the last one counts",
                    metric.name or "(without a name)",
                    text,
                )
            seen.add(series)

    def samples_of(self, value: ProbeValue) -> Iterable[Sample]:
        """Return what a probe returned as samples; raises `TypeError` for what it may not."""
        if type(value) is list or type(value) is tuple:
            return value
        if isinstance(value, Mapping):
            return self._named(value)
        if value is None:
            return ()
        if isinstance(value, Real):
            return (self._metric(None).sample(value),)  # type: ignore[arg-type]
        if isinstance(value, Iterable) and not isinstance(value, _TEXT):
            return value
        raise TypeError(
            f"probe() returned {type(value).__name__}; expected samples, "
            "a mapping of value names to numbers, a number or None"
        )

    def _named(self, values: Mapping[Any, Any]) -> Iterator[Sample]:
        for name, number in values.items():
            if name is None or isinstance(name, str):
                yield Sample(self._metric(name), number)
            else:
                self._complain(None, f"expected a text as its name, got {type(name).__name__}")

    def _metric(self, name: str | None) -> Metric:
        if name is not None and type(name) is not str:
            name = str.__str__(name)
        metric = self._declared.get(name) or self._made_up.get(name)
        if metric is None:
            if len(self._made_up) >= MOST_NAMES:
                self._made_up.clear()
            text = name if name is None else self._names.valid(name)
            metric = self._made_up[name] = Metric(text)
        return metric

    def _repair(self, sample: object) -> Sample | None:
        """Return the sample in plain types and valid text, or None if it makes no sense."""
        if not isinstance(sample, Sample):
            self._complain(None, f"expected a Sample, got {type(sample).__name__}")
            return None
        metric: Any = sample.metric
        if not isinstance(metric, Metric):
            self._complain(None, f"expected a Metric, got {type(metric).__name__}")
            return None
        if type(metric) is not Metric:
            try:
                metric = Metric.labelled(metric)
            except BaseException as error:  # noqa: BLE001 - attributes of what a plugin made
                self._complain(None, f"its metric cannot be read: {describe(error):.200}")
                return None
        try:
            value, time = _number(sample.value), _moment(sample.time)
            labels = map(label_text, sample.label_values)
            texts = tuple([self._label_texts.valid(text) for text in labels])
        except _Senseless as error:
            self._complain(metric.name, str(error))
            return None
        except BaseException as error:  # noqa: BLE001 - methods of what a plugin made
            self._complain(metric.name, f"cannot be read: {describe(error):.200}")
            return None
        if len(texts) != len(metric.labels):
            self._complain(
                metric.name, f"has {len(texts)} label values for {len(metric.labels)} labels"
            )
            return None
        return Sample(metric, value, texts, time)

    def _complain(self, name: str | None, problem: str) -> None:
        level = logging.WARNING if self._is_new(name, problem) else logging.DEBUG
        self._log.log(level, "value %.200s left out: %s", name or "(without a name)", problem)

    def _is_new(self, name: str | None, problem: str) -> bool:
        """Whether this is to be a warning: not said before, and not one of too many."""
        complaint = (name, problem)
        if len(self._complained) >= MOST_COMPLAINTS or complaint in self._complained:
            return False
        self._complained += (complaint,)
        return True

    def _wanted(self, name: str | None) -> bool:
        wanted = self._kept.get(name)
        if wanted is None:
            if len(self._kept) >= MOST_NAMES:
                self._kept.clear()
            wanted = self._kept[name] = matches(self._filter or MetricFilter(), name or "")
        return wanted


def cleaning(accept: Callable[[Batch], Batch | None]) -> Callable[[Batch], Batch | None]:
    """Return a filter of a plugin that hands on clean batches only, like those of a source."""
    normalizers: dict[SourceId, Normalizer] = {}

    def normalizer_of(source: SourceId) -> Normalizer:
        found = normalizers.get(source)
        if found is None:
            if len(normalizers) >= MOST_FILTERED:
                normalizers.clear()
            found = normalizers[source] = Normalizer((), MetricFilter(), log_of(source))
        return found

    def filtered(batch: Batch) -> Batch | None:
        result = accept(batch)
        if not isinstance(result, Batch):
            return result
        for pair in result.static_labels:
            if not isinstance(pair, tuple) or list(map(type, pair)) != [str, str]:
                raise TypeError(f"expected static labels as pairs of texts, got {pair!r:.80}")
        samples = normalizer_of(batch.source).clean(result.samples)
        return msgspec.structs.replace(result, samples=samples)

    return filtered


def matches(wanted: MetricFilter, name: str) -> bool:
    """Whether a value of this name is kept: in `include` (or that is empty), not in `exclude`."""
    if any(fnmatchcase(name, pattern) for pattern in wanted.exclude):
        return False
    return not wanted.include or any(fnmatchcase(name, pattern) for pattern in wanted.include)


def label_text(value: object) -> str:
    """Return a label value as text: `true` and `false` for booleans, empty for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    # What a member of an enumeration of texts stands for, on every Python.
    return str.__str__(value) if isinstance(value, str) else str(value)


def _number(number: Any) -> float:
    try:
        value = float(number)
    except (TypeError, ValueError):
        raise _Senseless(f"expected a number, got {type(number).__name__}") from None
    except OverflowError:
        value = math.inf
    if not -LARGEST <= value <= LARGEST:
        raise _Senseless(f"expected a finite number, got {value}")
    if type(number) is int and LOWEST_INTEGER <= number <= LARGEST_INTEGER:
        return number
    return value


def _moment(time: Any) -> float | None:
    """Return the time of a sample; one that is wrong must not pass for another one."""
    if time is None:
        return None
    if isinstance(time, bool) or not isinstance(time, Real):
        raise _Senseless(f"expected its time as Unix time in seconds, got {type(time).__name__}")
    seconds = float(time)
    if not 0 <= seconds <= LATEST_TIME:
        raise _Senseless(f"expected its time as Unix time in seconds, got {seconds:g}")
    return seconds


def is_whole(text: str) -> bool:
    """Whether text is valid Unicode, and has nothing in it that stands for what was not."""
    return REPLACEMENT not in text and valid_text(text) == text


class DistinctTexts:
    """Makes text valid, and keeps apart what differs only in bytes that are no text.

    The first gets `caf\ufffd`, one that would look the same the bytes behind it: `caf\ufffd_e8`.
    What a text became it stays.
    """

    # Every source has two of them, and hardly one has text that is not valid.
    __slots__ = ("_known",)

    def __init__(self) -> None:
        #: What became of a text, and the text that became it.
        self._known: tuple[dict[str, str], dict[str, str]] | None = None

    def valid(self, original: str) -> str:
        """Return valid text for `original`, which no other text gets."""
        if self._known is not None and (known := self._known[0].get(original)) is not None:
            return known
        text = first = valid_text(original)
        if REPLACEMENT not in first:
            return first
        if self._known is None or len(self._known[0]) >= MOST_TEXTS:
            self._known = {}, {}
        texts, owners = self._known
        number = 0
        while owners.setdefault(text, original) != original:
            number += 1
            parts = [first, _lost(original), str(number) if number > 1 else ""]
            text = "_".join(filter(None, parts))
        texts[original] = text
        return text


def _lost(text: str) -> str:
    """Return what is not valid in a text: bytes as hex digits, of JSON the code units."""
    codes = (ord(character) for character in text if "\ud800" <= character <= "\udfff")
    # Python maps the bytes 0x80 to 0xff that are not UTF-8 to U+DC80 to U+DCFF.
    return "".join(
        f"{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"{code:x}" for code in codes
    )
