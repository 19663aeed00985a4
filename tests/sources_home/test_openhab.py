"""Openhab against a simulated server, and the items that a real one showed."""

import json
import re
import time
from typing import Any

import pytest

from pollect.api import (
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    NoData,
    ProbeError,
    TargetUnavailable,
)
from pollect.testing import (
    HttpRequest,
    HttpResponse,
    Misbehaviour,
    Running,
    build_source,
    format_samples,
    serve_http,
)
from pollect_sources_home.openhab.source import OpenhabSource
from tests.simulators.certificates import Authority
from tests.simulators.tcp import IN_TIME_SECONDS
from tests.sources_network.driver import opened, patience_for

ALL_TYPES = [
    "Contact",
    "Dimmer",
    "Rollershutter",
    "Color",
    "Player",
    "Group",
    "DateTime",
]


def item(kind: str, state: Any, **more: Any) -> dict[str, Any]:
    return {"name": "Item", "label": "Value", "type": kind, "state": state, **more}


def series(items: Any, **more: Any) -> dict[str, float]:
    with serve_http({"/rest/items": items}) as server:
        with opened({"url": server.url, **more}, OpenhabSource) as source:
            return source.series()


def value_of(kind: str, state: Any, **more: Any) -> float | None:
    """Return the value of an item, None if it has none."""
    try:
        return series([item(kind, state, **more)], types=ALL_TYPES)['Value{name="Item",group=""}']
    except NoData:
        return None


def test_exposition(golden) -> None:
    items = [
        item(
            "Number:Temperature", "20.4 °C", name="Kitchen", label="Kitchen", groupNames=["A", "B"]
        ),
        item("Number", "3", name="Scene", label="Küche Temp [%.1f °C]"),
        item("Switch", "ON", name="Light", label=""),
        item("Contact", "OPEN", name="Window"),
        item("Group", "21", name="All", groupType="Number", groupNames=[]),
        item("Switch", "OFF", name="Unlabelled", label=None),
    ]
    with serve_http({"/rest/items": items}) as server:
        section = {"url": server.url, "types": ["Contact", "Group"]}
        source = build_source(section, OpenhabSource)
        with Running(source) as running:
            golden("Openhab.txt", format_samples(source, running.probe()))


@pytest.mark.parametrize(
    ("kind", "state", "value"),
    [
        ("Number", "2", 2),
        ("Number", "1.2E3", 1200),
        ("Number:Angle", "-21.78059433118355 °", -21.78059433118355),
        ("Number:Dimensionless", "45 %", 45),
        ("Number", "NULL", None),
        ("Number", "UNDEF", None),
        ("Number", "NaN", None),
        ("Number", "Infinity", None),
        ("Number", "1_000", None),
        ("Number", "", None),
        ("Switch", "ON", 1),
        ("Switch", "OFF", 0),
        ("Switch", "NULL", None),
        ("Switch", "UNDEF", None),
        ("Contact", "OPEN", 1),
        ("Contact", "CLOSED", 0),
        ("Contact", "UNDEF", None),
        ("Dimmer", "75", 75),
        ("Rollershutter", "0", 0),
        ("Color", "162,41,100", 100),
        ("Color", "NULL", None),
        ("Player", "PLAY", 1),
        ("Player", "PAUSE", 0),
        ("Player", "NULL", None),
        ("DateTime", "2026-01-13T16:00:42.500+0100", 1768316442.5),
        ("DateTime", "2026-01-13T15:00:42Z", 1768316442),
        ("DateTime", "2026-01-13T16:00:42", None),
        ("DateTime", "NULL", None),
        ("Location", "52.5200066,13.4049540", None),
        ("String", "5", None),
        ("Call", "49,891234", None),
        ("Image", "data:image/png;base64,5", None),
        ("", "5", None),
    ],
)
def test_the_type_decides_what_a_state_means(kind: str, state: str, value: float | None) -> None:
    assert value_of(kind, state) == value


@pytest.mark.parametrize(
    ("group_type", "state", "value"),
    [("Switch", "ON", 1), ("Number:Temperature", "20.7 °C", 20.7), ("Contact", "OPEN", 1),
     (None, "NULL", None), (None, "5", None), ("Number", "UNDEF", None)],
)  # fmt: skip
def test_a_group_counts_by_the_type_of_its_members(
    group_type: str | None, state: str, value: float | None
) -> None:
    more = {} if group_type is None else {"groupType": group_type}
    assert value_of("Group", state, **more) == value


def test_numbers_and_switches_are_reported_whatever_else_is() -> None:
    items = [item("Number", "1", name="A"), item("Contact", "OPEN", name="B")]
    assert list(series(items)) == ['Value{name="A",group=""}']
    assert len(series(items, types=["Contact"])) == 2


def test_labels_become_value_names_as_in_1x() -> None:
    items = [
        item("Number", "1", name="A", label="Küche Temp [%.1f °C]"),
        item("Number", "2", name="B", label="Amy's  Room:1"),
        item("Number", "3", name="C_c", label=""),
    ]
    assert series(items) == {
        'K_che_Temp_1f_C_{name="A",group=""}': 1,
        'Amy_s_Room:1{name="B",group=""}': 2,
        'C_c{name="C_c",group=""}': 3,
    }


def test_items_that_are_broken_cost_only_themselves() -> None:
    broken = [
        5,
        None,
        {},
        {"name": "A", "label": "L"},
        {"name": "A", "label": "L", "type": "Number"},
        {"name": "A", "label": "L", "type": None, "state": "5"},
        {"name": "A", "label": "L", "type": "Number", "state": None},
        {"name": "A", "label": 5, "type": "Number", "state": "5"},
        {"label": "L", "type": "Number", "state": "5"},
        item("Switch", "ON", groupNames=None),
    ]
    assert series(broken) == {'Value{name="Item",group=""}': 1}


def test_items_that_cannot_be_read_are_a_trouble() -> None:
    items: list[Any] = [
        5,
        {**item("Number", "warm"), "name": "T"},
        {**item("Switch", "MAYBE"), "name": "S"},
        {**item("Number:Power", "?"), "name": "P"},
        {**item("Number", "NULL"), "name": "N"},
        {**item("Number", "UNDEF"), "name": "U"},
        {**item("Group", "whatever", groupType="Number"), "name": "G"},
        {**item("Group", "whatever", groupType="String"), "name": "H"},
        {**item("Group", "whatever"), "name": "I"},
        {**item("String", "text"), "name": "X"},
        item("Number", "5"),
    ]
    with serve_http({"/rest/items": items}) as server:
        section = {"url": server.url, "types": ["Group"]}
        with opened(section, OpenhabSource) as source:
            assert source.series() == {'Value{name="Item",group=""}': 5}
            assert source.source.troubles.texts() == (
                "items: expected an item with a name, got 5; "
                "T: expected a state of Number, got 'warm'; "
                "S: expected a state of Switch, got 'MAYBE'; and 2 more",
            )


def test_an_item_is_reported_once() -> None:
    assert series([item("Number", "1"), item("Number", "2", label="Other")]) == {
        'Value{name="Item",group=""}': 1
    }


def test_groups_select_their_members() -> None:
    items = [
        item("Number", "1", name="A", groupNames=["Cellar", "Heating"]),
        item("Number", "2", name="B", groupNames=["Attic"]),
        item("Number", "3", name="C"),
    ]
    assert series(items, groups=["Heating"]) == {'Value{name="A",group="Cellar,Heating"}': 1}
    assert len(series(items, groups=["Heating", "Attic"])) == 2
    with pytest.raises(NoData):
        series(items, groups=[])


def test_the_request_asks_for_no_more_than_it_needs() -> None:
    with serve_http({"/rest/items": [item("Number", "1")]}) as server:
        with opened({"url": f"{server.url}/"}, OpenhabSource) as source:
            source.series()
        [request] = server.requests
    assert request.path == "/rest/items"
    assert request.query["recursive"] == "false"
    assert {"name", "label", "type", "groupType", "state", "groupNames"} <= set(
        request.query["fields"].split(",")
    )


def test_recorded_items(recording) -> None:
    items = json.loads(recording("openhab/items_demo.json"))
    found = series(items)
    expected = {}
    for each in items:
        is_number = each["type"].partition(":")[0] == "Number"
        if "label" not in each or each["state"] in ("NULL", "UNDEF"):
            continue
        if is_number or each["type"] == "Switch":
            name = re.sub("[^a-zA-Z0-9_:]+", "_", each["label"])
            labels = f'name="{each["name"]}",group="{",".join(each["groupNames"])}"'
            value = float(each["state"].split()[0]) if is_number else each["state"] == "ON"
            expected[f"{name}{{{labels}}}"] = value
    assert found == expected
    assert len(found) > 40
    further = series(items, types=ALL_TYPES).keys() - found.keys()
    kinds = {each["name"]: each["type"] for each in items}
    assert {kinds[re.findall('name="(.*?)"', name)[0]] for name in further} == {
        "Contact", "Rollershutter", "Dimmer", "Color", "Group", "DateTime",
    }  # fmt: skip


def test_recorded_item(recording) -> None:
    found = series([json.loads(recording("openhab/item.json"))])
    assert found == {'Wifi_Level{name="Wifi_Level",group="FF_Office"}': 2}


def guarded(request: HttpRequest) -> HttpResponse:
    if request.headers["Authorization"] in ("Bearer oh.pollect.secret", "Basic b3BlbjpoYWI="):
        return HttpResponse([item("Number", "1")])
    error = {"error": {"message": "Authentication required", "http-code": 401}}
    return HttpResponse(error, status=401)


def test_token_or_user() -> None:
    assert series(guarded, token=" oh.pollect.secret\n")
    assert series(guarded, user="open", password="hab")
    with pytest.raises(AuthenticationFailed, match="status 401: set `token`"):
        series(guarded)
    with pytest.raises(AuthenticationFailed):
        series(guarded, token="oh.pollect.revoked")


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"url": "openhab.local"}, "url"),
        ({"url": "http://o", "token": "t", "user": "u"}, "token"),
        ({"url": "http://o", "password": "p"}, "user"),
        ({"url": "http://o", "types": ["Text"]}, "types[0]"),
    ],
)
def test_options_that_make_no_sense_are_config_errors(options: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as failure:
        build_source(options, OpenhabSource)
    problems = getattr(failure.value, "problems", [failure.value])
    assert [problem.key for problem in problems] == [key]


def test_a_certificate_of_its_own_is_accepted_only_when_asked_for(authority: Authority) -> None:
    tls = authority.server("localhost")
    with serve_http({"/rest/items": [item("Number", "1")]}, tls=tls) as server:
        with opened({"url": server.url, "verify": False}, OpenhabSource) as source:
            assert source.series()
        with opened({"url": server.url}, OpenhabSource) as source:
            with pytest.raises(TargetUnavailable, match="TLS failed"):
                source.series()


@pytest.mark.parametrize(
    ("how", "error", "text"),
    [
        (Misbehaviour.SILENT, TargetUnavailable, "no answer within"),
        (Misbehaviour.TRICKLE, TargetUnavailable, "no answer within"),
        (Misbehaviour.HANG_UP, TargetUnavailable, "http"),
        (Misbehaviour.CUT_SHORT, BadResponse, "http"),
        (Misbehaviour.RUBBISH, BadResponse, "http"),
        (HttpResponse("", status=500), BadResponse, "status 500"),
        ({"error": {"message": "Item registry is away"}}, BadResponse, "Item registry is away"),
        ({"items": []}, BadResponse, "expected a list of items"),
        ('[{"name":', BadResponse, "expected JSON"),
        ([], NoData, "none of 0 items"),
    ],
    ids=["hung", "slow loris", "reset", "cut short", "no HTTP", "500", "an error", "an object",
         "half JSON", "empty"],
)  # fmt: skip
def test_a_server_that_breaks_fails_in_time_and_recovers(
    how: Any, error: type[ProbeError], text: str
) -> None:
    with serve_http({"*": how}) as server:
        section = {"url": server.url, "timeout": patience_for(error)}
        with opened(section, OpenhabSource) as source:
            begin = time.monotonic()
            with pytest.raises(error, match=text):
                source.series()
            assert time.monotonic() - begin < IN_TIME_SECONDS
            server.routes = {"*": [item("Number", "1")]}
            assert source.series_at_last() == {'Value{name="Item",group=""}': 1}
