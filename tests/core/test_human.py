"""Numbers as people read them."""

import math

import pytest

from pollect.hints import MOMENT, YES_IS_GOOD, Panel
from pollect.human import (
    format_number,
    format_quantity,
    format_span,
    format_value,
    is_moment,
    rate_unit,
    scale_of,
)
from pollect.model import Metric


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0, "bytes", "0 B"),
        (1536, "bytes", "1.50 KiB"),
        (25e9, "bytes", "23.3 GiB"),
        (3_000_000, "bytes_per_second", "2.86 MiB/s"),
        (1_200_000_000, "bits_per_second", "1.20 Gbit/s"),
        (0.5, "ratio", "50%"),
        (0.00123, "ratio", "0.123%"),
        (99.5, "percent", "99.5%"),
        (21.55, "celsius", "21.6 °C"),
        (-4, "°C", "-4 °C"),
        (3500, "watts", "3.50 kW"),
        (12, "watts", "12 W"),
        (0.0004, "seconds", "400 µs"),
        (1.5, "seconds", "1.50 s"),
        (7230, "seconds", "2 h"),
        (2500, "milliseconds", "2.50 s"),
        (8, "milliseconds", "8 ms"),
        (12, "processes", "12"),
        (244.4, "operations_per_second", "244 operations/s"),
        (1234567, "", "1.23 M"),
        (1234, "", "1,234"),
        (1e-9, "", "1e-09"),
        (230.44, "volts", "230 V"),
        (math.nan, "bytes", "–"),
        (math.inf, "", "–"),
    ],
)
def test_a_value_has_three_digits_and_its_unit(value: float, unit: str, expected: str) -> None:
    assert format_quantity(value, unit) == expected


@pytest.mark.parametrize(
    "metric",
    [
        Metric("last_success_timestamp_seconds", unit="seconds"),
        Metric("cert_not_after", unit="seconds", panel=MOMENT),
    ],
)
def test_a_moment_is_shown_as_a_date(metric: Metric) -> None:
    assert is_moment(metric)
    assert format_value(1_795_845_293, metric, "seconds").startswith("2026-11-")
    assert format_value(5, metric, "seconds") == "5 s"
    assert not is_moment(Metric("uptime", unit="seconds"))


def test_a_state_is_shown_by_its_name() -> None:
    status = Metric("status", panel=Panel(states={35: "fault", 307: "ok"}))

    assert [format_value(value, status, "") for value in (307, 35.0, 4)] == ["ok", "fault", "4"]
    assert format_value(0, Metric("link_up", panel=YES_IS_GOOD), "") == "no"


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("bytes", "bytes_per_second"),
        ("packets", "packets_per_second"),
        ("joules", "J/s"),
        ("", "/s"),
    ],
)
def test_the_unit_of_a_counter_s_growth(unit: str, expected: str) -> None:
    assert rate_unit(unit) == expected


def test_spans_have_their_two_largest_units() -> None:
    assert [format_span(s) for s in (0.3, 61, 3600, 86400 * 3 + 7300)] == [
        "0 s",
        "1 min 1 s",
        "1 h",
        "3 d 2 h",
    ]


def test_a_plot_has_one_scale_for_all_its_ticks() -> None:
    scale = scale_of("bytes", 3 * 2**30)
    assert [scale.format(gib * 2**30) for gib in (0, 1.5, 3)] == ["0 GiB", "1.50 GiB", "3 GiB"]
    assert format_number(0.5) == "0.500"
