"""The options of a config class as rows of a table, for the manual and `pollect plugins show`."""

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import NODEFAULT, inspect
from msgspec.inspect import Field, StructType, Type

from pollect.config.declared import fields_of, struct_type
from pollect.config.document import scalar_text
from pollect.config.words import (
    choices,
    describe_range,
    describe_type,
    description,
    is_secret,
    item_types,
)
from pollect.plugin import Secret, SourceConfig, WriterConfig


@dataclass(frozen=True, slots=True)
class OptionRow:
    """One option, all in words."""

    #: As in the file; `registers[].scale` and `byName.*.scale` are options of the items.
    name: str
    type: str
    #: Empty if there is none, or nothing to show.
    default: str
    required: bool
    #: `above 0`, `from 1 to 65535`; empty without limits.
    range: str
    description: str
    #: Every source or writer has it.
    common: bool


def describe_options(config_type: type[msgspec.Struct]) -> list[OptionRow]:
    """Return a row for every option, nested ones below their parent, common ones at the end."""
    rows = list(_rows(struct_type(config_type), "", _common_options(config_type)))
    return sorted(rows, key=lambda row: row.common)


def _common_options(config_type: type[msgspec.Struct]) -> frozenset[str]:
    """Return the fields that a config class has as its base declares them."""
    for base in (SourceConfig, WriterConfig):
        if issubclass(config_type, base) and config_type is not base:
            declared = {field.name: field.type for field in struct_type(base).fields}
            fields = struct_type(config_type).fields
            return frozenset(
                field.name for field in fields if declared.get(field.name) == field.type
            )
    return frozenset()


def _rows(kind: StructType, prefix: str, common: frozenset[str]) -> Iterator[OptionRow]:
    for field in fields_of(kind):
        name = prefix + field.encode_name
        is_common = field.name in common
        yield OptionRow(
            name=name,
            type=_type_words(field.type),
            default=_default_words(field),
            required=field.required,
            range=describe_range(field.type),
            description=description(field.type),
            common=is_common,
        )
        for suffix, nested in _nested(field.type):
            inherited = {inner.name for inner in nested.fields} if is_common else ()
            yield from _rows(nested, name + suffix, frozenset(inherited))


def _nested(kind: Type) -> Iterator[tuple[str, StructType]]:
    """Yield the mappings with options of their own inside a type, and how to write their path."""
    for choice in choices(kind):
        if isinstance(choice, StructType):
            yield ".", choice
        elif isinstance(choice, inspect.DictType):
            yield from ((f".*{suffix}", inner) for suffix, inner in _nested(choice.value_type))
        else:
            for item in item_types(choice) or ():
                yield from ((f"[]{suffix}", inner) for suffix, inner in _nested(item))


def _type_words(kind: Type) -> str:
    if is_secret(kind):
        return "secret text"
    words = describe_type(kind, limits=False).split(" or ")
    return " or ".join(word.removeprefix("a ") for word in words)


def _default_words(field: Field) -> str:
    default: Any = field.default
    if default is NODEFAULT:
        default = None if field.default_factory is NODEFAULT else field.default_factory()
    return _words(default)


def _words(value: Any) -> str:
    if value is None or isinstance(value, Secret | dict | msgspec.Struct):
        return ""
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(_words(item) for item in value)
    if isinstance(value, enum.Enum):
        value = value.value
    return f"{value:g}" if isinstance(value, float) else scalar_text(value)
