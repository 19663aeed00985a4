"""What every source promises."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pollect.errors import BadResponse, NoData, ProbeError, TargetUnavailable
from pollect.model import Sample
from pollect.plugin import Roots, Source
from pollect.testing.build import build_source, installed_types
from pollect.testing.clock import FakeClock
from pollect.testing.contract.case import Case, Options
from pollect.testing.contract.classes import (
    check_hidden,
    demand,
    secrets_in,
)
from pollect.testing.contract.promises import (
    exemptible,
    import_is_light,
    options_are_described,
    unknown_options_are_refused,
)
from pollect.testing.contract.running import Running, expect_error, remembered_log
from pollect.testing.contract.targets import (
    absent,
    rubbish,
    silent,
    stalling,
    trickling,
)
from pollect.testing.leaks import no_leaks

#: Real seconds until the first values of a good target, on a busy machine.
LONGEST_WAIT_SECONDS = 60.0
#: Real seconds between two tries to get values.
PAUSE_SECONDS = 0.02
#: What a source may take beyond its own deadline on a busy machine.
SLACK_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class SourceCase(Case):
    """One source, and how to put it to the test."""

    #: The class, for one that no installed plugin registers.
    source_type: type[Source[Any]] | None = None
    roots: Roots = field(default_factory=Roots)
    interval: float = 10.0

    @property
    def plugin(self) -> type[Source[Any]]:
        """The class under test."""
        return self.source_type or installed_types().source_type(self.section["type"])

    def build(self, options: Options | None = None) -> tuple[Source[Any], FakeClock]:
        """Return the source and its clock; `options` come on top of the section."""
        clock = FakeClock()
        source = build_source(
            {**self.section, **(options or {})},
            self.plugin,
            interval=self.interval,
            clock=clock,
            roots=self.roots,
        )
        return source, clock


def metrics_are_described(case: SourceCase) -> None:
    """Every declared metric has a help text that is a sentence, and is declared once."""
    metrics = case.plugin.metrics
    demand(
        metrics or case.plugin.dynamic_metrics,
        "declares no metrics: fill `metrics`, or set dynamic_metrics = True",
    )
    series = [(metric.name, metric.labels) for metric in metrics]
    for metric in metrics:
        demand(metric.help.endswith("."), f"help of metric {metric.name}: expected a sentence")
        twice = series.count((metric.name, metric.labels)) > 1
        demand(not twice, f"metric {metric.name} is declared twice with the same labels")


def samples_are_declared(case: SourceCase) -> None:
    """What a working target brings is declared, finite, labelled with text, and never double."""
    with case.working() as options, no_leaks():
        source, clock = case.build(options)
        with Running(source) as running:
            samples = _first_samples(running, clock, case.interval)
            _check_samples(source, samples)
            clock.advance(case.interval)
            with_history = _try_probe(running)
            _check_samples(source, with_history)


def target_absent(case: SourceCase) -> None:
    """A target that refuses connections is `TargetUnavailable`, in time."""
    with absent(case.protocol) as place:
        _check_failure(case, case.at_target(*place), TargetUnavailable, "an absent target")


def target_silent(case: SourceCase) -> None:
    """A target that never answers is `TargetUnavailable`, in time."""
    with silent(case.protocol) as place:
        _check_failure(case, case.at_target(*place), TargetUnavailable, "a silent target")


def target_stalls(case: SourceCase) -> None:
    """A target that falls silent in the middle of an answer is a `ProbeError`, in time."""
    if case.protocol == "udp":
        return  # a datagram comes whole or not at all
    with stalling(case.protocol) as place:
        _check_failure(case, case.at_target(*place), ProbeError, "a target that stalls")


def target_trickles(case: SourceCase) -> None:
    """A target that sends a byte now and then is a `ProbeError`, in time.

    Not among `SOURCE_PROMISES`: libraries that limit single reads only cannot keep it, and the
    engine's deadline is there for them.
    """
    if case.protocol == "udp":
        return
    with trickling(case.protocol) as place:
        _check_failure(case, case.at_target(*place), ProbeError, "a target that trickles")


def target_talks_rubbish(case: SourceCase) -> None:
    """A target that makes no sense is a `ProbeError`, a strange page by HTTP a `BadResponse`."""
    expected = BadResponse if case.protocol == "http" else ProbeError
    with rubbish(case.protocol) as place:
        options = case.at_target(*place)
        if case.protocol == "http":  # it answers at once, and has to be understood
            options = {**case.patience, **options}
        _check_failure(case, options, expected, "a target that talks rubbish")


def close_leaves_nothing(case: SourceCase) -> None:
    """`close()` works before `open()`, twice, and after a failure; no thread or socket is left."""
    with no_leaks():
        source, _ = case.build()
        for _ in range(2):
            with Running(source):
                pass
    with case.working() as options, no_leaks():
        source, _ = case.build(options)
        with Running(source) as running:
            _try_probe(running)
            running.close()
    if case.at is not None:
        with absent(case.protocol) as place, no_leaks():
            source, _ = case.build(case.at(*place))
            with Running(source) as running:
                _try_probe(running)
                running.close()


def secrets_stay_hidden(case: SourceCase) -> None:
    """No secret of the config stands in a repr, a log line or an error, working or not."""
    config = case.build()[0].config
    secrets = [text for text in secrets_in(config) if text]
    if not secrets:
        return
    errors: list[str] = []
    with remembered_log() as lines, ExitStack() as stack:
        places = [stack.enter_context(case.working())]
        if case.at is not None:
            broken = (stack.enter_context(start(case.protocol)) for start in (absent, rubbish))
            places += [case.at(*place) for place in broken]
        for options in places:
            source, _ = case.build(options)
            with Running(source) as running:
                _try_probe(running, errors)
    texts = {"repr(config)": repr(config), "repr(source)": repr(source)}
    check_hidden(secrets, {**texts, "the log": "\n".join(lines), "an error": "\n".join(errors)})


Promise: TypeAlias = Callable[[SourceCase], None]

#: Every promise of a source, as a function of a `SourceCase`.
SOURCE_PROMISES: tuple[Promise, ...] = exemptible(
    import_is_light,
    unknown_options_are_refused,
    options_are_described,
    metrics_are_described,
    samples_are_declared,
    target_absent,
    target_silent,
    target_stalls,
    target_talks_rubbish,
    close_leaves_nothing,
    secrets_stay_hidden,
)


def _first_samples(running: Running, clock: FakeClock, interval: float) -> list[Sample]:
    """Probe until there are values: a push source needs input first, a rate two probes."""
    end = time.monotonic() + LONGEST_WAIT_SECONDS
    reason = "it returned no samples"
    while time.monotonic() < end:
        try:
            samples = running.probe()
        except (NoData, ProbeError) as error:
            reason = f"{type(error).__name__}: {error}"
        else:
            if samples:
                return samples
        clock.advance(interval)
        time.sleep(PAUSE_SECONDS)
    raise AssertionError(
        f"a working target brought nothing in {LONGEST_WAIT_SECONDS:g} s: {reason}"
    )


def _try_probe(running: Running, errors: list[str] | None = None) -> list[Sample]:
    try:
        return running.probe()
    except (NoData, ProbeError) as error:
        if errors is not None:
            errors += [str(error), repr(error), repr(error.__cause__)]
        return []


def _check_samples(source: Source[Any], samples: Sequence[Sample]) -> None:
    expected = source.expected_metrics()
    declared = source.metrics if expected is None else expected
    seen = set()
    for sample in samples:
        demand(isinstance(sample, Sample), f"probe returned {sample!r:.80}, expected samples")
        metric = sample.metric
        name = metric.name or "(without a name)"
        demand(
            source.dynamic_metrics or metric in declared,
            f"metric {name} is emitted but not declared; declared are "
            f"{', '.join(str(known.name) for known in declared)}",
        )
        demand(
            isinstance(sample.value, int | float) and math.isfinite(sample.value),
            f"value of {name} is {sample.value!r}, expected a finite number",
        )
        demand(
            len(sample.label_values) == len(metric.labels)
            and all(isinstance(text, str) for text in sample.label_values),
            f"label values of {name} are {sample.label_values!r} for labels {metric.labels!r}",
        )
        series = (metric.name, metric.labels, sample.label_values)
        demand(series not in seen, f"{name} with labels {sample.label_values!r} is emitted twice")
        seen.add(series)


def _check_failure(
    case: SourceCase, options: Options, expected: type[ProbeError], what: str
) -> None:
    """Probe a target that does not work until the source says so."""
    source, clock = case.build(options)
    limit = source.deadline_seconds() + SLACK_SECONDS
    end = time.monotonic() + limit

    def probe_until_it_fails() -> None:
        with Running(source) as running:
            while time.monotonic() < end:
                try:
                    samples = running.probe()
                except NoData:
                    samples = []
                demand(not samples, f"{what}: got values, expected {expected.__name__}")
                clock.advance(case.interval)
                time.sleep(PAUSE_SECONDS)

    with no_leaks():
        expect_error(probe_until_it_fails, expected, limit + SLACK_SECONDS, what)
