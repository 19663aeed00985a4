"""A day of Viessmann at the default tick, in the engine, on a clock of the test."""

import bisect
import gc
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pollect.api import Outcome, SourceStatus
from pollect.engine.engine import Engine
from pollect.support.quota import describe_budgets
from pollect.testing import FakeClock, build_source, wait_until
from pollect_sources_home.viessmann.source import ViessmannSource
from tests.core.engine.rig import RecordingWriter, plan_of, recording
from tests.simulators.viessmann import Viessmann

TICK_SECONDS = 10
HOUR = 3600
DAY = 24 * HOUR
#: Noon of a day that starts with it, as the service counts days.
MIDNIGHT = 1_699_920_000.0
BLOCK_HOURS = 2
#: What the last values live without new ones: 2.5 intervals, noticed at the next tick.
FRESH_SECONDS = 30
PATIENCE_SECONDS = 40.0


class Daemon:
    """An engine with one source, as one process has it."""

    def __init__(self, cloud: Viessmann, folder: Path, clock: FakeClock) -> None:
        self.clock = clock
        source = build_source(cloud.options, ViessmannSource, clock=clock, state_dir=folder)
        self.writer: RecordingWriter = recording()
        plan = plan_of([source], [self.writer], interval=TICK_SECONDS)
        self._engine = Engine(plan, clock=clock)
        self._probes = 0
        self._engine.start()
        self._await_probe()

    @property
    def status(self) -> SourceStatus:
        (status,) = self._engine.source_statuses()
        return status

    @property
    def series(self) -> int:
        """How many values a reader would see now."""
        return len(self.writer.calls[-1][-1]) if self.writer.calls else 0

    def tick(self) -> None:
        self.clock.advance(TICK_SECONDS)
        self._await_probe()

    def await_series(self, *, there: bool) -> None:
        """Wait for what the tick led to; what is too old goes in a thread of its own."""
        wait_until(lambda: (self.series > 20) is there, "the values, or their end")

    def stop(self) -> None:
        self._engine.stop()

    def _await_probe(self) -> None:
        self._probes += 1
        end = time.monotonic() + PATIENCE_SECONDS
        # A tick finds the last probe running if its end is not noted yet; it counts as skipped.
        while sum((status := self.status).probes.values()) + status.skipped < self._probes:
            assert time.monotonic() < end, "waited in vain for the probe"
            time.sleep(0.0002)  # `wait_until` takes longer, and there are 8640 of them
        # A scheduler that is still at this tick when the clock moves would skip the next one.
        while not self.clock.waited_for:
            assert time.monotonic() < end, "the scheduler does not come to rest"
            time.sleep(0.0002)


def remaining() -> dict[str, float]:
    found: dict[str, float] = {}
    for batch in describe_budgets():
        for sample in batch.samples:
            if sample.metric.name == "remaining" and sample.label_values[0] == "Viessmann":
                found[sample.label_values[2]] = sample.value
    return found


def calls_since(cloud: Viessmann, moment: float) -> int:
    return sum(call >= moment for call in reversed(cloud.calls[-150:]))


def most_in(calls: list[float], seconds: float) -> int:
    """Return the most calls in any window of that length."""
    return max(
        bisect.bisect_left(calls, begin + seconds) - number for number, begin in enumerate(calls)
    )


@pytest.fixture
def silent_log() -> Iterator[None]:
    """Keep no records: their errors would keep a source alive that was thrown away."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.timeout(300)
def test_a_day_with_a_block_at_noon_and_a_restart(tmp_path: Path, silent_log: None) -> None:
    gc.collect()
    clock = FakeClock(time=MIDNIGHT)
    with Viessmann(clock=clock.time) as cloud:
        (tmp_path / "viessmann_token.json").write_text(cloud.token_text(expires_at=MIDNIGHT + HOUR))
        (tmp_path / "viessmann_token.json").chmod(0o600)
        daemon: Any = Daemon(cloud, tmp_path, clock)
        noon, block_ends = MIDNIGHT + DAY / 2, MIDNIGHT + DAY / 2 + BLOCK_HOURS * HOUR
        blocked_calls = 0
        while (now := clock.time()) < MIDNIGHT + DAY:
            if now == noon:
                cloud.blocked_until = block_ends
                blocked_calls = len(cloud.calls)
            if now == MIDNIGHT + 18 * HOUR:
                before = remaining()
                daemon.stop()
                daemon = None
                # Nothing is left but the files, as in a new process.
                wait_until(lambda: gc.collect() >= 0 and not remaining(), "the end of the source")
                daemon = Daemon(cloud, tmp_path, clock)
                # The list of devices and their values.
                assert remaining() == {
                    "86400": before["86400"] - 2,
                    "600": before["600"] - 2,
                }
            in_block = noon <= now < block_ends
            if in_block and now > noon + 90 + FRESH_SECONDS:
                assert not daemon.status.up
                assert "refuses calls of this account until" in daemon.status.reason
                daemon.await_series(there=False)
                assert remaining() == {"86400": 0, "600": 0}
                assert len(cloud.calls) == blocked_calls + 1
            elif not in_block and not block_ends <= now < block_ends + 180:
                assert daemon.status.outcome is Outcome.OK
                daemon.await_series(there=True)
                assert remaining()["86400"] == 1450 - len(cloud.calls)
                # A window is counted in parts; one that ends within it counts as a whole.
                used = 120 - remaining()["600"]
                assert calls_since(cloud, now - 599) <= used <= calls_since(cloud, now - 610)
            daemon.tick()
        daemon.stop()
    assert most_in(cloud.calls, DAY) <= 1450
    assert most_in(cloud.calls, 600) <= 120
    # 40 an hour but for the block, and not much less.
    assert len(cloud.calls) == pytest.approx(40 * (24 - BLOCK_HOURS), abs=12)
