"""TpLinkEap against simulated access points."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pollect.api import (
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    ProbeError,
    TargetUnavailable,
)
from pollect.testing import (
    FakeClock,
    HttpRequest,
    HttpResponse,
    Misbehaviour,
    build_source,
    serve_http,
)
from pollect_sources_network.tp_link_eap.payload import leading_number, radio_of
from pollect_sources_network.tp_link_eap.source import TpLinkEapSource
from tests.simulators.certificates import Authority
from tests.simulators.tcp import IN_TIME_SECONDS
from tests.simulators.tp_link_eap import MAC, PASSWORD, USER, AccessPoint, new_data, old_data
from tests.sources_network.driver import opened, patience_for

TRAFFIC = {
    f'{name}{{wifi="{wifi}",direction="{direction}"}}': count * sign
    for wifi in ("2ghz", "5ghz")
    for direction, sign in (("rx", 1), ("tx", 2))
    for name, count in (("packets", 10), ("bytes", 1000), ("errors", 1))
}


@pytest.fixture(params=["old", "new"])
def point(request: pytest.FixtureRequest) -> Iterator[AccessPoint]:
    is_old = request.param == "old"
    with AccessPoint(
        old_data() if is_old else new_data(), cookie="COOKIE" if is_old else "JSESSIONID"
    ) as point:
        if not is_old:
            point.timeout_values = (False, True)
        yield point


def section(point: AccessPoint, **more: Any) -> dict[str, Any]:
    return {"url": point.url, "user": USER, "password": PASSWORD, "timeout": 30, **more}


def clients_of(point: AccessPoint) -> dict[str, float]:
    return {"total_clients": 5 if "monitor.ap.aplist?operation=load" in point.data else 3}


def test_clients_and_traffic_of_both_generations(point: AccessPoint) -> None:
    with opened(section(point), TpLinkEapSource) as source:
        assert source.series() == clients_of(point) | TRAFFIC
        assert source.series() == clients_of(point) | TRAFFIC


def test_the_session_ends_with_each_probe(point: AccessPoint) -> None:
    with opened(section(point), TpLinkEapSource) as source:
        for probes in (1, 2):
            source.series()
            assert (point.logins, point.logouts, point.session) == (probes, probes, "")


def test_a_kept_session_ends_with_the_source(point: AccessPoint) -> None:
    with opened(section(point, keepSession=True), TpLinkEapSource) as source:
        source.series()
        source.series()
        assert (point.logins, point.logouts) == (1, 0)
    assert point.logouts == 1


def test_a_session_that_somebody_else_took_is_begun_again_once(point: AccessPoint) -> None:
    with opened(section(point, keepSession=True), TpLinkEapSource) as source:
        source.series()
        point.session = "somebody else"
        assert source.series() == clients_of(point) | TRAFFIC
        assert point.logins == 2


def test_a_rejected_login_is_not_repeated_for_a_long_time(point: AccessPoint) -> None:
    clock = FakeClock()
    config = section(point, password="wrong")
    with opened(config, TpLinkEapSource, clock=clock) as source:
        with pytest.raises(AuthenticationFailed, match="rejects the password"):
            source.series()
        clock.advance(599)
        with pytest.raises(AuthenticationFailed, match="the next try is in 1 s"):
            source.series()
        assert point.logins == 1
        clock.advance(1)
        with pytest.raises(AuthenticationFailed):
            source.series()
        assert point.logins == 2
        clock.advance(1199)
        with pytest.raises(AuthenticationFailed, match="the next try is in 1 s"):
            source.series()


def test_a_locked_access_point_says_so(point: AccessPoint) -> None:
    point.rejected = 5
    with (
        opened(section(point), TpLinkEapSource) as source,
        pytest.raises(AuthenticationFailed, match="is locked after wrong logins"),
    ):
        source.series()


def test_an_access_point_that_never_lets_us_in_is_no_endless_login(point: AccessPoint) -> None:
    point.timeout_values = ("false", "true")

    class Forgetful(AccessPoint):
        """Has no page about the login and forgets every session."""

        def _data(self, request: Any, session: str) -> Any:
            self.session = ""
            return super()._data(request, session)

    with (
        Forgetful(point.data) as forgetful,
        opened(section(forgetful), TpLinkEapSource) as source,
    ):
        with pytest.raises(AuthenticationFailed, match="logged in and out again"):
            source.series()
        assert forgetful.logins == 1


def test_a_single_band_model_has_one_radio() -> None:
    data = old_data()
    del data[f"monitor.ap.interface?operation=read&interface=WIFI1&apMac={MAC}"]
    with AccessPoint(data) as point, opened(section(point), TpLinkEapSource) as source:
        assert not any("5ghz" in name for name in source.series())


def test_details_of_the_newer_generation() -> None:
    with (
        AccessPoint(new_data(), cookie="JSESSIONID") as point,
        opened(section(point, details=True), TpLinkEapSource) as source,
    ):
        found = source.series()
    assert {name: found[name] for name in found.keys() - TRAFFIC.keys()} == {
        "total_clients": 3,
        'clients{wifi="2ghz"}': 1,
        'clients{wifi="5ghz"}': 2,
        'ssid_clients{ssid="home",wifi="2ghz"}': 1,
        'ssid_clients{ssid="home",wifi="5ghz"}': 1,
        'ssid_clients{ssid="guests",wifi="5ghz"}': 1,
        'channel{wifi="5ghz"}': 44,
        'tx_power_dbm{wifi="5ghz"}': 23,
        "cpu_percent": 7,
        "memory_percent": 40,
        "uptime": 86400 + 5 * 3600 + 49 * 60 + 13,
        'dropped{wifi="2ghz",direction="rx"}': 3,
        'dropped{wifi="2ghz",direction="tx"}': 6,
        'dropped{wifi="5ghz",direction="rx"}': 3,
        'dropped{wifi="5ghz",direction="tx"}': 6,
    }


def test_details_of_the_older_generation() -> None:
    with (
        AccessPoint(old_data()) as point,
        opened(section(point, details=True), TpLinkEapSource) as source,
    ):
        found = source.series()
    dropped = {name: value for name, value in found.items() if name.startswith("dropped")}
    assert len(dropped) == 4
    assert {name: found[name] for name in found.keys() - TRAFFIC.keys() - dropped.keys()} == {
        "total_clients": 5,
        'clients{wifi="2ghz"}': 1,
        'clients{wifi="5ghz"}': 1,
        'ssid_clients{ssid="home",wifi="2ghz"}': 1,
        'ssid_clients{ssid="home",wifi="5ghz"}': 1,
        'channel{wifi="2ghz"}': 6,
        "cpu_percent": 12,
        "memory_percent": 33,
        "uptime": 3605,
    }


def test_a_newer_model_with_four_radios_has_them_all() -> None:
    data = new_data()
    for number in (2, 3):
        data[f"status.traffic.radio?operation=read&radioID={number}&type=radio"] = {"rx_bytes": 7}
    with (
        AccessPoint(data, cookie="JSESSIONID") as point,
        opened(section(point), TpLinkEapSource) as source,
    ):
        found = source.series()
    assert found['bytes{wifi="5ghz2",direction="rx"}'] == 7
    assert found['bytes{wifi="6ghz",direction="rx"}'] == 7


def test_data_that_the_firmware_refuses_is_left_out() -> None:
    with AccessPoint(old_data()) as point:
        point.refused = {"monitor.ap.interface", "monitor.client.client", "monitor.ap.devinfo"}
        with opened(section(point, details=True), TpLinkEapSource) as source:
            assert source.series() == {"total_clients": 5}


def test_what_cannot_be_read_is_a_trouble_of_its_part_only(point: AccessPoint) -> None:
    with opened(section(point, details=True), TpLinkEapSource) as source:
        well = source.series()
        for name, answer in point.data.items():
            if "traffic.radio" in name or "ap.interface" in name:
                point.data[name] = {**answer, "rx_bytes": "many"}
            elif "device" in name or "devinfo" in name:
                point.data[name] = "rubbish"
            elif "wireless.radio" in name or "wsetting" in name:
                point.data[name] = {"channel": "auto", "power": "23"}
        users = next(name for name in point.data if "client" in name)
        point.data[users] = [*point.data[users], "a client", {"radio": "?"}]
        before = dict(point.data)
        found = source.series()
        assert {'packets{wifi="2ghz",direction="rx"}', 'clients{wifi="2ghz"}'} <= found.keys()
        assert "cpu_percent" not in found
        troubles = source.source.troubles.texts()
        assert len(troubles) == 5
        for text in (
            "traffic of 2ghz: rx_bytes: expected a number, got 'many'",
            "traffic of 5ghz: rx_bytes: expected a number, got 'many'",
            "clients: expected a client, got 'a client'; expected a radio of a client, got '?'",
        ):
            assert text in troubles
        assert any("expected an object, got 'rubbish'" in text for text in troubles)
        assert any(": channel: expected a number, got 'auto'" in text for text in troubles)
        fresh = old_data() if "monitor.ap.aplist?operation=load" in before else new_data()
        point.data.update(fresh)
        assert source.series() == well
        assert not source.source.troubles


@pytest.mark.parametrize("users", ["rubbish", {"a": 1}, 5])
def test_a_list_of_clients_that_is_none_is_never_counted(users: Any) -> None:
    with AccessPoint(new_data(), cookie="JSESSIONID") as point:
        point.data["status.client.user?operation=load"] = users
        with opened(section(point), TpLinkEapSource) as source:
            assert source.series() == TRAFFIC
            (text,) = source.source.troubles.texts()
            assert text.startswith("clients: expected a list, got ")


def test_a_rejected_login_tells_the_chances_that_are_left(point: AccessPoint) -> None:
    point.login_facts = {"retryChances": 4, "waitTime": 300}
    config = section(point, password="wrong")
    with (
        opened(config, TpLinkEapSource) as source,
        pytest.raises(AuthenticationFailed, match="4 tries left, 300 s to wait"),
    ):
        source.series()


def test_nothing_is_written_to_the_working_directory(
    point: AccessPoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with opened(section(point, keepSession=True), TpLinkEapSource) as source:
        source.series()
    assert not list(tmp_path.iterdir())


def test_all_answers_of_a_slow_access_point_share_one_time_limit(
    point: AccessPoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    well: Any = point.routes

    def slowly(request: HttpRequest) -> HttpResponse:
        time.sleep(0.1)
        answer: HttpResponse = well(request)
        return answer

    monkeypatch.setattr("pollect_sources_network.tp_link_eap.source.PROBE_SECONDS", 0.5)
    with opened(section(point, timeout=0.4), TpLinkEapSource) as source:
        point.routes = slowly
        begin = time.monotonic()
        with pytest.raises(TargetUnavailable, match=r"no end after|no answer within"):
            source.series()
        assert time.monotonic() - begin < IN_TIME_SECONDS
        point.routes = well
        assert source.series_at_last() == clients_of(point) | TRAFFIC
        assert point.session == ""


@pytest.mark.parametrize(
    ("how", "error"),
    [
        (Misbehaviour.SILENT, TargetUnavailable),
        (Misbehaviour.TRICKLE, TargetUnavailable),
        (Misbehaviour.HANG_UP, TargetUnavailable),
        (Misbehaviour.CUT_SHORT, BadResponse),
        (Misbehaviour.RUBBISH, BadResponse),
        ("[1, 2]", BadResponse),
        ('{"data":', BadResponse),
        (HttpResponse("busy", status=503), BadResponse),
    ],
    ids=["hung", "slow loris", "reset", "cut short", "no HTTP", "a list", "half JSON", "503"],
)
def test_an_access_point_that_breaks_later_fails_in_time_and_recovers(
    point: AccessPoint, how: Any, error: type[ProbeError]
) -> None:
    with opened(
        section(point, timeout=patience_for(error), keepSession=True), TpLinkEapSource
    ) as source:
        source.series_at_last()
        well, point.routes = point.routes, {"*": how}
        begin = time.monotonic()
        with pytest.raises(error):
            source.series()
        assert time.monotonic() - begin < IN_TIME_SECONDS
        point.routes = well
        assert source.series_at_last() == clients_of(point) | TRAFFIC


def test_https_is_verified_only_when_asked_for(tmp_path: Path) -> None:
    with AccessPoint(new_data(), tls=Authority(tmp_path).server("tplinkeap.net")) as point:
        with opened(section(point), TpLinkEapSource) as source:
            assert source.series() == clients_of(point) | TRAFFIC
        with (
            opened(section(point, verify=True), TpLinkEapSource) as source,
            pytest.raises(TargetUnavailable, match="TLS failed"),
        ):
            source.series()


@pytest.mark.parametrize("points", [[], None, [5], [{"StaNum": 1}]])
def test_an_empty_list_of_access_points_is_a_bad_response(points: Any) -> None:
    with AccessPoint({"monitor.ap.aplist?operation=load": points or []}) as point:
        point.data["monitor.ap.aplist?operation=load"] = points or [None]
        with (
            opened(section(point), TpLinkEapSource) as source,
            pytest.raises(BadResponse, match="expected an access point"),
        ):
            source.series()


@pytest.mark.parametrize("how", [Misbehaviour.SILENT, Misbehaviour.TRICKLE])
def test_an_access_point_that_hangs_is_unavailable_in_time(how: Misbehaviour) -> None:
    with serve_http({"*": how}) as server:
        config = {"url": server.url, "user": USER, "password": PASSWORD, "timeout": 0.2}
        with (
            opened(config, TpLinkEapSource) as source,
            pytest.raises(TargetUnavailable, match=r"no answer within 0\.2 s"),
        ):
            source.series()


def test_another_kind_of_device_is_a_bad_response() -> None:
    with serve_http({"*": "hello"}) as server:
        config = {"url": server.url, "user": USER, "password": PASSWORD, "timeout": 30}
        with opened(config, TpLinkEapSource) as source, pytest.raises(BadResponse):
            source.series()


def test_a_url_without_a_scheme_is_a_config_error() -> None:
    with pytest.raises(ConfigError) as failure:
        build_source({"url": "192.168.1.5", "user": "a", "password": "b"}, TpLinkEapSource)
    assert failure.value.key == "url"


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("44  / 5220MHz", 44),
        (7, 7),
        ("40%", 40),
        ("", None),
        (None, None),
        ("1,234", None),
        (10**400, None),
        (float("inf"), None),
        ("9" * 500, None),
        ("12,5", None),
        ("-61dBm", -61),
        ("20 dBm", 20),
        ("1234", 1234),
    ],
)
def test_numbers_are_read_out_of_the_texts_around_them(value: Any, number: float | None) -> None:
    assert leading_number(value) == number


@pytest.mark.parametrize(
    ("value", "radio"),
    [(0, "2ghz"), ("1", "5ghz"), ("2.4GHz", "2ghz"), ("5GHz-2", "5ghz2"), (3, "6ghz"), ("?", "")],
)
def test_radios_have_one_name_however_the_firmware_calls_them(value: Any, radio: str) -> None:
    assert radio_of(value) == radio
