"""Cleaning of samples: a bad value costs only itself."""

import enum
import itertools
import logging
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest

from pollect.api import Batch, Metric, MetricFilter, Sample, SourceId
from pollect.engine.samples import MOST_COMPLAINTS, Normalizer, cleaning
from pollect.model import LATEST_TIME

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


def test_what_a_filter_makes_of_each_source_is_searched_for_twins(
    caplog: pytest.LogCaptureFixture,
) -> None:
    filtered = cleaning(lambda batch: batch)
    twins = [LABELLED.sample(1.0, "a"), LABELLED.sample(2.0, "a")]
    for name, samples in (("a", [LABELLED.sample(1.0, "a"), PLAIN.sample(1.0)]), ("b", twins)):
        assert filtered(Batch(SourceId("c", "Filtered", name), samples, 0.0)) is not None
    [complaint] = caplog.records
    assert complaint.name == "c/Filtered/b"
    assert "is reported twice with id='a'" in complaint.message


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


class Hostile:
    """Raises from whatever Python calls on it."""

    def _raise(self, *_: object) -> Any:
        raise KeyboardInterrupt("pretended")

    __float__ = __str__ = __repr__ = __eq__ = __hash__ = __len__ = __iter__ = __bool__ = _raise


class HostileText(str):
    def _raise(self, *_: object) -> Any:
        raise RuntimeError("no")

    __str__ = __hash__ = __eq__ = isascii = _raise


class HostileNumber(float):
    def __float__(self) -> float:
        raise RuntimeError("no")


class Colour(str, enum.Enum):  # noqa: UP042 - its str() is not the text
    RED = "red"


GOOD = PLAIN.sample(1.0)
HOSTILE: Any = Hostile()


@pytest.mark.parametrize(
    "bad",
    [
        (PLAIN, 1.0, (), None),
        ("plain", 1.0),
        Hostile(),
        Sample("plain", 1.0),  # type: ignore[arg-type]
        Sample(None, 1.0),  # type: ignore[arg-type]
        Sample(HOSTILE, 1.0),
        LABELLED.sample(HOSTILE, "a"),
        LABELLED.sample(HostileNumber(1), "a"),
        LABELLED.sample(1.0, HOSTILE),
        Sample(LABELLED, 1.0, 5),  # type: ignore[arg-type]
        Sample(LABELLED, 1.0, None),  # type: ignore[arg-type]
        Sample(LABELLED, 1.0, HOSTILE),
    ],
)
def test_a_sample_that_is_none_costs_only_itself(bad: Any, caplog) -> None:
    assert clean([GOOD, bad, GOOD._replace(value=2.0)]) == [GOOD, GOOD._replace(value=2.0)]
    assert "left out" in caplog.text


@pytest.mark.parametrize(
    "time",
    [
        float("nan"),
        float("inf"),
        -1.0,
        1.7e12,
        1.7e18,
        1e300,
        10**400,
        True,
        "1700000000",
        Hostile(),
    ],
)
def test_a_sample_with_a_senseless_time_is_left_out_and_said(time: Any, caplog) -> None:
    assert clean([GOOD, PLAIN.sample(2.0, time=time)]) == [GOOD]
    assert "value plain left out" in caplog.text


@pytest.mark.parametrize("time", [0, 1_700_000_000, 1_700_000_000.5, Fraction(3, 2), LATEST_TIME])
def test_a_sample_keeps_its_own_time_as_a_float(time: Any) -> None:
    [sample] = clean([PLAIN.sample(2.0, time=time)])
    assert (type(sample.time), sample.time) == (float, float(time))


@pytest.mark.parametrize("labels", [["a"], {"a": 1}, (HostileText("a"),), "a", iter("a")])
def test_labels_in_other_clothes_are_a_tuple_of_plain_texts(labels: Any) -> None:
    [sample] = clean([Sample(LABELLED, 1.0, labels)])
    assert sample.label_values == ("a",)
    assert [type(label) for label in sample.label_values] == [str]


def test_a_member_of_an_enumeration_is_the_text_it_stands_for() -> None:
    assert clean([LABELLED.sample(1.0, Colour.RED)]) == [LABELLED.sample(1.0, "red")]
    [sample] = clean({Colour.RED: 1.0})
    assert (type(sample.metric.name), sample.metric.name) == (str, "red")


def test_a_metric_of_a_class_of_its_own_becomes_a_plain_one() -> None:
    class Own(Metric):
        def __hash__(self) -> int:
            raise RuntimeError("no")

    [sample] = clean([Sample(Own("x"), 1.0)])
    assert (type(sample.metric), sample.metric) == (Metric, Metric("x"))


def test_a_metric_of_a_class_of_its_own_that_raises_costs_only_its_value(caplog) -> None:
    class Broken(Metric):
        def __getattribute__(self, name: str) -> object:
            if name in ("name", "labels", "labelled"):
                raise RuntimeError("no")
            return super().__getattribute__(name)

    broken = object.__new__(Broken)
    assert clean([Sample(broken, 1.0), PLAIN.sample(1.0)]) == [GOOD]
    assert "its metric cannot be read: RuntimeError: no" in caplog.text


@pytest.mark.parametrize("name", [3, b"bytes", ..., ("a",), Hostile])
def test_a_name_that_is_no_text_costs_only_its_value(name: Any, caplog) -> None:
    assert clean({name: 1.0, "plain": 1.0}) == [GOOD]
    assert "expected a text as its name" in caplog.text


def test_names_made_up_without_end_are_forgotten_again(monkeypatch) -> None:
    monkeypatch.setattr("pollect.engine.samples.MOST_NAMES", 10)
    normalizer = Normalizer((PLAIN,), MetricFilter(include=("x*",)), logging.getLogger("test"))
    for number in range(100):
        assert len(normalizer.clean({f"x{number}": 1, "plain": 2})) == 1
    assert len(normalizer._made_up) <= 10
    assert len(normalizer._kept) <= 10


def test_complaints_of_ever_new_names_leave_the_log_and_the_memory_alone(caplog) -> None:
    normalizer = Normalizer((), MetricFilter(), logging.getLogger("test"))
    for number in range(3 * MOST_COMPLAINTS):
        assert normalizer.clean({f"x{number}": float("nan")}) == []
    assert len(caplog.records) == MOST_COMPLAINTS
    assert len(normalizer._complained) == MOST_COMPLAINTS


def test_a_mapping_without_end_is_cut() -> None:
    class Endless(dict[str, float]):
        def items(self) -> Any:
            return ((f"x{number}", 1.0) for number in itertools.count())

    normalizer = Normalizer((), MetricFilter(), logging.getLogger("test"), max_series=5)
    assert len(normalizer.clean(Endless(a=1))) == 5
