"""A source that knows when another try is worthwhile gets it before its next tick."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pollect.api import Outcome, ProbeError, TargetUnavailable
from pollect.engine.engine import Engine
from pollect.testing import FakeClock
from pollect.testing.waiting import wait_until
from tests.core.engine.rig import ScriptedSource, plan_of, scripted

Run = Callable[..., Engine]
START = 1000.0


class Probed:
    """A source whose answers a test lists, and the times at which it was probed."""

    def __init__(self, run: Run, answers: Sequence[object], **traits: Any) -> None:
        self.clock = FakeClock(monotonic=START)
        self.source: ScriptedSource = scripted(clock=self.clock)
        for name, value in traits.items():
            setattr(self.source, name, value)
        self._answers = list(answers)
        self.source.script = self._answer
        self._engine = run(plan_of([self.source], interval=3600), clock=self.clock)
        self.settle(1)

    def _answer(self) -> object:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def settle(self, probes: int) -> None:
        """Wait until that many probes ended and the scheduler waits again."""
        wait_until(
            lambda: (
                sum(self._engine.source_statuses()[0].probes.values()) == probes
                and self.clock.waited_for
            )
        )

    def pass_time(self, seconds: float, probes: int) -> None:
        self.clock.advance(seconds)
        self.settle(probes)

    @property
    def times(self) -> list[float]:
        return [start - START for start in self.source.starts]


def test_the_error_says_when_to_try_again(run: Run) -> None:
    probed = Probed(run, [ProbeError("restarting", retry_in=30), 1.0])
    probed.pass_time(29, 1)
    probed.pass_time(1, 2)
    probed.pass_time(3000, 2)
    assert probed.times == [0, 30]


def test_pauses_follow_the_failures_in_a_row_and_the_last_one_repeats(run: Run) -> None:
    away = TargetUnavailable("away")
    probed = Probed(run, [away, away, away, away, 1.0, away], retry_after=(10, 60))
    for seconds, probes in ((9, 1), (1, 2), (59, 2), (1, 3), (59, 3), (1, 4), (60, 5)):
        probed.pass_time(seconds, probes)
    assert probed.times == [0, 10, 70, 130, 190]
    probed.pass_time(3600 - 190, 6)
    probed.pass_time(10, 7)
    assert probed.times[-2:] == [3600, 3610], "a probe that worked starts over"


def test_the_error_goes_before_the_pauses_of_the_class(run: Run) -> None:
    probed = Probed(run, [ProbeError("busy", retry_in=5), 1.0], retry_after=(60,))
    probed.pass_time(5, 2)
    assert probed.times == [0, 5]


def test_a_try_later_than_the_next_tick_is_left_to_the_tick(run: Run) -> None:
    probed = Probed(run, [ProbeError("closed until noon", retry_in=7200), 1.0])
    assert probed._engine.source_statuses()[0].next_probe == probed.clock.time() + 3600
    probed.pass_time(3600, 2)
    probed.pass_time(3599, 2)
    assert probed.times == [0, 3600]


def test_a_failed_open_is_tried_again_when_the_source_says(run: Run) -> None:
    errors = [TargetUnavailable("booting", retry_in=0.5)]

    def opening() -> None:
        if errors:
            raise errors.pop()

    probed = Probed(run, [1.0], opening=opening)
    probed.pass_time(0.5, 2)
    assert probed.times == [0.5]


@pytest.mark.parametrize("nonsense", [float("nan"), float("inf"), -1, "soon", None])
def test_a_senseless_pause_is_no_pause(run: Run, nonsense: Any) -> None:
    probed = Probed(run, [ProbeError("away", retry_in=nonsense), 1.0])
    probed.pass_time(3599, 1)
    probed.pass_time(1, 2)


def test_an_instant_retry_waits_a_moment_so_that_nothing_spins(run: Run) -> None:
    probed = Probed(run, [ProbeError("away", retry_in=0), 1.0])
    probed.pass_time(0.09, 1)
    probed.pass_time(0.02, 2)


def test_a_regular_tick_replaces_the_retry(run: Run) -> None:
    away = ProbeError("away", retry_in=3599)
    probed = Probed(run, [away, away, 1.0])
    probed.pass_time(3599, 2)
    probed.pass_time(1, 3)
    assert probed.source.starts[-1] - START == 3600
    probed.pass_time(3598.5, 3)


def test_only_failures_are_tried_again(run: Run) -> None:
    probed = Probed(run, [None, 1.0], retry_after=(1,))
    probed.pass_time(100, 1)
    assert probed._engine.source_statuses()[0].outcome is Outcome.NO_DATA
