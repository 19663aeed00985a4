"""Tables for people."""

import pytest

from pollect.cli.table import format_table
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
