"""What a config makes of values: other names, factors, fewer labels, and a limit."""

import logging
from collections.abc import Mapping
from typing import Any

import pytest

from pollect.api import Alert, Headline, Kind, Metric, MetricFilter, Panel, Sample
from pollect.engine.samples import Normalizer
from pollect.engine.shaping import LabelRules

SIZE = Metric("size", unit="bytes", help="How large.", labels=("disk", "room"))
RUNS = Metric("runs", kind=Kind.COUNTER)
ONLY = Metric(None)


def shaped(
    samples: list[Sample],
    *,
    drop: tuple[str, ...] = (),
    rename_labels: Mapping[str, str] = {},
    max_series: int = 0,
    **metrics: Any,
) -> list[Sample]:
    rules = LabelRules(drop=drop, rename=rename_labels)
    log = logging.getLogger("test")
    return Normalizer((), MetricFilter(**metrics), log, rules, max_series).clean(samples)


def test_a_value_gets_another_name_and_keeps_the_rest() -> None:
    [sample] = shaped([SIZE.sample(1, "a", "b")], rename={"size": "weight"})
    assert sample.metric == Metric("weight", unit="bytes", help="How large.", labels=SIZE.labels)
    assert sample.label_values == ("a", "b")


def test_a_value_without_a_name_can_get_one_and_the_other_way_round() -> None:
    samples = [ONLY.sample(1), RUNS.sample(2)]
    renamed = shaped(samples, rename={"": "first", "runs": ""})
    assert [sample.metric.name for sample in renamed] == ["first", None]


def test_filters_and_factors_use_the_names_of_the_source() -> None:
    samples = [RUNS.sample(2), SIZE.sample(3, "a", "b")]
    [sample] = shaped(samples, include=("runs",), rename={"runs": "r"}, scale={"runs": 10, "r": 5})
    assert (sample.metric.name, sample.value) == ("r", 20)


def test_a_scaled_value_is_in_no_known_unit_and_a_mirrored_counter_is_none() -> None:
    [size, runs] = shaped(
        [SIZE.sample(2000, "a", "b"), RUNS.sample(2)], scale={"size": 0.001, "runs": -1}
    )
    assert (size.value, size.metric.unit, size.metric.kind) == (2, "", Kind.GAUGE)
    assert (runs.value, runs.metric.kind) == (-2, Kind.GAUGE)


HINTED = Metric(
    "used",
    unit="percent",
    labels=("disk", "type"),
    headline=[Headline("used", {"type": "used"}), Headline("all")],
    panel=Panel(minimum=0, maximum=100, amber=80, red=90, states={0: "off", 2: "on"}),
    alert=[
        Alert("Full", "it is full", above=90, labels={"type": "used"}),
        Alert("Low", "little is left", below=0.05, share_of={"type": "all"}),
        Alert("Any", "too much", above=5),
    ],
)


def hinted(**shape: Any) -> Metric:
    [sample] = shaped([HINTED.sample(1, "a", "b")], **shape)
    return sample.metric


def test_hints_speak_of_the_new_unit() -> None:
    metric = hinted(scale={"used": 0.5})
    assert metric.panel == Panel(0, 50, 40, 45, {0: "off", 1: "on"})
    assert [(alert.above, alert.below) for alert in metric.alerts] == [
        (45, None),
        (None, 0.05),  # of a share, whatever the unit
        (2.5, None),
    ]


def test_hints_of_a_mirrored_value_are_mirrored() -> None:
    metric = hinted(scale={"used": -1})
    # Red below amber: small values are bad.
    assert metric.panel == Panel(-100, 0, -80, -90, {0: "off", -2: "on"})
    assert [(alert.above, alert.below) for alert in metric.alerts] == [
        (None, -90),
        (None, 0.05),
        (None, -5),
    ]


def test_hints_speak_of_the_new_labels() -> None:
    metric = hinted(rename_labels={"type": "kind"}, rename={"used": "share"})
    assert metric.headline == (Headline("used", {"kind": "used"}), Headline("all"))
    assert [alert.labels or alert.share_of for alert in metric.alerts] == [
        {"kind": "used"},
        {"kind": "all"},
        {},
    ]


def test_hints_that_ask_for_a_dropped_label_are_left_out() -> None:
    metric = hinted(drop=("type",))
    assert metric.headline == (Headline("all"),)
    assert [alert.name for alert in metric.alerts] == ["Any"]


def test_a_value_too_large_to_be_scaled_costs_only_itself(caplog) -> None:
    samples = [RUNS.sample(1e308), ONLY.sample(1)]
    assert shaped(samples, scale={"runs": 1e10}) == [ONLY.sample(1)]
    assert "too large" in caplog.text


def test_labels_are_dropped_and_renamed() -> None:
    [sample] = shaped([SIZE.sample(1, "a", "b")], drop=("room",), rename_labels={"disk": "drive"})
    assert (sample.metric.labels, sample.label_values) == (("drive",), ("a",))


def test_a_label_can_take_the_name_of_one_that_is_dropped_or_renamed() -> None:
    [dropped] = shaped([SIZE.sample(1, "a", "b")], drop=("room",), rename_labels={"disk": "room"})
    assert (dropped.metric.labels, dropped.label_values) == (("room",), ("a",))
    [swapped] = shaped([SIZE.sample(1, "a", "b")], rename_labels={"disk": "room", "room": "disk"})
    assert (swapped.metric.labels, swapped.label_values) == (("room", "disk"), ("a", "b"))


def test_a_name_that_another_label_has_is_not_given() -> None:
    [sample] = shaped([SIZE.sample(1, "a", "b")], rename_labels={"disk": "room"})
    assert sample == SIZE.sample(1, "a", "b")


def test_of_values_that_become_the_same_series_the_first_one_stays_and_it_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    samples = [SIZE.sample(number, "a", f"room {number}") for number in range(5)]
    for _ in range(2):
        log = logging.getLogger("test")
        normalizer = Normalizer((), MetricFilter(), log, LabelRules(drop=("room",)))
        caplog.clear()
        for _ in range(3):
            [sample] = normalizer.clean(samples)
            assert (sample.value, sample.label_values) == (0, ("a",))
        assert len(caplog.records) == 1
        assert "dropLabels" in caplog.text


def test_what_is_beyond_the_limit_is_left_out_counted_and_named_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    normalizer = Normalizer((), MetricFilter(), logging.getLogger("test"), max_series=3)
    flood = [SIZE.sample(number, f"disk {number}", "b") for number in range(10)]
    for _ in range(3):
        assert normalizer.clean(flood) == flood[:3]
    assert normalizer.limit.dropped == 21
    [warning] = caplog.messages
    assert "10 series are more than `maxSeries: 3` allows" in warning
    assert "size with the labels {'disk': 'disk 3', 'room': 'b'}" in warning
    assert normalizer.clean(flood[:3]) == flood[:3]
    assert normalizer.clean(flood[:2]) == flood[:2]
    assert caplog.messages[1:] == ["back to at most 3 series"]


def test_no_limit_is_no_limit() -> None:
    samples = [SIZE.sample(number, str(number), "") for number in range(60_000)]
    assert len(shaped(samples, max_series=0)) == 60_000
