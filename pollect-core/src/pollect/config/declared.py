"""What a config class declares, and whether it leaves alone what it has in common with others.

A class may give a common option another default and allow less. What pollect reads itself has to
stay of its kind: a text as `labels` would fail far from here.
"""

import functools
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import inspect
from msgspec.inspect import StructType, Type

from pollect.config.words import describe_type, describe_value
from pollect.errors import ConfigError, PluginLoadError, describe
from pollect.plugin import SourceConfig, WriterConfig

#: A class may use these words for something of its own: they then say nothing to pollect.
_FREE = frozenset({"details", "max_series", "metrics", "timeout"})


@functools.cache
def struct_type(config_type: type[msgspec.Struct]) -> StructType:
    """Return what a config class declares; raises `PluginLoadError`."""
    try:
        found = inspect.type_info(config_type)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PluginLoadError(f"its options are not declared soundly: {describe(error)}") from error
    if not isinstance(found, StructType):
        raise PluginLoadError("it is not derived from SourceConfig or WriterConfig")
    return found


def fields_of(kind: StructType) -> list[inspect.Field]:
    """Return the fields that are options; the one that takes the unknown ones is not."""
    takes_rest = getattr(kind.cls, "keep_unknown", False)
    return [field for field in kind.fields if not (takes_rest and field.name == "options")]


def misused(config: msgspec.Struct) -> Iterator[ConfigError]:
    """Yield the common options that are not what they are in every other section."""
    for name, (option, kind, hint) in _declared_again(type(config)).items():
        value = getattr(config, name)
        try:
            msgspec.convert(value, hint)
        except msgspec.ValidationError:
            yield ConfigError(
                f"expected {describe_type(kind)}, got {describe_value(value)}",
                key=option,
                hint=f"{type(config).__name__} declares it differently from other sections",
            )


@functools.cache
def _declared_again(config_type: type[msgspec.Struct]) -> Mapping[str, tuple[str, Type, Any]]:
    """Return option, kind and annotation of what a class has taken from its base and changed."""
    for base in (SourceConfig, WriterConfig):
        if issubclass(config_type, base):
            common = {field.name: field for field in fields_of(struct_type(base))}
            changed = [
                field
                for field in fields_of(struct_type(config_type))
                if field.name in common.keys() - _FREE and field != common[field.name]
            ]
            hints = typing.get_type_hints(base, include_extras=True) if changed else {}
            return {
                field.name: (field.encode_name, common[field.name].type, hints[field.name])
                for field in changed
            }
    return {}
