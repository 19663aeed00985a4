"""HomematicIp against the cloud that the library homematicip is tested with."""

import contextlib
import copy
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
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
    FakeClock,
    Misbehaviour,
    Running,
    build_source,
    format_samples,
    serve_http,
)
from pollect_sources_home.homematic_ip.source import HomematicIpSource
from pollect_sources_home.homematic_ip.state import (
    find_problems,
    parse_climate,
    parse_details,
    parse_rooms,
    room_label,
)
from tests.simulators.homematic_cloud import (
    ACCESS_POINT,
    STATE,
    TOKEN,
    HomematicCloud,
    needs_cloud,
)
from tests.sources_network.driver import series_of

pytestmark = [pytest.mark.integration, needs_cloud]

ROOMS = {
    'temperature_target{room="badezimmer"}': 5.0,
    'temperature{room="badezimmer"}': 23.8,
    'humidity{room="badezimmer"}': 47,
    'temperature_target{room="schlafzimmer"}': 5.0,
    'temperature{room="schlafzimmer"}': 24.7,
    'humidity{room="schlafzimmer"}': 43,
    'temperature_target{room="wohnzimmer"}': 5.0,
    'temperature{room="wohnzimmer"}': 23.6,
    'humidity{room="wohnzimmer"}': 45,
}


class Home:
    """A source, its clock, and the cloud it reads."""

    def __init__(self, cloud: HomematicCloud, folder: Path, **more: Any) -> None:
        self.clock = FakeClock()
        section = {**cloud.options, "authToken": TOKEN, **more}
        self.source: Any = build_source(
            {key: value for key, value in section.items() if value is not None},
            HomematicIpSource,
            clock=self.clock,
            state_dir=folder,
            config_dir=folder,
        )
        self.running = Running(self.source)

    def series(self) -> dict[str, float]:
        return series_of(self.running.probe())

    def reason(self, kind: type[ProbeError] = ProbeError) -> str:
        with pytest.raises(kind) as caught:
            self.running.probe()
        return str(caught.value)


@pytest.fixture
def cloud() -> Iterator[HomematicCloud]:
    with HomematicCloud() as server:
        yield server


@pytest.fixture
def home_of(cloud, tmp_path) -> Iterator[Callable[..., Home]]:
    started: list[Home] = []

    def build(**more: Any) -> Home:
        started.append(Home(cloud, tmp_path, **more))
        return started[-1]

    yield build
    for home in started:
        home.running.close()


def test_exposition(golden, home_of, cloud) -> None:
    """The whole home would be a long page: one room, with every device in it."""
    data = cloud.cloud.data
    rooms = {key: group for key, group in data["groups"].items() if group["type"] == "META"}
    inside = {channel["deviceId"] for group in rooms.values() for channel in group["channels"]}
    data["devices"] = {key: value for key, value in data["devices"].items() if key in inside}
    home = home_of(details=True)
    golden("HomematicIp.txt", format_samples(home.source, home.running.probe()))


@pytest.mark.parametrize("point", [ACCESS_POINT, "3014-f711-a000-000b-ad0c-0ded"])
def test_the_rooms_of_1x(point, home_of, cloud) -> None:
    assert home_of(accessPoint=point).series() == ROOMS


def test_one_request_a_minute_whatever_the_tick(home_of, cloud) -> None:
    home = home_of()
    for _ in range(60):
        assert home.series() == ROOMS
        home.clock.advance(10)
    assert (cloud.asked("/getHost"), cloud.asked(STATE)) == (1, 10)


def test_details_show_every_device_and_the_access_point(home_of) -> None:
    series = home_of(details=True).series()
    assert series["duty_cycle"] == 8
    assert series["access_point_connected"] == 1
    assert ROOMS.items() <= series.items()
    names = {name.partition("{")[0] for name in series}
    assert {
        *("device_temperature", "device_humidity", "vapor_amount", "valve_position"),
        *("valve_temperature", "low_battery", "unreachable", "rssi_device", "window_open"),
        *("power", "energy", "co2", "illumination", "particulate_mass", "rain", "wind_speed"),
    } <= names
    sizes = [name for name in series if name.startswith("particulate_mass{")]
    assert [name.rpartition('size="')[2] for name in sizes] == ['1"}', '2.5"}', '10"}']


def test_a_wrong_token_names_the_command_and_is_not_tried_again_for_15_minutes(
    home_of, cloud
) -> None:
    home = home_of(authToken="wrong-secret")
    for _ in range(100):
        reason = home.reason(AuthenticationFailed)
        assert "INVALID_AUTHORIZATION" in reason
        assert "run 'pollect auth HomematicIp" in reason
        assert "wrong-secret" not in reason
        home.clock.advance(10)
    assert cloud.asked(STATE) == 2


def test_without_a_token_nothing_is_asked_until_there_is_one(home_of, cloud, tmp_path) -> None:
    home = home_of(authToken=None)
    assert "not signed in: run 'pollect auth HomematicIp" in home.reason(AuthenticationFailed)
    assert cloud.requests == []
    (tmp_path / "homematicip_token.json").write_text(json.dumps({"access_token": TOKEN}))
    assert home.series() == ROOMS


def test_the_token_of_another_access_point_is_not_used(home_of, cloud, tmp_path) -> None:
    data = {"access_token": TOKEN, "access_point": "3014F711A000000000000002"}
    (tmp_path / "homematicip_token.json").write_text(json.dumps(data))
    assert "not signed in" in home_of(authToken=None).reason(AuthenticationFailed)
    assert cloud.requests == []


def test_a_block_means_15_minutes_of_silence_then_30(home_of, cloud) -> None:
    home = home_of()
    home.series()
    cloud.instead = lambda path: (429, {"errorCode": "THROTTLING"}, {})
    begin = home.clock.monotonic()
    asked: list[float] = []
    before = cloud.asked(STATE)
    for _ in range(6 * 50):
        home.clock.advance(10)
        with contextlib.suppress(TargetUnavailable):
            home.running.probe()
        if cloud.asked(STATE) > before:
            before = cloud.asked(STATE)
            asked.append(home.clock.monotonic() - begin)
    pauses = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert pauses == [pytest.approx(900, abs=60), pytest.approx(1800, abs=60)]
    assert "refuses calls of this account until" in home.reason(TargetUnavailable)
    cloud.instead = lambda path: None
    home.clock.advance(1800)
    assert home.series() == ROOMS


def test_a_host_that_is_dead_is_looked_up_again_after_three_failures(home_of, cloud) -> None:
    home = home_of()
    home.series()
    cloud.instead = lambda path: (502, {}, {}) if path == STATE else None
    for _ in range(3):
        home.clock.advance(60)
        assert "status 502" in home.reason(TargetUnavailable)
    cloud.instead = lambda path: None
    home.clock.advance(60)
    assert home.series() == ROOMS
    assert cloud.asked("/getHost") == 2


def test_a_cloud_that_is_away_at_the_start_is_found_later(home_of, cloud) -> None:
    cloud.instead = lambda path: (503, {}, {})
    home = home_of()
    assert "status 503" in home.reason(TargetUnavailable)
    cloud.instead = lambda path: None
    home.clock.advance(60)
    assert home.series() == ROOMS


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ({}, "names no host"),
        ({"urlREST": 5}, "names no host"),
        ({"urlREST": "http://evil.example.org"}, "gave an unusable answer: expected an https URL"),
        ({"urlREST": "ftp://x"}, "gave an unusable answer"),
    ],
)
def test_a_lookup_that_lies_gets_no_token(reply, words, home_of, cloud) -> None:
    cloud.instead = lambda path: (200, reply, {})
    assert words in home_of().reason(BadResponse)
    assert cloud.asked(STATE) == 0


@pytest.mark.parametrize("body", [None, [], {}, {"devices": []}, {"devices": None}])
def test_a_state_of_another_shape_is_a_bad_response(body, home_of, cloud) -> None:
    cloud.instead = lambda path: (200, body, {}) if path == STATE else None
    assert "expected the state of a home" in home_of().reason(BadResponse)


def test_the_access_point_must_be_named() -> None:
    with pytest.raises(ConfigError):
        build_source({"accessPoint": " - "}, HomematicIpSource)


# The state


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Büro", "buero"),
        ("GÄSTE WC", "gaeste_wc"),
        ("Straße/Hof", "straße/hof"),
        ('Max\'s "Öfen"', 'max\'s_"oefen"'),
    ],
)
def test_room_labels_are_those_of_1x(name, label) -> None:
    assert room_label(name) == label


def home_with(*devices: dict[str, Any], room: str = "Bad") -> dict[str, Any]:
    return {
        "home": {},
        "devices": {device["id"]: device for device in devices},
        "groups": {
            "g1": {
                "type": "META",
                "label": room,
                "channels": [{"deviceId": device["id"]} for device in devices],
            }
        },
    }


def thermostat(identity: str, **values: Any) -> dict[str, Any]:
    channel = {"functionalChannelType": "WALL_MOUNTED_THERMOSTAT_PRO_CHANNEL", **values}
    return {"id": identity, "type": "X", "functionalChannels": {"0": {}, "1": channel}}


def climate_of(state: dict[str, Any]) -> dict[str, float]:
    return series_of([s for room in parse_rooms(state) for s in parse_climate(room)[0]])


def test_of_two_thermostats_in_a_room_the_lower_id_counts_and_one_line_says_so(
    home_of, cloud, caplog
) -> None:
    cloud.instead = lambda path: (
        (200, home_with(thermostat("B", humidity=60), thermostat("A", humidity=50)), {})
        if path == STATE
        else None
    )
    home = home_of()
    for _ in range(3):
        assert home.series() == {'humidity{room="bad"}': 50}
        home.clock.advance(60)
    assert caplog.text.count("room bad has several thermostats, A counts") == 1


def test_a_thermostat_without_values_leaves_the_room_to_another() -> None:
    silent = thermostat("A", humidity=None, actualTemperature=None, setPointTemperature=None)
    state = home_with(silent, thermostat("B", humidity=60, actualTemperature=None))
    assert climate_of(state) == {'humidity{room="bad"}': 60}


def test_a_device_keeps_a_name_that_looks_like_one_of_two_equal_ones() -> None:
    devices = [
        thermostat(identity, currentPowerConsumption=power) | {"label": label}
        for identity, label, power in (("1", "A", 41), ("2", "A", 42), ("3", "A (1)", 43))
    ]
    for order in (devices, devices[::-1]):
        found = series_of(list(parse_details(home_with(*order), [])))
        assert {key: value for key, value in found.items() if key.startswith("power")} == {
            'power{room="",device="A (1) (2)"}': 41,
            'power{room="",device="A (2)"}': 42,
            'power{room="",device="A (1)"}': 43,
        }


def test_what_is_not_as_it_should_be_costs_only_itself() -> None:
    state = home_with(thermostat("A", humidity="50", actualTemperature=float("nan")))
    state["devices"]["A"]["functionalChannels"]["2"] = None
    state["devices"]["A"]["functionalChannels"]["3"] = {"humidity": 10**400}
    state["devices"]["B"] = None
    state["devices"]["C"] = {"functionalChannels": []}
    state["groups"]["g1"]["channels"] += [None, 5, {}, {"deviceId": "absent"}, {"deviceId": 5}]
    state["groups"] |= {"g2": None, "g3": {"type": "META"}, "g4": {"type": "META", "label": "x"}}
    state["groups"]["g5"] = {"type": "META", "label": "y", "channels": {}}
    assert climate_of(state) == {}
    rooms = parse_rooms(state)
    assert list(parse_details(state, rooms)) == []
    humidity = "humidity: expected a number, got"
    assert find_problems(state, rooms, details=False) == {
        "A": f"actualTemperature: expected a number, got nan; {humidity} '50'",
        "B": "expected an object, got None",
        "group g2": "expected an object, got None",
        "group g3": "label: expected a text, got None",
        "group g5": "channels: expected a list, got {}",
    }
    state["devices"]["A"]["functionalChannels"]["4"] = {"windowState": "AJAR"}
    state["devices"]["A"]["functionalChannels"]["5"] = {
        "windowState": ["OPEN"],
        "functionalChannelType": [],
    }
    state["home"] = {"dutyCycle": "8 %"}
    found = find_problems(state, rooms, details=True)
    assert found["A"].count(humidity) == 2, "of a channel that only `details` shows, too"
    assert "windowState: expected one of OPEN, TILTED, CLOSED, got 'AJAR'" in found["A"]
    assert found["C"] == "functionalChannels: expected an object, got []"
    assert found["home"] == "dutyCycle: expected a number, got '8 %'"
    del state["groups"]
    assert find_problems(state, [], details=False)["groups"] == "expected an object, got None"


def test_a_home_without_a_thermostat_is_no_data(home_of, cloud) -> None:
    cloud.cloud.data["groups"] = {}
    with pytest.raises(NoData, match="no room of the home has a thermostat on its wall"):
        home_of().running.probe()


def test_every_channel_of_one_kind_is_shown() -> None:
    """A strip of sockets, a bar of twelve valves: the first channel is called as the device."""
    strip = {
        "id": "S",
        "label": "Strip",
        "functionalChannels": {
            "0": {"unreach": False},
            "1": {"currentPowerConsumption": 5.0, "windowState": "OPEN"},
            "2": {"currentPowerConsumption": 7.0, "windowState": "CLOSED"},
            "10": {"currentPowerConsumption": 9.0, "particulateMassConcentrationTen": 3},
            "11": {"particulateMassConcentrationTen": 4},
        },
    }
    state = {"devices": {"S": strip, "T": {"label": "Strip (2)", "functionalChannels": {}}}}
    assert series_of(list(parse_details(state, []))) == {
        'unreachable{room="",device="Strip"}': 0,
        'power{room="",device="Strip"}': 5,
        'power{room="",device="Strip (2) (2)"}': 7,
        'power{room="",device="Strip (10)"}': 9,
        'window_open{room="",device="Strip"}': 1,
        'window_open{room="",device="Strip (2) (2)"}': 0,
        'particulate_mass{room="",device="Strip",size="10"}': 3,
        'particulate_mass{room="",device="Strip (11)",size="10"}': 4,
    }


def test_two_rooms_of_one_name_are_one_and_equal_device_names_are_told_apart() -> None:
    state = home_with(
        {**thermostat("A", actualTemperature=20), "label": "Wall"},
        {**thermostat("B", actualTemperature=21), "label": "Wall"},
    )
    state["groups"]["g2"] = copy.deepcopy(state["groups"]["g1"])
    assert climate_of(state) == {'temperature{room="bad"}': 20}
    details = series_of(list(parse_details(state, parse_rooms(state))))
    assert details == {
        'device_temperature{room="bad",device="Wall (A)"}': 20,
        'device_temperature{room="bad",device="Wall (B)"}': 21,
    }


def test_the_recorded_homes(recording) -> None:
    home = json.loads(recording("homematic_ip/home.json"))
    assert climate_of(home) == ROOMS
    assert series_of(list(parse_details(home, parse_rooms(home))))["duty_cycle"] == 8
    unknown = json.loads(recording("homematic_ip/unknown_types.json"))
    assert climate_of(unknown) == {}
    assert series_of(list(parse_details(unknown, parse_rooms(unknown))))["duty_cycle"] == 8


def test_a_slow_lookup_does_not_outlive_the_deadline(tmp_path) -> None:
    with serve_http({"*": Misbehaviour.SILENT}) as silent:
        source = build_source(
            {
                "accessPoint": ACCESS_POINT,
                "authToken": TOKEN,
                "timeout": 0.2,
                "lookupUrl": f"{silent.url}/getHost",
            },
            HomematicIpSource,
        )
        with Running(source) as running, pytest.raises(TargetUnavailable):
            running.probe()
