"""Cleaning of samples: a bad value costs only itself."""

import itertools
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from pollect.api import Metric, MetricFilter, Sample
from pollect.engine.samples import Normalizer

PLAIN = Metric("plain", help="Without labels.")
LABELLED = Metric("labelled", help="With one label.", labels=("id",))


def clean(value: Any, wanted: MetricFilter | None = None) -> list[Sample]:
    normalizer = Normalizer((PLAIN, LABELLED), wanted or MetricFilter(), logging.getLogger("test"))
    return normalizer.clean(value)


@pytest.mark.parametrize(
    "number", [float("nan"), float("inf"), -float("inf"), 10**400, "text", None, []]
)
def test_value_that_is_no_measurement_is_left_out_and_said_once(number: Any, caplog) -> None:
    normalizer = Normalizer((PLAIN,), MetricFilter(), logging.getLogger("test"))
    for _ in range(3):
        assert normalizer.clean([PLAIN.sample(1.0), PLAIN.sample(number)]) == [PLAIN.sample(1.0)]
    assert len(caplog.records) == 1


@pytest.mark.parametrize(("given", "expected"), [(True, 1.0), ("5", 5.0), (7, 7), (2.5, 2.5)])
def test_numbers_in_other_clothes_are_numbers(given: Any, expected: float) -> None:
    [sample] = clean([PLAIN.sample(given)])
    assert sample.value == expected
    assert type(sample.value) in (int, float)


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 2**70])
def test_integer_beyond_64_bits_becomes_a_float_which_every_backend_takes(number: int) -> None:
    [sample] = clean([PLAIN.sample(number)])
    assert (type(sample.value), sample.value) == (float, float(number))
    for kept in (2**64 - 1, -(2**63)):
        assert clean([PLAIN.sample(kept)]) == [PLAIN.sample(kept)]


@pytest.mark.parametrize(
    ("label", "text"), [(0, "0"), (True, "true"), (False, "false"), (None, ""), (1.5, "1.5")]
)
def test_label_values_become_text(label: Any, text: str) -> None:
    assert clean([LABELLED.sample(1.0, label)]) == [LABELLED.sample(1.0, text)]


def test_wrong_number_of_label_values_is_left_out() -> None:
    assert clean([LABELLED.sample(1.0), LABELLED.sample(1.0, "a", "b")]) == []


def test_mapping_uses_the_declared_metric_and_makes_up_the_others() -> None:
    first, second = clean({"plain": 1, "made.up": 2})
    assert first.metric is PLAIN
    assert second.metric.name == "made.up"


def test_filter_keeps_included_names_that_are_not_excluded() -> None:
    wanted = MetricFilter(include=("total_*", "up"), exclude=("*_bytes",))
    names = {"total_bytes": 1, "total_packets": 2, "up": 1, "down": 0}
    assert [s.metric.name for s in clean(names, wanted)] == ["total_packets", "up"]


def test_text_instead_of_values_is_a_mistake_of_the_source() -> None:
    with pytest.raises(TypeError, match=r"probe\(\) returned str; expected samples"):
        clean("abc")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("caf\udce9", "caf\ufffd"),
        ("\ud800", "\ufffd"),
        ("a\udc80\udc81b\ud83dc", "a\ufffdb\ufffdc"),
        ("Küche ☃ 😀", "Küche ☃ 😀"),
        ("a\tb\0", "a\tb\0"),
    ],
)
def test_label_values_are_valid_unicode_and_cost_nothing_else(given: str, expected: str) -> None:
    others = [LABELLED.sample(7, "ä"), PLAIN.sample(1)]
    cleaned = clean([LABELLED.sample(3, given), *others])
    assert cleaned == [LABELLED.sample(3, expected), *others]
    assert type(cleaned[1].value) is int
    for sample in cleaned:
        "".join(sample.label_values).encode()


def texts(normalizer: Normalizer, *labels: str) -> list[str]:
    samples = normalizer.clean([LABELLED.sample(1, label) for label in labels])
    return [label for sample in samples for label in sample.label_values]


def test_label_values_that_differ_in_what_is_no_text_stay_two_series() -> None:
    normalizer = Normalizer((), MetricFilter(), logging.getLogger("test"))
    given = ["caf\udce9", "caf\udce8", "caf\udce8\udcff", "caf\ud83d", "caf\ufffd", "caf\udce9"]
    expected = ["caf\ufffd", "caf\ufffd_e8", "caf\ufffd_e8ff", "caf\ufffd_d83d", "caf\ufffd_2"]
    assert texts(normalizer, *given) == [*expected, "caf\ufffd"]
    # What became of a text does not depend on the order in which later probes find them.
    assert texts(normalizer, *given[4::-1]) == expected[::-1]


def test_text_that_really_has_the_replacement_character_keeps_it() -> None:
    normalizer = Normalizer((), MetricFilter(), logging.getLogger("test"))
    assert texts(normalizer, "a\ufffd", "a\udce9") == ["a\ufffd", "a\ufffd_e9"]


def test_names_of_values_that_differ_in_what_is_no_text_stay_two() -> None:
    found = clean(dict.fromkeys(("caf\udce9", "caf\udce8"), 1))
    assert [sample.metric.name for sample in found] == ["caf\ufffd", "caf\ufffd_e8"]


def test_label_names_that_differ_in_what_is_no_text_stay_two() -> None:
    assert Metric("x", labels=("a\udce9", "a\udce8")).labels == ("a\ufffd", "a\ufffd_1")


def test_names_that_a_device_chose_are_valid_unicode() -> None:
    metric = Metric("caf\udce9", help="\udce9", unit="\udce9", labels=("\udce9",))
    assert (metric.name, metric.help, metric.unit, metric.labels) == (
        "caf\ufffd",
        "\ufffd",
        "\ufffd",
        ("\ufffd",),
    )
    assert clean({"caf\udce9": 1})[0].metric.name == "caf\ufffd"


def test_two_values_of_one_series_are_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    normalizer = Normalizer((), MetricFilter(), logging.getLogger("test"))
    twins = [LABELLED.sample(1.0, "a"), LABELLED.sample(2.0, "b"), LABELLED.sample(3.0, "a")]
    assert normalizer.clean(twins) == twins
    assert normalizer.clean([*twins, PLAIN.sample(1.0)])
    assert caplog.messages == [
        "value labelled is reported twice with id='a': only the last one counts"
    ]


def test_iterator_without_an_end_is_cut_closed_and_named_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    normalizer = Normalizer((), MetricFilter(), logging.getLogger("test"), max_series=100)
    closed = 0

    def endless() -> Iterator[Sample]:
        nonlocal closed
        try:
            for number in itertools.count():
                yield LABELLED.sample(number, str(number))
        finally:
            closed += 1

    for probe in range(1, 3):
        assert len(normalizer.clean(endless())) == 100
        assert closed == probe
        assert normalizer.limit.dropped >= probe * 10_000
    ends = [text for text in caplog.messages if "still yields values" in text]
    assert ends == ["its probe still yields values after 10400 of them: the rest is left out"]


def test_iterator_of_nothing_that_is_wanted_ends_as_well() -> None:
    normalizer = Normalizer(
        (), MetricFilter(include=("other",)), logging.getLogger("test"), max_series=100
    )
    assert normalizer.clean(itertools.repeat(PLAIN.sample(1))) == []


def test_history_of_one_series_is_no_twin(caplog: pytest.LogCaptureFixture) -> None:
    normalizer = Normalizer((), MetricFilter(), logging.getLogger("test"))
    normalizer.clean([LABELLED.sample(1.0, "a")._replace(time=float(t)) for t in range(3)])
    assert not caplog.messages
