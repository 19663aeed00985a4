"""A real ESPHome program, with and without encryption in front of it, and simulated devices."""

import base64
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import pollect_sources_home.esp_home.source as esp_home
from pollect.api import (
    AuthenticationFailed,
    BadResponse,
    Kind,
    NoData,
    ProbeError,
    TargetUnavailable,
)
from pollect.testing import (
    FakeClock,
    Running,
    absent_port,
    build_source,
    format_samples,
    no_leaks,
    serve_tcp,
    stay_silent,
    talk_rubbish,
)
from pollect.testing.waiting import wait_until
from pollect_sources_home.esp_home.source import EspHomeSource
from tests.simulators.esphome.device import (
    Firmware,
    NoiseTerminator,
    SimulatedDevice,
    device_replies,
    messages,
    recorded_replies,
    running_firmware,
)
from tests.sources_network.driver import failure_at_last

KEY = bytes(range(32))
PSK = base64.b64encode(KEY).decode()
OTHER_PSK = base64.b64encode(bytes(32)).decode()


class Place(NamedTuple):
    """Where no device of the tests is."""

    host: str
    port: int


class Probed:
    """A source in front of a device; time moves as fast as the test likes."""

    def __init__(self, device: Any, **options: Any) -> None:
        section = {"host": device.host, "port": device.port, **options}
        source = build_source(section, EspHomeSource, clock=FakeClock())
        assert isinstance(source, EspHomeSource)
        self.source = source
        self.running = Running(source)

    def __enter__(self) -> "Probed":
        return self

    def __exit__(self, *_: Any) -> None:
        self.running.close()
        self.running.__exit__(None, None, None)

    def values(self) -> dict[tuple[str | None, ...], float]:
        samples = self.running.probe()
        return {(s.metric.name, *s.label_values): s.value for s in samples}

    def reason(self, kind: type[ProbeError] = TargetUnavailable) -> str:
        error = failure_at_last(self.running)
        assert type(error) is kind
        return str(error)

    def is_up(self) -> bool:
        try:
            self.running.probe()
        except ProbeError:
            return False
        return True


@pytest.fixture(autouse=True)
def _quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pauses between attempts be short: those of a minute are held by the helper's tests."""
    monkeypatch.setattr("pollect.support.backoff.Backoff.pause", lambda _: 0.05)


@pytest.fixture
def firmware(tmp_path: Path) -> Iterator[Firmware]:
    with running_firmware(tmp_path) as firmware:
        yield firmware


@pytest.fixture
def terminator(firmware: Firmware) -> Iterator[NoiseTerminator]:
    with NoiseTerminator(firmware.host, firmware.port, KEY) as terminator:
        yield terminator


SENSORS = {
    ("temperature", "Living Temperature"): 21.75,
    ("temperature", "Temperature"): 11.5,
    ("temperature", "Temperature (temperature)"): 31.5,
    ("energy", "Energy Total"): 1234.5,
    ("", "No Class"): 7.0,
}


def wait_for_sensors(probed: Probed) -> dict[Any, float]:
    """Wait until every sensor of the program has measured; it has no value before."""
    values: dict[Any, float] = {}

    def complete() -> bool:
        values.clear()
        values.update(probed.values())
        return len(values) == len(SENSORS) + 1

    wait_until(complete)
    assert {key: values[key] for key in SENSORS} == SENSORS
    return values


@pytest.mark.integration
class TestRealFirmware:
    def test_sensors_come_with_their_names_of_1x(self, firmware: Firmware) -> None:
        with no_leaks(), Probed(firmware) as probed:
            before = wait_for_sensors(probed)["duration", "Ticks"]
            wait_until(lambda: probed.values()["duration", "Ticks"] > before)

    def test_all_domains_on_request(self, firmware: Firmware) -> None:
        domains = [
            "sensor",
            "binary_sensor",
            "switch",
            "number",
            "cover",
            "fan",
            "light",
            "climate",
        ]
        with Probed(firmware, domains=domains, details=True) as probed:
            wait_until(lambda: SENSORS.items() <= probed.values().items())
            values = probed.values()
        assert values["binary_sensor.window", "Window"] == 1
        assert values["switch", "Pump"] == 1
        assert values["number.temperature", "Target"] == 19
        assert values["cover", "Shutter"] == 1
        assert values["fan", "Fan"] == 0
        assert ("device_info", "2026.10.0", "host", "06:35:69:AB:F6:79") in values

    def test_only_the_domains_that_are_asked_for(self, firmware: Firmware) -> None:
        with Probed(firmware, domains=["binary_sensor"]) as probed:
            assert probed.values() == {("binary_sensor.window", "Window"): 1}

    def test_a_restart_is_survived(self, firmware: Firmware) -> None:
        with Probed(firmware) as probed:
            assert probed.is_up()
            firmware.stop()
            wait_until(lambda: not probed.is_up())
            assert f"127.0.0.1:{firmware.port}" in probed.reason()
            firmware.start()
            wait_until(probed.is_up)
            wait_for_sensors(probed)

    def test_a_frozen_device_is_noticed_by_pings(
        self, firmware: Firmware, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert esp_home.PING_SECONDS * (2 + 4.5) <= 60
        monkeypatch.setattr(esp_home, "PING_SECONDS", 0.3)
        with Probed(firmware) as probed:
            assert probed.is_up()
            firmware.freeze()
            wait_until(lambda: not probed.is_up())
            firmware.thaw()
            wait_until(probed.is_up)

    def test_close_returns_at_once_before_a_frozen_device(self, firmware: Firmware) -> None:
        probed = Probed(firmware)
        assert probed.is_up()
        firmware.freeze()
        with no_leaks(limit_seconds=8.0):
            probed.running.close()
        firmware.thaw()
        probed.running.__exit__(None, None, None)

    def test_the_right_key_opens_an_encrypted_device(self, terminator: NoiseTerminator) -> None:
        with no_leaks(), Probed(terminator, psk=PSK) as probed:
            wait_for_sensors(probed)

    def test_a_wrong_key_is_named(self, terminator: NoiseTerminator) -> None:
        with Probed(terminator, psk=OTHER_PSK) as probed:
            reason = probed.reason(AuthenticationFailed)
        assert "psk is not the encryption key of the device" in reason
        assert OTHER_PSK not in reason

    def test_a_missing_key_is_asked_for(self, terminator: NoiseTerminator) -> None:
        with Probed(terminator) as probed:
            assert "requires encryption: set psk" in probed.reason(AuthenticationFailed)

    def test_a_key_for_a_plaintext_device_is_too_much(self, firmware: Firmware) -> None:
        with Probed(firmware, psk=PSK) as probed:
            assert "leave out psk" in probed.reason(AuthenticationFailed)

    def test_a_device_that_gets_its_key_later(self, terminator: NoiseTerminator) -> None:
        terminator.locked = False
        with Probed(terminator) as probed:
            wait_for_sensors(probed)
            terminator.locked = True
            terminator.disconnect()
            wait_until(lambda: not probed.is_up())
            wait_until(lambda: "set psk" in str(probed.source.background._state.error))
            assert "set psk" in probed.reason(AuthenticationFailed)

    def test_another_device_at_the_address_is_refused(self, firmware: Firmware) -> None:
        with Probed(firmware, expectedName="cellar") as probed:
            reason = probed.reason(BadResponse)
        assert "expected the device 'cellar', found 'pollect-host'" in reason


def sensor(name: str, key: int, **options: Any) -> Any:
    object_id = name.lower().replace(" ", "_")
    return messages.ListEntitiesSensorResponse(name=name, key=key, object_id=object_id, **options)


def state(key: int, value: float, **options: Any) -> Any:
    return messages.SensorStateResponse(key=key, state=value, **options)


def test_recorded_session(recording: Callable[[str], bytes], golden) -> None:
    session = recording("esphome/session_host_2026.10.0.txt").decode()
    with SimulatedDevice(recorded_replies(session)) as device:
        domains = ["sensor", "binary_sensor", "switch"]
        with Probed(device, domains=domains, details=True) as probed:
            samples = probed.running.probe()
            golden("EspHome.txt", format_samples(probed.source, samples))


@pytest.fixture
def house() -> Iterator[SimulatedDevice]:
    """A device whose kinds share a number, whose units differ, and that counts."""
    entities = [
        messages.ListEntitiesSelectResponse(name="Power", key=1, options=["a"]),
        sensor("Power", 1, device_class="power", unit_of_measurement="W", state_class=1),
        sensor("Heater", 2, device_class="power", unit_of_measurement="kW", state_class=1),
        sensor("Gas", 3, device_class="gas", unit_of_measurement="m³", state_class=2),
        sensor("Energy", 4, device_class="energy", unit_of_measurement="kWh", state_class=3),
        sensor("Savings", 5, device_class="energy", unit_of_measurement="kWh", state_class=1),
        messages.ListEntitiesSwitchResponse(name="Power", key=1),
        messages.ListEntitiesLightResponse(name="Lamp", key=6),
        messages.ListEntitiesClimateResponse(name="Room", key=7),
    ]
    states = [
        messages.SelectStateResponse(key=1, state="a"),
        state(1, 50.0),
        state(2, 1.5),
        state(3, 12.0),
        state(4, 3.0),
        state(5, 2.0),
        messages.SwitchStateResponse(key=1, state=True),
        messages.LightStateResponse(key=6, state=True, brightness=0.5),
        messages.ClimateStateResponse(key=7, current_temperature=20.5, target_temperature=21),
    ]
    with SimulatedDevice(device_replies(entities, states)) as device:
        yield device


def test_kinds_that_share_a_number_are_kept_apart(house: SimulatedDevice) -> None:
    with Probed(house, domains=["sensor", "switch", "light", "climate"]) as probed:
        values = probed.values()
    assert values["power", "Power"] == 50.0
    assert values["switch", "Power"] == 1.0
    assert values["light", "Lamp"] == 1
    assert values["light.brightness", "Lamp"] == 0.5
    assert values["climate.current_temperature", "Room"] == 20.5
    assert values["climate.target_temperature", "Room"] == 21


def test_units_and_kinds_are_those_of_all_entities_of_a_class(house: SimulatedDevice) -> None:
    with Probed(house) as probed:
        metrics = {s.metric.name: s.metric for s in probed.running.probe()}
    assert {name: (m.unit, m.kind) for name, m in metrics.items()} == {
        "power": ("", Kind.GAUGE),
        "gas": ("m³", Kind.COUNTER),
        "energy": ("kWh", Kind.GAUGE),
    }


def test_a_state_that_is_missing_or_not_a_number_is_no_value(house: SimulatedDevice) -> None:
    with Probed(house) as probed:
        assert ("power", "Heater") in probed.values()
        house.push(state(1, float("nan")), state(2, 9.0, missing_state=True), state(99, 1.0))
        wait_until(lambda: ("power", "Heater") not in probed.values())
        assert ("power", "Power") not in probed.values()
        house.push(state(2, 2.5))
        wait_until(lambda: probed.values().get(("power", "Heater")) == 2.5)
        assert not probed.source.troubles


def test_a_state_beyond_all_numbers_is_named_until_it_is_one(house: SimulatedDevice) -> None:
    with Probed(house) as probed:
        assert ("power", "Heater") in probed.values()
        house.push(state(2, float("-inf")))
        wait_until(lambda: ("power", "Heater") not in probed.values())
        expected = "states: Heater: expected a finite number, got -inf"
        assert str(probed.source.troubles) == expected
        house.push(state(2, 2.5))
        wait_until(lambda: probed.values().get(("power", "Heater")) == 2.5)
        assert not probed.source.troubles


def test_entities_that_are_gone_after_a_reconnect_have_no_values(house: SimulatedDevice) -> None:
    with Probed(house) as probed:
        assert ("gas", "Gas") in probed.values()
        house.replies |= device_replies([sensor("Power", 1, device_class="power")], [state(1, 3.0)])
        house.disconnect()
        wait_until(lambda: house.accepted == 2)
        wait_until(probed.is_up)
        assert probed.values() == {("power", "Power"): 3.0}


def test_three_entities_of_one_name_have_three_labels() -> None:
    entities = [sensor("Power", 1, device_id=device) for device in range(3)]
    states = [state(1, 10.0 + device, device_id=device) for device in range(3)]
    with SimulatedDevice(device_replies(entities, states)) as device, Probed(device) as probed:
        assert probed.values() == {
            ("", "Power"): 10.0,
            ("", "Power (power)"): 11.0,
            ("", "Power (power) (2)"): 12.0,
        }


def test_an_entity_keeps_a_name_that_looks_like_the_second_of_another() -> None:
    entities = [sensor("Power", 1), sensor("Power", 1, device_id=1), sensor("Power (power)", 2)]
    states = [state(1, 10.0), state(1, 11.0, device_id=1), state(2, 12.0)]
    with SimulatedDevice(device_replies(entities, states)) as device, Probed(device) as probed:
        assert probed.values() == {
            ("", "Power"): 10.0,
            ("", "Power (power) (2)"): 11.0,
            ("", "Power (power)"): 12.0,
        }


def test_entities_that_share_a_key_are_named_and_reported_by_neither_value() -> None:
    entities = [sensor("Power", 1), sensor("Energy", 1), sensor("Flow", 2), sensor("Flow", 2)]
    states = [state(1, 10.0), state(1, 20.0), state(2, 3.0)]
    with SimulatedDevice(device_replies(entities, states)) as device, Probed(device) as probed:
        assert probed.values() == {("", "Flow"): 3.0}
        assert str(probed.source.troubles) == "states: Energy: has the key of Power"


def test_the_object_id_is_made_of_the_name_where_the_device_sends_none() -> None:
    entities = [
        messages.ListEntitiesSensorResponse(name="Flow 2/b", key=1, device_id=device)
        for device in range(2)
    ]
    states = [state(1, 1.0, device_id=device) for device in range(2)]
    with SimulatedDevice(device_replies(entities, states)) as device, Probed(device) as probed:
        assert set(probed.values()) == {("", "Flow 2/b"), ("", "Flow 2/b (flow_2_b)")}


def test_a_device_without_sensors_has_no_data() -> None:
    with SimulatedDevice(device_replies([], [])) as device, Probed(device) as probed:
        with pytest.raises(NoData, match="no entity with a state among: sensor"):
            probed.running.probe()


def test_a_sleeper_is_mentioned_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    replies = device_replies([sensor("Power", 1)], [state(1, 1.0)], has_deep_sleep=True)
    with SimulatedDevice(replies) as device:
        with Probed(device) as probed:
            assert probed.is_up()
            device.disconnect()
            wait_until(lambda: device.accepted >= 2)
            wait_until(probed.is_up)
        with Probed(device, keepStale=True) as probed:
            assert probed.is_up()
    sleepy = [message for message in caplog.messages if "keepStale" in message]
    assert len(sleepy) == 1


def test_an_absent_device_is_the_reason_at_once() -> None:
    with absent_port() as port, Probed(Place("127.0.0.1", port)) as probed:
        assert probed.reason() == f"127.0.0.1:{port}: Connection refused"


@pytest.mark.parametrize("talk", [stay_silent, talk_rubbish])
def test_what_is_no_esphome_device_is_reported_in_time(
    talk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(esp_home, "CONNECT_SECONDS", 0.5)
    with serve_tcp(talk) as device, no_leaks(), Probed(device) as probed:
        probed.reason(TargetUnavailable if talk is stay_silent else BadResponse)


@pytest.mark.parametrize("psk", ["short", "a" * 44, base64.b64encode(bytes(31)).decode()])
def test_the_form_of_the_key_is_checked_before_the_start(psk: str) -> None:
    with pytest.raises(Exception, match="psk: expected 32 bytes in Base64") as raised:
        build_source({"host": "localhost", "psk": psk}, EspHomeSource)
    assert psk not in str(raised.value)


def test_a_name_that_cannot_be_resolved_is_the_reason() -> None:
    with Probed(Place("no-such-device.invalid", 6053)) as probed:
        assert "no-such-device.invalid: the name cannot be resolved" in probed.reason()
