"""What is shown of a source at a glance: which values, what they are called, how they read."""

import pytest

from pollect.daemon.glances import glance, telling
from pollect.engine.ring import Line, Past
from pollect.hints import Headline
from pollect.model import Kind, Metric

SENT = Metric(
    "sent", help="x", unit="bytes", kind=Kind.COUNTER, labels=("card",), headline=Headline("sent")
)


def shown(*lines: tuple[Metric, tuple[str, ...], list[float]]) -> list[tuple[str, str]]:
    """Return title and text of the glances of a source that reported these values."""
    past = Past(
        times=[100.0, 110.0],
        lines=[Line(metric, labels, values[-1], values) for metric, labels, values in lines],
    )
    return [(one.title, one.text) for one in (glance(each, past) for each in telling(past))]


def test_a_card_that_never_sent_anything_comes_last() -> None:
    idle, busy = (SENT, ("ifb0",), [0.0, 0.0]), (SENT, ("lan",), [10_240.0, 20_480.0])
    assert shown(idle, busy) == [("sent lan", "1 KiB/s"), ("sent ifb0", "0 B/s")]
    quiet = (SENT, ("lan",), [10_240.0, 10_240.0])
    assert shown(idle, quiet)[0] == ("sent lan", "0 B/s"), "it rests, and keeps its place"


def test_a_rate_that_was_zero_for_an_hour_comes_last() -> None:
    rate = Metric(
        "rate", help="x", unit="bytes_per_second", labels=("card",), headline=Headline("sent")
    )
    idle, quiet = (rate, ("ifb0",), [0.0, 0.0]), (rate, ("lan",), [7.0, 0.0])
    assert shown(idle, quiet) == [("sent lan", "0 B/s"), ("sent ifb0", "0 B/s")]


def test_a_gauge_at_zero_keeps_its_place() -> None:
    healthy = Metric("healthy", help="x", labels=("drive",), headline=True)
    assert shown((healthy, ("sda",), [0.0]), (healthy, ("sdb",), [1.0])) == [
        ("healthy sda", "0"),
        ("healthy sdb", "1"),
    ]


def test_a_counter_shows_how_far_it_is_where_that_tells_more() -> None:
    mileage = Metric(
        "driven",
        help="x",
        unit="kilometres",
        kind=Kind.COUNTER,
        headline=Headline("mileage", total=True),
    )
    assert shown((mileage, (), [54_000.0, 54_321.0])) == [("mileage", "54,321 km")]


def test_values_of_labels_have_words() -> None:
    free = Metric(
        "free", help="x", unit="bytes", labels=("disk",), headline=Headline(words={"_": "/"})
    )
    assert shown((free, ("_",), [5.0]), (free, ("_home",), [6.0])) == [
        ("free /", "5 B"),
        ("free _home", "6 B"),
    ]


@pytest.mark.parametrize(
    ("labels", "title"),
    [
        (("7", "eth0", "uplink"), "in eth0 uplink"),
        (("7", "", ""), "in 7"),
        (("7", "eth0", "eth0"), "in eth0"),
    ],
)
def test_a_row_is_called_by_its_name_once(labels: tuple[str, ...], title: str) -> None:
    octets = Metric("in", help="x", labels=("index", "interface", "alias"), headline=True)
    assert shown((octets, labels, [1.0])) == [(title, "1")]


def test_what_never_changes_is_not_shown_while_there_is_something_else() -> None:
    info = (Metric("device_info", help="x", labels=("mac",)), ("00:11",), [1.0])
    state = (Metric("state", help="x"), (), [5.0])
    assert shown(info, state) == [("state", "5")]
    assert shown(info) == [("device info 00:11", "1")]
