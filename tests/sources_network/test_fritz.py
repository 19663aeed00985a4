"""Fritz against a simulated box."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pollect.api import BadResponse, ConfigError, ProbeError, TargetUnavailable
from pollect.support.http import MAX_BODY_BYTES
from pollect.testing import (
    FakeClock,
    HttpRequest,
    HttpResponse,
    Misbehaviour,
    absent_port,
    build_source,
    serve_http,
)
from pollect_sources_network.fritz.client import FritzClient
from pollect_sources_network.fritz.source import PROBE_SECONDS, FritzSource
from tests.e2e.command import call
from tests.simulators.certificates import Authority
from tests.simulators.fritz_box import PASSWORD, USER, FritzBox, soap_fault, wlan
from tests.simulators.tcp import Handler, hang_up, rubbish, serve_tcp, silent, trickle
from tests.sources_network.driver import limit_answers, opened, patience_for, series_of

TRAFFIC = "WANCommonIFC1"
#: For what answers, on a busy machine, too.
PATIENT_SECONDS = 30.0
#: What a probe may take on a busy machine beyond the 0.3 s it has.
GRACE_SECONDS = 20.0


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[FritzBox]:
    for name in ("FRITZ_USERNAME", "FRITZ_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    with FritzBox() as box:
        yield box


def section(box: FritzBox, **more: Any) -> dict[str, Any]:
    return {"ip": box.host, "port": box.port, "timeout": PATIENT_SECONDS, **more}


def set_totals(box: FritzBox, received: int | str, sent: int | str) -> None:
    addons = box.values[TRAFFIC]["GetAddonInfos"]
    addons["NewX_AVM_DE_TotalBytesReceived64"] = ("string", received)
    addons["NewX_AVM_DE_TotalBytesSent64"] = ("string", sent)


def test_totals_are_64_bits_wide_and_rates_come_with_the_second_probe(box: FritzBox) -> None:
    clock = FakeClock()
    with opened(section(box), FritzSource, clock=clock) as source:
        assert source.series() == {"recv_bytes": 70_000_000_000, "sent_bytes": 5_000_000_000}
        clock.advance(10)
        set_totals(box, 70_000_001_000, 5_000_000_010)
        assert source.series() == {
            "recv_bytes": 70_000_001_000,
            "sent_bytes": 5_000_000_010,
            "recv_bytes_sec": 100,
            "sent_bytes_sec": 1,
        }


def test_a_probe_is_one_request_and_needs_no_password(box: FritzBox) -> None:
    with opened(section(box), FritzSource) as source:
        before = len(box.requests)
        source.series()
        source.series()
        assert len(box.requests) == before + 2


@pytest.mark.parametrize(("seconds", "rates"), [(0, {}), (0.5, {"recv_bytes_sec": 2000})])
def test_probes_within_one_second_have_rates_unless_no_time_passed(
    box: FritzBox, seconds: float, rates: dict[str, float]
) -> None:
    clock = FakeClock()
    with opened(section(box), FritzSource, clock=clock) as source:
        source.series()
        clock.advance(seconds)
        set_totals(box, 70_000_001_000, 5_000_000_000)
        found = source.series()
    assert {name: found[name] for name in found if name == "recv_bytes_sec"} == rates


def test_a_restarted_box_gives_no_rate(box: FritzBox) -> None:
    clock = FakeClock()
    with opened(section(box), FritzSource, clock=clock) as source:
        source.series()
        clock.advance(10)
        set_totals(box, 1000, 1000)
        assert source.series() == {"recv_bytes": 1000, "sent_bytes": 1000}


def test_narrow_counters_of_old_boxes_wrap(box: FritzBox) -> None:
    clock = FakeClock()
    set_totals(box, "", "")
    with opened(section(box), FritzSource, clock=clock) as source:
        assert source.series() == {"recv_bytes": 4294967000, "sent_bytes": 1000}
        clock.advance(10)
        box.values[TRAFFIC]["GetTotalBytesReceived"]["NewTotalBytesReceived"] = ("ui4", 704)
        found = source.series()
        assert (found["recv_bytes_sec"], found["sent_bytes_sec"]) == (100, 0)
        assert box.calls.count(f"{TRAFFIC}/GetAddonInfos") == 1


def test_an_old_box_without_wide_counters_has_the_narrow_ones(box: FritzBox) -> None:
    del box.values[TRAFFIC]["GetAddonInfos"]
    with opened(section(box, details=True), FritzSource) as source:
        for _ in range(2):
            found = source.series()
            assert (found["recv_bytes"], found["sent_bytes"]) == (4294967000, 1000)
            assert found['max_bitrate{direction="down"}'] == 250e6
    assert box.calls.count(f"{TRAFFIC}/GetAddonInfos") == 1


def test_wide_counters_that_are_away_for_once_do_not_become_narrow_ones(box: FritzBox) -> None:
    with opened(section(box), FritzSource) as source:
        source.series()
        infos = box.values[TRAFFIC].pop("GetAddonInfos")
        with pytest.raises(BadResponse):
            source.series()
        box.values[TRAFFIC]["GetAddonInfos"] = infos
        assert source.series()["recv_bytes"] == TOTALS["recv_bytes"]


@pytest.mark.parametrize("received", ["many", "1.5e3", "0x10"])
def test_totals_that_are_no_numbers_are_a_bad_response(box: FritzBox, received: str) -> None:
    with opened(section(box), FritzSource) as source:
        source.series()
        set_totals(box, received, 5)
        with pytest.raises(BadResponse, match="expected numbers as NewX_AVM_DE_TotalBytes"):
            source.series()


def test_totals_that_are_missing_altogether_are_a_bad_response(box: FritzBox) -> None:
    set_totals(box, "", "")
    box.values[TRAFFIC]["GetTotalBytesSent"] = {"NewOther": ("ui4", 1)}
    with (
        opened(section(box), FritzSource) as source,
        pytest.raises(BadResponse, match="got 'NewTotalBytesSent'"),
    ):
        source.series()


DETAILS = {
    "link_up": 1,
    "connected": 1,
    "connection_uptime": 86400,
    'max_bitrate{direction="down"}': 250e6,
    'max_bitrate{direction="up"}': 40e6,
    'link_info{access="DSL"}': 1,
    'packets{direction="recv"}': 2000,
    'packets{direction="sent"}': 1500,
    'connection_info{last_error="ERROR_NONE"}': 1,
}
PROTECTED_DETAILS = {
    "dsl_up": 1,
    'dsl_max_rate{direction="down"}': 280e6,
    'dsl_max_rate{direction="up"}': 45e6,
    'dsl_rate{direction="down"}': 240e6,
    'dsl_rate{direction="up"}': 39e6,
    'dsl_noise_margin_db{direction="down"}': 10.5,
    'dsl_noise_margin_db{direction="up"}': 8.0,
    'dsl_attenuation_db{direction="down"}': 14.0,
    'dsl_attenuation_db{direction="up"}': 7.3,
    'dsl_errors{type="fec"}': 12,
    'dsl_errors{type="crc"}': 3,
    'wlan_clients{radio="2.4ghz"}': 4,
    'wlan_clients{radio="5ghz"}': 7,
    'wlan_up{radio="2.4ghz"}': 1,
    'wlan_up{radio="5ghz"}': 1,
    'wlan_channel{radio="2.4ghz"}': 6,
    'wlan_channel{radio="5ghz"}': 36,
    'wlan_info{radio="2.4ghz",ssid="home",standard="n"}': 1,
    'wlan_info{radio="5ghz",ssid="home",standard="ac"}': 1,
    'wlan_packets{radio="2.4ghz",direction="recv"}': 40,
    'wlan_packets{radio="2.4ghz",direction="sent"}': 400,
    'wlan_packets{radio="5ghz",direction="recv"}': 70,
    'wlan_packets{radio="5ghz",direction="sent"}': 700,
    'lan_bytes{direction="recv"}': 3000,
    'lan_bytes{direction="sent"}': 4000,
    'lan_packets{direction="recv"}': 30,
    'lan_packets{direction="sent"}': 40,
    "hosts": 42,
    "uptime": 1_000_000,
    'info{model="FRITZ!Box 7590",firmware="154.07.29"}': 1,
    "update_available": 1,
    'update_info{firmware="154.08.02"}': 1,
}
TOTALS = {"recv_bytes": 70_000_000_000, "sent_bytes": 5_000_000_000}


@pytest.mark.parametrize("user", [{"user": USER}, {}], ids=["named", "last-to-log-in"])
@pytest.mark.parametrize("key", ["pass", "password"])
def test_details_of_all_services(box: FritzBox, user: dict[str, str], key: str) -> None:
    config = section(box, details=True, **user, **{key: PASSWORD})
    with opened(config, FritzSource) as source:
        assert source.series() == TOTALS | DETAILS | PROTECTED_DETAILS


def test_a_service_the_box_does_not_have_is_asked_for_once(box: FritzBox) -> None:
    with opened(section(box, details=True, password=PASSWORD), FritzSource) as source:
        source.series()
        del box.values["Hosts1"]["GetHostNumberOfEntries"]
        assert "hosts" not in source.series()
        assert "hosts" not in source.series()
    assert box.calls.count("Hosts1/GetHostNumberOfEntries") == 2


def test_an_action_that_answers_rubbish_is_a_trouble_and_asked_again(box: FritzBox) -> None:
    everything = TOTALS | DETAILS | PROTECTED_DETAILS
    without = {name: value for name, value in everything.items() if not name.startswith("hosts")}
    good = dict(box.values["Hosts1"]["GetHostNumberOfEntries"])
    with opened(section(box, details=True, password=PASSWORD), FritzSource) as source:
        for rubbish_fields in ({"NewHostNumberOfEntries": ("string", "many")}, {}):
            box.values["Hosts1"]["GetHostNumberOfEntries"] = rubbish_fields
            assert source.series().keys() == without.keys()
            (text,) = source.source.troubles.texts()
            assert text.startswith("Hosts1/GetHostNumberOfEntries: ")
        box.values["Hosts1"]["GetHostNumberOfEntries"] = good
        assert source.series().keys() == everything.keys()
        assert not source.source.troubles


def test_one_field_that_cannot_be_read_costs_only_itself(box: FritzBox) -> None:
    """A box on cable has no attenuation, and firmware changes what it calls a standard."""
    dsl = box.values["WANDSLInterfaceConfig1"]["GetInfo"]
    del dsl["NewDownstreamAttenuation"]
    dsl["NewUpstreamNoiseMargin"] = ("string", "n/a")
    with opened(section(box, details=True, password=PASSWORD), FritzSource) as source:
        missing = {'dsl_attenuation{direction="down"}', 'dsl_noise_margin{direction="up"}'}
        everything = TOTALS | DETAILS | PROTECTED_DETAILS
        found = source.series()
        lost = everything.keys() - found.keys()
        assert len(lost) == len(missing)
        assert all("atten" in name or "margin" in name for name in lost)
        assert source.source.troubles.texts() == (
            "WANDSLInterfaceConfig1/GetInfo: expected NewDownstreamAttenuation among the fields; "
            "NewUpstreamNoiseMargin: expected a number, got 'n/a'",
        )


def test_a_wrong_password_costs_the_details_and_does_not_hammer_the_login(
    box: FritzBox, caplog: pytest.LogCaptureFixture
) -> None:
    config = section(box, details=True, user=USER, password="wrong word")
    with opened(config, FritzSource) as source:
        for _ in range(2):
            assert source.series() == TOTALS | DETAILS
        assert box.refused_logins == 1
    assert caplog.text.count("user or password") == 1
    assert "wrong word" not in caplog.text


def test_a_password_of_digits_is_what_the_file_says(box: FritzBox, tmp_path: Path) -> None:
    box.password = "0010"
    file = tmp_path / "config.yml"
    file.write_text(
        "writer: {type: DryRun}\nexecutors:\n- collection: home\n  sources:\n"
        f"  - {{type: Fritz, ip: {box.host}, port: {box.port}, pass: 0010, details: true}}\n"
    )
    done = call("run", "-c", file, "--once", folder=tmp_path)
    assert "42 ('hosts', [])" in done.stdout, done.stderr
    assert box.refused_logins == 0


def test_a_user_without_all_rights_gets_the_rest(
    box: FritzBox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    box.forbidden = {"Hosts1/GetHostNumberOfEntries"}
    expected = TOTALS | DETAILS | PROTECTED_DETAILS
    del expected["hosts"]
    with opened(section(box, details=True, password=PASSWORD), FritzSource) as source:
        for _ in range(2):
            assert source.series() == expected
    assert box.calls.count("Hosts1/GetHostNumberOfEntries") == 1
    assert caplog.text.count("Action Not Authorized") == 1


@pytest.mark.parametrize(
    ("band", "third"), [("6000", "6ghz"), ("5000", "5ghz2"), ("unknown", "5ghz2")]
)
def test_a_box_with_four_wireless_networks_has_a_third_radio(
    box: FritzBox, band: str, third: str
) -> None:
    box.values["WLANConfiguration3"] = wlan("home", "ax", 37, clients=2, band=band)
    box.values["WLANConfiguration4"] = wlan("guests", "ax", 37, clients=1)
    with opened(section(box, details=True, password=PASSWORD), FritzSource) as source:
        found = source.series()
    clients = {name: value for name, value in found.items() if name.startswith("wlan_clients")}
    assert clients == {
        'wlan_clients{radio="2.4ghz"}': 4,
        'wlan_clients{radio="5ghz"}': 7,
        f'wlan_clients{{radio="{third}"}}': 2,
        'wlan_clients{radio="guest"}': 1,
    }


def test_a_box_with_three_wireless_networks_has_one_for_guests(box: FritzBox) -> None:
    box.values["WLANConfiguration3"] = wlan("guests", "ac", 36, clients=1)
    with opened(section(box, details=True, password=PASSWORD), FritzSource) as source:
        assert source.series()['wlan_clients{radio="guest"}'] == 1


def test_rates_beyond_32_bits_are_taken_where_the_box_tells_them(box: FritzBox) -> None:
    addons = box.values[TRAFFIC]["GetAddonInfos"]
    addons["NewX_AVM_DE_Layer1DownstreamMaxBitRate64"] = ("string", 10_000_000_000)
    with opened(section(box, details=True), FritzSource) as source:
        found = source.series()
    assert found['max_bitrate{direction="down"}'] == 10e9
    assert found['max_bitrate{direction="up"}'] == 40e6


def test_user_and_password_of_the_environment_count(
    box: FritzBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRITZ_USERNAME", USER)
    monkeypatch.setenv("FRITZ_PASSWORD", PASSWORD)
    with opened(section(box, details=True), FritzSource) as source:
        assert source.series() == TOTALS | DETAILS | PROTECTED_DETAILS


def test_a_box_that_comes_back_is_read_again(box: FritzBox) -> None:
    with opened(section(box), FritzSource) as source:
        source.series()
        box.stop()
        with pytest.raises(TargetUnavailable):
            source.series()
        box.start()
        assert source.series() == TOTALS


def test_a_box_with_new_firmware_is_described_again(box: FritzBox) -> None:
    with opened(section(box), FritzSource) as source:
        source.series()
        routes, box.routes = box.routes, {"*": HttpResponse(soap_fault(501, "no"), status=500)}
        with pytest.raises(BadResponse):
            source.series()
        box.routes = routes
        before = len(box.requests)
        assert source.series() == TOTALS
        assert len(box.requests) > before + 10


def test_an_absent_box_is_unavailable(caplog: pytest.LogCaptureFixture) -> None:
    with (
        absent_port() as port,
        pytest.raises(TargetUnavailable, match="refused"),
        opened({"ip": "127.0.0.1", "port": port}, FritzSource),
    ):
        pass
    assert caplog.text == ""


#: Ways to break the line or to talk nonsense, and what a probe makes of each.
BROKEN_BOXES: list[tuple[Any, type[ProbeError], str]] = [
    (Misbehaviour.SILENT, TargetUnavailable, r"no answer within 0\.3 s"),
    (Misbehaviour.TRICKLE, TargetUnavailable, r"no answer within 0\.3 s"),
    (Misbehaviour.HANG_UP, TargetUnavailable, "reset|closed|without response"),
    (Misbehaviour.CUT_SHORT, BadResponse, "the answer ended too early"),
    (Misbehaviour.RUBBISH, BadResponse, "expected an HTTP answer"),
    ("<?xml version='1.0'?><root><unclosed>", BadResponse, "ParseError"),
    (b"\x00\xff" * 500, BadResponse, "ParseError"),
    (HttpResponse("<html>busy</html>", status=503), BadResponse, "busy"),
]
BROKEN_IDS = ["hung", "slow loris", "resetting", "cut short", "no HTTP", "half XML", "bytes", "503"]


@pytest.mark.parametrize(("how", "error", "words"), BROKEN_BOXES, ids=BROKEN_IDS)
def test_a_broken_box_fails_in_time_and_is_read_again_when_it_is_well(
    box: FritzBox, how: Any, error: type[ProbeError], words: str
) -> None:
    with opened(section(box), FritzSource) as source:
        assert source.series() == TOTALS
        well, box.routes = box.routes, {"*": how}
        set_timeout(source.source, patience_for(error))
        begin = time.monotonic()
        with pytest.raises(error, match=words):
            source.series()
        assert time.monotonic() - begin < GRACE_SECONDS
        box.routes = well
        set_timeout(source.source, PATIENT_SECONDS)
        assert source.series().items() >= TOTALS.items()


def set_timeout(source: Any, seconds: float) -> None:
    """Change the `timeout` of a source, which may be connected already: that is 40 requests."""
    source._timeout_seconds = seconds
    if source._client is not None:
        limit_answers(source._client._limit, seconds)


@pytest.mark.parametrize(("how", "error", "words"), BROKEN_BOXES[:-1], ids=BROKEN_IDS[:-1])
def test_connecting_to_a_broken_box_ends_in_time(
    box: FritzBox, how: Any, error: type[ProbeError], words: str
) -> None:
    well, box.routes = box.routes, {"*": how}
    begin = time.monotonic()
    source = build_source(section(box, timeout=patience_for(error)), FritzSource)
    with pytest.raises(error, match=words):
        source.open()
    assert time.monotonic() - begin < GRACE_SECONDS
    box.routes = well
    set_timeout(source, PATIENT_SECONDS)
    source.open()
    assert series_of(list(source.probe())) == TOTALS  # type: ignore[arg-type]
    source.close()


def test_all_answers_of_a_slow_box_share_one_time_limit(box: FritzBox) -> None:
    well: Any = box.routes

    def slowly(request: HttpRequest) -> HttpResponse:
        time.sleep(0.1)
        answer: HttpResponse = well(request)
        return answer

    box.routes = slowly
    begin = time.monotonic()
    with pytest.raises(TargetUnavailable, match=r"no end after 0\.5 s|no answer within"):
        connect(box, timeout_seconds=60, limit_seconds=0.5)
    assert time.monotonic() - begin < 0.5 + GRACE_SECONDS
    # The limit is for one probe: the next has its own.
    box.routes = well
    client = connect(box, timeout_seconds=60, limit_seconds=60)
    client._limit_seconds = 0.1
    client.begin()
    time.sleep(0.1)
    with pytest.raises(TargetUnavailable, match=r"no end after 0\.1 s"):
        client.call(TRAFFIC, "GetAddonInfos")
    client._limit_seconds = 60
    client.begin()
    assert "NewByteReceiveRate" in client.call(TRAFFIC, "GetAddonInfos")
    client.close()


def test_connecting_and_the_probe_after_it_share_one_time_limit(box: FritzBox) -> None:
    with opened(section(box, timeout=PROBE_SECONDS), FritzSource) as source:
        assert source.source.deadline_seconds() > PROBE_SECONDS
        limit = source.source._client._limit  # type: ignore[attr-defined]
        connected = limit.left()
        source.series()
        probed = limit.left()
        assert probed < connected
        source.series()
        assert limit.left() > probed


def test_an_endless_answer_does_not_fill_the_memory(box: FritzBox) -> None:
    with opened(section(box), FritzSource) as source:
        box.routes = {"*": HttpResponse(b" " * (MAX_BODY_BYTES + 1))}
        with pytest.raises(BadResponse, match="the body is larger than"):
            source.series()


def connect(box: FritzBox, **limits: float) -> FritzClient:
    return FritzClient(box.host, port=box.port, user=None, password=None, tls=False, **limits)


def test_a_box_is_read_over_tls_whoever_signed_its_certificate(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FRITZ_PASSWORD", raising=False)
    with FritzBox(tls=authority.server("fritz.box", days=-3)) as box:
        with opened(section(box, tls=True, password=PASSWORD, details=True), FritzSource) as source:
            assert source.series() == TOTALS | DETAILS | PROTECTED_DETAILS


@pytest.mark.parametrize(
    ("peer", "words"),
    [
        (silent, r"no answer within 0\.3 s"),
        (trickle(b"\x16\x03\x03\x40\x00"), r"no answer within 0\.3 s"),
        (rubbish, "TLS failed"),
        (hang_up, "reset|TLS failed"),
    ],
    ids=["silent", "slow loris", "rubbish", "reset"],
)
def test_a_broken_handshake_is_unavailable_in_time(peer: Handler, words: str) -> None:
    seconds = 0.3 if words.startswith("no answer") else GRACE_SECONDS
    with serve_tcp(peer) as server:
        config = {"ip": "127.0.0.1", "port": server.port, "tls": True, "timeout": seconds}
        begin = time.monotonic()
        with pytest.raises(TargetUnavailable, match=words), opened(config, FritzSource):
            pass
        assert time.monotonic() - begin < GRACE_SECONDS


@pytest.mark.parametrize("page", ["", "hello", "<html>", "<root/>", '{"a": 1}'])
def test_another_kind_of_device_is_a_bad_response(page: str) -> None:
    with (
        serve_http({"*": page}) as server,
        opened({"ip": "127.0.0.1", "port": server.port}, LateSource) as source,
        pytest.raises(BadResponse),
    ):
        source.series()


class LateSource(FritzSource):
    """Connects at the first probe, as a source does whose box was not there at the start."""

    def open(self) -> None:
        if self._opens:
            super().open()
        self._opens += 1

    _opens = 0


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"ip": "10.0.0.1", "host": "10.0.0.1"}, "ip"),
        ({"pass": "a", "password": "a"}, "password"),
    ],
)
def test_two_words_for_one_option_are_a_config_error(config: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as failure:
        build_source(config, FritzSource)
    assert failure.value.key == key
