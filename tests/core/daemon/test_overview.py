"""What the page and `pollect status` show of a running engine."""

import math
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from pollect.api import Headline, Metric, Sample, Source, SourceConfig, TargetUnavailable
from pollect.daemon.overview import Overview
from pollect.daemon.summaries import curve_of
from pollect.engine.clock import SystemClock
from pollect.engine.engine import Engine
from pollect.engine.plan import ExecutorPlan, Plan, SourcePlan
from pollect.engine.ring import Line, Past
from pollect.model import SourceId
from pollect.plugin import SourceContext, Writer, WriterConfig, WriterContext
from pollect.testing.waiting import wait_until

SPACE = Metric(
    unit="bytes",
    labels=("disk", "type"),
    headline=[Headline("free", {"type": "free"}), Headline("used", {"type": "used"})],
)
PLAIN = Metric("uptime_seconds", unit="seconds")


class Disk(Source[SourceConfig]):
    metrics = (SPACE,)

    def probe(self) -> Iterable[Sample]:
        return [
            SPACE.sample(100, "sda", "total"),
            SPACE.sample(60, "sda", "used"),
            SPACE.sample(40, "sda", "free"),
            SPACE.sample(2048, "sdb", "free"),
        ]


class Clockwork(Source[SourceConfig]):
    metrics = (PLAIN,)

    def probe(self) -> Iterable[Sample]:
        return [PLAIN.sample(90061)]


class Broken(Source[SourceConfig]):
    def probe(self) -> Iterable[Sample]:
        raise TargetUnavailable("no route to host")


class Troubled(Source[SourceConfig]):
    def probe(self) -> Iterable[Sample]:
        self.troubles.failed("door", "open")
        return [Metric("doors").sample(1)]


class Nowhere(Writer[WriterConfig]):
    in_process = True
    accepts_partial = True

    def write(self, batches: object) -> None:
        pass


def plan_of(collection: str, kind: type[Source[SourceConfig]], writer_name: str) -> ExecutorPlan:
    identity = SourceId(collection, kind.__name__)
    context = SourceContext(
        id=identity,
        interval=300.0,
        clock=SystemClock(),
        config_dir=Path("/"),
        state_dir=Path("/"),
    )
    source = kind(SourceConfig(type=kind.__name__), context)
    where = WriterContext(
        name=writer_name, clock=SystemClock(), config_dir=Path("/"), state_dir=Path("/")
    )
    writer = Nowhere(WriterConfig(type="Nowhere"), where)
    return ExecutorPlan(
        name=collection, sources=[SourcePlan(source=source, interval=300.0)], writers=[writer]
    )


@pytest.fixture
def overview():
    plan = Plan(
        executors=[
            plan_of("a", Disk, "One"),
            plan_of("b", Clockwork, "Two"),
            plan_of("c", Broken, "Two"),
            plan_of("d", Troubled, "Two"),
        ],
        history=2000,
        ready=threading.Event(),
    )
    engine = Engine(plan, clock=SystemClock())
    engine.start()
    shown = Overview(engine, plan, clock=SystemClock(), config="/etc/pollect/config.yml")
    wait_until(lambda: shown.status().counts.new == 0, "the first probes")
    yield shown
    engine.stop()


def test_headlines_come_first_with_what_tells_series_apart(overview: Overview) -> None:
    detail = overview.detail("a/Disk")
    assert detail is not None
    glance = [(one.title, one.text) for one in detail.summary.glance]
    assert glance == [("free sda", "40 B"), ("used sda", "60 B"), ("free sdb", "2 KiB")]
    plain = overview.detail("b/Clockwork")
    assert plain is not None
    assert [(g.title, g.text) for g in plain.summary.glance] == [("uptime", "1 d 1 h")]


def test_collections_with_problems_come_first_and_states_are_counted(overview: Overview) -> None:
    status = overview.status()
    assert [(one.id, one.state) for one in status.sources] == [
        ("c/Broken", "down"),
        ("d/Troubled", "troubled"),
        ("a/Disk", "up"),
        ("b/Clockwork", "up"),
    ]
    counts = status.counts
    assert (counts.down, counts.troubled, counts.up, counts.new) == (1, 1, 2, 0)
    assert status.sources[0].reason == "no route to host"
    assert status.sources[0].strip.cells[-1] == "down"
    assert status.sources[1].troubles


def test_a_writer_s_page_shows_only_the_sources_it_gets(overview: Overview) -> None:
    assert [one.id for one in overview.status("One").sources] == ["a/Disk"]
    assert overview.detail("b/Clockwork", "One") is None
    assert overview.probe_now("b/Clockwork", "One") is None


def test_a_probe_out_of_turn_returns_its_result(overview: Overview) -> None:
    result = overview.probe_now("c/Broken")
    assert result is not None
    assert str(result.error) == "no route to host"
    assert overview.probe_now("nothing/Here") is None


def test_the_last_error_stays_with_its_time(overview: Overview) -> None:
    detail = overview.detail("c/Broken")
    assert detail is not None
    assert detail.last_error == "no route to host"
    assert detail.last_failure is not None
    assert detail.probes["failed"] == 1


def test_many_points_become_few_that_stand_for_them() -> None:
    times = [float(n) for n in range(100)]
    values = [math.nan if n == 99 else float(n) for n in range(100)]
    line = Line(PLAIN, (), 98.0, values)
    few = curve_of(line, Past(times, 99.0), since=0.0, most=30)
    assert len(few.times) == 25
    assert few.times[0] == 3.0
    assert few.values[0] == 1.5
    assert few.values[-1] == 97.0
    late = curve_of(line, Past(times, 99.0), since=97.0)
    assert (late.times, late.values) == ([97.0, 98.0, 99.0], [97.0, 98.0, None])
