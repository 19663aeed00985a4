"""Sources that choose their name while they run, as those of 1.x may."""

from typing import Any

from pollect.api import Batch, SourceConfig, SourceId
from pollect.engine.clock import SystemClock
from pollect.engine.engine import Engine
from pollect.plugin.self_named import SelfNamed
from pollect.testing import build_source
from pollect.testing.waiting import wait_until
from tests.core.engine.rig import VALUE, RecordingWriter, plan_of, recording, scripted

CALLED = SourceId("test", "wallbox")


class RenamedSource(SelfNamed[SourceConfig]):
    metrics = (VALUE,)

    def __init__(self, config: SourceConfig, context: Any) -> None:
        super().__init__(config, context)
        self.names: list[SourceId | None] = [CALLED]

    def probe(self) -> Any:
        self.written_as = self.names.pop(0) if len(self.names) > 1 else self.names[0]
        return [VALUE.sample(1.0)]


def renamed(*names: SourceId | None, **section: Any) -> RenamedSource:
    source = build_source(section, RenamedSource, clock=SystemClock())
    assert isinstance(source, RenamedSource)
    source.names = list(names)
    return source


def running(writer: RecordingWriter, *sources: Any, interval: float = 60.0) -> Engine:
    engine = Engine(
        plan_of(sources, [writer], interval=interval, self_metrics=False), clock=SystemClock()
    )
    engine.start()
    return engine


def having_values(batches: list[Batch]) -> set[SourceId]:
    """Return the sources that have values after these batches."""
    last = {batch.source: batch for batch in batches}
    return {source for source, batch in last.items() if batch.samples}


def test_writers_get_the_name_and_a_reload_without_the_source_withdraws_it() -> None:
    writer = recording()
    source = renamed(CALLED, type="Renamed")
    engine = running(writer, source)
    wait_until(lambda: writer.batches, "the first batch")
    (status,) = engine.source_statuses()
    assert status.source == source.context.id, "for status and page it is what the config says"
    try:
        engine.replace(plan_of([], [writer], self_metrics=False))
        wait_until(lambda: not having_values(writer.batches), "the end of its values")
        assert {batch.source for batch in writer.batches} == {CALLED}
    finally:
        engine.stop()


def test_series_of_a_former_name_are_withdrawn() -> None:
    writer = recording()
    other = CALLED._replace(type="other")
    source = renamed(None, CALLED, other, type="Renamed")
    engine = running(writer, source, interval=0.05)
    try:
        wait_until(lambda: having_values(writer.batches) == {other}, "the last name")
        seen = [batch.source for batch in writer.batches if not batch.samples]
        assert seen == [source.context.id, CALLED]
    finally:
        engine.stop()


def test_two_of_one_name_and_a_source_called_so_do_not_withdraw_each_other() -> None:
    writer = recording()
    sources = [renamed(CALLED, type="Renamed", name=name) for name in ("a", "b")]
    plain = scripted(type="wallbox")
    taken = plain.context.id
    for source in sources:
        source.names = [taken]
    engine = running(writer, *sources, plain)
    try:
        wait_until(lambda: len(having_values(writer.batches)) == 3, "values of all three")
        names = having_values(writer.batches)
        assert {name.dotted for name in names} == {taken.dotted}
        assert taken in names
    finally:
        engine.stop()
