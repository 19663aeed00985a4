import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollect.support.rates import Rates


def test_first_look_has_no_rate() -> None:
    assert Rates[str]().update("eth0", 10.0, (100,)) is None


def test_rate_is_the_change_per_second_of_each_counter() -> None:
    rates = Rates[str]()
    rates.update("eth0", 10.0, (100, 5))
    assert rates.update("eth0", 12.5, (600, 5)) == [200.0, 0.0]


def test_interval_keeps_its_fraction() -> None:
    rates = Rates[str]()
    rates.update("eth0", 10.0, (0,))
    assert rates.update("eth0", 11.9, (19,)) == pytest.approx([10.0])


def test_same_instant_has_no_rate_and_keeps_the_older_reading() -> None:
    rates = Rates[str]()
    rates.update("eth0", 10.0, (100,))
    assert rates.update("eth0", 10.0, (150,)) is None
    assert rates.update("eth0", 11.0, (200,)) == [100.0]


def test_counter_that_went_back_skips_one_rate_for_its_key_only() -> None:
    rates = Rates[str]()
    for key in ("eth0", "eth1"):
        rates.update(key, 10.0, (100, 100))
    assert rates.update("eth0", 11.0, (110, 3)) is None
    assert rates.update("eth1", 11.0, (110, 120)) == [10.0, 20.0]
    assert rates.update("eth0", 12.0, (120, 5)) == [10.0, 2.0]


def test_key_that_missed_probes_gets_the_rate_over_its_own_time() -> None:
    rates = Rates[str]()
    rates.update("eth0", 10.0, (0,))
    assert rates.update("eth0", 20.0, (100,)) == [10.0]


def test_forgotten_key_begins_anew() -> None:
    rates = Rates[str]()
    rates.update("eth0", 10.0, (0,))
    assert "eth0" in rates
    rates.keep([])
    assert "eth0" not in rates
    assert rates.update("eth0", 11.0, (100,)) is None


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 2**63)), max_size=20))
def test_rates_are_never_negative(readings: list[tuple[float, int]]) -> None:
    rates = Rates[str]()
    for now, value in readings:
        found = rates.update("key", now, (value,))
        assert found is None or found[0] >= 0
