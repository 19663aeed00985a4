import asyncio
import logging
import time
from collections.abc import Callable, Coroutine

import pytest

from pollect.api import AuthenticationFailed, Metric, SourceConfig, TargetUnavailable
from pollect.support.async_background import AsyncBackground, AsyncBackgroundSource
from pollect.support.backoff import Backoff
from pollect.testing import FakeClock, Running, build_source, no_leaks
from pollect.testing.waiting import wait_until

LOG = logging.getLogger("test.background")


class Line:
    """A connection whose attempts each do the next thing of a list: fail, work, hang up."""

    def __init__(self, *script: BaseException | str, silence: float | None = None) -> None:
        self.script = list(script)
        self.attempts = 0
        self.stubborn = 0
        self.clock = FakeClock()
        self.pauses: list[float] = []
        line = self

        class Watched(Backoff):
            def pause(self) -> float:
                line.pauses.append(super().pause())
                return 0.001

        self.background = AsyncBackground(
            self.work,
            log=LOG,
            clock=self.clock,
            backoff=Watched(),
            silence_seconds=silence,
            log_failures=False,
        )

    async def work(self) -> None:
        step = self.script.pop(0) if self.script else "listen"
        self.attempts += 1
        match step:
            case BaseException():
                raise step
            case "listen":
                self.background.works()
                await asyncio.sleep(30)
            case "hang up":
                self.background.works()
            case "mute":
                await asyncio.sleep(30)
            case "live":
                self.background.works()
                self.clock.advance(61)
            case "swallow":
                try:
                    await asyncio.sleep(30)
                except asyncio.CancelledError:
                    self.stubborn += 1

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.001)


def run(line: Line, scenario: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run a scenario with the work of a line, on a loop of its own."""

    async def with_work() -> None:
        line.background.start()
        line.background.start()
        try:
            await scenario()
        finally:
            async with asyncio.timeout(30):
                await line.background.stop()
                await line.background.stop()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(with_work())


@pytest.mark.parametrize(
    "error",
    [KeyError("x"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), TimeoutError()],
)
def test_whatever_the_work_raises_it_goes_on(error: BaseException) -> None:
    line = Line(error, error)

    async def scenario() -> None:
        with pytest.raises(TargetUnavailable):
            await line.background.check(patience_seconds=30)
        await line.until(lambda: line.attempts == 3)
        await line.background.check()

    run(line, scenario)


def test_an_unexpected_error_is_reported_once_with_its_traceback(caplog) -> None:
    line = Line(KeyError("x"), KeyError("x"))

    async def scenario() -> None:
        await line.until(lambda: line.attempts == 3)

    run(line, scenario)
    assert [(record.levelname, bool(record.exc_info)) for record in caplog.records] == [
        ("ERROR", True)
    ]


def test_pauses_grow_for_a_peer_that_hangs_up_and_shrink_after_a_minute_that_worked() -> None:
    line = Line(*["hang up"] * 7, "live", "hang up")

    async def scenario() -> None:
        await line.until(lambda: line.attempts == 10)

    run(line, scenario)
    assert line.pauses[:7] == sorted(line.pauses[:7])
    assert 50 <= line.pauses[6] <= 60
    assert line.pauses[7] <= 1


def test_refused_credentials_wait_for_the_longest_pause_at_once() -> None:
    line = Line(AuthenticationFailed("wrong key"))

    async def scenario() -> None:
        with pytest.raises(AuthenticationFailed, match="wrong key"):
            await line.background.check(patience_seconds=30)
        await line.until(lambda: line.attempts == 2)

    run(line, scenario)
    assert line.pauses[0] >= 50


def test_a_silent_peer_is_noticed_and_connected_to_again() -> None:
    line = Line(silence=0.05)
    reasons = []

    async def scenario() -> None:
        spoke, longest = time.monotonic(), 0.0
        await line.until(lambda: line.attempts >= 1)
        for _ in range(10):
            await asyncio.sleep(0.02)
            line.background.works()
            longest = max(longest, time.monotonic() - spoke)
            spoke = time.monotonic()
        attempts = line.attempts
        # A machine that is busy may be silent for that long itself.
        assert attempts == 1 or longest > 0.05
        line.script.append("mute")
        await line.until(lambda: line.attempts > attempts)
        with pytest.raises(TargetUnavailable) as raised:
            await line.background.check()
        reasons.append(str(raised.value))

    run(line, scenario)
    assert reasons == ["silent for 0.05 s, connecting again"]


def test_a_peer_that_speaks_just_as_it_is_given_up_on_is_no_mistake() -> None:
    line = Line(silence=0.05)

    async def scenario() -> None:
        await line.until(lambda: line.attempts == 1)
        time.sleep(0.1)  # longer than the limit
        await asyncio.sleep(0)  # behind this turn of the loop it expires,
        await asyncio.sleep(0)  # and before the next one ends its work the news comes
        line.background.works()
        await line.until(lambda: line.attempts == 2)

    run(line, scenario)


def test_stop_returns_at_once_even_in_a_long_pause_and_if_work_swallows_it() -> None:
    for step in ("swallow", "listen", TargetUnavailable("away")):
        line = Line(step)
        if isinstance(step, Exception):
            line.background._state._backoff = Backoff(first=30)

        async def scenario(line: Line = line) -> None:
            await line.until(lambda: line.attempts == 1)
            await asyncio.sleep(0.01)

        run(line, scenario)


LEVEL = Metric("level", help="Level.")


class BellSource(AsyncBackgroundSource[SourceConfig]):
    """A device that says its level when asked for it."""

    config_type = SourceConfig
    metrics = (LEVEL,)

    async def open(self) -> None:
        self.ended, self.loop = asyncio.Event(), asyncio.get_running_loop()
        await super().open()

    async def receive(self) -> None:
        self.background.works()
        await self.ended.wait()

    def latest(self) -> dict[str, float]:
        return {"level": 1.0}


def test_a_background_source_reports_its_values_and_then_why_there_are_none() -> None:
    source = build_source({}, BellSource)
    assert isinstance(source, BellSource)
    with no_leaks(), Running(source) as running:
        assert running.probe() == [LEVEL.sample(1.0)]
        source.loop.call_soon_threadsafe(source.ended.set)

        def is_down() -> bool:
            try:
                running.probe()
            except TargetUnavailable as error:
                return "the device closed the connection" in str(error)
            return False

        wait_until(is_down)
