"""Messages of the charger, as one string each."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollect.api import BadResponse
from pollect_sources_home.pmcc.payload import Field
from pollect_sources_home.pmcc.payload import parse_message as parse
from tests.simulators.pmcc import message, power, session, total_energy, wifi


def parse_message(text: str | bytes) -> dict[Field, float | None]:
    return parse(text, {})


def test_a_session() -> None:
    assert parse_message(session()) == {
        "soc": 55,
        "start_soc": 40,
        "ev": 7.2,
        "session_energy": 3.25,
        "session_duration": 1860,
        "charging_rate": 7.36,
        "target_soc": 80,
        "range_km": 231,
    }


@pytest.mark.parametrize("value", [2310, "2310", {"value": 2310}, '{"value": 2310}', "2310.0"])
def test_power_of_a_phase_in_every_form(value: object) -> None:
    args = {"activePowerL2": value}
    text = json.dumps({"interface": "de.bebro.iCAN", "path": "/", "name": "x", "args": args})
    assert parse_message(text) == {"l2": 2310}
    assert parse_message(text.encode()) == {"l2": 2310}


def test_what_only_clients_with_details_want() -> None:
    assert parse_message(power(1, 5.5)) == {"l1": 5.5}
    assert parse_message(total_energy(812.5)) == {"total_energy": 812.5}
    assert parse_message(wifi(-61)) == {"wifi_signal": -61}


@pytest.mark.parametrize("field", ["soc", "startSoc", "evTargetSoc", "totalRange"])
def test_minus_one_is_not_shared_and_no_value(field: str) -> None:
    name = {"startSoc": "start_soc", "evTargetSoc": "target_soc", "totalRange": "range_km"}
    assert parse_message(session(**{field: -1}))[name.get(field, field)] is None


@pytest.mark.parametrize("value", [True, "full", "1_0", "inf", [], {}, float("nan"), 10**400])
def test_what_is_not_a_number_is_no_value_and_named(value: object) -> None:
    problems: dict[Field, str] = {}
    found = parse(session(soc=value), problems)
    assert (found["soc"], found["ev"]) == (None, 7.2)
    assert problems["soc"].startswith("swaggerCurrentSession (soc): expected a number, got ")
    assert set(problems) == {"soc"}


@pytest.mark.parametrize("value", [None, ""])
def test_what_the_charger_does_not_know_is_no_value_and_no_problem(value: object) -> None:
    problems: dict[Field, str] = {}
    assert parse(session(soc=value), problems)["soc"] is None
    assert not problems


def test_an_argument_that_cannot_be_read_costs_itself() -> None:
    args = {"activePowerL1": '{"value": 23', "activePowerL2": '{"value": 2310}'}
    message = {"interface": "de.bebro.iCAN", "path": None, "name": "x", "args": args}
    problems: dict[Field, str] = {}
    assert parse(json.dumps(message), problems) == {"l1": None, "l2": 2310}
    assert problems == {"l1": "activePowerL1 (value): expected JSON, got '{\"value\": 23'"}


def test_an_empty_session_changes_nothing_and_none_at_all_ends_it() -> None:
    empty = message("de.bebro.WebServer", "changed", swaggerCurrentSession={})
    assert parse_message(empty) == {}
    over = parse_message(message("de.bebro.WebServer", "changed", swaggerCurrentSession=None))
    assert set(over) >= {"soc", "start_soc", "ev"}
    assert set(over.values()) == {None}


@pytest.mark.parametrize(
    "text",
    [
        message("de.bebro.WebServer", "chargeState", chargeState="charging"),
        message("de.bebro.SelfTest", "x", soc=5),
        message("de.bebro.iCAN", "x", "/elsewhere", activePowerL1=5),
    ],
)
def test_messages_about_something_else_change_nothing(text: str) -> None:
    assert parse_message(text) == {}


@pytest.mark.parametrize(
    "text",
    ["", "hello", "[]", "5", "{}", '{"interface": "x"}', "\xff", "[" * 100_000, b"\xff\xfe"],
)
def test_rubbish_is_a_bad_response(text: str | bytes) -> None:
    with pytest.raises(BadResponse, match="expected"):
        parse_message(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON, st.sampled_from(["de.bebro.WebServer", "de.bebro.iCAN"]))
def test_nothing_raises_anything_but_a_bad_response(value: object, interface: str) -> None:
    for argument in (value, json.dumps(value)):
        args = dict.fromkeys(("swaggerCurrentSession", "activePowerL1"), argument)
        text = json.dumps({"interface": interface, "path": "/", "name": "x", "args": args})
        with contextlib.suppress(BadResponse):
            parse_message(text)
