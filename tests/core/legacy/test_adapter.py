"""A 1.x class inside the engine: what it returns, and what becomes of its failures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pollect.api import Batch, Metric, NoData, Outcome, Retryable, SourceId, TargetUnavailable
from pollect.config.environment import Environment, fill_data
from pollect.engine.guard import Guard
from pollect.engine.plan import SourcePlan
from pollect.legacy.adapter import adapt_source, adapt_writer
from pollect.legacy.source import Source
from pollect.legacy.values import Value, ValueSet
from pollect.legacy.writer import InMemoryWriter, ParallelInMemoryWriter, Writer
from pollect.testing import FakeClock, Running, build_source, build_writer


def old_source(returns: Any) -> type[Source]:
    class OldSource(Source):
        def _probe(self):
            return returns() if callable(returns) else returns

    return OldSource


def built(old_class, section: Mapping[str, Any] | None = None):
    return build_source({"type": "extensions.Old", **(section or {})}, adapt_source(old_class))


def probed(returns: Any) -> list[tuple[str | None, float, dict[str, str]]]:
    with Running(built(old_source(returns))) as running:
        return [
            (s.metric.name, s.value, dict(zip(s.metric.labels, s.label_values, strict=True)))
            for s in running.probe()
        ]


def value_set(*values: Value, labels=()) -> ValueSet:
    found = ValueSet(list(labels))
    for value in values:
        found.add(value)
    return found


@pytest.mark.parametrize(
    ("returns", "expected"),
    [
        (2.5, [(None, 2.5, {})]),
        (3, [(None, 3, {})]),
        (True, [(None, 1, {})]),
        ({"a": 1, "b": 2.5}, [("a", 1, {}), ("b", 2.5, {})]),
        ({"a": Value(1), "b": Value(2, name="own")}, [("a", 1, {}), ("own", 2, {})]),
        (
            {"a": value_set(Value(1, ["x"]), Value(2, ["y"], "own"), labels=["site"])},
            [("a", 1, {"site": "x"}), ("own", 2, {"site": "y"})],
        ),
        (Value(5, name="n"), [("n", 5, {})]),
        (value_set(Value(5, ["x"], "n"), labels=["site"]), [("n", 5, {"site": "x"})]),
        ([value_set(Value(1)), Value(2, name="n")], [(None, 1, {}), ("n", 2, {})]),
        ((Value(1, name="a"), Value(2, name="b")), [("a", 1, {}), ("b", 2, {})]),
        (lambda: (Value(n, name=f"v{n}") for n in range(2)), [("v0", 0, {}), ("v1", 1, {})]),
        (Value(1, name=""), [("", 1, {})]),
    ],
)
def test_everything_that_probe_may_return(returns, expected) -> None:
    assert probed(returns) == expected


@pytest.mark.parametrize("returns", [None, [], {}, ()])
def test_nothing_leaves_the_last_values_in_place(returns) -> None:
    with pytest.raises(NoData) as nothing:
        probed(returns)
    assert not nothing.value.withdraw


@pytest.mark.parametrize("returns", [ValueSet(), [ValueSet(["site"])], {"a": ValueSet()}])
def test_a_set_without_values_withdraws_them(returns) -> None:
    with pytest.raises(NoData) as nothing:
        probed(returns)
    assert nothing.value.withdraw


@pytest.mark.parametrize("returns", ["text", [1.5], object(), {"a": "text"}, {"a": [1]}])
def test_what_1x_does_not_know_is_a_mistake_that_says_so(returns) -> None:
    with pytest.raises(TypeError, match="expected a number, a Value, a ValueSet, or a dict or"):
        probed(returns)


def test_a_set_that_is_kept_and_returned_again_does_not_grow() -> None:
    kept = value_set(Value(1, ["x"], "n"), labels=["site"])
    old = old_source(kept)
    source = built(old, {"labels": {"room": "attic"}})
    with Running(source) as running:
        first = running.probe()
        assert running.probe() == first
    standalone = old({"type": "Old", "labels": {"room": "attic"}})
    for _ in range(2):
        (found,) = standalone.probe()
        assert (found.name, found.labels) == ("Old", ["site", "room"])
        assert [value.label_values for value in found.values] == [["x", "attic"]]
    assert (kept.labels, kept.values[0].label_values) == (["site"], ["x"])


class CountingSource(Source):
    """Tells what happens to it."""

    calls: ClassVar[list[Any]] = []

    def __init__(self, data):
        super().__init__(data)
        self.calls.append(("made", dict(data)))

    def setup_source(self, global_conf):
        super().setup_source(global_conf)
        self.calls.append(
            ("setup", self.global_conf.tick_time, self.global_conf.config["tickTime"])
        )

    def _probe(self):
        self.calls.append(("probe", str(self)))
        return 1

    def shutdown(self):
        self.calls.append(("shutdown",))


def test_life_cycle_is_that_of_1x_and_options_arrive_as_written(monkeypatch) -> None:
    monkeypatch.setattr(CountingSource, "calls", [])
    section = {
        "name": "n",
        "labels": {"a": "b"},
        "timeout": "soon",
        "metrics": ["x"],
        "details": {"deep": 1},
        "max": 100,
        "dollar": "$$",
    }
    source = built(CountingSource, section)
    assert CountingSource.calls == []
    with Running(source) as running:
        running.probe()
        running.close()
    given = {"type": "extensions.Old", **section}
    assert CountingSource.calls == [
        ("made", given),
        ("setup", 10.0, 10.0),
        ("probe", "extensions.Old.n"),
        ("shutdown",),
    ]


def outcome_of(source):
    result = Guard(SourcePlan(source=source, interval=10.0), FakeClock()).probe()
    source.close()
    return result


def test_a_missing_option_names_itself_and_the_source_is_down() -> None:
    class NeedsMax(Source):
        def __init__(self, data):
            super().__init__(data)
            self.max = data["max"]

        def _probe(self):
            return self.max

    result = outcome_of(built(NeedsMax))
    assert result.outcome is Outcome.FAILED
    assert str(result.error) == "max: option is missing"


def test_an_unset_variable_is_told_when_it_is_read(monkeypatch) -> None:
    monkeypatch.delenv("TOKEN", raising=False)

    class Reads(Source):
        def _probe(self):
            return 1 if self.data.get("other") else self.data["token"]

        def __init__(self, data):
            super().__init__(data)
            self.data = data

    def filled(section):
        return fill_data(section, Environment({"B": "vb"}, Path()), lambda path, section: ())

    fine = outcome_of(built(Reads, filled({"token": "${TOKEN}", "other": "${B}"})))
    assert fine.outcome is Outcome.OK
    failed = outcome_of(built(Reads, filled({"token": "${TOKEN}"})))
    assert failed.outcome is Outcome.FAILED
    assert "variable TOKEN is not set" in str(failed.error)


def test_a_device_that_is_away_is_down_and_a_mistake_is_a_bug() -> None:
    def away():
        raise ConnectionRefusedError("no answer")

    def wrong():
        raise KeyError("typo")

    assert outcome_of(built(old_source(away))).outcome is Outcome.FAILED
    assert outcome_of(built(old_source(wrong))).outcome is Outcome.BUG
    with pytest.raises(TargetUnavailable, match="ConnectionRefusedError: no answer"):
        probed(away)


def test_what_a_failed_setup_left_is_shut_down_before_the_next_try() -> None:
    calls: list[str] = []

    class Moody(Source):
        def __init__(self, data):
            super().__init__(data)
            calls.append("made")

        def setup_source(self, global_conf):
            if calls.count("made") == 1:
                raise ConnectionResetError("not now")

        def _probe(self):
            return 1

        def shutdown(self):
            calls.append("shutdown")

    with Running(built(Moody)) as running:
        with pytest.raises(TargetUnavailable, match="not now"):
            running.probe()
        running.probe()
    assert calls == ["made", "shutdown", "made", "shutdown"]


def test_bad_values_cost_only_themselves() -> None:
    values = value_set(Value("text", [1]), Value(None, [True]), Value(7, [None]), labels=["site"])
    result = outcome_of(built(old_source(values)))
    assert [(s.value, s.label_values) for s in result.samples] == [(7.0, ("",))]


def test_a_class_that_replaces_probe_itself_is_asked_by_it() -> None:
    class Whole(Source):
        def probe(self):
            return [value_set(Value(4, name="whole"))]

        def _probe(self):
            raise AssertionError

    with Running(built(Whole)) as running:
        assert [sample.metric.name for sample in running.probe()] == ["whole"]


class Renamed(Source):
    """Says itself what it is called."""

    def __init__(self, data):
        super().__init__(data)
        for attribute, value in data["sets"].items():
            setattr(self, attribute, value)

    def _probe(self):
        return [value_set(Value(1, ["x"], "n"), Value(2, ["y"]), labels=["site"])]


@pytest.mark.parametrize(
    ("named", "sets", "written"),
    [
        (None, {}, "extensions.Old"),
        ("n", {}, "extensions.Old.n"),
        (None, {"name": "nas.local"}, "extensions.Old.nas.local"),
        ("n", {"name": None}, "extensions.Old"),
        ("n", {"name": "m"}, "extensions.Old.m"),
        (None, {"type": "Tide"}, "Tide"),
        ("n", {"type": "Tide"}, "Tide.n"),
        (None, {"_get_suffix": lambda: "wallbox"}, "wallbox"),
        (None, {"type": "extensions.Older"}, "extensions.Older"),
    ],
)
def test_an_extension_that_renames_itself_is_called_so(named, sets, written) -> None:
    source = built(Renamed, {"name": named, "sets": sets})
    with Running(source) as running:
        assert [sample.metric.name for sample in running.probe()] == ["n", None]
        collection = source.context.id.collection
        called = SourcePlan(source=source, interval=10.0).written_id
        assert called.dotted == f"{collection}.{written}"


def test_labels_that_an_extension_sets_itself_are_on_its_values() -> None:
    sets = {"labels": {"site": "lost", "room": "attic", "floor": 2, "own": "o"}}
    source = built(Renamed, {"labels": {"room": "cellar", "own": "o"}, "sets": sets})
    with Running(source) as running:
        first, second = running.probe()
    assert first.metric.labels == second.metric.labels == ("site", "room", "floor")
    assert list(map(str, first.label_values)) == ["x", "attic", "2"]
    assert list(map(str, second.label_values)) == ["y", "attic", "2"]


def test_sets_that_a_replaced_probe_names_keep_their_names() -> None:
    class Whole(Source):
        parts: ClassVar[tuple[str, ...]] = ()

        def probe(self):
            found = super().probe()
            for part, of_part in zip(self.parts, found, strict=True):
                of_part.name = part
            return found

        def _probe(self):
            return [value_set(Value(1, name="n")), value_set(Value(2))]

    def names(*parts: str) -> tuple[str, list[str | None]]:
        Whole.parts = parts
        source = built(Whole)
        with Running(source) as running:
            found = [sample.metric.name for sample in running.probe()]
        plan = SourcePlan(source=source, interval=10.0)
        return plan.written_id.dotted.removeprefix(f"{plan.id.collection}."), found

    assert names("extensions.Old", "extensions.Old.b") == ("extensions.Old", ["n", "b"])
    assert names("house.a", "house.b.c") == ("house", ["a_n", "b.c"])
    assert names("house", "house") == ("house", ["n", None])
    assert names("", "") == ("extensions.Old", ["n", None])
    assert names("one", "other") == ("extensions.Old", ["n", None])


def test_an_extension_need_not_call_the_constructor_of_its_base() -> None:
    class Bare(Source):
        def __init__(self, data):
            self.type = data["type"]

        def _probe(self):
            return 1

    with Running(built(Bare)) as running:
        assert [sample.value for sample in running.probe()] == [1]
    assert [found.name for found in Bare({"type": "t"}).probe()] == ["t"]


def test_the_adapter_of_a_class_is_always_the_same() -> None:
    old = old_source(1)
    assert adapt_source(old) is adapt_source(old)
    assert adapt_source(CountingSource).__name__ == "CountingSource"
    assert adapt_source(CountingSource).__doc__ == "Tells what happens to it."


LEVEL = Metric("level", labels=("pier",))
BATCH = Batch(
    SourceId("home", "Tide", "harbour"),
    [LEVEL.sample(2.5, "north"), Metric().sample(1), LEVEL.sample(3.5, "south")],
    1_700_000_000.7,
    (("site", "x"),),
)
EMPTY = Batch(SourceId("home", "Gone"), [], 1_700_000_000.0)


def flat(sets):
    return [
        (
            found.name,
            found.time,
            found.labels,
            [(v.name, v.value, v.label_values) for v in found.values],
        )
        for found in sets
    ]


LEVELS = (
    "home.Tide.harbour",
    1_700_000_000,
    ["pier", "site"],
    [("level", 2.5, ["north", "x"]), ("level", 3.5, ["south", "x"])],
)
PLAIN = ("home.Tide.harbour", 1_700_000_000, ["site"], [(None, 1, ["x"])])


def test_a_writer_gets_the_merged_sets_of_a_tick() -> None:
    writer: Any = build_writer(
        {"type": "extensions.Mine", "path": "x"}, adapt_writer(InMemoryWriter)
    )
    assert not writer.accepts_partial
    writer.open()
    writer.write([BATCH, EMPTY])
    writer.write([EMPTY])
    (written,) = writer._old.data
    assert flat(written) == [LEVELS, PLAIN]
    assert writer._old.config["path"] == "x"


def test_a_partial_writer_gets_each_source_with_its_reference() -> None:
    references = []

    class Partial(ParallelInMemoryWriter):
        def write(self, data, source_ref=None):
            super().write(data, source_ref)
            references.append(source_ref)

    writer: Any = build_writer({"type": "extensions.Mine"}, adapt_writer(Partial))
    assert writer.accepts_partial
    writer.write([BATCH, EMPTY])
    writer.write([BATCH])
    assert [flat(written) for written in writer._old.data] == [
        [LEVELS, PLAIN],
        [("home.Gone", 1_700_000_000, [], [])],
        [LEVELS, PLAIN],
    ]
    assert references[0] is references[2]
    assert references[0] is not references[1]
    assert (str(references[0]), references[0].labels) == ("Tide.harbour", {"site": "x"})


def test_a_writer_is_stopped_once_and_only_if_it_was_started() -> None:
    calls: list[str] = []

    class Counting(Writer):
        def start(self):
            calls.append("start")

        def stop(self):
            calls.append("stop")

        def write(self, data, source_ref=None):
            raise TimeoutError("too slow")

    writer: Any = build_writer({"type": "extensions.Mine"}, adapt_writer(Counting))
    writer.close()
    writer.open()
    with pytest.raises(Retryable, match="TimeoutError: too slow"):
        writer.write([BATCH])
    writer.close()
    writer.close()
    assert calls == ["start", "stop"]
