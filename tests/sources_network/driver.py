"""Drives a source as the engine does, for tests that look at its series."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from pollect.api import Clock, NoData, ProbeError, Sample, Source, TargetUnavailable
from pollect.support.connect import SharedLimit
from pollect.testing import build_source
from pollect.testing.contract.running import Running
from pollect.testing.waiting import wait_until


class OpenSource:
    """An opened source, whose coroutines, if it has any, run on one event loop."""

    def __init__(self, source: Source[Any], running: Running) -> None:
        self.source = source
        self._running = running

    def samples(self) -> list[Sample]:
        return self._running.probe()

    def series(self) -> dict[str, float]:
        """Return the values of one probe by `name{label="value"}`."""
        return series_of(self.samples())

    def series_at_last(self) -> dict[str, float]:
        """Return the values of the first probe that has an answer in time.

        On a busy machine a working peer may take longer than the timeout of a test for silent ones.
        """

        def answered() -> dict[str, float]:
            with suppress(TargetUnavailable):
                return self.series()
            return {}

        return wait_until(answered, "an answer in time")


def failure_at_last(running: Running) -> Exception:
    """Return why a probe fails, once connecting came to an end; on a busy machine it takes time."""

    def failure() -> Exception | None:
        with pytest.raises((NoData, ProbeError)) as raised:
            running.probe()
        return None if "no answer yet" in str(raised.value) else raised.value

    error = wait_until(failure, "the end of connecting")
    assert error is not None
    return error


def patience_for(error: type[ProbeError]) -> float:
    """Return a timeout in seconds for a peer that breaks.

    Short where only that ends the probe. What answers has to be understood, and on a busy machine
    it may take a while.
    """
    return 0.3 if error is TargetUnavailable else 30.0


def limit_answers(limit: SharedLimit, seconds: float) -> None:
    """Change the time for one answer of a source that has connected at leisure.

    With a short time from the start it would depend on the machine whether a working peer answers.
    """
    limit._answer_seconds = seconds


@contextmanager
def opened(
    section: Mapping[str, Any], source_type: type[Source[Any]], *, clock: Clock | None = None
) -> Iterator[OpenSource]:
    """Yield the opened source of a section; closes it in the end."""
    source = build_source(section, source_type, clock=clock)
    with Running(source) as running:
        running.open()
        yield OpenSource(source, running)
        running.close()


def series_of(samples: list[Sample]) -> dict[str, float]:
    found: dict[str, float] = {}
    for sample in samples:
        pairs = zip(sample.metric.labels, sample.label_values, strict=True)
        labels = ",".join(f'{name}="{value}"' for name, value in pairs)
        key = f"{sample.metric.name or ''}{{{labels}}}" if labels else sample.metric.name or ""
        assert key not in found, f"{key} twice"
        found[key] = sample.value
    return found
