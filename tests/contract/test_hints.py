"""What every source says of its metrics for people: headlines, panels and alerts."""

import re
from collections import Counter
from pathlib import Path

import pytest

from pollect.discovery.registry import Registry
from pollect.hints import Headline
from pollect.human import is_moment
from pollect.model import Kind, Metric
from pollect.units import unit_word

REGISTRY = Registry()
METRICS = {name: REGISTRY.source_type(name).metrics for name in REGISTRY.sources}
#: So few values are all shown at a glance.
AT_A_GLANCE = 3


@pytest.mark.parametrize("name", METRICS)
def test_a_source_with_many_values_says_which_tell_most(name: str) -> None:
    metrics = METRICS[name]
    told = [metric for metric in metrics if metric.headline]

    assert told or len(metrics) <= AT_A_GLANCE


@pytest.mark.parametrize("name", METRICS)
def test_alerts_of_a_source_have_names_of_their_own(name: str) -> None:
    names = {(alert.name, metric.name or "") for metric in METRICS[name] for alert in metric.alerts}

    assert not [name for name, count in Counter(name for name, _ in names).items() if count > 1]


def test_the_manual_names_every_source_that_ships_alerts() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text("utf-8")
    table = manual.partition("## The default rules")[2].partition("## Messages")[0]
    named = {*re.findall(r"\w+", " ".join(re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)))}

    assert {name for name in METRICS if any(m.alerts for m in METRICS[name])} <= named


@pytest.mark.parametrize("name", METRICS)
def test_what_a_panel_says_fits_its_metric(name: str) -> None:
    config_type = REGISTRY.source_type(name).config_type
    for metric in METRICS[name]:
        panel = metric.panel
        if panel is None:
            continue
        options = {option for need in panel.needs for option in need.split("|")}
        assert options <= {*config_type.__struct_fields__}, metric
        assert {*panel.good, *panel.bad} <= panel.states.keys(), metric
        assert not panel.states or metric.kind is Kind.GAUGE, metric
        assert not panel.moment or unit_word(metric.unit) == "seconds", metric


@pytest.mark.parametrize("name", METRICS)
def test_a_time_in_seconds_since_1970_is_shown_as_one(name: str) -> None:
    for metric in METRICS[name]:
        words = metric.help.lower()
        if unit_word(metric.unit) == "seconds" and ("unix time" in words or "1970" in words):
            assert is_moment(metric), metric


def test_further_labels_keep_the_hints() -> None:
    plain = Metric(
        "free",
        labels=("disk",),
        headline=Headline("free", {"disk": "sda"}),
    )
    labelled = plain.labelled("host")

    assert labelled.labels == ("disk", "host")
    assert (labelled.headline, labelled.help) == (plain.headline, plain.help)
