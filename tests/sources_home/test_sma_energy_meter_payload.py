"""Recorded datagrams of real meters, whole, truncated and foreign."""

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollect.api import BadResponse
from pollect_sources_home.sma_energy_meter.payload import Foreign, Reading, parse_datagram
from tests.simulators.sma_energy_meter import DISCOVERY, as_copy_for_charger, datagram

FOLDER = "sma_energy_meter"


@pytest.fixture
def frame(recording: Callable[[str], bytes]) -> Callable[[str], bytes]:
    return lambda name: bytes.fromhex(recording(f"{FOLDER}/{name}.hex").decode())


def values_of(data: bytes) -> dict[tuple[str, str], float]:
    reading = parse_datagram(data)
    assert isinstance(reading, Reading)
    return {(each.name, each.phase): number / each.divisor for each, number in reading.numbers}


def test_a_home_manager_sends_59_values(frame) -> None:
    data = frame("shm2")
    reading = parse_datagram(data)
    assert isinstance(reading, Reading)
    assert (len(data), reading.susyid, reading.version) == (608, 372, "2.13.6.R")
    values = values_of(data)
    assert len(values) == 59
    assert values["wirkleistung_positive", "0"] == 201.1
    assert values["blindleistung_negative", "0"] == 752.5
    assert values["leistungsfaktor", "0"] == 0.258
    assert values["netzfrequenz", "0"] == 49.978
    assert values["wirkleistung_positive_sum", "0"] == pytest.approx(5705.8229, abs=1e-4)
    assert values["wirkleistung_negative_sum", "0"] == pytest.approx(10071.4925, abs=1e-4)


def test_an_energy_meter_sends_58_values_in_600_bytes(frame) -> None:
    data = frame("emeter20_01")
    reading = parse_datagram(data)
    assert isinstance(reading, Reading)
    assert (len(data), reading.susyid) == (600, 349)
    values = values_of(data)
    assert len(values) == 58
    assert values["wirkleistung_positive", "0"] == 1054.6
    assert values["scheinleistung_positive", "0"] == 1091.3
    assert values["blindleistung_negative", "0"] == 281.0
    assert values["wirkleistung_positive_sum", "0"] == pytest.approx(24.9821, abs=1e-4)
    assert values["wirkleistung_negative_sum", "0"] == pytest.approx(0.3617, abs=1e-4)
    assert ("netzfrequenz", "0") not in values


@pytest.mark.parametrize("number", range(2, 9))
def test_an_idle_energy_meter_measures_the_voltage(frame, number: int) -> None:
    values = values_of(frame(f"emeter20_0{number}"))
    assert 225.0 <= values["spannung", "1"] < 225.85


def test_the_copy_for_a_charger_says_the_same(frame) -> None:
    original = frame("shm2")
    copy = as_copy_for_charger(original)
    assert len(copy) == 610
    assert values_of(copy) == values_of(original)
    read, again = parse_datagram(original), parse_datagram(copy)
    assert isinstance(read, Reading)
    assert isinstance(again, Reading)
    assert (read.susyid, read.serial, read.ticker_ms) == (
        again.susyid,
        again.serial,
        again.ticker_ms,
    )


@pytest.mark.parametrize("name", ["shm2", "emeter20_01"])
@pytest.mark.parametrize("change", [bytes, as_copy_for_charger])
def test_a_truncated_datagram_is_no_reading(frame, name: str, change) -> None:
    data = change(frame(name))
    for length in range(len(data)):
        try:
            assert not isinstance(parse_datagram(data[:length]), Reading), length
        except BadResponse as error:
            assert "bytes" in str(error)  # noqa: PT017 - either of the two will do


@pytest.mark.parametrize("name", ["discovery_request", "discovery_reply"])
def test_discovery_is_told_from_measurements(frame, name: str) -> None:
    assert parse_datagram(frame(name)) is Foreign.DISCOVERY
    assert parse_datagram(DISCOVERY) is Foreign.DISCOVERY


@pytest.mark.parametrize("protocol", [0x6065, 0x6071, 0x0001])
def test_other_protocols_of_the_port_are_foreign(protocol: int) -> None:
    assert parse_datagram(datagram(protocol=protocol)) is Foreign.OTHER


@pytest.mark.parametrize("data", [b"", b"SMA\0", b"hello" * 100, bytes(608)])
def test_what_does_not_start_as_the_protocol_does_is_foreign(data: bytes) -> None:
    assert parse_datagram(data) is Foreign.OTHER


def test_records_that_are_not_known_are_passed_over() -> None:
    numbers = {(99, 4): 1, (99, 8): 2, (1, 7): 3, (1, 4): 4210}
    assert values_of(datagram(numbers)) == {("wirkleistung_positive", "0"): 421.0}


def test_an_unprintable_revision_of_the_software_is_shown_as_a_number() -> None:
    reading = parse_datagram(datagram(version=b"\x01\x02\x12\xff"))
    assert isinstance(reading, Reading)
    assert reading.version == "1.2.18.255"


@given(st.binary(max_size=700) | st.binary(max_size=700).map(lambda tail: datagram()[:18] + tail))
def test_no_bytes_raise_anything_but_a_bad_response(data: bytes) -> None:
    with contextlib.suppress(BadResponse):
        parse_datagram(data)
