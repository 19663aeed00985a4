"""Config types and values in plain words, for messages and for the manual."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import inspect
from msgspec.inspect import Metadata, NoneType, Type, UnionType

from pollect.config.document import scalar_text
from pollect.config.environment import Filled
from pollect.plugin import MEANS, Secret

#: A value in a message is cut here: more of it does not help.
_LONGEST_VALUE = 60


def description(kind: Type) -> str:
    """Return the description a field was declared with, empty if it has none."""
    schema = kind.extra_json_schema if isinstance(kind, Metadata) else None
    return str((schema or {}).get("description", ""))


def meaning(kind: Type) -> str:
    """Return what a text option is (`a path`), itself or the items of its list; else empty."""
    if isinstance(kind, Metadata):
        return str((kind.extra or {}).get(MEANS, "")) or meaning(kind.type)
    parts = kind.types if isinstance(kind, UnionType) else item_types(kind) or ()
    if any(
        isinstance(part, inspect.BoolType | inspect.IntType | inspect.FloatType) for part in parts
    ):
        return ""
    return next(filter(None, map(meaning, parts)), "")


def place_problem(meant: str, text: str) -> str:
    """Return why `text` names no place, if it is meant to; empty if nothing stands against it."""
    if meant in ("a path", "a host") and "\0" in text:
        return f"expected {meant}, got text with a NUL character"
    if meant == "a path":
        try:
            Path(text).expanduser()
        except RuntimeError:
            user = text.partition("/")[0]
            return f"cannot tell the home directory that {user} stands for"
    return ""


def choices(kind: Type) -> list[Type]:
    """Return what a value may be: the members of a union other than None, or the type itself."""
    if isinstance(kind, Metadata):
        return choices(kind.type)
    if isinstance(kind, UnionType):
        return [choice for member in kind.types for choice in choices(member)]
    return [] if isinstance(kind, NoneType) else [kind]


def allows_none(kind: Type) -> bool:
    """Whether None is a value of the type, and not only a way to leave an option empty."""
    if isinstance(kind, Metadata):
        return allows_none(kind.type)
    if isinstance(kind, UnionType):
        return any(allows_none(member) for member in kind.types)
    return isinstance(kind, NoneType | inspect.AnyType)


def item_types(kind: Type) -> list[Type] | None:
    """Return the types of the items of a list, None for whatever is not a list."""
    if isinstance(kind, inspect.TupleType):
        return list(kind.item_types)
    return [kind.item_type] if isinstance(kind, inspect.CollectionType) else None


def describe_type(kind: Type, *, limits: bool = True) -> str:
    """Return what a value must be: `a number above 0`, `text or a list of texts`."""
    words = dict.fromkeys(_one(choice, limits) for choice in choices(kind))
    if "a number" in words:
        words.pop("a whole number", None)
    return " or ".join(words)


def is_secret(kind: Type) -> bool:
    """Whether values of this type must not be shown."""
    return any(
        isinstance(choice, inspect.CustomType) and choice.cls is Secret for choice in choices(kind)
    )


def describe_range(kind: Type) -> str:
    """Return the limits of a number: `above 0`, `from 1 to 65535`; empty if there are none."""
    limits = (_range(choice) for choice in choices(kind))
    return " or ".join(dict.fromkeys(limit for limit in limits if limit))


def describe_value(value: object, written: str | None = None, *, quoted: bool = False) -> str:
    """Return a wrong value as a message may show it, never what a variable or file holds.

    `written` is how the file writes a number. Text is `quoted` only where text can be right:
    elsewhere it may be a password on the wrong line.
    """
    if isinstance(value, Filled):
        return f"what {value.origin} holds"
    if value is None:
        return "nothing"
    if isinstance(value, list | tuple | set | frozenset):
        return "a list"
    if isinstance(value, Mapping):
        return "a mapping"
    if not isinstance(value, str):
        return written or scalar_text(value)
    if not quoted:
        return "text"
    return repr(value if len(value) <= _LONGEST_VALUE else value[: _LONGEST_VALUE - 3] + "...")


def _one(kind: Type, limits: bool) -> str:
    within = _range(kind) if limits else ""
    match kind:
        case inspect.IntType():
            return f"a whole number {within}".rstrip()
        case inspect.FloatType():
            return f"a number {within}".rstrip()
        case inspect.BoolType():
            return "true or false"
        case inspect.StrType(pattern=pattern, min_length=shortest):
            if pattern:
                return f"text like {pattern}"
            return "text that is not empty" if shortest else "text"
        case inspect.LiteralType() | inspect.EnumType():
            return "one of " + ", ".join(str(value) for value in allowed_values(kind))
        case inspect.StructType():
            return "a mapping"
        case inspect.DictType():
            return f"a mapping of names to {_plural(kind.value_type, limits)}"
        case inspect.AnyType():
            return "anything"
    items = item_types(kind)
    if items is None:
        return "text"
    if isinstance(kind, inspect.TupleType):
        return f"a list of {len(items)} values"
    return f"a list of {_plural(items[0], limits)}"


def allowed_values(kind: Type) -> list[Any]:
    """Return the values of a literal or an enumeration."""
    if isinstance(kind, inspect.EnumType):
        return [member.value for member in kind.cls]
    return list(kind.values) if isinstance(kind, inspect.LiteralType) else []


def _plural(kind: Type, limits: bool) -> str:
    words = describe_type(kind, limits=limits)
    for one, many in (
        ("a whole number", "whole numbers"),
        ("a number", "numbers"),
        ("a mapping", "mappings"),
        ("a list", "lists"),
        ("text", "texts"),
    ):
        if words.startswith(one):
            return many + words.removeprefix(one)
    return words


def _range(kind: Type) -> str:
    if not isinstance(kind, inspect.IntType | inspect.FloatType):
        return ""
    if kind.ge is not None and kind.le is not None:
        return f"from {kind.ge:g} to {kind.le:g}"
    limits = (
        ("above", kind.gt),
        ("of at least", kind.ge),
        ("below", kind.lt),
        ("of at most", kind.le),
    )
    found = [f"{word} {limit:g}" for word, limit in limits if limit is not None]
    return " and ".join([*found[:1], *(words.removeprefix("of ") for words in found[1:])])
