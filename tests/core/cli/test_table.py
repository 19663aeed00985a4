"""Tables for people."""

import pytest

from pollect.cli.table import columns_of, format_table
from pollect.model import SourceId
from pollect.support.names import metric_name


def test_columns_are_aligned_and_numbers_to_the_right() -> None:
    table = format_table(("NAME", "VALUE"), [("a", "1"), ("long name", "1234567")], right="VALUE")
    assert table.splitlines() == [
        "NAME         VALUE",
        "a                1",
        "long name  1234567",
    ]


def test_last_column_is_wrapped_to_the_width_of_the_terminal() -> None:
    rows = [("a", "one two three four five six seven")]
    assert format_table(("N", "MEANING"), rows, width=30).splitlines() == [
        "N  MEANING",
        "a  one two three four five six",
        "   seven",
    ]
    assert len(format_table(("N", "MEANING"), rows).splitlines()) == 2


def test_letters_of_two_columns_and_marks_of_none_are_aligned() -> None:
    rows = [("温度", "1"), ("e\u0301te", "2"), ("plain", "3")]
    assert format_table(("NAME", "N"), rows).splitlines() == [
        "NAME   N",
        "温度   1",
        "e\u0301te    2",
        "plain  3",
    ]


def test_a_long_name_leaves_room_for_what_stands_beside_it_on_a_terminal() -> None:
    rows = [("up", "a" * 200, "value 1"), ("up", "b", "value 2")]
    lines = format_table(("STATE", "SOURCE", "VALUES"), rows, width=60).splitlines()
    assert lines[1] == f"up     {'a' * 29}…  value 1"
    assert "a" * 200 in format_table(("STATE", "SOURCE", "VALUES"), rows), "whole in a pipe"


@pytest.mark.parametrize("letter", ["a", "é", "界", "e\u0301"])
def test_a_cell_of_a_megabyte_is_cut_at_once(letter: str) -> None:
    line = format_table(("A", "B"), [(letter * 1_000_000, "b")], width=40).splitlines()[1]
    assert line.endswith("…  b")
    assert 21 <= columns_of(line) <= 23


@pytest.mark.parametrize(
    ("source", "value_name", "name"),
    [
        (SourceId("house", "Http"), None, "house_Http"),
        (
            SourceId("my-house", "Process", "web"),
            "load_percent",
            "my_house_Process_web_load_percent",
        ),
        (SourceId("house", "extensions.Tide", "a!b"), "x", "house_extensions_Tide_ab_x"),
    ],
)
def test_name_is_the_one_that_prometheus_shows(
    source: SourceId, value_name: str | None, name: str
) -> None:
    assert metric_name(source, value_name) == name


def test_text_of_a_device_moves_no_cursor_and_keeps_to_its_row() -> None:
    text = format_table(("A", "B"), [("a\x1b[31m\n\x9b2J", "\u202eb\tc")])
    assert text.splitlines()[1:] == [r"a\x1b[31m\n\x9b2J  \u202eb\tc"]
