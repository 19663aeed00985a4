"""One source on its own, as `pollect probe` and the tests of authors see it."""

import asyncio
from typing import Any

import pytest

from pollect.api import Metric, Outcome, Source, SourceConfig, TargetUnavailable
from pollect.engine.plan import SourcePlan
from pollect.engine.single import SingleSource
from pollect.testing import Running, build_source

NUMBER = Metric("number", help="Counts up.")


def single(kind: type[Source[Any]]) -> SingleSource:
    source = build_source({}, kind)
    return SingleSource(SourcePlan(source=source, interval=10.0), source.context.clock)


class Ticking(Source[SourceConfig]):
    """Counts on the event loop between its probes."""

    config_type = SourceConfig
    metrics = (NUMBER,)

    async def open(self) -> None:
        self.counted = asyncio.Event()
        self.task = asyncio.create_task(self._count())

    async def _count(self) -> None:
        await asyncio.sleep(0)
        self.counted.set()

    async def probe(self) -> float:
        await asyncio.wait_for(self.counted.wait(), 30)
        return 7.0

    async def close(self) -> None:
        self.task.cancel()


def test_asynchronous_source_lives_on_one_loop_until_it_is_stopped() -> None:
    source = single(Ticking)
    try:
        assert [source.probe().samples[0].value for _ in range(2)] == [7.0, 7.0]
        assert source.close() is None
        assert source.probe().outcome is Outcome.OK
    finally:
        source.close()
        source.stop()


class HalfAsync(Source[SourceConfig]):
    """Forgot that its probe has to be a coroutine function as well."""

    config_type = SourceConfig
    metrics = (NUMBER,)

    async def open(self) -> None:
        raise AssertionError("never called")

    def probe(self) -> float:
        return 1.0

    async def close(self) -> None:
        raise AssertionError("never called")


def test_coroutines_of_a_plain_source_are_a_bug_that_is_named_instead_of_never_running() -> None:
    source = single(HalfAsync)
    result = source.probe()
    assert result.outcome is Outcome.BUG
    assert "only if probe is one" in str(result.error)
    assert isinstance(source.close(), TypeError)


class Unreachable(Source[SourceConfig]):
    config_type = SourceConfig
    metrics = (NUMBER,)
    attempts = 0

    def open(self) -> None:
        self.attempts += 1
        if self.attempts == 1:
            raise TargetUnavailable("not yet")

    def probe(self) -> list[Any]:
        return [NUMBER.sample(float("nan")), NUMBER.sample(True)]

    def close(self) -> None:
        raise OSError("cannot")


def test_authors_see_what_the_source_raises_and_returns() -> None:
    running = Running(build_source({}, Unreachable))
    with pytest.raises(TargetUnavailable, match="not yet"):
        running.probe()
    first, second = running.probe()
    assert first.value != first.value, "not left out, as in a daemon"
    assert second.value is True
    with pytest.raises(OSError, match="cannot"):
        running.close()
