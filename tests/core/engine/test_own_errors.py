"""Errors and traits that a plugin made its own way cost the plugin, never what is around it."""

import itertools
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pollect.api import Batch, NoData, Outcome, ProbeError
from pollect.engine.engine import Engine
from pollect.engine.guard import MOST_PAUSES
from pollect.testing.waiting import wait_until
from tests.core.engine.rig import (
    MergingWriter,
    RecordingWriter,
    plan_of,
    recording,
    scripted,
)

Run = Callable[..., Engine]


class Bare(ProbeError):
    """As people write errors: the constructor of the base is not called."""

    def __init__(self, host: str) -> None:
        self.host = host


class BareNoData(NoData):
    def __init__(self) -> None:
        pass


class Sly(ProbeError):
    @property
    def retry_in(self) -> float:
        raise SystemExit(3)

    @retry_in.setter
    def retry_in(self, value: object) -> None:
        pass


class SlyNoData(NoData):
    @property
    def withdraw(self) -> bool:
        raise SystemExit(3)

    @withdraw.setter
    def withdraw(self, value: object) -> None:
        pass


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Bare("a"), Outcome.FAILED),
        (BareNoData(), Outcome.NO_DATA),
        (Sly(), Outcome.FAILED),
        (SlyNoData(), Outcome.BUG),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_of_a_plugin_s_own_making_is_an_outcome_like_others(
    run: Run, error: Exception, outcome: Outcome
) -> None:
    def probe() -> Any:
        raise error

    source, other, merging = scripted(probe), scripted(name="other"), recording(MergingWriter)
    engine = run(plan_of([source, other], [merging], interval=0.02))
    wait_until(lambda: engine.source_statuses()[0].outcome is outcome)
    # Its tick ended: writers that take all of a tick together do not wait for it.
    written = len(merging.batches)
    wait_until(lambda: len(merging.batches) > written + 2)


def test_troubles_that_cannot_be_read_are_a_mistake_in_the_source(run: Run) -> None:
    def probe() -> Any:
        raise NoData("nothing now")

    source = scripted(probe)
    source.troubles.texts = lambda: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    source.troubles.failed("part", "is broken")
    engine = run(plan_of([source], interval=0.02))
    wait_until(lambda: engine.source_statuses()[0].outcome is Outcome.BUG)


def test_pauses_without_end_are_cut(run: Run) -> None:
    source = scripted()
    source.retry_after = itertools.repeat(1.0)  # type: ignore[misc, assignment]
    engine = run(plan_of([source], interval=0.02))
    wait_until(lambda: len(source.starts) > 2)
    (runner,) = engine._runners()
    assert len(runner.guard.retry_after) == MOST_PAUSES


class Remote(RecordingWriter):
    in_process = False


class SelfRemote(Remote):
    @property
    def self_metrics(self) -> bool:  # type: ignore[override]
        raise SystemExit(3)


class OddRemote(Remote):
    @property
    def in_process(self) -> bool:  # type: ignore[override]
        raise SystemExit(3)

    @property
    def latest_only(self) -> bool:  # type: ignore[override]
        raise SystemExit(3)


@pytest.mark.parametrize("kind", [SelfRemote, OddRemote])
def test_a_writer_with_a_trait_that_cannot_be_read_delivers(
    run: Run, kind: type[RecordingWriter], caplog
) -> None:
    writer = recording(kind)
    run(plan_of([scripted()], [writer], interval=0.02, tick_time=0.02))
    wait_until(lambda: len(writer.batches) > 10)
    asked_at_every_tick = [each for each in caplog.messages if "self_metrics failed" in each]
    assert len(asked_at_every_tick) == (kind is SelfRemote)


class Chatty(RecordingWriter):
    """Has a `log` of its own, and fails."""

    def write(self, batches: Sequence[Batch]) -> None:
        super().write(batches)
        raise ValueError("cannot write")


class ChattyRemote(Chatty):
    in_process = False


@pytest.mark.parametrize("kind", [Chatty, ChattyRemote])
def test_a_writer_whose_log_is_something_else_goes_on_and_tells_the_truth(
    run: Run, kind: type[RecordingWriter], caplog
) -> None:
    writer = recording(kind)
    writer.log = []  # type: ignore[assignment]
    engine = run(plan_of([scripted()], [writer], interval=0.02))
    wait_until(lambda: len(writer.calls) > 3)
    wait_until(lambda: "cannot write" in engine.writer_statuses()[0].reason)
    engine.stop()
    assert writer.closed == 1
    assert logging.getLogger(writer.context.name).name in {each.name for each in caplog.records}


@pytest.mark.parametrize("name", ["config", "context"])
def test_what_pollect_gave_takes_nothing_else(name: str) -> None:
    for plugin in (scripted(), recording()):
        before = getattr(plugin, name)
        with pytest.raises(TypeError, match=rf"^self.{name} is pollect's: .*; use another name$"):
            setattr(plugin, name, {})
        assert getattr(plugin, name) is before
        setattr(plugin, name, before)


def test_a_source_that_uses_the_name_of_its_context_is_down_and_stays_reloadable(
    run: Run,
) -> None:
    source, other = scripted(), scripted(name="other")
    source.opening = lambda: setattr(source, "context", object())
    engine = run(plan_of([source, other], interval=0.02))
    wait_until(lambda: "use another name" in engine.source_statuses()[0].reason)
    engine.replace(plan_of([source, other], interval=0.03))
    wait_until(lambda: len(engine.source_statuses()) == 2)
