"""A source that works while a part of what it checks fails: troubled, neither up alone nor down."""

import logging
from collections.abc import Callable

import pytest

from pollect.api import NoData, Outcome, ProbeResult, Source, TargetUnavailable
from pollect.engine.clock import SystemClock
from pollect.engine.engine import Engine
from pollect.engine.guard import Guard
from pollect.engine.health import Health
from pollect.engine.plan import SourcePlan
from pollect.engine.selfmetrics import describe_sources
from pollect.model import SourceId, SourceStatus, log_of
from pollect.testing import FakeClock
from pollect.testing.waiting import wait_until
from pollect.troubles import MOST_KINDS, Troubles
from tests.core.engine.rig import (
    VALUE,
    ScriptedSource,
    plan_of,
    recording,
    scripted,
)

Run = Callable[..., Engine]


def probe(source: Source) -> ProbeResult:
    return Guard(SourcePlan(source=source, interval=10), SystemClock()).probe()


def with_troubles(*parts: str, answer: Callable[[], object] = lambda: 1.0) -> ScriptedSource:
    source = scripted()

    def script() -> object:
        for part in parts:
            source.troubles.failed(part, "no answer")
        return answer()

    source.script = script
    return source


def test_the_result_keeps_its_samples_and_names_what_fails() -> None:
    result = probe(with_troubles("sda", "sdb"))
    assert result.outcome is Outcome.TROUBLED
    assert result.outcome.up
    assert not result.outcome.healthy
    assert [sample.value for sample in result.samples] == [1.0]
    assert result.troubles == ("sda: no answer", "sdb: no answer")
    assert result.trouble_count == 2


def test_troubles_of_a_result_are_bounded_in_number_and_length() -> None:
    result = probe(with_troubles("x" * 500, *map(str, range(999))))
    assert len(result.troubles) == 11
    assert result.troubles[-1] == "and 990 more"
    assert result.trouble_count == 1000
    assert max(map(len, result.troubles)) == 200
    assert result.troubles[0].startswith("xxx")


def test_parts_that_are_named_anew_at_each_probe_leave_the_memory_alone(
    monkeypatch, caplog
) -> None:
    monkeypatch.setattr("pollect.troubles.MOST_PARTS", 10)
    troubles = Troubles(logging.getLogger("test"))
    for number in range(100):
        troubles.failed(f"at {number}", "x" * 1_000_000)
    assert len(troubles) == 10
    assert troubles.texts()[0].startswith("at 90: xxx")
    caplog.clear()
    for number in range(3 * MOST_KINDS):
        troubles.failed("at 99", "another", kind=number)
    assert len(caplog.records) == MOST_KINDS - 1
    troubles.keep(["at 99"])
    assert len(troubles) == 1


def test_a_part_that_works_again_ends_the_trouble() -> None:
    source = with_troubles("sda")
    guard = Guard(SourcePlan(source=source, interval=10), SystemClock())
    assert guard.probe().outcome is Outcome.TROUBLED

    def mended() -> float:
        source.troubles.works("sda")
        return 1.0

    source.script = mended
    assert guard.probe().outcome is Outcome.OK


def no_data() -> None:
    raise NoData("asleep", withdraw=True)


@pytest.mark.parametrize("answer", [lambda: None, list, no_data])
def test_a_source_without_values_can_be_troubled(answer: Callable[[], object]) -> None:
    result = probe(with_troubles("sda", answer=answer))
    assert result.outcome is Outcome.TROUBLED
    assert not result.samples
    assert result.withdraw is (answer is no_data)


def test_a_failed_probe_is_down_and_not_troubled() -> None:
    def fail() -> None:
        raise TargetUnavailable("away")

    result = probe(with_troubles("sda", answer=fail))
    assert (result.outcome, result.troubles) == (Outcome.FAILED, ())


def test_a_source_without_the_base_constructor_is_probed_all_the_same() -> None:
    class Careless(ScriptedSource):
        pass

    source = scripted()
    del source.troubles
    assert probe(source).outcome is Outcome.OK


def test_status_and_self_metrics_tell_how_many_parts_fail_and_since_when(run: Run) -> None:
    clock = FakeClock()
    source = scripted(clock=clock)
    fails = ["sda", "sdb"]

    def script() -> float:
        for part in ("sda", "sdb"):
            if part in fails:
                source.troubles.failed(part, "no answer")
            else:
                source.troubles.works(part)
        return 1.0

    source.script = script
    writer = recording()
    engine = run(plan_of([source], [writer], interval=10), clock=clock)

    def status_after(probes: int) -> SourceStatus:
        wait_until(lambda: len(writer.batches) == probes and clock.waited_for)
        return engine.source_statuses()[0]

    began = clock.time()
    status = status_after(1)
    assert (status.up, status.reason, status.trouble_count) == (True, "", 2)
    assert status.troubled_since == began
    del fails[0]
    clock.advance(10)
    status = status_after(2)
    assert status.troubles == ("sdb: no answer",)
    assert status.troubled_since == began, "without a break"
    found = {
        sample.metric.name: sample.value
        for sample in describe_sources([status], 0.0).samples
        if sample.metric.name != "probes_total"
    }
    assert (found["up"], found["troubled"], found["troubles"]) == (1, 1, 1)
    fails.clear()
    clock.advance(10)
    status = status_after(3)
    assert (status.outcome, status.troubled_since) == (Outcome.OK, None)
    assert status.probes[Outcome.TROUBLED] == 2


def test_trouble_is_logged_once_when_it_begins_and_once_when_it_ends(caplog) -> None:
    caplog.set_level("INFO")
    source = with_troubles("sda")
    guard = Guard(SourcePlan(source=source, interval=10), SystemClock())
    for _ in range(3):
        guard.probe()
    source.script = lambda: source.troubles.works("sda")
    for _ in range(3):
        guard.probe()
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "sda: no answer"),
        ("INFO", "sda: works again"),
    ]


def test_values_of_a_troubled_source_replace_the_older_ones(run: Run) -> None:
    source = with_troubles("sda", answer=lambda: [VALUE.sample(len(source.starts))])
    writer = recording()
    run(plan_of([source], [writer], interval=0.02))
    wait_until(lambda: len(writer.batches) > 2)
    assert [batch.samples[0].value for batch in writer.batches[:3]] == [1, 2, 3]


def test_the_time_of_the_last_change_stays_while_nothing_changes() -> None:
    source = scripted()
    health = Health(source.context.id, source.log)
    away = TargetUnavailable("away")
    for time, outcome in ((1.0, Outcome.FAILED), (2.0, Outcome.BUG), (3.0, Outcome.FAILED)):
        health.take(ProbeResult(source.context.id, outcome, (), time, 0.1, away))
        assert health.status(series=0, skipped=0).since == 1.0
    for time, outcome in ((4.0, Outcome.OK), (5.0, Outcome.TROUBLED), (6.0, Outcome.NO_DATA)):
        health.take(ProbeResult(source.context.id, outcome, (), time, 0.1))
        assert health.status(series=0, skipped=0).since == 4.0


def test_who_reads_the_status_sees_all_of_a_probe_or_nothing_of_it() -> None:
    source = scripted()
    health = Health(source.context.id, source.log)
    seen: list[SourceStatus] = []

    class Reader(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(health.status(series=0, skipped=0))

    source.log.addHandler(reader := Reader())
    try:
        away = TargetUnavailable("away")
        health.take(ProbeResult(source.context.id, Outcome.FAILED, (), 1.0, 0.1, away))
        health.take(ProbeResult(source.context.id, Outcome.OK, (), 2.0, 0.2))
    finally:
        source.log.removeHandler(reader)
    assert [(sum(each.probes.values()), each.outcome, each.reason) for each in seen] == [
        (0, None, ""),
        (1, Outcome.FAILED, "away"),
    ]


def test_only_a_source_that_was_down_is_up_again(caplog) -> None:
    caplog.set_level("INFO")
    source = SourceId("a", "b")
    health = Health(source, log_of(source))
    down = TargetUnavailable("away")
    for outcome in (Outcome.OK, Outcome.TROUBLED, Outcome.OK, Outcome.NO_DATA, Outcome.FAILED):
        error = down if outcome is Outcome.FAILED else None
        health.take(ProbeResult(source, outcome, (), 1000.0, 0.1, error))
    health.take(ProbeResult(source, Outcome.OK, (), 1060.0, 0.1))
    assert [record.message for record in caplog.records] == ["down: away", "up again after 60 s"]
