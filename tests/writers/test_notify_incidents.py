"""Incidents: when they begin, last and end, by the rules and a clock that the test owns."""

from collections.abc import Sequence
from typing import Any

import pytest

from pollect.api import Alert, Batch, Metric, Outcome, SourceId, SourceStatus
from pollect.config.sections import convert_section
from pollect.support.alerts import Rule, compile_rules
from pollect_writers.notify.incidents import SETTLE_SECONDS, Changes, Incidents

DISKS = SourceId("home", "DiskUsage")
SPACE = Metric(
    unit="bytes",
    labels=("disk", "type"),
    alert=Alert(
        "DiskFull",
        "less than 5 % is free",
        below=0.05,
        labels={"type": "free"},
        share_of={"type": "total"},
    ),
)
FREE_RULE = {"metric": "home_DiskUsage", "labels": {"type": "free"}, "below": 5e9}


class World:
    """Sources whose values and states a test sets, and one look a second."""

    def __init__(self, *rules: dict[str, Any] | str, wait: float = 0.0) -> None:
        compiled = [
            rule if isinstance(rule, str) else convert_section(Rule, rule, strict=True)
            for rule in rules
        ]
        self.incidents = Incidents(compile_rules(compiled), wait_seconds=wait)
        self.now = 1000.0
        self.statuses: dict[SourceId, SourceStatus] = {}
        self.told: list[tuple[str, list[str]]] = []
        self.ready = True

    def disk(self, free: float | None, total: float = 100e9, disk: str = "_") -> None:
        samples = (
            []
            if free is None
            else [SPACE.sample(total, disk, "total"), SPACE.sample(free, disk, "free")]
        )
        self.incidents.take(Batch(DISKS, samples, 0.0), self.now)

    def state(self, outcome: Outcome | None, *troubles: str, source: SourceId = DISKS) -> None:
        down = outcome is not None and not outcome.up
        self.statuses[source] = SourceStatus(
            source,
            outcome,
            reason="it does not answer" if down else "",
            troubles=troubles,
            trouble_count=len(troubles),
        )

    def wait(self, seconds: int) -> list[tuple[str, list[str]]]:
        """Let time pass, and return what there was to tell."""
        told: list[tuple[str, list[str]]] = []
        for _ in range(seconds):
            self.now += 1
            changes = self.incidents.advance(
                list(self.statuses.values()), self.now, ready=self.ready
            )
            told += _told(changes)
        return told


def _told(changes: Changes) -> list[tuple[str, list[str]]]:
    groups: list[tuple[str, Sequence[Any]]] = [
        ("problem", changes.begun),
        ("still", changes.lasting),
        ("over", changes.ended),
    ]
    return [(word, [one.alert for one in group]) for word, group in groups if group]


def test_a_disk_that_fills_is_told_once_and_so_is_its_end() -> None:
    world = World({**FREE_RULE, "for": "1m", "name": "Full"})
    world.state(Outcome.OK)
    world.disk(4e9)

    assert world.wait(58) == []
    assert world.wait(4) == [("problem", ["Full"])]
    assert world.wait(3600) == []
    world.disk(6e9)
    assert world.wait(2) == [("over", ["Full"])]
    assert world.wait(3600) == []


def test_what_lasts_shorter_than_asked_is_not_told() -> None:
    world = World({**FREE_RULE, "for": "1m"})
    world.disk(4e9)
    world.wait(50)
    world.disk(6e9)
    world.wait(5)
    world.disk(4e9)

    assert world.wait(50) == []


def test_what_begins_together_is_one_message() -> None:
    world = World({"state": "down", "for": "10s"}, wait=5)
    for number in range(3):
        world.state(Outcome.FAILED, source=SourceId("home", "Ping", str(number)))
        world.wait(1)

    assert world.wait(30) == [("problem", ["SourceDown"] * 3)]


def test_a_blip_within_the_wait_is_not_told_at_all() -> None:
    world = World(FREE_RULE, wait=5)
    world.disk(4e9)
    world.wait(3)
    world.disk(6e9)

    assert world.wait(20) == []


def test_it_is_repeated_as_often_as_asked_and_no_more() -> None:
    world = World({**FREE_RULE, "repeat": "1h", "name": "Full"})
    world.disk(4e9)

    assert world.wait(2) == [("problem", ["Full"])]
    assert world.wait(3500) == []
    assert world.wait(3700) == [("still", ["Full"]), ("still", ["Full"])]


def test_an_end_that_does_not_last_is_none() -> None:
    world = World({**FREE_RULE, "keepFor": "1m", "name": "Full"})
    world.disk(4e9)
    world.wait(2)
    world.disk(6e9)
    assert world.wait(50) == []
    world.disk(4e9)
    assert world.wait(120) == []
    world.disk(6e9)

    assert world.wait(70) == [("over", ["Full"])]


def test_a_source_that_dies_is_down_and_then_back() -> None:
    world = World({"source": "home/*", "state": "down", "for": "5m"})
    world.state(Outcome.OK)
    assert world.wait(10) == []
    world.state(Outcome.TIMED_OUT)

    assert world.wait(310) == [("problem", ["SourceDown"])]
    world.state(Outcome.OK)
    assert world.wait(2) == [("over", ["SourceDown"])]


def test_a_full_disk_stays_full_while_its_source_is_down() -> None:
    world = World(FREE_RULE)
    world.state(Outcome.OK)
    world.disk(4e9)
    world.wait(10)
    world.state(Outcome.FAILED)
    world.disk(None)  # the values are too old

    assert world.wait(600) == []
    world.state(Outcome.OK)
    world.disk(4e9)
    assert world.wait(600) == []


def test_a_series_that_a_working_source_no_longer_has_is_over() -> None:
    world = World({**FREE_RULE, "name": "Full"})
    world.state(Outcome.OK)
    world.disk(4e9, disk="usb")
    assert world.wait(10) == [("problem", ["Full"])]
    world.disk(50e9)

    assert world.wait(10) == [("over", ["Full"])]


def test_troubles_are_told_and_a_source_that_goes_down_does_not_end_them() -> None:
    world = World({"state": "troubled", "for": "30s"})
    world.state(Outcome.TROUBLED, "_var: stuck")
    assert world.wait(40) == [("problem", ["SourceTroubled"])]
    world.state(Outcome.FAILED)
    assert world.wait(40) == []
    world.state(Outcome.OK)
    assert world.wait(40) == [("over", ["SourceTroubled"])]


def test_a_metric_that_never_comes_is_absent() -> None:
    world = World({"metric": "home_Smart*", "absent": True, "for": "1m", "name": "NoSmart"})
    world.disk(50e9)

    assert world.wait(int(SETTLE_SECONDS) + 50) == []
    assert world.wait(20) == [("problem", ["NoSmart"])]


def test_a_metric_that_goes_is_absent_and_then_back() -> None:
    world = World({"metric": "home_DiskUsage", "absent": True, "for": "1m", "name": "NoDisk"})
    world.disk(50e9)
    assert world.wait(300) == []
    world.disk(None)
    assert world.wait(70) == [("problem", ["NoDisk"])]
    world.disk(50e9)
    assert world.wait(5) == [("over", ["NoDisk"])]


def test_nothing_is_absent_before_every_source_was_asked() -> None:
    world = World({"metric": "home_DiskUsage", "absent": True})
    world.ready = False

    assert world.wait(600) == []


def test_a_counter_that_grows_is_told_until_it_rests() -> None:
    counter = Metric("errors_total")
    world = World({"metric": "*_errors_total", "grows": "10m", "name": "Errors"})

    def errors(value: int) -> None:
        world.incidents.take(Batch(DISKS, [counter.sample(value)], 0.0), world.now)

    errors(7)
    assert world.wait(60) == []
    errors(8)
    assert world.wait(60) == [("problem", ["Errors"])]
    errors(9)
    assert world.wait(590) == []
    assert world.wait(20) == [("over", ["Errors"])]


@pytest.mark.parametrize(("free", "told"), [(4e9, [("problem", ["DiskFull"])]), (6e9, [])])
def test_the_default_of_a_source_goes_by_the_share_of_the_whole(
    free: float, told: list[tuple[str, list[str]]]
) -> None:
    world = World("defaults")
    world.disk(free, total=100e9)

    assert world.wait(5) == told


def test_new_static_labels_are_judged_as_new_series() -> None:
    world = World({"metric": "home_DiskUsage", "labels": {"site": "b*"}, "below": 5e9})
    sample = SPACE.sample(4e9, "_", "free")
    world.incidents.take(Batch(DISKS, [sample], 0.0, (("site", "attic"),)), world.now)
    assert world.wait(3) == []
    world.incidents.take(Batch(DISKS, [sample], 0.0, (("site", "barn"),)), world.now)

    assert [word for word, _ in world.wait(3)] == ["problem"]
