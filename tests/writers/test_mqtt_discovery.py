"""Announcements of `Mqtt` for Home Assistant: what they say, when they come and when they go."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pollect.api import UNITS, Batch, Kind, Metric, SourceId, SourceStatus
from pollect_writers.mqtt.discovery import Announcer, describe_entity, object_id
from tests.simulators.mosquitto import Broker, listening, retained, running
from tests.writers.test_mqtt import LOAD_AVG, build, load, opened, wait_retained

SHORT = "pollect.loadavg/time/short"
SOURCE_STATUS = "pollect/pollect.loadavg/status"
DISCOVERY = "homeassistant/sensor/pollect/"

# From the documentation of Home Assistant 2026.2: "Sensor", "MQTT Sensor" and "MQTT".
UNITS_OF_CLASS = {
    "apparent_power": {"mVA", "VA", "kVA"},
    "current": {"A", "mA"},
    "data_rate": {"bit/s", "kbit/s", "Mbit/s", "Gbit/s", "B/s", "kB/s", "MB/s", "GB/s"}
    | {"KiB/s", "MiB/s", "GiB/s"},
    "data_size": {"bit", "kbit", "Mbit", "Gbit", "B", "kB", "MB", "GB", "TB", "PB"}
    | {"KiB", "MiB", "GiB", "TiB"},
    "distance": {"km", "m", "cm", "mm", "mi", "nmi", "yd", "in"},
    "duration": {"d", "h", "min", "s", "ms", "μs"},
    "energy": {"J", "kJ", "MJ", "GJ", "mWh", "Wh", "kWh", "MWh", "GWh", "TWh", "cal", "kcal"},
    "frequency": {"Hz", "kHz", "MHz", "GHz"},
    "humidity": {"%"},
    "illuminance": {"lx"},
    "irradiance": {"W/m²", "BTU/(h⋅ft²)"},
    "power": {"mW", "W", "kW", "MW", "GW", "TW"},
    "pressure": {"Pa", "hPa", "kPa", "bar", "cbar", "mbar", "mmHg", "inHg", "psi"},
    "reactive_power": {"mvar", "var", "kvar"},
    "speed": {"m/s", "km/h", "mph", "kn", "ft/s", "in/d", "in/h", "mm/d", "mm/h", "mm/s"},
    "weight": {"kg", "g", "mg", "μg", "oz", "lb", "st"},
    "signal_strength": {"dB", "dBm"},
    "temperature": {"°C", "°F", "K"},
    "voltage": {"V", "mV", "μV", "kV", "MV"},
    "volume_flow_rate": {"m³/h", "m³/min", "m³/s", "L/h", "L/min", "L/s", "mL/s", "gal/min"},
}
AMOUNTS = {"data_size", "distance", "duration"}
TEXT_KEYS = {"unique_id", "default_entity_id", "state_topic", "state_class", "availability_mode"}
KEYS = TEXT_KEYS | {"name", "qos", "unit_of_measurement", "device_class", "availability"}


def check_announcement(topic: str, payload: str) -> dict[str, Any]:
    """Check a message field by field as Home Assistant does, and return it."""
    assert re.fullmatch(r"homeassistant/sensor/[a-zA-Z0-9_-]+/[a-zA-Z0-9_-]+/config", topic)
    message: dict[str, Any] = json.loads(payload)
    assert set(message) <= KEYS | {"device", "origin"}
    assert all(isinstance(message[key], str) and message[key] for key in TEXT_KEYS)
    assert message["name"] is None or message["name"]
    assert message["qos"] in (0, 1, 2)
    assert not re.search(r"[+#\0]", message["state_topic"])
    assert re.fullmatch(r"sensor\.[a-z0-9_]+", message["default_entity_id"])
    assert message["availability_mode"] in ("all", "any", "latest")
    assert all(set(entry) == {"topic"} for entry in message["availability"])
    assert message["device"]["identifiers"]
    assert set(message["device"]) <= {"identifiers", "name", "model", "sw_version"}
    assert set(message["origin"]) <= {"name", "sw_version", "support_url"}
    device_class, unit = message.get("device_class"), message.get("unit_of_measurement")
    state_class = message["state_class"]
    assert state_class in ("measurement", "total", "total_increasing")
    if device_class is not None:
        assert unit in UNITS_OF_CLASS[device_class]
        if device_class == "energy":
            assert state_class in ("total", "total_increasing")
        elif device_class not in AMOUNTS:
            assert state_class == "measurement"
    return message


def announcer(qos: int = 0) -> Announcer:
    return Announcer(prefix="homeassistant", version="2.0.0", status_topic="s", qos=qos)


def announce(metric: Metric, *values: str, source: SourceId = LOAD_AVG) -> dict[str, Any]:
    labels = tuple(zip(metric.labels, values, strict=True))
    found = announcer().announce(
        source, metric, labels, state_topic="t/" + "/".join(values), source_status_topic="o"
    )
    return check_announcement(found.topic, found.payload.decode())


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("unit", ["", "disks", "%", *UNITS])
def test_every_unit_and_kind_is_accepted(unit: str, kind: Kind) -> None:
    announce(Metric("x", unit=unit, kind=kind))


@pytest.mark.parametrize(
    ("unit", "kind", "expected"),
    [
        ("bytes", Kind.GAUGE, ("B", "data_size", "measurement")),
        ("bytes", Kind.COUNTER, ("B", "data_size", "total_increasing")),
        ("kWh", Kind.COUNTER, ("kWh", "energy", "total_increasing")),
        ("kWh", Kind.GAUGE, ("kWh", "energy", "total")),
        ("celsius", Kind.GAUGE, ("°C", "temperature", "measurement")),
        ("celsius", Kind.COUNTER, ("°C", None, "total_increasing")),
        ("percent", Kind.GAUGE, ("%", None, "measurement")),
        ("ratio", Kind.GAUGE, (None, None, "measurement")),
        ("disks", Kind.GAUGE, ("disks", None, "measurement")),
        ("", Kind.COUNTER, (None, None, "total_increasing")),
    ],
)
def test_units_become_those_of_home_assistant(
    unit: str, kind: Kind, expected: tuple[str | None, ...]
) -> None:
    facts = describe_entity(Metric("x", kind=kind), unit)
    keys = ("unit_of_measurement", "device_class", "state_class")
    assert tuple(facts.get(key) for key in keys) == expected


def test_an_announcement_says_this() -> None:
    metric = Metric("load_percent", unit="percent", labels=("pidx",))
    source = SourceId("home", "Process", "Web")
    found = announcer(qos=1).announce(
        source,
        metric,
        (("pidx", "0"),),
        state_topic="home.process.web/load_percent/pidx/0",
        source_status_topic="pollect/home.process.web/status",
    )
    series_id = (
        "home_process_web_load_percent_pidx_0_"
        + object_id("home.process.web/load_percent/pidx/0").rpartition("_")[2]
    )
    assert found.topic == f"homeassistant/sensor/pollect/{series_id}/config"
    assert json.loads(found.payload) == {
        "name": "load percent 0",
        "unique_id": f"pollect_{series_id}",
        "default_entity_id": "sensor.home_process_web_load_percent_pidx_0",
        "state_topic": "home.process.web/load_percent/pidx/0",
        "qos": 1,
        "unit_of_measurement": "%",
        "state_class": "measurement",
        "availability": [{"topic": "s"}, {"topic": "pollect/home.process.web/status"}],
        "availability_mode": "all",
        "device": {
            "identifiers": [f"pollect_{object_id('home.process.web')}"],
            "name": "home Process Web",
            "model": "Process",
            "sw_version": "2.0.0",
        },
        "origin": {"name": "pollect", "sw_version": "2.0.0"},
    }


def test_a_value_without_name_and_labels_is_called_as_its_device() -> None:
    assert announce(Metric())["name"] is None


@pytest.mark.parametrize("value", ["", "Ä b/c.d", "x" * 500, "日本"])
def test_odd_labels_make_legal_ids(value: str) -> None:
    announce(Metric(labels=("x",)), value)


def test_topics_that_look_alike_have_ids_of_their_own() -> None:
    assert len({object_id(topic) for topic in ("a.b/c", "a_b/c", "a/b/c", "ä/b/c")}) == 4


integration = pytest.mark.integration


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running(Broker(tmp_path)) as broker:
        yield broker


def announced(port: int) -> dict[str, dict[str, Any]]:
    """Return what is announced now, by state topic."""
    found = [
        check_announcement(topic, payload)
        for topic, payload in retained(port).items()
        if topic.startswith(DISCOVERY)
    ]
    return {message["state_topic"]: message for message in found}


@integration
def test_series_are_announced_and_removed_when_they_are_gone(broker: Broker) -> None:
    with (
        listening(broker.port) as listener,
        opened(build(broker.port, hassAutodiscovery=True)) as writer,
    ):
        writer.write([load(short=1, long=2)])
        wait_retained(broker.port, SHORT, "1")
        both = announced(broker.port)
        assert set(both) == {SHORT, "pollect.loadavg/time/long"}
        availability = [entry["topic"] for entry in both[SHORT]["availability"]]
        assert availability == ["pollect/test/status", SOURCE_STATUS]
        kept = retained(broker.port)
        assert [kept[topic] for topic in availability] == ["online", "online"]
        writer.write([load(short=3)])
        listener.wait_for(SHORT, "3")
        assert set(announced(broker.port)) == {SHORT}


@integration
def test_a_source_that_is_down_stays_announced_and_one_that_is_no_more_does_not(
    broker: Broker,
) -> None:
    statuses = [SourceStatus(LOAD_AVG)]
    writer = build(broker.port, hassAutodiscovery=True)
    writer.context = replace(writer.context, sources=lambda: statuses)
    withdrawal = Batch(LOAD_AVG, [], 0.0)
    with listening(broker.port) as listener, opened(writer):
        writer.write([load(short=1)])
        writer.write([withdrawal])
        listener.wait_for(SOURCE_STATUS, "offline")
        assert set(announced(broker.port)) == {SHORT}
        statuses[:] = [SourceStatus(SourceId("pollect", "Other"))]
        writer.write([withdrawal])
        listener.wait_for(SOURCE_STATUS, "")
        assert set(retained(broker.port)) == {"pollect/test/status"}


@integration
def test_everything_is_said_again_when_home_assistant_comes_back(broker: Broker) -> None:
    with (
        listening(broker.port) as listener,
        opened(build(broker.port, hassAutodiscovery=True)) as writer,
    ):
        writer.write([load(short=1)])
        listener.wait_for(SHORT, "1")
        listener.messages.clear()
        with listening(broker.port) as home_assistant:
            home_assistant.publish("homeassistant/status", "online")
            listener.wait_for(SHORT, "1")
        topics = [topic for _, _, topic, _ in listener.messages]
        config = next(topic for topic in topics if topic.startswith(DISCOVERY))
        assert topics.index(config) < topics.index(SHORT)


@integration
def test_announcements_are_retained_even_if_values_are_not(broker: Broker) -> None:
    section = {"hassAutodiscovery": True, "retain": False, "discoveryPrefix": "homeassistant"}
    with listening(broker.port) as listener, opened(build(broker.port, **section)) as writer:
        writer.write([load(short=1)])
        listener.wait_for(SHORT, "1")
        assert SHORT not in retained(broker.port)
        assert set(announced(broker.port)) == {SHORT}


@pytest.mark.parametrize(
    ("unit", "symbol", "device_class"),
    [
        ("°C", "°C", "temperature"),
        ("W", "W", "power"),
        ("V", "V", "voltage"),
        ("mV", "mV", "voltage"),
        ("A", "A", "current"),
        ("RPM", "rpm", None),
        ("%RH", "%", "humidity"),
        ("Hz", "Hz", "frequency"),
        ("volts_dc", "V", "voltage"),
        ("knots", "knots", None),
        ("", None, None),
    ],
)
def test_unit_that_stands_in_a_label_is_that_of_the_series(
    unit: str, symbol: str | None, device_class: str | None
) -> None:
    message = announce(Metric(labels=("device", "name", "unit")), "chip", "sensor 1", unit)
    assert message.get("unit_of_measurement") == symbol
    assert message.get("device_class") == device_class
