"""SnmpTable: rows, labels and presets, against simulated agents and Debian's snmpd."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pollect.api import BadResponse, ConfigError, Kind, TargetUnavailable
from pollect.testing import FakeClock, build_source
from pollect_sources_network.snmp.get import SnmpGetSource
from pollect_sources_network.snmp.oids import OBJECTS
from pollect_sources_network.snmp.table import SnmpTableSource
from tests.simulators.snmp_agent import (
    COUNTER32,
    COUNTER64,
    GAUGE32,
    GET_BULK,
    INTEGER,
    OCTETS,
    TICKS,
    UPTIME,
    SimulatedAgent,
    Tagged,
)
from tests.simulators.snmpd import needs_snmpd, run_snmpd
from tests.sources_network.driver import opened
from tests.sources_network.test_snmp_snmpd import every_backend


def table(**columns: list[Tagged] | list[Tagged | None]) -> dict[str, Tagged]:
    """Return the objects of a table whose rows are counted from 1."""
    return {
        f"{OBJECTS[name]}.{row}": cell
        for name, cells in columns.items()
        for row, cell in enumerate(cells, start=1)
        if cell is not None
    }


SWITCH = {
    UPTIME: (TICKS, 100_000),
    **table(
        ifName=[(OCTETS, b"lan1"), (OCTETS, b"lan2"), (OCTETS, b"wan")],
        ifAlias=[(OCTETS, b"printer"), (OCTETS, b""), (OCTETS, b"uplink")],
        ifHCInOctets=[(COUNTER64, 2**40), (COUNTER64, 5), (COUNTER64, 7)],
        ifInOctets=[(COUNTER32, 1), (COUNTER32, 5), (COUNTER32, 7)],
        ifOperStatus=[(INTEGER, 1), (INTEGER, 2), (INTEGER, 1)],
        ifHighSpeed=[(GAUGE32, 1000), (GAUGE32, 0), (GAUGE32, 100)],
    ),
}


@pytest.fixture
def switch() -> Iterator[SimulatedAgent]:
    with SimulatedAgent(SWITCH) as agent:
        yield agent


def section(agent: SimulatedAgent, **more: Any) -> dict[str, Any]:
    return {"host": agent.address, "snmpVersion": "2c", "timeout": 2, **more}


def series(agent: SimulatedAgent, **more: Any) -> dict[str, float]:
    with opened(section(agent, **more), SnmpTableSource) as source:
        return source.series()


PORTS: dict[str, Any] = {
    "columns": [{"name": "octets", "oid": "ifHCInOctets", "mode": "counter"}],
    "rowLabels": {"port": "IF-MIB::ifName"},
}


def test_rows_are_labelled_by_index_and_by_another_column(switch: SimulatedAgent) -> None:
    assert series(switch, **PORTS) == {
        'octets{index="1",port="lan1"}': 2**40,
        'octets{index="2",port="lan2"}': 5,
        'octets{index="3",port="wan"}': 7,
    }
    assert {kind for kind, _ in switch.requests} == {GET_BULK}


def test_the_index_may_be_left_out(switch: SimulatedAgent) -> None:
    assert 'octets{port="wan"}' in series(switch, **PORTS, indexLabel="")


def test_rows_of_one_label_are_told_apart_by_their_index() -> None:
    names = [(OCTETS, b"port"), (OCTETS, b"wan"), (OCTETS, b"port")]
    octets = [(COUNTER64, 10), (COUNTER64, 20), (COUNTER64, 30)]
    with SimulatedAgent(
        {UPTIME: (TICKS, 100), **table(ifName=names, ifHCInOctets=octets)}
    ) as agent:
        assert series(agent, **PORTS, indexLabel="") == {
            'octets{port="port"}': 10,
            'octets{port="wan"}': 20,
            'octets{port="port_3"}': 30,
        }


def test_only_rows_that_match_are_kept(switch: SimulatedAgent) -> None:
    kept = series(switch, **PORTS, only={"port": ["lan*", "dmz"]}, indexLabel="")
    assert kept.keys() == {'octets{port="lan1"}', 'octets{port="lan2"}'}


def test_counters_stay_counters(switch: SimulatedAgent) -> None:
    with opened(section(switch, **PORTS), SnmpTableSource) as source:
        assert {sample.metric.kind for sample in source.samples()} == {Kind.COUNTER}


def test_cells_that_cannot_be_read_are_a_trouble_of_their_column(switch: SimulatedAgent) -> None:
    column = {
        **PORTS,
        "indexLabel": "",
        "columns": [*PORTS["columns"], {"name": "speed", "oid": "1.3.6.1.2.1.31.1.1.1.15"}],
    }
    switch.values[f"{OBJECTS['ifHighSpeed']}.1"] = (OCTETS, b"fast")
    switch.values[f"{OBJECTS['ifHighSpeed']}.2"] = (OCTETS, b"slow")
    with opened(section(switch, **column), SnmpTableSource) as source:
        found = source.series()
        assert found['speed{port="wan"}'] == 100
        assert sum(name.startswith("octets") for name in found) == 3
        (text,) = source.source.troubles.texts()
        assert text == (
            "values of column 1.3.6.1.2.1.31.1.1.1.15: "
            "row 1: expected a number, got 'fast'; row 2: expected a number, got 'slow'"
        )
        switch.values[f"{OBJECTS['ifHighSpeed']}.1"] = (GAUGE32, 10)
        # What an agent does not know, as many say by an empty text, is none.
        switch.values[f"{OBJECTS['ifHighSpeed']}.2"] = (OCTETS, b"")
        assert source.series()['speed{port="lan1"}'] == 10
        assert not source.source.troubles


def test_rates_of_rows_come_with_the_second_probe_and_not_over_a_restart(
    switch: SimulatedAgent,
) -> None:
    clock = FakeClock()
    column = {"name": "rate", "oid": "ifInOctets", "mode": "rate", "scale": 8}
    config = section(switch, columns=[column], indexLabel="if")
    with opened(config, SnmpTableSource, clock=clock) as source:
        assert source.series() == {}
        clock.advance(10)
        switch.values |= {UPTIME: (TICKS, 101_000), f"{OBJECTS['ifInOctets']}.2": (COUNTER32, 15)}
        assert source.series() == {'rate{if="1"}': 0, 'rate{if="2"}': 8, 'rate{if="3"}': 0}
        clock.advance(10)
        switch.values |= {UPTIME: (TICKS, 500), f"{OBJECTS['ifInOctets']}.2": (COUNTER32, 1)}
        assert source.series() == {}


def test_more_rows_than_one_request_brings_are_all_read(switch: SimulatedAgent) -> None:
    cells: list[Tagged] = [(COUNTER64, row) for row in range(300)]
    switch.values |= table(ifHCInOctets=cells)
    assert len(series(switch, **PORTS)) == 300
    assert len(switch.requests) < 300 / 20


def test_a_request_brings_as_many_rows_as_the_config_says(switch: SimulatedAgent) -> None:
    switch.values |= table(ifHCInOctets=[(COUNTER64, row) for row in range(60)])
    assert len(series(switch, **PORTS, maxRepetitions=60)) == 60
    few = len(switch.requests)
    assert len(series(switch, **PORTS, maxRepetitions=5)) == 60
    assert len(switch.requests) - few > 3 * few


@pytest.mark.parametrize("version", [1, "2c"])
def test_the_interfaces_of_a_switch(switch: SimulatedAgent, version: int | str) -> None:
    found = series(switch, preset="interfaces", snmpVersion=version)
    row = '{index="1",interface="lan1",alias="printer"}'
    in_bytes = 1 if version == 1 else 2**40  # version 1 has no 64-bit counters
    assert {name: value for name, value in found.items() if name.endswith(row)} == {
        f"in_bytes{row}": in_bytes,
        f"up{row}": 1,
        f"speed_bits_per_second{row}": 1e9,
    }
    assert found['up{index="2",interface="lan2",alias=""}'] == 0


def test_a_port_without_a_64_bit_counter_has_the_one_of_32_bits() -> None:
    values = table(
        ifName=[(OCTETS, b"lan1"), (OCTETS, b"vlan2"), (OCTETS, b"lan3")],
        ifHCInOctets=[(COUNTER64, 2**40), None, (COUNTER64, 3)],
        ifInOctets=[(COUNTER32, 1), (COUNTER32, 2), (COUNTER32, 9)],
    )
    with SimulatedAgent(values) as switch:
        found = series(switch, preset="interfaces", snmpVersion="2c")
    assert found == {
        'in_bytes{index="1",interface="lan1",alias=""}': 2**40,
        'in_bytes{index="2",interface="vlan2",alias=""}': 2,
        'in_bytes{index="3",interface="lan3",alias=""}': 3,
    }


MAC = bytes.fromhex("6c7b24257a41")


@pytest.mark.parametrize(
    ("display", "octets", "text"),
    [
        ("mac", MAC, "6c:7b:24:25:7a:41"),
        ("hex", MAC, "6c7b24257a41"),
        ("text", b"l{\x00$ %z\xff", "l{ $ %z\ufffd"),
        ("ip", bytes([192, 0, 2, 7]), "192.0.2.7"),
        ("ip", b"ABCD", "65.66.67.68"),
        ("ip", bytes(15) + b"\x01", "::1"),
        ("ip", b"\xfe\x80" + bytes(13) + b"\x01" + bytes([0, 0, 0, 3]), "fe80::1%3"),
        ("ip", b"odd", "6f:64:64"),
        ("dateAndTime", bytes([7, 234, 11, 28, 4, 55, 1, 0]), "2026-11-28T04:55:01"),
        (
            "dateAndTime",
            bytes([7, 234, 11, 28, 4, 55, 1, 0, 43, 1, 30]),
            "2026-11-28T04:55:01+01:30",
        ),
        ("auto", MAC, "l{$%zA"),
    ],
)
def test_octets_are_shown_as_the_config_says(display: str, octets: bytes, text: str) -> None:
    values = table(ifAlias=[(OCTETS, octets)], ifMtu=[(INTEGER, 1500)])
    options = {
        "columns": [{"name": "mtu", "oid": "ifMtu"}],
        "rowLabels": {"seen": "ifAlias"},
        "labelDisplay": {"seen": display},
        "indexLabel": "",
    }
    with SimulatedAgent(values) as switch:
        assert series(switch, **options) == {f'mtu{{seen="{text}"}}': 1500}


def test_physical_addresses_are_octets_even_when_they_are_printable() -> None:
    values = table(ifPhysAddress=[(OCTETS, MAC)], ifMtu=[(INTEGER, 1500)])
    column = {"name": "mtu", "oid": "ifMtu"}
    state = {"name": "mine", "oid": "ifPhysAddress", "states": {"6c:7b:24:25:7a:41": "yes"}}
    with SimulatedAgent(values) as switch:
        found = series(switch, columns=[column], rowLabels={"mac": "ifPhysAddress"})
        assert found == {'mtu{index="1",mac="6c:7b:24:25:7a:41"}': 1500}
        assert series(switch, columns=[state]) == {'mine{index="1",state="yes"}': 1}
        get = {"name": "mtu", "oid": "ifMtu.1", "oidLabels": {"mac": "ifPhysAddress.1"}}
        with opened({"host": switch.address, "metrics": [get]}, SnmpGetSource) as source:
            assert source.series() == {'mtu{mac="6c:7b:24:25:7a:41"}': 1500}


def test_the_storage_of_a_server() -> None:
    values = table(
        hrStorageDescr=[(OCTETS, b"/"), (OCTETS, b"/big")],
        hrStorageAllocationUnits=[(INTEGER, 4096), (INTEGER, 4096)],
        hrStorageSize=[(INTEGER, 1000), (INTEGER, -(2**31))],
        hrStorageUsed=[(INTEGER, 10), (INTEGER, 20)],
    )
    with SimulatedAgent(values) as server:
        assert series(server, preset="storage") == {
            'size_bytes{index="1",storage="/"}': 4_096_000,
            'size_bytes{index="2",storage="/big"}': 2**31 * 4096,
            'used_bytes{index="1",storage="/"}': 40_960,
            'used_bytes{index="2",storage="/big"}': 81_920,
        }


def test_the_sensors_of_a_device() -> None:
    values = table(
        entPhysicalName=[(OCTETS, b"cpu"), (OCTETS, b"12V"), (OCTETS, b"fan")],
        entPhySensorType=[(INTEGER, 8), (INTEGER, 4), (INTEGER, 10)],
        entPhySensorScale=[(INTEGER, 9), (INTEGER, 8), (INTEGER, 9)],
        entPhySensorPrecision=[(INTEGER, 1), (INTEGER, 0), (INTEGER, 0)],
        entPhySensorValue=[(INTEGER, 415), (INTEGER, 12_034), (INTEGER, 900)],
        entPhySensorOperStatus=[(INTEGER, 1), (INTEGER, 1), (INTEGER, 3)],
    )
    with SimulatedAgent(values) as device:
        assert series(device, preset="sensors") == {
            'sensor{index="1",sensor="cpu",unit="celsius"}': 41.5,
            'sensor{index="2",sensor="12V",unit="volts_dc"}': 12.034,
        }


def test_a_ups() -> None:
    scalars = {
        f"{OBJECTS['upsBatteryStatus']}.0": (INTEGER, 2),
        f"{OBJECTS['upsSecondsOnBattery']}.0": (INTEGER, 0),
        f"{OBJECTS['upsEstimatedMinutesRemaining']}.0": (INTEGER, 42),
        f"{OBJECTS['upsBatteryVoltage']}.0": (INTEGER, 273),
        f"{OBJECTS['upsAlarmsPresent']}.0": (GAUGE32, 1),
    }
    lines = table(
        upsInputVoltage=[(INTEGER, 230), (INTEGER, 231)], upsOutputPercentLoad=[(INTEGER, 17)]
    )
    with SimulatedAgent(scalars | lines) as ups:
        assert series(ups, preset="ups") == {
            "battery_status": 2,
            "on_battery_seconds": 0,
            "runtime_remaining_seconds": 2520,
            "battery_voltage_volts": 27.3,
            "alarms": 1,
            'input_voltage_volts{line="1"}': 230,
            'input_voltage_volts{line="2"}': 231,
            'output_load_percent{line="1"}': 17,
        }


def test_a_device_without_the_table_is_a_bad_response(switch: SimulatedAgent) -> None:
    with pytest.raises(BadResponse, match="none of the columns"):
        series(switch, preset="storage")


def test_a_silent_agent_is_unavailable(switch: SimulatedAgent) -> None:
    switch.drop = 1000
    with pytest.raises(TargetUnavailable, match="no answer"):
        series(switch, preset="interfaces", timeout=0.05)


def test_a_column_that_goes_round_in_circles_leaves_the_others_alone() -> None:
    with SimulatedAgent(SWITCH) as switch:
        in_order, column = switch._next, OBJECTS["ifOperStatus"]

        def circling(oid: str) -> tuple[str, Tagged]:
            after = in_order(oid)
            return (f"{column}.1", (INTEGER, 1)) if after[0].startswith(f"{column}.2") else after

        switch._next = circling  # type: ignore[method-assign]
        with opened(section(switch, preset="interfaces"), SnmpTableSource) as source:
            found = source.series()
            assert found['in_bytes{index="2",interface="lan2",alias=""}'] == 5
            assert not any(name.startswith("up{") for name in found)
            (text,) = source.source.troubles.texts()
            assert text.startswith(f"column {column}: ")
            switch._next = in_order  # type: ignore[method-assign]
            assert source.series()['up{index="1",interface="lan1",alias="printer"}'] == 1
            assert source.source.troubles.texts() == ()


def test_a_lost_datagram_does_not_lose_rows(switch: SimulatedAgent) -> None:
    switch.drop = 1
    assert len(series(switch, **PORTS, timeout=0.5)) == 3


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({}, "columns"),
        ({"preset": "ups", **PORTS}, "columns"),
        ({"preset": "interfaces", "only": {"port": ["1"]}}, "only.port"),
        ({**PORTS, "rowLabels": {"index": "ifName"}}, "rowLabels.index"),
        ({"columns": [{"name": "n", "oid": "not an oid"}]}, "columns[0].oid"),
    ],
)
def test_mistakes_in_the_config_name_their_key(change: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as failure:
        build_source({"host": "switch", **change}, SnmpTableSource)
    assert failure.value.key == key


@pytest.mark.integration
@needs_snmpd
@every_backend
def test_the_tables_of_debians_snmpd(tmp_path: Path, backend: dict[str, Any]) -> None:
    with run_snmpd(tmp_path) as host:
        config = {"host": host, "snmpVersion": "2c", **backend}
        with opened({**config, "preset": "interfaces"}, SnmpTableSource) as source:
            found = source.series()
            assert found['up{index="1",interface="lo",alias=""}'] == 1
            assert found['in_bytes{index="1",interface="lo",alias=""}'] > 0
        with opened({**config, "preset": "storage"}, SnmpTableSource) as source:
            memory = 'size_bytes{index="1",storage="Physical memory"}'
            assert source.series()[memory] > 64 * 1024 * 1024
