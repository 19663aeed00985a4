"""One table of units: what a metric declares is in it, and all in it has a meaning elsewhere."""

import re

import pytest

from pollect.api import UNITS, Metric, describe_unit, find_unit, unit_of, unit_word
from pollect.discovery.registry import Registry
from pollect.units import _ALIASES, _BY_SYMBOL

DECLARED = sorted(
    {
        (metric.unit, f"{type_name}.{metric.name}")
        for registry in (Registry(),)
        for type_name in registry.sources
        for metric in registry.source_type(type_name).metrics
        if metric.unit
    }
)


def test_every_declared_unit_is_in_the_table() -> None:
    assert len(DECLARED) > 100
    assert [what for unit, what in DECLARED if find_unit(unit) is None] == []


@pytest.mark.parametrize("word", UNITS)
def test_every_unit_has_a_meaning_for_people_and_machines(word: str) -> None:
    unit = UNITS[word]
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", word), "a part of a name in Prometheus"
    assert unit.symbol or word == "ratio"
    assert re.fullmatch(r"[!-~]+", unit.ucum)
    assert unit.ucum.count("{") == unit.ucum.count("}")
    assert unit.grafana
    assert unit_word(word) == word


def test_other_spellings_lead_to_a_word_of_the_table() -> None:
    for text in (*_ALIASES, *_BY_SYMBOL):
        assert unit_word(text) in UNITS
    assert unit_word("kWh") == "kilowatt_hours"
    assert unit_word("°C") == "celsius"
    assert unit_word("%") == "percent"
    assert unit_word("bits per second") == "bits_per_second"


def test_symbols_are_not_ambiguous() -> None:
    words = [(unit.symbol, word) for word, unit in UNITS.items()]
    twice = {symbol for symbol, _ in words if [s for s, _ in words].count(symbol) > 1}
    assert twice == {"%"}, "humidity is the one per cent with a class of its own"


def test_unit_that_is_not_in_the_table_is_its_own_symbol() -> None:
    assert describe_unit("knots") == ("knots", "{knots}", "short", "")
    assert describe_unit("a {b} ü") == ("a {b} ü", "{ab}", "short", "")
    assert describe_unit("") == ("", "", "short", "")


def test_unit_of_a_series_is_the_declared_one_or_that_of_its_label() -> None:
    declared = Metric("x", unit="bytes", labels=("unit",))
    assert unit_of(declared, ["W"]) == "bytes"
    assert unit_of(Metric("x", labels=("a", "unit")), ["b", "W"]) == "W"
    assert unit_of(Metric("x", labels=("a",)), ["W"]) == ""
