"""Several daemons share the sources of one config: each probes what it owns."""

import time

from pollect.api import Outcome, SourceId
from pollect.engine.clock import SystemClock
from pollect.engine.engine import Engine
from pollect.engine.plan import Plan
from pollect.testing.waiting import wait_until
from tests.core.engine.rig import Gate, plan_of, recording, scripted


class Owned:
    """Says who owns what, as a test decides."""

    def __init__(self, **epochs: object) -> None:
        self.epochs = epochs
        #: When the owner before stopped, in Unix time.
        self.stops: dict[str, float] = {}

    def owned(self, source: SourceId) -> object | None:
        return self.epochs.get(source.name or "")

    def since(self, source: SourceId) -> float | None:
        return self.stops.get(source.name or "")


class MiddleOfAnHour(SystemClock):
    """It is a quarter past the hour, so the last tick of an hour was then and is not near."""

    def __init__(self) -> None:
        self._offset = 1_699_999_200 + 900 - time.monotonic()

    def time(self) -> float:
        return self._offset + time.monotonic()


def start(plan: Plan, ownership: object) -> Engine:
    engine = Engine(plan, clock=SystemClock(), ownership=ownership)  # type: ignore[arg-type]
    engine.start()
    return engine


def test_only_owned_sources_are_probed_and_shown() -> None:
    ours, theirs, writer = scripted(name="ours"), scripted(name="theirs"), recording()
    plan = plan_of([ours, theirs], [writer], interval=0.02)
    engine = start(plan, Owned(ours=1))
    try:
        wait_until(lambda: len(ours.starts) > 3)
        assert not theirs.starts
        assert plan.ready.wait(30), "the engine does not wait for a source that another daemon owns"
        [self_batch] = [b for b in engine.self_batches() if b.source.type == "source"]
        assert {sample.label_values[2] for sample in self_batch.samples} == {"ours"}
    finally:
        engine.stop()


def test_batch_says_in_which_term_its_source_was_owned_and_how_long_it_holds() -> None:
    """For those who take batches of several daemons from a broker."""
    epochs: dict[str, object] = {"a": (7, 9), "b": (0, 0), "c": "other"}
    sources = [scripted(name=name) for name in epochs]
    writer = recording()
    engine = start(plan_of(sources, [writer], interval=4.0), Owned(**epochs))
    try:
        wait_until(lambda: len(writer.batches) == 3)
        found = {batch.source.name: batch.epoch for batch in writer.batches}
        assert found == {"a": (7, 9), "b": None, "c": None}
        assert {batch.fresh_seconds for batch in writer.batches} == {10.0}
    finally:
        engine.stop()


def test_a_source_that_is_lost_withdraws_its_values_at_once_and_one_that_comes_is_probed() -> None:
    ownership = Owned(a=1)
    a, b, writer = scripted(name="a"), scripted(name="b"), recording()
    engine = start(plan_of([a, b], [writer], interval=3600), ownership)
    try:
        wait_until(lambda: [x.source.name for x in writer.batches] == ["a"])
        ownership.epochs = {"b": 1}
        engine.ownership_changed(probe_now=True)
        wait_until(lambda: len(writer.batches) >= 3)
        found = sorted((str(x.source.name), len(x)) for x in writer.batches)
        assert found == [("a", 0), ("a", 1), ("b", 1)]
        lost = engine.source_statuses()[0]
        assert (lost.outcome, lost.next_probe) == (None, None)
        ownership.epochs = {"a": 2, "b": 1}
        engine.ownership_changed(probe_now=True)
        wait_until(lambda: len(a.starts) == 2)
        wait_until(lambda: engine.source_statuses()[0].outcome is Outcome.OK)
        assert len(b.starts) == 1, "it went on as it was"
    finally:
        engine.stop()


def test_a_source_that_comes_makes_up_for_the_tick_that_passed_on_its_way_and_for_no_other() -> (
    None
):
    clock = MiddleOfAnHour()
    ownership = Owned()
    lost, done, unknown = (scripted(name=name) for name in ("lost", "done", "unknown"))
    plan = plan_of([lost, done, unknown], interval=3600)
    engine = Engine(plan, clock=clock, ownership=ownership)
    engine.start()
    try:
        assert plan.ready.wait(30)
        # One was left to us just before the full hour, another one after that.
        ownership.stops = {"lost": clock.time() - 901, "done": clock.time() - 800}
        ownership.epochs = {"lost": 1, "done": 1, "unknown": 1}
        engine.ownership_changed()
        wait_until(lambda: lost.starts)
        assert not done.starts
        assert not unknown.starts, "another daemon may have probed it until it died"
        ownership.epochs = {}
        engine.ownership_changed()
        wait_until(lambda: lost.closed)
        ownership.epochs = {"done": 2}
        engine.ownership_changed(probe_now=True)
        wait_until(lambda: done.starts)
    finally:
        engine.stop()


def test_a_result_of_another_epoch_is_dropped() -> None:
    for epochs in ({}, {"a": 2}):
        gate = Gate()
        ownership = Owned(a=1)
        a, writer = scripted(gate, name="a", timeout=60), recording()
        engine = start(plan_of([a], [writer], interval=0.05), ownership)
        try:
            wait_until(lambda: a.running)  # noqa: B023
            ownership.epochs = dict(epochs)
            a.script = lambda: 2.0
            gate.open()
            if epochs:
                wait_until(lambda: writer.batches)  # noqa: B023
                assert writer.batches[0].samples[0].value == 2.0
            else:
                wait_until(lambda: not a.running)  # noqa: B023
                assert not writer.batches
        finally:
            gate.open()
            engine.stop()


def test_who_cannot_say_whether_a_source_is_ours_leaves_it_alone(caplog) -> None:
    class Broken:
        def owned(self, source: SourceId) -> object:
            raise RuntimeError("no lease")

    source = scripted(name="a")
    engine = start(plan_of([source], interval=0.02), Broken())
    try:
        wait_until(lambda: "its owner is unknown: RuntimeError: no lease" in caplog.text)
        assert not source.starts
    finally:
        engine.stop()
