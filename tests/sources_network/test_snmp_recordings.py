"""SNMP sources before recordings of real devices, from the package snmpsim-data."""

import bz2
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from pollect_sources_network.snmp.get import SnmpGetSource
from pollect_sources_network.snmp.oids import OBJECTS
from pollect_sources_network.snmp.table import SnmpTableSource
from tests.simulators.snmp_agent import SimulatedAgent, Tagged, read_recording
from tests.sources_network.driver import opened

SPEC = importlib.util.find_spec("snmpsim_data")

pytestmark = pytest.mark.skipif(SPEC is None, reason="snmpsim-data is not installed")

PROCURVE = "network/switch/hpe-procurve-516733-b21"
CATALYST = "network/switch/cisco-c3750"
ARISTA = "cloud/arista-dcs-7150s-52-cl"
EATON = "UPS/eaton-93e-80"
SERVER = "os/linux/ibm-x3550-m3"


def recording(name: str) -> dict[str, Tagged]:
    assert SPEC is not None
    assert SPEC.origin is not None
    file = Path(SPEC.origin).with_name("data") / f"{name}.snmprec.bz2"
    return read_recording(bz2.decompress(file.read_bytes()).decode("utf-8", "replace"))


def column(values: dict[str, Tagged], name: str) -> dict[str, Any]:
    """Return the cells of a column by index."""
    prefix = OBJECTS[name] + "."
    return {
        oid.removeprefix(prefix): value
        for oid, (_, value) in values.items()
        if oid.startswith(prefix)
    }


def walked(values: dict[str, Tagged], preset: str) -> dict[str, float]:
    with SimulatedAgent(values) as device:
        config = {"host": device.address, "snmpVersion": "2c", "preset": preset}
        with opened(config, SnmpTableSource) as source:
            return source.series()


@pytest.mark.parametrize("name", [PROCURVE, CATALYST, ARISTA])
def test_every_port_of_a_switch_has_its_name_and_its_counters(name: str) -> None:
    values = recording(name)
    found = walked(values, "interfaces")
    names = column(values, "ifName")
    states = column(values, "ifOperStatus")
    assert len(states) > 10
    ups = {series: value for series, value in found.items() if series.startswith("up{")}
    assert len(ups) == len(states)
    for index, octets in column(values, "ifHCInOctets").items():
        start = f'in_bytes{{index="{index}",interface="{names[index].decode()}",'
        assert [value for series, value in found.items() if series.startswith(start)] == [octets]


def test_the_sensors_of_a_switch_whose_names_are_empty_have_their_description() -> None:
    found = walked(recording(ARISTA), "sensors")
    assert found['sensor{index="100006001",sensor="Cpu temp sensor",unit="celsius"}'] == 28.2
    assert len(found) > 50


def test_a_three_phase_ups() -> None:
    found = walked(recording(EATON), "ups")
    assert found["battery_charge_percent"] == 100
    assert found["runtime_remaining_seconds"] == 1092 * 60
    assert found["battery_voltage_volts"] == 521
    assert found['input_frequency_hertz{line="3"}'] == 50
    assert found['input_voltage_volts{line="3"}'] == 233
    assert found['output_voltage_volts{line="1"}'] == 220


def test_the_storage_of_a_server() -> None:
    values = recording(SERVER)
    found = walked(values, "storage")
    sizes = column(values, "hrStorageSize")
    assert len([series for series in found if series.startswith("size_bytes")]) == len(sizes)
    assert all(value >= 0 for value in found.values())


def test_ports_are_read_in_the_words_of_1x() -> None:
    values = recording(PROCURVE)
    metric = {
        "name": "octets",
        "oid": "iso.3.6.1.2.1.16.1.1.1.4.${if}",
        "range": {"from": 1, "to": 16, "label": "if"},
        "oidLabels": {"port": "iso.3.6.1.2.1.31.1.1.1.1.${if}"},
    }
    with (
        SimulatedAgent(values) as switch,
        opened({"host": switch.address, "metrics": [metric]}, SnmpGetSource) as source,
    ):
        found = source.series()
    expected = column(values, "etherStatsOctets")
    assert found['octets{if="1",port="1"}'] == expected["1"]
    assert len(found) == len([index for index in expected if int(index) <= 16])
