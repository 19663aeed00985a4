"""A class of a plugin that lacks what a config needs of it is refused by name, for good."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from pollect.api import Metric, Source, SourceConfig, Writer
from pollect.config.lookup import TypeMemory
from pollect.errors import PluginLoadError


class Forward(SourceConfig, frozen=True, kw_only=True):
    x: "Nowhere" = None  # type: ignore[name-defined]  # noqa: F821


def raising(_: object) -> Any:
    raise SystemExit(3)


WRONG: dict[str, list[Any]] = {
    "config_type": [None, 5, dict, msgspec.Struct],
    "metrics": [None, "abc", [5], Metric("a"), iter([Metric("a")]), property(raising)],
    "probe": [None, 5, property(raising)],
    "open": [None],
    "close": ["text"],
}


def look_up(found: Any) -> Any:
    types: Any = SimpleNamespace(source_type=lambda _: found, writer_type=lambda _: found)
    memory = TypeMemory(types)
    kind = memory.writer_type if issubclass(found, Writer) else memory.source_type
    with pytest.raises(PluginLoadError) as first:
        kind("Thing")
    with pytest.raises(PluginLoadError) as second:
        kind("Thing")
    assert first.value is second.value, "looked at once"
    return str(first.value)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_a_source_with_a_wrong_part_is_refused_by_the_name_of_both(name: str, value: Any) -> None:
    text = look_up(type("ThingSource", (Source,), {"probe": lambda _: 1, name: value}))
    assert text.startswith("ThingSource: ")
    assert name in text


def test_a_writer_that_cannot_write_is_refused() -> None:
    assert "write is not a method" in look_up(type("ThingWriter", (Writer,), {"write": None}))


def test_options_that_cannot_be_understood_are_named_with_the_reason() -> None:
    text = look_up(type("ThingSource", (Source,), {"probe": lambda _: 1, "config_type": Forward}))
    assert text.startswith("Forward: its options are not declared soundly: NameError")
