"""The metrics of pollect itself, made from how its sources and writers fare."""

import sys
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import NamedTuple

from pollect.hints import YES_IS_BAD, YES_IS_GOOD, Panel
from pollect.model import (
    Batch,
    Kind,
    Metric,
    Outcome,
    Reload,
    Sample,
    SourceId,
    SourceStatus,
    WriterStatus,
)
from pollect.version import __version__

SOURCE = SourceId("pollect", "source")
WRITER = SourceId("pollect", "writer")
BUILD = SourceId("pollect", "build")
CONFIG = SourceId("pollect", "config")
#: On Python 3.11 the value of a member costs a call.
_WORDS = {outcome: outcome.value for outcome in Outcome}
#: Among more sources there is nearly always one that was probed between two scrapes.
_MOST_REMEMBERED = 200
_OF_SOURCE = ("collection", "type", "name")
_OF_WRITER = ("writer",)

_UP_OR_DOWN = Panel(states={0: "down", 1: "up"}, good=(1,), bad=(0,))

UP = Metric(
    "up",
    help="Whether the last probe of the source worked.",
    labels=_OF_SOURCE,
    panel=_UP_OR_DOWN,
)
DURATION = Metric(
    "probe_duration_seconds",
    help="Duration of the last probe in seconds.",
    unit="seconds",
    labels=_OF_SOURCE,
)
PROBES = Metric(
    "probes_total",
    help="Probes since the start, by how they ended.",
    kind=Kind.COUNTER,
    labels=(*_OF_SOURCE, "outcome"),
)
LAST_SUCCESS = Metric(
    "last_success_timestamp_seconds",
    help="Unix time in seconds of the last probe that worked.",
    unit="seconds",
    labels=_OF_SOURCE,
)
SKIPPED = Metric(
    "skipped_total",
    help="Ticks skipped because the last probe of the source was still running.",
    kind=Kind.COUNTER,
    labels=_OF_SOURCE,
)
DROPPED = Metric(
    "dropped_samples_total",
    help="Values left out because the source has more series than maxSeries; only if there are.",
    kind=Kind.COUNTER,
    labels=_OF_SOURCE,
    panel=Panel(sometimes=True),
)
TROUBLED = Metric(
    "troubled",
    help="Whether a part of what the source checks fails, while the source itself works.",
    labels=_OF_SOURCE,
    panel=YES_IS_BAD,
)
TROUBLES = Metric(
    "troubles", help="Parts of what the source checks that fail now.", labels=_OF_SOURCE
)
SERIES = Metric("series", help="Series the source has now.", labels=_OF_SOURCE)
WRITER_UP = Metric(
    "up",
    help="Whether the last delivery of the writer worked.",
    labels=_OF_WRITER,
    panel=_UP_OR_DOWN,
)
BUFFERED = Metric(
    "buffered_samples", help="Samples that wait for the writer's target.", labels=_OF_WRITER
)
LOST = Metric(
    "lost_samples_total",
    help="Samples the writer could not deliver and gave up on.",
    kind=Kind.COUNTER,
    labels=_OF_WRITER,
)
WRITTEN = Metric(
    "written_samples_total",
    help="Samples the writer delivered.",
    kind=Kind.COUNTER,
    labels=_OF_WRITER,
)

BUILD_INFO = Metric(
    "info", help="Always 1; the labels name the version.", labels=("version", "python")
)
RELOAD_SUCCESSFUL = Metric(
    "last_reload_successful",
    help="Whether the config was taken up when it was last read.",
    panel=YES_IS_GOOD,
)
RELOAD_TIME = Metric(
    "last_reload_timestamp_seconds",
    help="Unix time in seconds when the config was last read.",
    unit="seconds",
)


class _Metrics(NamedTuple):
    """What is shown of one source."""

    #: In the order of the values that `_describe_source` has for them.
    always: tuple[Metric, ...]
    dropped: Metric
    last_success: Metric
    probes: Metric


def _of_target(metric: Metric) -> Metric:
    """Return the same metric for the targets of an inventory, which have a label more."""
    return Metric(
        metric.name,
        help=metric.help,
        unit=metric.unit,
        kind=metric.kind,
        labels=(*metric.labels, "target"),
    )


_ALWAYS = (UP, TROUBLED, TROUBLES, DURATION, SKIPPED, SERIES)
_PLAIN = _Metrics(_ALWAYS, DROPPED, LAST_SUCCESS, PROBES)
_TARGETED = _Metrics(
    tuple(map(_of_target, _ALWAYS)),
    _of_target(DROPPED),
    _of_target(LAST_SUCCESS),
    _of_target(PROBES),
)


def describe_daemon(reload: Reload, time: float) -> list[Batch]:
    """Return which pollect this is, and what came of its last look at the config."""
    python = ".".join(map(str, sys.version_info[:3]))
    successful = RELOAD_SUCCESSFUL.sample(int(reload.successful))
    return [
        Batch(BUILD, [BUILD_INFO.sample(1, __version__, python)], time),
        Batch(CONFIG, [successful, RELOAD_TIME.sample(reload.time)], time),
    ]


def describe_sources(statuses: Iterable[SourceStatus], time: float) -> Batch:
    """Return the self metrics of sources; those not probed yet are left out."""
    samples: list[Sample] = []
    for status in statuses:
        if status.outcome is not None:
            samples += _describe_source(status)
    return Batch(SOURCE, samples, time)


class SourceMetrics:
    """The self metrics of a few sources, made again only when one of them was probed."""

    def __init__(self) -> None:
        self._last: tuple[list[object], tuple[Sample, ...]] = ([], ())

    def describe(self, statuses: Iterable[SourceStatus], time: float) -> Batch:
        """Return what `describe_sources` does; `samples` is the same tuple while they are."""
        left = iter(statuses)
        few = list(islice(left, _MOST_REMEMBERED + 1))
        if len(few) > _MOST_REMEMBERED:
            return describe_sources(chain(few, left), time)
        shown: list[object] = [_what_is_shown(status) for status in few]
        before, samples = self._last
        if shown != before:
            samples = tuple(describe_sources(few, time).samples)
            self._last = shown, samples
        return Batch(SOURCE, samples, time)


def _what_is_shown(status: SourceStatus) -> object:
    return (
        status.source,
        status.outcome,
        status.trouble_count,
        status.duration_seconds,
        status.skipped,
        status.series,
        status.dropped,
        status.last_success,
        status.probes,
    )


def _describe_source(status: SourceStatus) -> list[Sample]:
    source = status.source
    # Sources that share a name would be one series: number them.
    number = f"#{source.instance + 1}" if source.instance else ""
    labels: tuple[str, ...] = (source.collection, source.type, (source.name or "") + number)
    target = (source.target,) if source.target else ()
    metrics = _TARGETED if target else _PLAIN
    # A scrape waits for this, so the samples are made without the way through their metrics, and
    # those of a source share their labels.
    shared = labels + target
    values = (
        int(status.up),
        int(status.trouble_count > 0),
        status.trouble_count,
        status.duration_seconds or 0.0,
        status.skipped,
        status.series,
    )
    samples = [
        Sample(metric, value, shared)
        for metric, value in zip(metrics.always, values, strict=True)
        # There may be ten thousand targets: what is zero is left out, but whether they are up.
        if value or not target or metric is metrics.always[0]
    ]
    if status.dropped:
        samples.append(Sample(metrics.dropped, status.dropped, shared))
    if status.last_success is not None:
        samples.append(Sample(metrics.last_success, status.last_success, shared))
    samples += [
        Sample(metrics.probes, count, (*labels, _WORDS[outcome], *target))
        for outcome, count in status.probes.items()
        if count or not target
    ]
    return samples


def describe_writers(statuses: Sequence[WriterStatus], time: float) -> Batch:
    """Return the self metrics of writers."""
    samples: list[Sample] = []
    for status in statuses:
        samples.append(WRITER_UP.sample(int(status.up), status.writer))
        samples.append(BUFFERED.sample(status.buffered_samples, status.writer))
        samples.append(LOST.sample(status.lost_samples, status.writer))
        samples.append(WRITTEN.sample(status.written_samples, status.writer))
    return Batch(WRITER, samples, time)
