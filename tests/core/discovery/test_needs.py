"""What a config names, and which of it does not fit together."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollect.discovery.needs import Named, Unit, find_conflict, merge_lines, named_types


def test_types_are_found_wherever_a_config_may_name_them() -> None:
    data = {
        "writer": {"type": "A"},
        "writers": [{"type": "B"}],
        "executors": [
            {"sources": [{"type": "C"}, {"type": "${D}"}], "writer": {"type": "E"}},
            {"writers": [{"type": "F"}]},
        ],
    }
    assert list(named_types(data, lambda text: text.replace("${D}", "D"))) == [
        Named("writer", "B", "writers[0].type"),
        Named("writer", "A", "writer.type"),
        Named("source", "C", "executors[0].sources[0].type"),
        Named("source", "D", "executors[0].sources[1].type"),
        Named("writer", "E", "executors[0].writer.type"),
        Named("writer", "F", "executors[1].writers[0].type"),
    ]


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "text",
        {},
        {"executors": {"sources": []}},
        {"executors": [None, {"sources": "x"}, {"sources": [1, {"type": 2}]}], "writers": "x"},
    ],
)
def test_config_with_mistakes_names_what_it_can(data: object) -> None:
    assert list(named_types(data)) == []


def test_extras_of_one_distribution_share_a_line() -> None:
    units = [
        Unit("pollect-home", "modbus", "2.3.4", ("Sma",)),
        Unit("pollect-home", "fritz", "2.3.4", ("Fritz",)),
        Unit("pollect-home", "", "2.3.4", ("Evcc",)),
        Unit("pollect-far", "", "", ("Tide",)),
    ]
    assert merge_lines(units) == ["pollect-home[fritz,modbus]>=2.3", "pollect-far>=2.0"]


@given(
    number=st.integers(2, 40),
    culprits=st.sets(st.integers(0, 39), min_size=1, max_size=4),
)
def test_smallest_group_that_does_not_fit_is_found(number: int, culprits: set[int]) -> None:
    wanted = {culprit % number for culprit in culprits}
    asked = []

    def fits(parts: Sequence[int]) -> bool:
        asked.append(parts)
        return not wanted <= set(parts)

    assert set(find_conflict(range(number), fits)) == wanted
    assert len(asked) <= len(wanted) * (number.bit_length() + 2) + 1
