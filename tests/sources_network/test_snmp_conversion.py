"""What SnmpGet and SnmpTable make of texts, octets and enumerations, and of their labels."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from pollect.api import ConfigError, Source
from pollect.testing import build_source
from pollect_sources_network.snmp.get import SnmpGetSource
from pollect_sources_network.snmp.oids import OBJECTS
from pollect_sources_network.snmp.table import SnmpTableSource
from tests.simulators.snmp_agent import (
    COUNTER32,
    INTEGER,
    OCTETS,
    TICKS,
    UPTIME,
    SimulatedAgent,
    Tagged,
)
from tests.sources_network.driver import opened

VALUE = "1.3.6.1.4.1.99999.1"
DEVICE: dict[str, Tagged] = {
    UPTIME: (TICKS, 6000),
    "1.3.6.1.2.1.1.5.0": (OCTETS, b"core-1.example.org"),
    f"{OBJECTS['ifName']}.1": (OCTETS, b"GigabitEthernet0/1"),
    f"{OBJECTS['ifName']}.2": (OCTETS, b"Vlan7"),
    f"{OBJECTS['ifOperStatus']}.1": (INTEGER, 1),
    f"{OBJECTS['ifOperStatus']}.2": (INTEGER, 7),
}
#: 2026-11-22 12:30 as a DateAndTime begins.
NOON = b"\x07\xea\x0b\x16\x0c\x1e"
STATES = {"1": "up", "2": "down", "3": "down"}


STATE_COLUMN = {"name": "port", "oid": "ifOperStatus", "states": STATES}


@pytest.fixture
def device() -> Iterator[SimulatedAgent]:
    with SimulatedAgent(DEVICE) as agent:
        yield agent


def probe(agent: SimulatedAgent, source_type: type[Source[Any]], **more: Any) -> dict[str, float]:
    config = {"host": agent.address, "snmpVersion": "2c", "timeout": 2, **more}
    with opened(config, source_type) as source:
        return source.series()


def get(agent: SimulatedAgent, oid: str, **more: Any) -> dict[str, float]:
    return probe(agent, SnmpGetSource, metrics=[{"name": "value", "oid": oid, **more}])


def unix(*moment: int) -> float:
    return datetime(*moment, tzinfo=UTC).timestamp()  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("octets", "conversion", "number"),
    [
        (b"41.5 C", {"extract": r"[\d.]+"}, 41.5),
        (b"fan 2: 900 rpm", {"extract": r"(\d+) rpm", "scale": 1 / 60}, 15),
        (b"\x01\x02", {"octets": "bigEndian"}, 258),
        (b"\x01\x02", {"octets": "littleEndian"}, 513),
        (NOON + b"\x0f\x05", {"octets": "dateAndTime"}, unix(2026, 11, 22, 12, 30, 15) + 0.5),
        (NOON + b"\x0f\x00+\x02\x00", {"octets": "dateAndTime"}, unix(2026, 11, 22, 10, 30, 15)),
        (NOON + b"\x3c\x00-\x03\x1e", {"octets": "dateAndTime"}, unix(2026, 11, 22, 16, 0, 59)),
    ],
)
def test_numbers_are_found_in_texts_and_octets(
    device: SimulatedAgent, octets: bytes, conversion: dict[str, Any], number: float
) -> None:
    device.values[f"{VALUE}.0"] = (OCTETS, octets)
    assert get(device, f"{VALUE}.0", **conversion) == {"value": pytest.approx(number)}
    device.values[f"{VALUE}.1.0"] = (OCTETS, octets)
    columns = [{"name": "value", "oid": f"{VALUE}.1", **conversion}]
    table = probe(device, SnmpTableSource, columns=columns, indexLabel="")
    assert table == {"value": pytest.approx(number)}


@pytest.mark.parametrize(
    ("octets", "conversion"),
    [
        (b"cold", {"extract": r"\d+"}),
        (b"a b", {"extract": "a (c)?"}),
        (b"12", {"octets": "dateAndTime"}),
        (b"\x07\xea\x0d\x16\x0d\x1e\x0f\x05", {"octets": "dateAndTime"}),
        (b"\x00\x00\x01\x01\x00\x00\x00\x00", {"octets": "dateAndTime"}),
        (b"", {"octets": "bigEndian"}),
    ],
)
def test_what_holds_no_number_is_left_out_and_named(
    device: SimulatedAgent,
    octets: bytes,
    conversion: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    device.values[f"{VALUE}.0"] = (OCTETS, octets)
    assert get(device, f"{VALUE}.0", **conversion) == {}
    assert "expected a number, got" in caplog.text


def test_a_number_needs_no_byte_order(device: SimulatedAgent) -> None:
    assert get(device, "ifOperStatus.1", octets="bigEndian") == {"value": 1}


def test_an_enumeration_is_a_set_of_states(device: SimulatedAgent) -> None:
    assert get(device, "ifOperStatus.1", states=STATES) == {
        'value{state="up"}': 1,
        'value{state="down"}': 0,
    }
    named = get(device, "ifOperStatus.1", states=STATES, oidLabels={"port": "ifName.2"})
    assert named['value{port="Vlan7",state="up"}'] == 1


def test_a_state_without_a_word_is_called_by_its_number(device: SimulatedAgent) -> None:
    assert get(device, "ifOperStatus.2", states=STATES) == {
        'value{state="up"}': 0,
        'value{state="down"}': 0,
        'value{state="7"}': 1,
    }


def test_a_state_that_is_absent_is_none(device: SimulatedAgent) -> None:
    metrics = [
        {"name": "absent", "oid": f"{VALUE}.9", "states": STATES},
        {"name": "uptime", "oid": "sysUpTime.0"},
    ]
    assert probe(device, SnmpGetSource, metrics=metrics) == {"uptime": 6000}


def test_the_rows_of_a_table_have_states(device: SimulatedAgent) -> None:
    columns = [{"name": "port", "oid": "ifOperStatus", "states": {"1": "up", "7": "gone"}}]
    assert probe(device, SnmpTableSource, columns=columns) == {
        'port{index="1",state="up"}': 1,
        'port{index="1",state="gone"}': 0,
        'port{index="2",state="up"}': 0,
        'port{index="2",state="gone"}': 1,
    }


def test_a_part_of_a_label_is_kept(device: SimulatedAgent) -> None:
    labels = {"port": "ifName.1", "vlan": "ifName.2", "device": "sysName.0"}
    patterns = {"port": r"Ethernet(.+)", "vlan": "Ethernet.*", "device": "^[^.]+"}
    assert get(device, "ifOperStatus.1", oidLabels=labels, labelPatterns=patterns) == {
        'value{port="0/1",vlan="Vlan7",device="core-1"}': 1
    }


def test_a_part_of_the_label_of_a_row_is_kept_and_selects(device: SimulatedAgent) -> None:
    found = probe(
        device,
        SnmpTableSource,
        preset="interfaces",
        labelPatterns={"interface": r"Ethernet(.+)"},
        only={"interface": ["0/*"]},
    )
    assert found == {'up{index="1",interface="0/1",alias=""}': 1}


@pytest.mark.parametrize("more", [{"preset": "interfaces"}, {"columns": [STATE_COLUMN]}])
def test_rows_may_carry_what_belongs_to_the_agent(
    device: SimulatedAgent, more: dict[str, Any]
) -> None:
    labels = {"agentLabels": {"device": "sysName.0"}, "labelPatterns": {"device": "^[^.]+"}}
    found = probe(device, SnmpTableSource, **more, **labels)
    assert len(found) > 1
    assert all('device="core-1"' in series for series in found)


def test_details_of_a_table_tell_of_its_agent(device: SimulatedAgent) -> None:
    found = probe(device, SnmpTableSource, preset="interfaces", details=True)
    assert found["sys_uptime_seconds"] == 60
    assert 0 < found["response_ms"] < 10_000


def test_a_printer() -> None:
    supplies = [(b"Black Toner", 10_000, 2_500), (b"Waste Box", -2, -3), (b"Drum", 100, -2)]
    values: dict[str, Tagged] = {
        f"{OBJECTS['prtMarkerLifeCount']}.1.1": (COUNTER32, 54_321),
        f"{OBJECTS['hrPrinterStatus']}.1": (INTEGER, 3),
        f"{OBJECTS['prtInputName']}.1.1": (OCTETS, b""),
        f"{OBJECTS['prtInputDescription']}.1.1": (OCTETS, b"Tray 1"),
        f"{OBJECTS['prtInputMaxCapacity']}.1.1": (INTEGER, 250),
        f"{OBJECTS['prtInputCurrentLevel']}.1.1": (INTEGER, 0),
    }
    for row, (name, capacity, level) in enumerate(supplies, start=1):
        values |= {
            f"{OBJECTS['prtMarkerSuppliesDescription']}.1.{row}": (OCTETS, name),
            f"{OBJECTS['prtMarkerSuppliesMaxCapacity']}.1.{row}": (INTEGER, capacity),
            f"{OBJECTS['prtMarkerSuppliesLevel']}.1.{row}": (INTEGER, level),
        }
    with SimulatedAgent(values) as printer:
        assert probe(printer, SnmpTableSource, preset="printer") == {
            'supply_remaining_percent{index="1.1",supply="Black Toner"}': 25,
            'supply_present{index="1.1",supply="Black Toner"}': 1,
            'supply_present{index="1.2",supply="Waste Box"}': 1,
            'tray_remaining_percent{index="1.1",tray="Tray 1"}': 0,
            'tray_present{index="1.1",tray="Tray 1"}': 0,
            'impressions{index="1.1"}': 54_321,
            'status{index="1"}': 3,
        }


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"extract": "("}, "metrics[0].extract"),
        ({"extract": "a", "octets": "bigEndian"}, "metrics[0].extract"),
        ({"states": STATES, "mode": "rate"}, "metrics[0].states"),
        ({"states": STATES, "map": {"1": 1}}, "metrics[0].states"),
        ({"states": STATES, "oidLabels": {"state": "ifName.1"}}, "metrics[0].states"),
        ({"labelPatterns": {"port": "a"}}, "metrics[0].labelPatterns.port"),
        (
            {"oidLabels": {"port": "ifName.1"}, "labelPatterns": {"port": "["}},
            "metrics[0].labelPatterns.port",
        ),
    ],
)
def test_mistakes_in_a_metric_name_their_key(change: dict[str, Any], key: str) -> None:
    config = {"host": "switch", "metrics": [{"name": "value", "oid": "ifOperStatus.1", **change}]}
    with pytest.raises(ConfigError) as failure:
        build_source(config, SnmpGetSource)
    assert failure.value.key == key


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"labelPatterns": {"port": "a"}}, "labelPatterns.port"),
        ({"labelPatterns": {"interface": "("}}, "labelPatterns.interface"),
        ({"agentLabels": {"interface": "sysName.0"}}, "agentLabels.interface"),
        ({"agentLabels": {"device": "not an oid"}}, "agentLabels.device"),
        (
            {"preset": None, "columns": [STATE_COLUMN | {"mode": "counter"}]},
            "columns[0].states",
        ),
        (
            {
                "preset": None,
                "agentLabels": {"state": "sysName.0"},
                "columns": [STATE_COLUMN],
            },
            "columns[0].states",
        ),
    ],
)
def test_mistakes_in_a_table_name_their_key(change: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as failure:
        build_source({"host": "switch", "preset": "interfaces", **change}, SnmpTableSource)
    assert failure.value.key == key
