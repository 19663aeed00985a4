"""Viessmann against a simulated cloud with its sign-in, its quota and its faults."""

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pollect.api import (
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    Kind,
    NoData,
    ProbeError,
    TargetUnavailable,
)
from pollect.testing import (
    FakeClock,
    HttpResponse,
    Misbehaviour,
    Running,
    build_source,
    format_samples,
)
from pollect_sources_home.viessmann.source import ViessmannSource
from tests.simulators.viessmann import (
    BULK,
    FEATURES,
    GATEWAYS,
    SERIAL,
    Viessmann,
    device,
    feature,
)
from tests.sources_network.driver import series_of


class Home:
    """A source, its clock, and the cloud it reads."""

    def __init__(self, cloud: Viessmann, folder: Path, clock: FakeClock, **more: Any) -> None:
        self.cloud = cloud
        self.clock = clock
        self.folder = folder
        self.source: Any = self.build(**more)
        self.running: Any = Running(self.source)

    def build(self, **more: Any) -> Any:
        section = {**self.cloud.options, **more}
        return build_source(
            section,
            ViessmannSource,
            clock=self.clock,
            state_dir=self.folder,
            config_dir=self.folder,
        )

    def series(self) -> dict[str, float]:
        return series_of(list(self.running.probe()))

    def reason(self, kind: type[ProbeError] = ProbeError) -> str:
        with pytest.raises(kind) as caught:
            self.running.probe()
        return str(caught.value)


@pytest.fixture
def cloud() -> Iterator[Viessmann]:
    with Viessmann() as server:
        yield server


@pytest.fixture
def home_of(cloud, tmp_path):
    """Give a function that builds a source that is signed in."""
    clock = FakeClock()
    cloud.clock = clock.time
    (tmp_path / "viessmann_token.json").write_text(
        cloud.token_text(expires_at=clock.time() + 10_000_000)
    )
    started: list[Home] = []

    def build(**more: Any) -> Home:
        started.append(Home(cloud, tmp_path, clock, **more))
        return started[-1]

    yield build
    for home in started:
        if home.running is not None:
            home.running.close()


def paths(cloud: Viessmann) -> list[str]:
    return [request.path for request in cloud.requests]


def test_exposition(golden, home_of) -> None:
    home = home_of(details=True)
    golden("Viessmann.txt", format_samples(home.source, home.running.probe()))


def test_names_of_1x_and_nothing_more_without_details(home_of) -> None:
    assert home_of().series() == {
        "outside_temperature": 7.5,
        'heating.circuits{circuit="0"}': 1,
        'heating.circuits.sensors.temperature.supply{circuit="1"}': 31.4,
        'heating.circuits.circulation.pump{circuit="1"}': 1,
        'heating.circuits.operating.modes.heating{circuit="1"}': 1,
        'heating.circuits.operating.modes.standby{circuit="1"}': 0,
        'heating.circuits.operating.programs.normal{circuit="1"}': 20,
        'heating.compressors{compressor="0"}': 1,
        'heating.compressors{compressor="2"}': 0,
        **phases("0", "ready"),
        **phases("2", "off"),
        'heating.compressors.active{compressor="0"}': 1,
        'heating.compressors.active{compressor="2"}': 0,
        'heating.compressors.stats_starts{compressor="0"}': 1502,
        'heating.compressors.stats_hours{compressor="0"}': 8118,
        'heating.compressors.stats_hours_class_1{compressor="0"}': 100,
        "heating.burners.0": 0,
        "hot_water_circulation_pump": 0,
        "hot_water_charging": 0,
        "hot_water_target_temp": 50,
        "device.condensationRisk": 0,
    }


def phases(compressor: str, current: str) -> dict[str, float]:
    known = ["preparing", "heating", "pause", "cooling", "preparing-defrost", "defrost"]
    known += ["passive-defrost", "off"]
    return {
        f'heating.compressors.phase{{phase="{phase}",compressor="{compressor}"}}': float(
            phase == current
        )
        for phase in dict.fromkeys([*known, current])
    }


def test_counters_are_counters(home_of) -> None:
    kinds = {sample.metric.name: sample.metric.kind for sample in home_of().running.probe()}
    counters = {name for name, kind in kinds.items() if kind is Kind.COUNTER}
    assert counters == {
        "heating.compressors.stats_starts",
        "heating.compressors.stats_hours",
        "heating.compressors.stats_hours_class_1",
    }


def test_one_call_per_90_seconds_and_one_a_day_for_the_equipment(home_of, cloud) -> None:
    home = home_of()
    for _ in range(6 * 60 * 25):
        home.series()
        home.clock.advance(10)
    assert paths(cloud).count(GATEWAYS) == 2
    assert paths(cloud).count(BULK) == pytest.approx(25 * 40, abs=2)
    assert len(cloud.calls) == len(paths(cloud))


def test_three_sources_of_an_account_together_ask_no_more_often_than_one(home_of, cloud) -> None:
    homes = [home_of(name=name) for name in ("a", "b", "c")]
    for _ in range(6 * 60):
        for home in homes:
            home.series()
        homes[0].clock.advance(10)
    assert paths(cloud).count(BULK) == pytest.approx(40, abs=6)


def test_a_larger_tick_time_counts_and_a_smaller_one_does_not(home_of, cloud) -> None:
    home = home_of()
    for _ in range(10):
        home.series()
        home.clock.advance(300)
    assert paths(cloud).count(BULK) == 10


@pytest.mark.parametrize("answer", [HttpResponse({"errorType": "X"}, status=404), {"data": []}])
def test_a_gateway_that_does_not_answer_for_its_devices_is_asked_for_the_device(
    answer, home_of, cloud
) -> None:
    cloud.instead[BULK] = answer
    home = home_of()
    for _ in range(3):
        assert home.series()["outside_temperature"] == 7.5
        home.clock.advance(90)
    assert paths(cloud) == [GATEWAYS, BULK, *[f"{FEATURES}/devices/0/features"] * 3]


def test_a_device_that_is_gone_leads_to_a_new_look_at_the_equipment(home_of, cloud) -> None:
    home = home_of()
    home.series()
    cloud.devices = [device("gateway", "tcu"), device("7", "heating")]
    cloud.features = [feature("heating.burners.0", "7", active=True)]
    home.clock.advance(90)
    assert "status 404" in home.reason(BadResponse)
    home.clock.advance(90)
    assert home.series() == {"heating.burners.0": 1}


NO_DEVICES = (device("gateway", "tcu"), device("RC-1", "roomControl"))


@pytest.mark.parametrize(
    ("devices", "chosen"),
    [
        ([device("gateway", "vitoconnect"), device("0", "heating")], "0"),
        ([device("gateway", "tcu"), device("RC-1", "roomControl"), device("3", "heating")], "3"),
        (
            [device("gateway", "tcu"), device("RC-1", "roomControl"), device("5", "ventilation")],
            "5",
        ),
        ([device("zigbee-1", "zigbee"), device("0", "heating")], "0"),
        ([device("gateway", "vitoconnect")], "0"),
        ([], "0"),
    ],
)
def test_the_device_is_the_first_that_heats_else_the_first_with_values(
    devices, chosen, home_of, cloud
) -> None:
    cloud.devices = devices
    cloud.features = [
        feature("heating.burners.0", identity, active=True, status=identity)
        for identity in ("gateway", "RC-1", "zigbee-1")
    ] + [feature("heating.dhw", chosen, active=True)]
    assert home_of().series() == {"heating.dhw": 1}


def test_a_configured_device_wins_and_all_get_a_label_that_is_last(home_of, cloud) -> None:
    cloud.devices = [device("0", "heating"), device("9", "zigbee"), device("x", "tcu")]
    cloud.features = [
        feature("heating.circuits.0.circulation.pump", status="on"),
        feature("device.sensors.temperature", "9", value=(21.5, "celsius")),
    ]
    assert home_of(device=9).series() == {"device.sensors.temperature": 21.5}
    assert home_of(devices="all").series() == {
        'heating.circuits.circulation.pump{circuit="0",device="0"}': 1,
        'device.sensors.temperature{device="9"}': 21.5,
    }


def test_one_device_that_fails_does_not_cost_the_others(home_of, cloud, caplog) -> None:
    cloud.instead[BULK] = HttpResponse("", status=404)
    cloud.devices = [device("0", "heating"), device("9", "zigbee")]
    offline = {"errorType": "DEVICE_COMMUNICATION_ERROR", "message": "Device communication error"}
    cloud.instead[f"{FEATURES}/devices/9/features"] = HttpResponse(
        {**offline, "extendedPayload": {"reason": "DEVICE_OFFLINE"}}, status=400
    )
    home = home_of(devices="all")
    for _ in range(20):
        assert home.series()['outside_temperature{device="0"}'] == 7.5
        home.clock.advance(90)
    assert caplog.text.count("DEVICE_OFFLINE") == 1
    # Two calls a time, half as often.
    assert len(cloud.calls) == pytest.approx(2 + 20, abs=2)


def test_other_gateways_of_the_account_are_chosen_by_number(home_of, cloud) -> None:
    other = {**cloud.gateway(), "serial": "99", "installationId": 5, "devices": []}
    cloud.instead[GATEWAYS] = {"data": [other, cloud.gateway(), {"serial": None}, "rubbish"]}
    assert home_of().series()["outside_temperature"] == 7.5
    assert home_of(gateway=int(SERIAL)).series()["outside_temperature"] == 7.5
    home_of(installation="5").reason()
    assert "/iot/v2/features/installations/5/gateways/99/features" in paths(cloud)
    reason = home_of(gateway="77").reason(BadResponse)
    assert f"there are: 99 (5), {SERIAL} (1000001)" in reason


def test_an_account_without_a_gateway_is_a_reason(home_of, cloud) -> None:
    cloud.instead[GATEWAYS] = {"data": []}
    assert "this account has no gateway" in home_of().reason(BadResponse)


# Sign-in


def test_without_a_token_the_reason_names_the_command_and_nothing_is_asked(cloud, tmp_path) -> None:
    home = Home(cloud, tmp_path, FakeClock(), name="cellar")
    assert home.reason(AuthenticationFailed) == (
        "not signed in: run 'pollect auth Viessmann -c FILE cellar'"
    )
    assert cloud.requests == []
    (tmp_path / "viessmann_token.json").write_text(
        cloud.token_text(expires_at=home.clock.time() + 3600)
    )
    # No clock moved: what `pollect auth` wrote counts at once.
    assert home.series()["outside_temperature"] == 7.5
    home.running.close()


def test_a_token_is_renewed_in_the_file_of_1x(home_of, cloud, tmp_path) -> None:
    file = tmp_path / "viessmann_token.json"
    home = home_of()
    file.write_text(cloud.token_text(expires_at=home.clock.time() + 30))
    cloud.sign_in.sends_refresh_token = False
    for _ in range(500):
        home.series()
        home.clock.advance(90)
    assert cloud.sign_in.renewals == pytest.approx(500 * 90 / 3600, abs=2)
    kept = json.loads(file.read_text())
    assert kept["refresh_token"] == "refresh-of-the-test"
    assert kept["access_token"] == cloud.sign_in.access_token
    assert kept["expires_in"] > home.clock.time()


def test_a_token_that_lies_about_its_life_is_renewed_once(home_of, cloud) -> None:
    home = home_of()
    home.series()
    cloud.only_token = "access-2-of-the-test"
    home.clock.advance(90)
    assert home.series()["outside_temperature"] == 7.5
    assert cloud.sign_in.renewals == 1
    cloud.only_token = "never given out"
    home.clock.advance(90)
    for _ in range(80):
        assert "a new token was refused as well: EXPIRED TOKEN" in home.reason(AuthenticationFailed)
        home.clock.advance(10)
    # One attempt, then one every 15 minutes.
    assert cloud.sign_in.renewals == 2


def test_a_refresh_that_is_refused_names_the_command_and_waits_15_minutes(home_of, cloud) -> None:
    home = home_of()
    (home.folder / "viessmann_token.json").write_text(
        cloud.token_text(expires_at=home.clock.time(), refresh="revoked")
    )
    for _ in range(180):
        reason = home.reason(AuthenticationFailed)
        assert "no longer accepts the sign-in (invalid_grant)" in reason
        assert "run 'pollect auth Viessmann" in reason
        assert "revoked" not in reason
        home.clock.advance(10)
    assert cloud.sign_in.renewals == 2


@pytest.mark.parametrize(
    ("renewal", "kind"),
    [
        (HttpResponse({"access_token": 5}), BadResponse),
        (HttpResponse({"expires_in": 3600}), BadResponse),
        (HttpResponse('{"access_token": "s3cret", "expires'), BadResponse),
        (HttpResponse({"access_token": "s3cret\n"}), BadResponse),
        (HttpResponse([]), BadResponse),
        (HttpResponse("<html>", status=502), TargetUnavailable),
        (HttpResponse({"error": "server_error"}, status=500), TargetUnavailable),
    ],
)
def test_rubbish_in_place_of_a_token_is_not_a_lost_sign_in(renewal, kind, home_of, cloud) -> None:
    home = home_of()
    file = home.folder / "viessmann_token.json"
    file.write_text(cloud.token_text(expires_at=home.clock.time()))
    before = file.read_text()
    cloud.sign_in.renewal = renewal
    assert "s3cret" not in home.reason(kind)
    assert file.read_text() == before
    cloud.sign_in.renewal = None
    home.clock.advance(90)
    assert home.series()["outside_temperature"] == 7.5


def test_user_and_password_sign_in_once_when_there_is_no_token(cloud, tmp_path) -> None:
    home = Home(cloud, tmp_path, FakeClock(), user=cloud.user, password="geheim")
    assert home.series()["outside_temperature"] == 7.5
    assert json.loads((tmp_path / "viessmann_token.json").read_text())["refresh_token"]
    home.running.close()


def test_two_clients_keep_their_tokens_apart(cloud, tmp_path) -> None:
    first = Home(cloud, tmp_path, FakeClock(), user=cloud.user, password="geheim")
    first.series()
    second = Home(cloud, tmp_path, FakeClock(), client_id="another client", name="b")
    assert "not signed in" in second.reason(AuthenticationFailed)
    kept = json.loads((tmp_path / "viessmann_token.json").read_text())
    assert kept["client_id"] == "client-of-the-test"
    for home in (first, second):
        home.running.close()


def test_a_refused_password_is_tried_once_and_the_portal_is_named(cloud, tmp_path) -> None:
    home = Home(cloud, tmp_path, FakeClock(), user=cloud.user, password="hunter2")
    for _ in range(400):
        reason = home.reason(AuthenticationFailed)
        assert "Google reCAPTCHA" in reason
        assert "hunter2" not in reason
        home.clock.advance(10)
    assert paths(cloud) == ["/idp/v3/authorize"]
    home.running.close()


def test_the_config_explains_the_client_of_the_portal(cloud, tmp_path) -> None:
    for options, key in (
        ({"client_id": ""}, "client_id"),
        ({"user": "me"}, "password"),
        ({"apiUrl": "http://api.example.org"}, "apiUrl"),
        ({"identityUrl": "https://u:p@example.org"}, "identityUrl"),
    ):
        with pytest.raises(ConfigError) as caught:
            Home(cloud, tmp_path, FakeClock(), **options)
        assert caught.value.key == key
    with pytest.raises(ConfigError) as caught:
        build_source({"user": "me", "password": "p"}, ViessmannSource)
    assert "developer" in caught.value.hint


# Faults of the service


def test_a_block_is_silent_until_the_stated_reset(home_of, cloud) -> None:
    home = home_of()
    home.series()
    cloud.blocked_until = home.clock.time() + 5400
    home.clock.advance(90)
    calls = len(cloud.calls)
    for _ in range(540 - 9):
        assert "until" in home.reason(TargetUnavailable)
        home.clock.advance(10)
    assert len(cloud.calls) == calls + 1
    home.clock.advance(180)
    assert home.series()["outside_temperature"] == 7.5


ERRORS = {
    "expired_token.json": (401, AuthenticationFailed, "EXPIRED TOKEN"),
    "device_offline.json": (400, TargetUnavailable, "DEVICE_OFFLINE"),
    "error_500.json": (500, TargetUnavailable, "INTERNAL_ERROR: Internal server error"),
    "error_502.json": (502, TargetUnavailable, "INTERNAL_SERVER_ERROR"),
    "rate_limit.json": (429, TargetUnavailable, "refuses calls of this account until"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_every_recorded_error_is_said_in_its_words(name, home_of, cloud, recording) -> None:
    status, kind, words = ERRORS[name]
    body = json.loads(recording(f"viessmann/errors/{name}"))
    cloud.instead[BULK] = HttpResponse(body, status=body.get("statusCode", status))
    assert words in home_of().reason(kind)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (HttpResponse("<html>Bad Gateway", status=502), TargetUnavailable, "status 502"),
        (HttpResponse("", status=302, headers={"Location": "/"}), BadResponse, "status 302"),
        (HttpResponse({"errorType": "PACKAGE_NOT_PAID_FOR"}, status=403), BadResponse, "NOT_PAID"),
        (HttpResponse({"message": "no"}, status=403), AuthenticationFailed, "status 403: no"),
        (HttpResponse({"data": "x"}), BadResponse, "expected a list under 'data'"),
        (HttpResponse([1]), BadResponse, "expected a JSON object"),
        (HttpResponse("[[[["), BadResponse, "expected JSON"),
        (Misbehaviour.HANG_UP, ProbeError, ""),
        (Misbehaviour.CUT_SHORT, ProbeError, ""),
    ],
)
def test_strange_answers_are_told_apart(answer, kind, words, home_of, cloud) -> None:
    cloud.instead[BULK] = answer
    assert words in home_of().reason(kind)


def test_features_that_are_not_as_they_should_be_cost_only_themselves(home_of, cloud) -> None:
    good = feature("heating.dhw", active=True)
    broken: list[Any] = [
        None,
        5,
        {},
        {"feature": None},
        {"feature": "a"},
        {"feature": "a", "properties": None},
        {"feature": "a", "properties": {"value": None}},
        {"feature": "a", "properties": {"value": {"type": "number"}}},
        {"feature": "a", "properties": {"value": {"type": "number", "value": "5"}}},
        {"feature": "a", "properties": {"value": {"type": "number", "value": True}}},
        {"feature": "a", "properties": {"value": {"type": "number", "value": 10**400}}},
        {"feature": "a", "properties": {"value": {"type": "boolean", "value": "true"}}},
        {"feature": "a", "properties": {"active": {"type": "number", "value": 1}, "b": 5}},
        {"feature": "a", "properties": {"status": {"type": "string", "value": None}}},
        {"feature": "heating.compressors.0", "properties": {"phase": {"value": 5}}},
        {"feature": "heating.compressors.0.statistics", "properties": {"hours": {}}},
        {"feature": "heating.circuits.0.operating.modes.active", "properties": {"value": {}}},
    ]
    placed = [{**item, "uri": good["uri"]} if isinstance(item, dict) else item for item in broken]
    cloud.instead[BULK] = {"data": [*placed, good, good]}
    home = home_of()
    assert home.series() == {"heating.dhw": 1}
    problems = str(home.source.troubles)
    assert "list of features: expected objects, got 2 other entries" in problems
    assert "values of 0: expected a feature with a name, got {" in problems
    assert home_of(details=True, name="b").series() == {
        "heating.dhw": 1,
        "a.active": 1,
        'device_online{device="0"}': 1,
        'device_online{device="gateway"}': 1,
    }


@pytest.mark.parametrize(
    ("properties", "problem"),
    [
        ({"value": {"type": "boolean", "value": "true"}}, "a: value: expected true or false"),
        ({"value": {"value": 21.5}}, "a: value: expected a type beside the value 21.5"),
        ({"value": {"type": "number", "value": "5"}}, "a: value: expected a number, got '5'"),
        ([{"value": 5}], "a: expected an object as properties, got [{'value': 5}]"),
        ({"value": {"type": "number", "value": None}}, ""),
        ({"status": {"type": "string", "value": "notConnected"}}, ""),
    ],
)
def test_what_is_not_as_a_feature_says_is_named(properties, problem, home_of, cloud) -> None:
    good = feature("heating.dhw", active=True)
    strange = {"feature": "a", "properties": properties, "uri": good["uri"]}
    cloud.instead[BULK] = {"data": [strange, good]}
    home = home_of()
    assert home.series()["heating.dhw"] == 1
    assert problem in str(home.source.troubles)
    assert bool(problem) == bool(home.source.troubles)


def test_a_device_without_values_is_no_data(home_of, cloud) -> None:
    cloud.features = [feature("heating.dhw")]
    with pytest.raises(NoData, match="device 0 has no values; `device` names another"):
        home_of().running.probe()


def test_gateways_and_devices_that_cannot_be_told_are_named(home_of, cloud) -> None:
    gateway = cloud.gateway()
    gateway = {**gateway, "devices": [*gateway["devices"], None, {"deviceType": "heating"}]}
    cloud.instead[GATEWAYS] = {"data": [{"serial": None}, gateway]}
    home = home_of()
    assert home.series()["outside_temperature"] == 7.5
    problems = str(home.source.troubles)
    assert "equipment: expected a gateway with serial and installation, got {'serial'" in problems
    assert f"gateway {SERIAL}: expected devices with an id, got 2 others" in problems


def test_where_the_house_stands_is_no_value(home_of) -> None:
    series = home_of(details=True).series()
    assert not [name for name in series if "Location" in name]
    assert series['heating.power.consumption.summary.dhw{period="lastYear"}'] == 512
    assert series["heating.power.consumption.total.day"] == 7.2


def test_a_reload_with_another_section_asks_no_earlier(home_of, cloud) -> None:
    first = home_of()
    first.series()
    second = home_of(details=True)
    second.source.take_over(first.source)
    second.series()
    assert paths(cloud).count(BULK) == 1


@contextmanager
def restarted(home: Home, **more: Any) -> Iterator[Home]:
    """Give the source as another process would have it: nothing but the files is left."""
    home.running.close()
    cloud, folder, clock = home.cloud, home.folder, home.clock
    home.source = home.running = None
    gc.collect()
    again = Home(cloud, folder, clock, **more)
    yield again
    again.running.close()


def test_a_restart_knows_the_token_and_the_calls_made(home_of, cloud) -> None:
    home = home_of()
    home.series()
    with restarted(home) as again:
        again.series()
        (budget,) = {sample.value for sample in again.source._account.budget.samples()} & {1446}
        assert budget == 1450 - len(cloud.calls)
    assert cloud.sign_in.renewals == 0
