"""From a config to a plan: what is shared, what is kept, what is refused."""

import threading
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
from msgspec import Meta

from pollect.api import ConfigError, Writer, WriterConfig
from pollect.config.load import load_config
from pollect.daemon.build import assemble
from pollect.discovery.registry import Registry
from pollect.engine.plan import Plan
from pollect.errors import InvalidConfig
from pollect.testing import FakeClock

CLOCK = FakeClock()
STOPPING = threading.Event()


@pytest.fixture
def plan_of(tmp_path: Path):
    registry = Registry()

    def build(text: str, previous: Plan | None = None) -> Plan:
        file = tmp_path / "config.yml"
        file.write_text(text)
        config = load_config(file, registry)
        return assemble(config, registry, clock=CLOCK, stopping=STOPPING, previous=previous)

    return build


def sources(plan: Plan) -> list[Any]:
    return [part.source for collection in plan.executors for part in collection.sources]


def writers(plan: Plan) -> list[Any]:
    return [writer for collection in plan.executors for writer in collection.writers]


def test_equal_writer_sections_are_one_writer(plan_of) -> None:
    plan = plan_of(
        """
        executors:
          - collection: a
            sources: [{type: Dummy, value: 1}]
            writer: {type: InMemory, keep: 5}
          - collection: b
            sources: [{type: Dummy, value: 1}]
            writers: [{keep: 5, type: InMemory}, {type: InMemory, keep: 6}]
        """
    )
    first, second, third = writers(plan)
    assert first is second
    assert third is not first
    assert [writer.context.name for writer in (first, third)] == ["InMemory", "InMemory-2"]


def test_labels_come_from_the_whole_config_the_executor_and_the_source(plan_of) -> None:
    plan = plan_of(
        """
        labels: {site: here, host: h1, level: 0}
        writers: [{type: DryRun}]
        executors:
          - collection: a
            labels: {host: h2, level: 1}
            sources: [{type: Dummy, value: 1, labels: {level: 2, on: true}}]
        """
    )
    (part,) = plan.executors[0].sources
    assert part.static_labels == (("site", "here"), ("host", "h2"), ("level", "2"), ("on", "true"))


def test_interval_comes_from_the_source_else_the_executor_else_the_config(plan_of) -> None:
    plan = plan_of(
        """
        tickTime: 7
        writers: [{type: DryRun}]
        executors:
          - collection: a
            sources: [{type: Dummy}]
          - collection: b
            tickTime: 3
            sources: [{type: Dummy}, {type: Dummy, name: own, tickTime: 0.5}]
        """
    )
    intervals = [part.interval for section in plan.executors for part in section.sources]
    assert intervals == [7, 3, 0.5]


def test_sources_of_one_name_are_told_apart_by_their_number(plan_of) -> None:
    plan = plan_of(
        """
        writers: [{type: DryRun}]
        executors:
          - collection: a
            sources: [{type: Dummy, value: 1}, {type: Dummy, value: 2}]
        """
    )
    assert [source.context.id.instance for source in sources(plan)] == [0, 1]


def test_source_that_is_switched_off_is_left_out(plan_of) -> None:
    plan = plan_of(
        """
        writers: [{type: DryRun}]
        executors:
          - collection: a
            sources: [{type: Dummy, enabled: false}, {type: Dummy, name: on}]
        """
    )
    assert [source.config.name for source in sources(plan)] == ["on"]


RELOADED = """
writers: [{{type: InMemory, keep: {keep}}}, {{type: DryRun}}]
executors:
  - collection: a
    sources: [{{type: Dummy, value: {value}}}, {{type: Dummy, name: same}}]
"""


def test_reload_keeps_what_is_equal_and_builds_the_rest_anew(plan_of) -> None:
    before = plan_of(RELOADED.format(keep=5, value=1))
    after = plan_of(RELOADED.format(keep=5, value=2), previous=before)
    assert writers(after) == writers(before)
    assert sources(after)[1] is sources(before)[1]
    assert sources(after)[0] is not sources(before)[0]
    assert after.ready is before.ready


def test_changed_writer_keeps_the_name_of_the_old_one(plan_of) -> None:
    before = plan_of(RELOADED.format(keep=5, value=1))
    after = plan_of(RELOADED.format(keep=6, value=1), previous=before)
    assert [writer.context.name for writer in writers(after)] == ["InMemory", "DryRun"]
    assert writers(after)[0] is not writers(before)[0]
    assert writers(after)[1] is writers(before)[1]


TWO_OF_A_TYPE = """
writers: [{first}, {{type: InMemory, keep: 7}}]
executors: [{{collection: a, sources: [{{type: Dummy, value: 1}}]}}]
"""


def test_new_writer_takes_no_name_of_one_that_goes_on(plan_of) -> None:
    before = plan_of(TWO_OF_A_TYPE.format(first="{type: DryRun}"))
    assert [writer.context.name for writer in writers(before)] == ["DryRun", "InMemory"]
    after = plan_of(TWO_OF_A_TYPE.format(first="{type: InMemory, keep: 6}"), previous=before)
    assert [writer.context.name for writer in writers(after)] == ["InMemory-2", "InMemory"]


def test_sources_are_spread_over_their_tick_unless_file_or_executor_say_no(plan_of) -> None:
    def spreads(top: str, own: str) -> list[bool]:
        plan = plan_of(
            f"""
            {top}
            writers: [{{type: DryRun}}]
            executors:
              - {{collection: a, {own} sources: [{{type: Dummy, value: 1}}]}}
            """
        )
        return [executor.spread for executor in plan.executors]

    assert spreads("", "") == [True]
    assert spreads("spread: false", "") == [False]
    assert spreads("", "spread: false,") == [False]
    assert spreads("spread: false", "spread: true,") == [True]


def test_changed_interval_builds_the_source_anew(plan_of) -> None:
    text = RELOADED.format(keep=5, value=1)
    before = plan_of(text)
    after = plan_of(f"tickTime: 3\n{text}", previous=before)
    assert not set(map(id, sources(after))) & set(map(id, sources(before)))


class KeyedConfig(WriterConfig, frozen=True, kw_only=True):
    key: Annotated[str, Meta(description="File.")]


class KeyedWriter(Writer[KeyedConfig]):
    """Cannot open without its file."""

    config_type = KeyedConfig
    looked: ClassVar[list[str]] = []

    def check_files(self) -> None:
        self.looked.append(self.config.key)
        if not (self.context.config_dir / self.config.key).is_file():
            raise ConfigError("is not there", key="key")


@pytest.fixture
def keyed(monkeypatch: pytest.MonkeyPatch) -> type[KeyedWriter]:
    usual = Registry.writer_type

    def writer_type(self: Registry, type_name: str) -> type[Writer[Any]]:
        return KeyedWriter if type_name == "Keyed" else usual(self, type_name)

    monkeypatch.setattr(Registry, "writer_type", writer_type)
    KeyedWriter.looked.clear()
    return KeyedWriter


TWO_EXECUTORS = """\
writers:
  - {type: DryRun}
  - type: Keyed
    key: %s
executors:
  - {collection: a, sources: [{type: Dummy}]}
  - {collection: b, sources: [{type: Dummy}]}
"""


def test_file_that_a_writer_needs_is_missed_once_and_at_its_option(plan_of, keyed) -> None:
    with pytest.raises(InvalidConfig) as caught:
        plan_of(TWO_EXECUTORS % "absent")
    (problem,) = caught.value.problems
    assert (problem.line, problem.key, problem.problem) == (4, "writers[1].key", "is not there")


def test_files_of_a_writer_that_goes_on_are_not_looked_at_again(plan_of, keyed) -> None:
    plan = plan_of(TWO_EXECUTORS % "config.yml")
    again = plan_of(TWO_EXECUTORS % "config.yml", previous=plan)
    assert keyed.looked == ["config.yml"]
    assert writers(again) == writers(plan)


@pytest.mark.parametrize(
    ("member", "problem"),
    [
        ("__new__ = lambda cls, *_: 5", "its class makes an object of another one, int"),
        (
            "__init__ = lambda self, *_: None",
            r"does not call super\(\).__init__\(config, context\)",
        ),
        ("listens_on = lambda self: [5]", r"listens_on\(\): expected addresses and ports, got 5"),
        (
            "listens_on = lambda self: [('a', 'b')]",
            r"expected addresses and ports, got \('a', 'b'\)",
        ),
        ("listens_on = lambda self: None", "Odd fails to start: TypeError"),
        ("listens_on = lambda self: iter(lambda: ('a', 1), None)", "yields more than 10,000"),
        (
            "def __init__(self, *given): super().__init__(*given); self.context = {}",
            "Odd fails to start: TypeError: self.context is pollect's",
        ),
        ("config_warnings = property(lambda self: 1 / 0, lambda *_: None)", "ZeroDivisionError"),
        (
            "def __init__(self, *_):\n"
            "        raise type('Own', (ConfigError,), {'__init__': lambda self: None})()",
            r"sources\[1\]: Own$",
        ),
    ],
)
def test_an_object_that_is_not_whole_is_refused_at_its_section(
    fresh_imports: None, tmp_path: Path, member: str, problem: str
) -> None:
    folder = tmp_path / "extensions"
    folder.mkdir()
    (folder / "Odd.py").write_text(
        "from pollect.api import ConfigError, Source\n"
        f"class OddSource(Source):\n    {member}\n    def probe(self): return 1\n"
    )
    registry = Registry(extension_paths=[tmp_path])
    file = tmp_path / "config.yml"
    file.write_text(
        "writer: {type: InMemory}\n"
        "executors: [{collection: a, sources: [{type: Dummy, value: 1}, {type: extensions.Odd}]}]\n"
    )
    config = load_config(file, registry)
    with pytest.raises(InvalidConfig, match=problem) as caught:
        assemble(config, registry, clock=CLOCK, stopping=STOPPING)
    assert "executors[0].sources[1]" in str(caught.value)
