"""Evcc against a simulated server, and the states that real ones sent."""

import json
import time
from typing import Any

import pytest

from pollect.api import (
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    Kind,
    ProbeError,
    TargetUnavailable,
)
from pollect.testing import (
    HttpResponse,
    Misbehaviour,
    Running,
    build_source,
    format_samples,
    serve_http,
)
from pollect_sources_home.evcc.source import EvccSource
from pollect_sources_home.evcc.state import find_problems
from tests.simulators.evcc import STATE, Evcc
from tests.simulators.tcp import IN_TIME_SECONDS
from tests.sources_network.driver import opened, patience_for


def series(state: Any, **more: Any) -> dict[str, float]:
    with serve_http({"/api/state": state}) as server:
        with opened({"host": server.address, **more}, EvccSource) as source:
            return source.series()


def test_exposition(golden) -> None:
    with Evcc(STATE) as evcc:
        source = build_source({"host": evcc.address, "details": True}, EvccSource)
        with Running(source) as running:
            golden("Evcc.txt", format_samples(source, running.probe()))


def test_numbers_and_booleans_are_values_and_nothing_else() -> None:
    assert series(
        {
            "homePower": 541.5,
            "gridConfigured": True,
            "siteTitle": "5",
            "tariffCo2": None,
            "ext": [1],
            "mqtt": {"port": 1883},
            "huge": 10**400,
        }
    ) == {"homePower": 541.5, "gridConfigured": 1}


def test_a_state_of_an_older_version_is_unwrapped() -> None:
    assert series({"result": {"homePower": 1}}) == {"homePower": 1}


@pytest.mark.parametrize(
    ("titles", "expected"),
    [
        ([None], ["loadpoint 1"]),
        (["", []], ["loadpoint 1", "loadpoint 2"]),
        (["A", "A", "A"], ["A", "A 2", "A 3"]),
        (["A 2", "A", "A"], ["A 2", "A", "A 3"]),
        (["A", "A", "A 2"], ["A", "A 2 2", "A 2"]),
    ],
)
def test_every_loadpoint_has_a_title_of_its_own(titles: list[Any], expected: list[str]) -> None:
    found = series({"loadpoints": [{"title": title, "chargePower": 1} for title in titles]})
    assert list(found) == [f'chargePower{{title="{title}"}}' for title in expected]


def test_keys_of_loadpoints_may_be_flat() -> None:
    found = series(
        {
            "loadpoints.0.title": "Carport",
            "loadpoints.0.chargePower": 5,
            "loadpoints.10.chargePower": 6,
            "loadpoints.count": 2,
        }
    )
    assert found == {
        'chargePower{title="Carport"}': 5,
        'chargePower{title="loadpoint 11"}': 6,
    }


def test_values_that_evcc_moved_keep_their_old_names() -> None:
    moved = {
        "grid": {"power": -3366.5},
        "battery": {"power": 629, "soc": 51, "capacity": 13.4, "energy": 7, "devices": []},
    }
    assert series(moved) == {
        "gridPower": -3366.5,
        "batteryPower": 629,
        "batterySoc": 51,
        "batteryCapacity": 13.4,
        "batteryEnergy": 7,
    }


def test_an_old_name_that_is_there_counts_and_devices_are_not_summed_up() -> None:
    state = {
        "gridPower": 5,
        "grid": {"power": 6},
        "batterySoc": None,
        "battery": [{"power": 1, "soc": 2}],
    }
    assert series(state) == {"gridPower": 5}
    assert series({"homePower": 0, "battery": {"power": None, "soc": "51"}}) == {"homePower": 0}


def test_details_of_older_versions() -> None:
    found = series(
        {"battery": [{"power": 1, "soc": 2}], "gridPowers": [3, 4], "gridPower": 7}, details=True
    )
    assert found == {
        "gridPower": 7,
        'battery_device_power{title="1"}': 1,
        'battery_device_soc{title="1"}': 2,
        'grid_phase_power{phase="1"}': 3,
        'grid_phase_power{phase="2"}': 4,
    }


def test_devices_that_cannot_be_read_are_a_trouble() -> None:
    state = {
        "loadpoints": [{"title": "Garage", "chargePower": 5}, None, "x"],
        "pv": [{"power": "much"}, {"power": None}],
        "battery": {"devices": 7},
    }
    assert find_problems(state, details=False) == [
        "loadpoints[1]: expected an object, got None",
        "loadpoints[2]: expected an object, got 'x'",
    ]
    assert find_problems(state, details=True)[2:] == [
        "pv[0].power: expected a number, got 'much'",
    ]
    assert find_problems({"loadpoints": "none"}, details=False) == [
        "loadpoints: expected a list, got 'none'"
    ]
    assert find_problems({"battery": 5, "pv": None}, details=True) == []


def test_counters_are_counters() -> None:
    state = {"pvEnergy": 1, "loadpoints": [{"chargeTotalImport": 2, "vehicleOdometer": 3, "a": 4}]}
    with serve_http({"*": state}) as server:
        with opened({"host": server.address}, EvccSource) as source:
            kinds = {sample.metric.name: sample.metric.kind for sample in source.samples()}
    assert {name for name, kind in kinds.items() if kind is Kind.COUNTER} == {
        "pvEnergy",
        "chargeTotalImport",
        "vehicleOdometer",
    }


@pytest.mark.parametrize(
    ("name", "title", "grid"),
    [
        ("evcc/ws_welcome_0.200.9.json", "loadpoint 1", True),
        ("evcc/ws_welcome_0.315.0_excerpt.json", "Pool Pumpe", False),
    ],
)
def test_recorded_states(recording, name: str, title: str, grid: bool) -> None:
    state = json.loads(recording(name))
    found = series(state)
    numbers = {key: float(value) for key, value in state.items() if isinstance(value, int | float)}
    title = state.get("loadpoints.0.title", title)
    for key, value in numbers.items():
        prefix, _, rest = key.rpartition(".")
        series_name = f'{rest}{{title="{title}"}}' if prefix else key
        assert found[series_name] == value
    assert ("gridPower" in found) == grid
    assert {"batteryPower", "batterySoc", "batteryCapacity"} <= found.keys()
    assert set(found) - {"gridPower", "batteryPower", "batterySoc", "batteryCapacity"} <= {
        f'{key.rpartition(".")[2]}{{title="{title}"}}' if "." in key else key for key in numbers
    }


@pytest.mark.parametrize("name", ["battery", "grid", "pv"])
def test_recorded_changes_of_a_part(recording, name: str) -> None:
    state = {"homePower": 1, **json.loads(recording(f"evcc/ws_delta_{name}.json"))}
    found = series(state, details=True)
    expected = {
        "battery": {"batteryPower", "batterySoc", "batteryCapacity"},
        "grid": {"gridPower"},
        "pv": {'pv_power{title="pv"}'},
    }[name]
    assert expected <= found.keys()


def test_the_host_may_be_a_url() -> None:
    with serve_http({"/evcc/api/state": {"homePower": 1}}) as server:
        with opened({"host": f"{server.url}/evcc/"}, EvccSource) as source:
            assert source.series() == {"homePower": 1}


@pytest.mark.parametrize("host", ["ftp://evcc", "http://", "evcc:port", "a b"])
def test_a_host_that_leads_nowhere_is_a_config_error(host: str) -> None:
    with pytest.raises(ConfigError) as failure:
        build_source({"host": host}, EvccSource)
    assert failure.value.key == "host"


@pytest.mark.parametrize(
    ("how", "error"),
    [
        (Misbehaviour.SILENT, TargetUnavailable),
        (Misbehaviour.TRICKLE, TargetUnavailable),
        (Misbehaviour.HANG_UP, TargetUnavailable),
        (Misbehaviour.CUT_SHORT, BadResponse),
        (Misbehaviour.RUBBISH, BadResponse),
        (HttpResponse("no", status=401), AuthenticationFailed),
        (HttpResponse("busy", status=502), BadResponse),
        ("[1]", BadResponse),
        ("{}", BadResponse),
        ('{"error": "starting"}', BadResponse),
        ('{"homePower":', BadResponse),
    ],
    ids=["hung", "slow loris", "reset", "cut short", "no HTTP", "401", "502", "a list", "empty",
         "an error", "half JSON"],
)  # fmt: skip
def test_a_server_that_breaks_fails_in_time_and_recovers(how: Any, error: type[ProbeError]) -> None:
    with serve_http({"*": how}) as server:
        with opened({"host": server.address, "timeout": patience_for(error)}, EvccSource) as source:
            begin = time.monotonic()
            with pytest.raises(error):
                source.series()
            assert time.monotonic() - begin < IN_TIME_SECONDS
            server.routes = {"*": {"homePower": 1}}
            assert source.series_at_last() == {"homePower": 1}


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ({"homePower": "500"}, "homePower: expected a number, got '500'"),
        ({"loadpoints": [{"chargePower": "3.2"}]}, "loadpoints[0].chargePower: expected a number"),
        ({"loadpoints.1.vehicleSoc": [1]}, "loadpoints[0].vehicleSoc: expected a number"),
        ({"grid": {"power": {}}}, "grid.power: expected a number, got {}"),
        ({"battery": {"soc": "51"}}, "battery.soc: expected a number, got '51'"),
        ({"grid": {"powers": [1, "x"]}}, "grid.powers, phase 2: expected a number, got 'x'"),
        ({"gridCurrents": 5}, "gridCurrents: expected a list, got 5"),
        ({"loadpoints": [{"chargeCurrents": ["6"]}]}, "chargeCurrents, phase 1: expected a number"),
        ({"statistics": {"30d": {"avgCo2": "9"}}}, "statistics.30d.avgCo2: expected a number"),
        ({"pv": [{"power": "1"}]}, "pv[0].power: expected a number, got '1'"),
    ],
)
def test_numbers_that_are_none_are_named(state: dict[str, Any], problem: str) -> None:
    with serve_http({"/api/state": {"interval": 10, **state}}) as server:
        with opened({"host": server.address, "details": True}, EvccSource) as source:
            assert source.series()["interval"] == 10
            assert problem in str(source.source.troubles)


@pytest.mark.parametrize("key", ["siteTitle", "mode", "new"])
def test_texts_and_null_where_they_belong_are_no_problem(key: str) -> None:
    state = {"interval": 10, key: "text", "homePower": None, "battery": None, "grid": None}
    with serve_http({"/api/state": state}) as server:
        with opened({"host": server.address, "details": True}, EvccSource) as source:
            source.series()
            assert not source.source.troubles
