"""SmaPvModbus before three Modbus servers with the registers of inverters."""

import contextlib
import json
import re
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from pollect.api import (
    BadResponse,
    Kind,
    MissingDependency,
    ProbeError,
    TargetUnavailable,
)
from pollect.testing import (
    FakeClock,
    Running,
    absent_port,
    build_source,
    format_samples,
    serve_tcp,
    stay_silent,
    wait_until,
)
from pollect_sources_home.sma_pv_modbus.registers import DETAILS, ENERGY, REGISTERS, decode
from pollect_sources_home.sma_pv_modbus.source import SmaPvModbusSource
from tests.simulators import sma
from tests.simulators.tcp import IN_TIME_SECONDS
from tests.sources_network.driver import opened

pytest.importorskip("pymodbus")

BY_DAY = {
    "temp": 38.5,
    "frequency": 50.01,
    "power": 2423,
    "energy": 14_762_629,
    "dc_voltage": 412.35,
    "dc_current": 5.876,
    'ac_voltage{phase="1"}': 230.41,
    'ac_voltage{phase="2"}': 231.02,
    'ac_voltage{phase="3"}': 229.98,
}
AT_NIGHT = dict.fromkeys(BY_DAY.keys() - {"temp", "energy"}, 0)

Serve = Callable[[sma.Units], AbstractContextManager[int]]


def section(server: sma.Inverter, **more: Any) -> dict[str, Any]:
    return {"host": server.host, "port": server.port, "timeout": 10, **more}


def series(units: sma.Units, **more: Any) -> dict[str, float]:
    with sma.Inverter(units) as server:
        with opened(section(server, **more), SmaPvModbusSource) as source:
            return source.series()


def test_exposition(golden) -> None:
    with sma.Inverter(sma.by_day()) as server:
        source = build_source(section(server, details=True), SmaPvModbusSource)
        with Running(source) as running:
            golden("SmaPvModbus.txt", format_samples(source, running.probe()))


@pytest.mark.parametrize("serve", [sma.served_by_pymodbus, sma.served_by_pymodbustcp])
@pytest.mark.parametrize(
    ("values", "expected"), [(sma.DAY, BY_DAY), (sma.NIGHT, AT_NIGHT)], ids=["day", "night"]
)
@pytest.mark.parametrize("unit", [3, 126])
def test_independent_servers(
    serve: Serve, values: dict[int, int], expected: dict[str, float], unit: int
) -> None:
    pytest.importorskip("pyModbusTCP")
    with serve(sma.image(values, unit=unit)) as port:
        with opened({"host": "127.0.0.1", "port": port}, SmaPvModbusSource) as source:
            assert source.series() == expected
            assert source.series() == expected


@pytest.mark.parametrize("serve", [sma.served_by_pymodbus, sma.served_by_pymodbustcp])
def test_a_single_phase_inverter_has_one_voltage(serve: Serve) -> None:
    values = {address: sma.DAY[address] for address in sma.DAY if address not in (30785, 30787)}
    with serve(sma.image(values)) as port:
        with opened({"host": "127.0.0.1", "port": port}, SmaPvModbusSource) as source:
            found = source.series()
    assert found == {name: BY_DAY[name] for name in BY_DAY if name[-3:] not in ('2"}', '3"}')}


def test_signed_registers_may_be_negative() -> None:
    found = series(sma.image({**sma.DAY, 30953: -53, 30775: -1, 30769: -250}))
    assert (found["temp"], found["power"], found["dc_current"]) == (-5.3, -1, -0.25)


def test_an_inverter_that_restarts_answers_all_ones() -> None:
    units = sma.by_day()
    units[3] = dict.fromkeys(units[3], 0xFFFF)
    assert series(units) == AT_NIGHT
    assert series(units, details=True) == AT_NIGHT


def test_energy_never_falls_until_an_hour_went_by() -> None:
    clock, units = FakeClock(), sma.by_day()

    def show(energy: int) -> float | None:
        for offset, word in enumerate(sma.words(energy, 4)):
            units[3][30513 + offset] = word
        return source.series().get("energy")

    with sma.Inverter(units) as server:
        with opened(section(server), SmaPvModbusSource, clock=clock) as source:
            assert show(5000) == 5000
            assert show(0) is None
            clock.advance(3599)
            assert show(4999) is None
            assert show(5000) == 5000
            assert show(7) is None
            clock.advance(3600)
            assert show(8) == 8
            assert show(9) == 9


def test_kinds() -> None:
    counters = {register.metric.name for register in (*REGISTERS, *DETAILS)
                if register.metric.kind is Kind.COUNTER}  # fmt: skip
    assert counters == {"energy", "energy_day", "operating_time", "feed_in_time"}


def test_details_that_are_not_available_are_left_out() -> None:
    nan = dict.fromkeys(sma.DETAILS, sma.S32_NAN) | {
        30201: 0x00FFFFFD, 30517: sma.U64_NAN, 30521: sma.U64_NAN, 30525: sma.U64_NAN,
        30225: sma.U32_NAN, 30845: sma.U32_NAN,
    }  # fmt: skip
    of_first_input = {
        'dc_input_current{input="1"}': 5.876,
        'dc_input_voltage{input="1"}': 412.35,
    }
    assert series(sma.image(sma.DAY | nan), details=True) == BY_DAY | of_first_input


def test_registers_that_are_not_defined_are_not_asked_for_again() -> None:
    with sma.Inverter(sma.image({30775: 406})) as server:
        with opened(section(server), SmaPvModbusSource) as source:
            assert source.series() == {"power": 406}
            server.requests.clear()
            assert source.series() == {"power": 406}
            assert server.requests == [(3, 30775)]


def test_the_unit_id_is_looked_up_again_with_every_connection() -> None:
    with sma.Inverter(sma.image(sma.DAY, unit=3)) as server:
        with opened(section(server), SmaPvModbusSource) as source:
            source.series()
            source.series()
            assert [each for each in server.requests if each[0] == 1] == [(1, 42109)]
            server.units = sma.image({30775: 5}, unit=4)
            with pytest.raises(BadResponse, match=r"exception 4 \(device failure, or an unknown"):
                source.series()
            assert source.series() == {"power": 5}
            assert server.accepted == 2


def test_a_configured_unit_id_is_not_looked_up() -> None:
    with sma.Inverter(sma.image({30775: 7}, unit=126)) as server:
        with opened(section(server, unitId=126), SmaPvModbusSource) as source:
            assert source.series() == {"power": 7}
        assert {unit for unit, _ in server.requests} == {126}


@pytest.mark.parametrize("look_up", [{}, {42109 + n: 0 for n in range(4)},
                                     {42109 + n: 0xFFFF for n in range(4)}])  # fmt: skip
def test_a_look_up_that_finds_nothing_leads_to_the_usual_unit_id(look_up: dict[int, int]) -> None:
    assert series({1: look_up, 3: sma.image({30775: 7})[3]}) == {"power": 7}


def test_another_kind_of_device_is_a_bad_response() -> None:
    with pytest.raises(BadResponse, match="unit 3 has none of the registers"):
        series({1: {}, 3: {}})


def test_a_refused_connection_names_the_switch() -> None:
    with absent_port() as port:
        with opened({"host": "127.0.0.1", "port": port}, SmaPvModbusSource) as source:
            with pytest.raises(TargetUnavailable, match="is Modbus TCP switched on"):
                source.series()


def test_the_library_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with serve_tcp(lambda connection: None) as server:
        config = {"host": server.host, "port": server.port, "timeout": 0.2}
        with opened(config, SmaPvModbusSource) as source, pytest.raises(TargetUnavailable):
            source.series()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "fault",
    [
        b"",
        b"\x00",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\xff" * 300,
        bytes.fromhex("000100000005030302 0007"),
        bytes.fromhex("0001000000ff0303040000"),
        bytes.fromhex("ffff00000007030304000001f4"),
        bytes.fromhex("0001000000030383"),
    ],
    ids=["silence", "half a header", "HTTP", "all ones", "one register", "cut short",
         "another request's", "no exception code"],
)  # fmt: skip
def test_an_inverter_that_makes_no_sense_fails_in_time_and_recovers(fault: bytes) -> None:
    with sma.Inverter(sma.by_day()) as server:
        with opened(section(server, timeout=0.3), SmaPvModbusSource) as source:
            source.series_at_last()
            server.fault = fault
            begin = time.monotonic()
            with pytest.raises(ProbeError):
                source.series()
            assert time.monotonic() - begin < IN_TIME_SECONDS
            server.fault = None
            wait_until(lambda: source.series_at_last() == BY_DAY, "all values again")


@pytest.mark.parametrize("code", [1, 3, 4, 6, 77])
def test_a_register_that_is_refused_costs_itself_and_the_connection(code: int) -> None:
    with sma.Inverter(sma.by_day()) as server:
        with opened(section(server), SmaPvModbusSource) as source:
            server.exceptions = {30775: code}
            assert source.series() == {k: v for k, v in BY_DAY.items() if k != "power"}
            problem = str(source.source.troubles)
            assert re.search(f"register 30775 of unit 3: refused with exception {code} ", problem)
            server.exceptions = {}
            assert source.series() == BY_DAY
            assert not source.source.troubles
            assert server.accepted == 2


@pytest.mark.parametrize("code", [10, 11])
def test_what_a_gateway_says_of_the_unit_holds_for_all_registers(code: int) -> None:
    with sma.Inverter(sma.by_day()) as server:
        with opened(section(server), SmaPvModbusSource) as source:
            server.exceptions = {30953: code}
            with pytest.raises(BadResponse, match=f"register 30953 of unit 3.*exception {code}"):
                source.series()
            server.exceptions = {}
            assert source.series() == BY_DAY
            assert server.accepted == 2


@pytest.mark.parametrize("known_at_first", [{}, {30775: 406}], ids=["nothing", "one register"])
def test_registers_that_an_inverter_lacks_while_it_starts_are_found_later(
    known_at_first: dict[int, int],
) -> None:
    with sma.Inverter(sma.image(known_at_first)) as server:
        with opened(section(server), SmaPvModbusSource) as source:
            for _ in range(2):
                with contextlib.suppress(BadResponse):
                    source.series()
            server.disconnect()
            server.units = sma.by_day()
            with contextlib.suppress(TargetUnavailable):
                source.series()
            assert source.series() == BY_DAY


def test_a_connection_that_broke_is_made_again() -> None:
    with sma.Inverter(sma.by_day()) as server:
        with opened(section(server), SmaPvModbusSource) as source:
            source.series()
            server.stop()
            with pytest.raises(TargetUnavailable):
                source.series()
            server.start()
            assert source.series() == BY_DAY


def test_slow_answers_share_one_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pollect_sources_home.sma_pv_modbus.source.PROBE_SECONDS", 0.3)

    def slowly(connection: Any) -> None:
        while connection.recv(12):
            time.sleep(0.2)
            connection.sendall(b"")

    with serve_tcp(slowly) as server:
        config = {"host": server.host, "port": server.port, "timeout": 0.15}
        with opened(config, SmaPvModbusSource) as source:
            begin = time.monotonic()
            with pytest.raises(TargetUnavailable):
                source.series()
            assert time.monotonic() - begin < IN_TIME_SECONDS


def test_a_silent_inverter_says_how_often_it_was_asked() -> None:
    with serve_tcp(stay_silent) as server:
        config = {"host": server.host, "port": server.port, "timeout": 0.1}
        with opened(config, SmaPvModbusSource) as source:
            with pytest.raises(TargetUnavailable, match=r"within 0\.1 s, asked 2 times"):
                source.series()


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymodbus.client", None)
    source = build_source({"host": "localhost"}, SmaPvModbusSource)
    with pytest.raises(MissingDependency) as failure:
        source.open()
    assert failure.value.requirement == "pollect-sources-home[modbus]"


def test_recorded_frames_of_real_inverters(recording) -> None:
    """Play the replies of the recording, and let the registers they hold be read."""
    lines = re.findall(r"^([<>]) (.*)$", recording("sma_pv_modbus/frames.txt").decode(), re.M)
    frames = [(side, bytes.fromhex(text)) for side, text in lines]
    read: dict[int, list[float | None]] = {}
    by_address = {register.address: register for register in REGISTERS}
    for (_, request), (_, reply) in zip(frames[::2], frames[1::2], strict=True):
        address = int.from_bytes(request[8:10], "big")
        payload = reply[9:]
        words = [int.from_bytes(payload[n : n + 2], "big") for n in range(0, len(payload), 2)]
        units = sma.image({})
        units[3] = {address + offset: word for offset, word in enumerate(words)}
        name = by_address[address].metric.name or ""
        read.setdefault(address, []).append(series(units)[name])
    assert read == {30775: [2423, 2391, 406], 30513: [14_762_629, 14_762_636]}


@pytest.mark.parametrize("kind", ["solar", "battery"])
def test_recorded_register_maps_agree(recording, kind: str) -> None:
    plan = json.loads(recording(f"sma_pv_modbus/nymea_{kind}_inverter_registers.json"))
    theirs = {
        register["address"]: register
        for register in [*plan.get("registers", []),
                         *(each for block in plan["blocks"] for each in block["registers"])]
    }  # fmt: skip
    ours = {register.address: register for register in (*REGISTERS, *DETAILS)}
    common = ours.keys() & theirs.keys()
    assert common
    for address in common:
        register, other = ours[address], theirs[address]
        assert register.count == other["size"], address
        if register is not ours[30201]:
            assert register.signed == other["type"].startswith("int"), address


def test_numbers_are_divided_and_not_multiplied() -> None:
    [voltage] = (register for register in REGISTERS if register.address == 30771)
    assert decode(voltage, (0, 23_041)) == 230.41
    assert ENERGY.unit == "Wh"
