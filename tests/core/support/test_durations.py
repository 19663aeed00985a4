"""Durations as Prometheus and people write them."""

import pytest

from pollect.support.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (10, 10.0),
        (0.5, 0.5),
        ("10", 10.0),
        ("10s", 10.0),
        ("250ms", 0.25),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("2d", 172800.0),
        ("1w", 604800.0),
        (" 5m ", 300.0),
        ("0", 0.0),
    ],
)
def test_a_duration_is_read_in_seconds(text, seconds) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "5 m", "5x", "m5", "1h-5m", "-5s", "5mm", "five"])
def test_what_is_not_a_duration_is_refused_with_an_example(text) -> None:
    with pytest.raises(ValueError, match=r"expected a duration such as 30s, 5m or 1h30m, got"):
        parse_duration(text)


@pytest.mark.parametrize("text", [-1, "-1", float("inf"), "inf", "nan"])
def test_a_duration_is_a_finite_number_of_0_or_more(text) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)
