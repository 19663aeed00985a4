"""The charger by websocket: asleep, awake, and with every fault that is known of it."""

import hashlib
import itertools
import logging
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pollect_sources_home.pmcc.source as pmcc
from pollect.api import AuthenticationFailed, BadResponse, NoData, ProbeError, TargetUnavailable
from pollect.testing import (
    FakeClock,
    Running,
    absent_port,
    build_source,
    format_samples,
    no_leaks,
    serve_http,
    serve_tcp,
    stay_silent,
)
from pollect.testing.waiting import wait_until
from pollect_sources_home.pmcc.source import PmccSource
from tests.simulators.certificates import Authority
from tests.simulators.pmcc import CHARGING, Charger, Valve, power, session, total_energy
from tests.sources_network.driver import failure_at_last

Values = dict[tuple[str | None, ...], float]

ALL: Values = {
    ("chargePower", "ev"): 7.2,
    ("chargePower", "l1"): 2310,
    ("chargePower", "l2"): 2305.5,
    ("chargePower", "l3"): 0,
    ("soc", "current"): 55,
    ("soc", "start"): 40,
}


class Probed:
    """A source in front of a charger."""

    def __init__(self, host: str, port: int, **options: Any) -> None:
        self.clock = FakeClock()
        section = {"host": f"{host}:{port}", **options}
        source = build_source(section, PmccSource, clock=self.clock)
        assert isinstance(source, PmccSource)
        self.source = source
        self.running = Running(source)

    def __enter__(self) -> "Probed":
        return self

    def __exit__(self, *_: Any) -> None:
        self.running.close()

    def values(self) -> Values:
        return {(s.metric.name, *s.label_values): s.value for s in self.running.probe()}

    def latest(self) -> Values:
        """Return the values, none if there are none; time goes on."""
        self.clock.advance(1)
        try:
            return self.values()
        except (NoData, ProbeError):
            return {}

    def wait_for(self, expected: Values) -> None:
        wait_until(lambda: self.latest() == expected, str(expected))

    def reason(self, kind: type[Exception] = TargetUnavailable) -> str:
        error = failure_at_last(self.running)
        assert type(error) is kind
        return str(error)

    def is_asleep(self) -> bool:
        try:
            self.running.probe()
        except NoData as error:
            return "asleep" in str(error)
        return False


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    return Authority(tmp_path).self_signed(tmp_path)


@pytest.fixture
def charger(tls: ssl.SSLContext) -> Iterator[Charger]:
    with Charger(tls) as charger:
        yield charger


@pytest.fixture
def probed(charger: Charger) -> Iterator[Probed]:
    with no_leaks(), Probed(charger.host, charger.port) as probed:
        yield probed


def fingerprint(folder: Path) -> str:
    der = ssl.PEM_cert_to_DER_cert((folder / "ca.pem").read_text())
    return hashlib.sha256(der).hexdigest()


def test_session_and_power_come_with_their_names_of_1x(charger: Charger, probed: Probed) -> None:
    probed.wait_for(ALL)
    assert charger.requests == [("/ws", f"https://{charger.address}")]
    charger.push(power(3, 2299), session(soc=56))
    probed.wait_for({**ALL, ("chargePower", "l3"): 2299, ("soc", "current"): 56})


def test_exposition(charger: Charger, golden: Callable[[str, str], None]) -> None:
    with Probed(charger.host, charger.port, details=True) as probed:
        wait_until(lambda: len(probed.latest()) == 13)
        golden("Pmcc.txt", format_samples(probed.source, probed.running.probe()))


def test_only_what_was_received_is_reported(charger: Charger, probed: Probed) -> None:
    charger.first = [power(1, 5)]
    probed.wait_for({("chargePower", "l1"): 5})
    charger.push(session(soc=-1))
    expected: Values = {key: ALL[key] for key in ALL if key[1] in ("ev", "start")}
    probed.wait_for({("chargePower", "l1"): 5, **expected})


def test_before_the_first_message_there_is_no_data(charger: Charger, probed: Probed) -> None:
    charger.first = []
    assert "nothing received yet" in probed.reason(NoData)
    charger.push(*CHARGING)
    probed.wait_for(ALL)


def test_rubbish_between_messages_ends_nothing(charger: Charger, probed: Probed) -> None:
    charger.first = ["hello", "{}", b"\xff\xfe", "[" * 10_000, session(soc="full"), *CHARGING]
    probed.wait_for(ALL)
    assert charger.accepted == 1


def test_a_value_that_cannot_be_read_is_a_trouble_until_it_can(
    charger: Charger, probed: Probed
) -> None:
    probed.wait_for(ALL)
    charger.push(session(soc="full"))
    probed.wait_for({key: value for key, value in ALL.items() if key != ("soc", "current")})
    expected = "values: swaggerCurrentSession (soc): expected a number, got 'full'"
    assert str(probed.source.troubles) == expected
    charger.push(session())
    probed.wait_for(ALL)
    assert not probed.source.troubles


def test_a_peer_that_sends_no_messages_of_a_charger_is_a_bad_response(charger: Charger) -> None:
    charger.first = ["<html>", "[]"]
    with Probed(charger.host, charger.port) as probed:

        def reason() -> str:
            try:
                probed.running.probe()
            except (NoData, ProbeError) as error:
                return str(error)
            return ""

        # "nothing received yet" until the messages are here
        wait_until(lambda: "no message of a charger: expected" in reason(), "the reason")
        charger.push(*CHARGING)
        probed.wait_for(ALL)


def test_a_message_of_more_than_a_mebibyte_costs_the_connection_alone(
    charger: Charger, probed: Probed
) -> None:
    charger.first = ["x" * (1 << 20) + "x"]
    wait_until(lambda: not probed.latest() and charger.accepted >= 2)
    charger.first = list(CHARGING)
    probed.wait_for(ALL)


def test_a_charger_that_falls_asleep_is_no_failure(
    charger: Charger, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pollect/Pmcc")
    with Probed(charger.host, charger.port) as probed:
        probed.wait_for(ALL)
        charger.say_goodbye()
        charger.stop()
        for _ in range(3):
            wait_until(probed.is_asleep)
        charger.start()
        probed.wait_for(ALL)
    ours = [record for record in caplog.records if record.name == "pollect/Pmcc"]
    assert [record.levelname for record in ours] == ["INFO", "INFO"]
    assert "asleep or away" in ours[0].getMessage()
    assert ours[1].getMessage() == "awake"


def test_a_sleeping_charger_is_asked_once_a_minute(
    charger: Charger, probed: Probed, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed.wait_for(ALL)
    asked: list[float] = []

    def nowhere(*_: Any) -> list[Any]:
        asked.append(probed.clock.monotonic())
        return []

    monkeypatch.setattr(pmcc, "resolve", nowhere)
    charger.disconnect()

    def asked_often() -> bool:
        probed.clock.advance(1.0)
        return len(asked) == 4

    wait_until(asked_often, limit_seconds=60)
    pauses = [later - sooner for sooner, later in itertools.pairwise(asked)]
    assert min(pauses) >= 50


def test_values_of_before_the_sleep_are_gone_after_it_but_for_the_total(charger: Charger) -> None:
    with Probed(charger.host, charger.port, details=True) as probed:
        charger.first = [session(), total_energy(5.0)]
        wait_until(lambda: ("soc", "current") in probed.latest())
        wait_until(lambda: ("total_energy",) in probed.latest())
        charger.first = [power(1, 7)]
        charger.disconnect()
        probed.wait_for({("chargePower", "l1"): 7, ("total_energy",): 5.0})


def test_a_charger_that_was_never_there_is_unavailable() -> None:
    with absent_port() as port, no_leaks(), Probed("127.0.0.1", port) as probed:
        assert probed.reason() == f"127.0.0.1:{port}: Connection refused"


def test_the_first_request_may_be_dropped(charger: Charger, probed: Probed) -> None:
    charger.drops = 1
    assert "closed the connection before it answered" in probed.reason()
    probed.wait_for(ALL)


def test_a_half_open_connection_is_noticed_by_pings_and_reported_once(
    charger: Charger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert pmcc.PING_SECONDS + pmcc.PONG_SECONDS <= 60
    monkeypatch.setattr(pmcc, "PING_SECONDS", 0.1)
    monkeypatch.setattr(pmcc, "PONG_SECONDS", 0.1)
    with Valve(charger.host, charger.port) as valve, no_leaks():
        with Probed(valve.host, valve.port) as probed:
            probed.wait_for(ALL)
            valve.shut = True
            wait_until(probed.is_asleep)
            valve.shut = False
            probed.wait_for(ALL)
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


def test_close_returns_at_once_before_a_half_open_connection(charger: Charger) -> None:
    with Valve(charger.host, charger.port) as valve:
        with Probed(valve.host, valve.port) as probed:
            probed.wait_for(ALL)
            valve.shut = True
            with no_leaks(limit_seconds=8.0):
                probed.running.close()


def test_the_right_fingerprint_is_accepted(charger: Charger, tmp_path: Path) -> None:
    digits = fingerprint(tmp_path).upper()
    pairs = ":".join(digits[i : i + 2] for i in range(0, 64, 2))
    with Probed(charger.host, charger.port, fingerprint=pairs) as probed:
        probed.wait_for(ALL)


def test_another_fingerprint_is_refused(charger: Charger, tmp_path: Path) -> None:
    with Probed(charger.host, charger.port, fingerprint="0" * 64) as probed:
        reason = probed.reason(AuthenticationFailed)
    assert fingerprint(tmp_path) in reason


def test_a_certificate_of_its_own_making_fails_verification(charger: Charger) -> None:
    with Probed(charger.host, charger.port, verify=True) as probed:
        assert "set verify: false, or the fingerprint" in probed.reason(BadResponse)


def test_a_web_server_without_websocket_is_a_bad_response(tls: ssl.SSLContext) -> None:
    with serve_http({"/": "hello"}, tls=tls) as server:
        with Probed(server.host, server.port) as probed:
            assert "no websocket at /ws" in probed.reason(BadResponse)


def test_a_server_without_tls_is_a_bad_response() -> None:
    with serve_http({"/": "hello"}) as server, Probed(server.host, server.port) as probed:
        assert "no TLS here" in probed.reason(BadResponse)


def test_a_silent_peer_is_unavailable_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pmcc, "CONNECT_SECONDS", 0.3)
    with serve_tcp(stay_silent) as peer, no_leaks(), Probed(peer.host, peer.port) as probed:
        assert "no answer within" in probed.reason()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"host": "https://charger"}, "host: expected host or host:port"),
        ({"host": "charger:web"}, "host: expected host or host:port"),
        ({"host": "c", "fingerprint": "12"}, "fingerprint: expected a SHA-256 fingerprint"),
    ],
)
def test_mistakes_in_the_config(options: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match=message):
        build_source(options, PmccSource)
