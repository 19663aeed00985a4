"""One section of the config: plain data -> the typed config of its plugin, mistakes collected.

More forgiving than `msgspec.convert`, as a file for people should be: numbers and booleans may be
written as text (variables always are), text may look like a number, one text will do for a list of
texts, and an option left empty counts as not given.
"""

import enum
import functools
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

import msgspec
from msgspec import inspect
from msgspec.inspect import Metadata, NoneType, StructType, Type, UnionType

from pollect.config.document import join_path, scalar_text
from pollect.config.environment import Filled, Options, Unset, unset_texts
from pollect.config.problems import Problems
from pollect.config.words import (
    allowed_values,
    choices,
    describe_type,
    describe_value,
    item_types,
)
from pollect.errors import ConfigError, InvalidConfig
from pollect.plugin import Secret

ConfigT = TypeVar("ConfigT", bound=msgspec.Struct)

_TRUE = frozenset(("true", "yes", "on", "1"))
_FALSE = frozenset(("false", "no", "off", "0"))
_NUMBER_WITH_UNIT = re.compile(r"\s*[+-]?\d+(\.\d+)?\s*[a-zA-Zµ%]+\s*")

#: How alike an unknown option and a known one must be to suggest it, from 0 to 1.
_LIKENESS = 0.6


class _Wrong(enum.Enum):
    """What a conversion returns after it reported a mistake, or found none of its kinds fit."""

    WRONG = enum.auto()


WRONG: Final = _Wrong.WRONG


def convert_section(
    config_type: type[ConfigT], section: Mapping[str, Any], *, strict: bool = False
) -> ConfigT:
    """Return a section, made by a program instead of a file, as `config_type`.

    Raises `InvalidConfig` with every mistake; `strict` counts unknown options as such.
    """
    problems = Problems()
    config = SectionReader(problems).read(config_type, section, "")
    found = problems.all() if strict else problems.errors
    if config is None or found:
        raise InvalidConfig(found)
    return config


class SectionReader:
    """Converts sections of one config, and reports what is wrong with them."""

    def __init__(self, problems: Problems, texts: Mapping[str, str] | None = None) -> None:
        """`texts`: numbers and booleans as the file writes them, see `Document.texts`."""
        self._problems = problems
        self._texts = texts or {}

    def read(
        self,
        config_type: type[ConfigT],
        section: Mapping[str, Any],
        path: str,
        *,
        also_known: Collection[str] = (),
    ) -> ConfigT | None:
        """Return the section as `config_type`, or None after reporting its mistakes.

        `also_known` are options of the section that somebody else reads.
        """
        config = self._struct(_struct_type(config_type), section, path, also_known)
        # `_struct` builds exactly the class it is given.
        return None if config is WRONG else cast(ConfigT, config)

    def _struct(
        self, kind: StructType, section: Mapping[Any, Any], path: str, also_known: Collection[str]
    ) -> Any:
        keeps_unknown = getattr(kind.cls, "keep_unknown", False)
        fields = {
            field.encode_name: field
            for field in kind.fields
            if not (keeps_unknown and field.name == "options")
        }
        values: dict[str, Any] = {}
        complete = True
        for name, field in fields.items():
            value = section.get(name)
            if value is None and not (name in section and _allows_none(field.type)):
                if field.required:
                    complete = False
                    self._refuse(join_path(path, name), "required option missing", _help(field))
                continue
            converted = self._value(field.type, value, join_path(path, name))
            if converted is WRONG:
                complete = False
            else:
                values[field.name] = converted

        rest = {
            key: value
            for key, value in section.items()
            if key not in fields and key not in also_known and key != kind.tag_field
        }
        if keeps_unknown:
            values["options"] = Options(rest, path)
        for key, value in rest.items():
            self._warn_unread(key, value, path, () if keeps_unknown else (*fields, *also_known))
        return self._build(kind.cls, values, path) if complete else WRONG

    def _build(self, struct: type[msgspec.Struct], values: Mapping[str, Any], path: str) -> Any:
        try:
            return struct(**values)
        except ConfigError as error:
            self._problems.refuse(path, error)
        except ValueError as error:  # what msgspec takes from `__post_init__`
            self._refuse(path, str(error))
        return WRONG

    def _warn_unread(self, key: Any, value: Any, path: str, known: Sequence[str]) -> None:
        inner = join_path(path, str(key))
        if known:
            hint = _suggest(str(key), known)
            self._problems.warn(inner, ConfigError("unknown option", hint=hint))
        for where, unset in unset_texts(value, inner):
            self._problems.warn(where, ConfigError(unset.problem, hint=unset.hint))

    def _value(self, kind: Type, value: Any, path: str) -> Any:
        """Return a value as `kind`, or WRONG after reporting why it cannot be."""
        if isinstance(value, Unset):
            return self._refuse(path, value.problem, value.hint)
        if value is None and _allows_none(kind):
            return None
        candidates = choices(kind)
        chosen = candidates[0] if len(candidates) == 1 else self._choose(candidates, value, path)
        if chosen is None:
            return self._no_member(kind, candidates, value, path)

        items = item_types(chosen)
        if items is not None and _is_list(value, items):
            return self._list(chosen, items, value, path)
        if isinstance(chosen, StructType) and isinstance(value, Mapping):
            return self._struct(chosen, value, path, ())
        if isinstance(chosen, inspect.DictType) and isinstance(value, Mapping):
            return self._mapping(chosen, value, path)
        if isinstance(chosen, inspect.AnyType):
            return self._anything(value, path)
        converted = self._scalar(chosen, value, path)
        return self._unexpected(chosen, value, path) if converted is WRONG else converted

    def _choose(self, candidates: Sequence[Type], value: Any, path: str) -> Type | None:
        """Return the member of a union that `value` is meant to be, None if there is none."""
        if isinstance(value, Mapping):
            fitting = [kind for kind in candidates if _takes_mapping(kind, value)]
        elif isinstance(value, list | tuple):
            fitting = [kind for kind in candidates if item_types(kind) is not None]
        else:
            exact = [kind for kind in candidates if _is_exactly(kind, value)]
            fitting = sorted(exact, key=_narrowness)
            fitting += [kind for kind in candidates if self._scalar(kind, value, path) is not WRONG]
            fitting += [
                kind
                for kind in candidates
                if (items := item_types(kind)) and _is_list(value, items)
            ]
        fitting += [kind for kind in candidates if isinstance(kind, inspect.AnyType)]
        return fitting[0] if fitting else None

    def _no_member(self, kind: Type, candidates: Sequence[Type], value: Any, path: str) -> _Wrong:
        """Report that `value` is no member of a union."""
        tagged = [choice for choice in candidates if isinstance(choice, StructType)]
        if not (tagged and isinstance(value, Mapping)):
            return self._unexpected(kind, value, path)
        tags = ", ".join(str(choice.tag) for choice in tagged)
        found = describe_value(value.get(tagged[0].tag_field))
        return self._refuse(
            join_path(path, str(tagged[0].tag_field)), f"expected one of {tags}, got {found}"
        )

    def _list(self, kind: Type, items: Sequence[Type], value: Any, path: str) -> Any:
        whole = isinstance(value, list | tuple | set | frozenset)
        values = list(value) if whole else [value]
        if isinstance(kind, inspect.TupleType):
            if len(values) != len(items):
                return self._unexpected(kind, value, path, f"a list of {len(values)}")
        else:
            items = [items[0]] * len(values)
        converted = [
            self._value(item_kind, item, join_path(path, index) if whole else path)
            for index, (item_kind, item) in enumerate(zip(items, values, strict=True))
        ]
        if any(item is WRONG for item in converted):
            return WRONG
        limits = _length_limits(kind, len(converted))
        if limits:
            return self._refuse(path, f"expected {limits} in the list, got {len(values)}")
        match kind:
            case inspect.ListType():
                return converted
            case inspect.SetType():
                return set(converted)
            case inspect.FrozenSetType():
                return frozenset(converted)
        return tuple(converted)

    def _mapping(self, kind: inspect.DictType, value: Mapping[Any, Any], path: str) -> Any:
        converted = {
            self._value(kind.key_type, key, join_path(path, str(key))): self._value(
                kind.value_type, item, join_path(path, str(key))
            )
            for key, item in value.items()
        }
        wrong = WRONG in converted or any(item is WRONG for item in converted.values())
        return WRONG if wrong else converted

    def _anything(self, value: Any, path: str) -> Any:
        unset = list(unset_texts(value, path))
        for where, text in unset:
            self._refuse(where, text.problem, text.hint)
        return WRONG if unset else _plain(value)

    def _scalar(self, kind: Type, value: Any, path: str) -> Any:
        """Return a single value as `kind`, or WRONG without a report."""
        if not isinstance(value, str | int | float):
            return WRONG
        match kind:
            case inspect.BoolType():
                return boolean(value)
            case inspect.IntType() | inspect.FloatType():
                return _number(kind, value)
            case inspect.LiteralType() | inspect.EnumType():
                return _allowed_value(kind, self._text(value, path))
            case inspect.StrType():
                text = self._text(value, path)
                return text if _fits(kind, text) else WRONG
            case inspect.CustomType(cls=cls) if cls is Secret:
                # A password that looks like a number is the digits as they were typed.
                return Secret(str(value) if isinstance(value, str) else self._written(value, path))
            case inspect.StructType() | inspect.DictType():
                return WRONG
        if item_types(kind) is not None:
            return WRONG
        raise TypeError(f"{kind} cannot be the type of an option")

    def _text(self, value: str | int | float, path: str) -> str:
        if isinstance(value, str):
            return str(value)
        written = self._written(value, path)
        # `True` is the boolean of the file format; `yes` and `off` are words.
        return written.lower() if written.lower() in ("true", "false") else written

    def _written(self, value: object, path: str) -> str:
        return self._texts.get(path, scalar_text(value))

    def _unexpected(self, kind: Type, value: Any, path: str, found: str = "") -> _Wrong:
        found = found or describe_value(value, self._texts.get(path))
        problem = f"expected {describe_type(kind)}, got {found}"
        return self._refuse(path, problem, _correction(kind, value))

    def _refuse(self, path: str, problem: str, hint: str = "") -> _Wrong:
        self._problems.refuse(path, ConfigError(problem, hint=hint))
        return WRONG


@functools.cache
def _struct_type(config_type: type[msgspec.Struct]) -> StructType:
    found = inspect.type_info(config_type)
    assert isinstance(found, StructType)  # noqa: S101 - what type_info makes of a Struct
    return found


def _allows_none(kind: Type) -> bool:
    if isinstance(kind, Metadata):
        return _allows_none(kind.type)
    if isinstance(kind, UnionType):
        return any(_allows_none(member) for member in kind.types)
    return isinstance(kind, NoneType | inspect.AnyType)


def _help(field: inspect.Field) -> str:
    kind = field.type
    schema = kind.extra_json_schema if isinstance(kind, Metadata) else None
    return str((schema or {}).get("description", "")).rstrip(".")


def _is_list(value: Any, items: Sequence[Type]) -> bool:
    """Whether `value` is a list, or a single scalar where scalars are wanted."""
    if isinstance(value, list | tuple | set | frozenset):
        return True
    one_kind = len(items) == 1 and not isinstance(value, Mapping) and value is not None
    structured = StructType | inspect.DictType
    return one_kind and not any(
        isinstance(kind, structured) or item_types(kind) for kind in choices(items[0])
    )


def _length_limits(kind: Type, length: int) -> str:
    """Return the limit of a list that `length` breaks, in words; empty if it breaks none."""
    shortest, longest = getattr(kind, "min_length", None), getattr(kind, "max_length", None)
    if shortest is not None and length < shortest:
        return f"{shortest} or more"
    return f"{longest} or fewer" if longest is not None and length > longest else ""


def _takes_mapping(kind: Type, value: Mapping[Any, Any]) -> bool:
    if isinstance(kind, StructType):
        return kind.tag_field is None or value.get(kind.tag_field) == kind.tag
    return isinstance(kind, inspect.DictType)


def _is_exactly(kind: Type, value: Any) -> bool:
    match kind:
        case inspect.BoolType():
            # A variable cannot hold a boolean; who writes the word there means one.
            return isinstance(value, bool) or (
                isinstance(value, Filled) and value.lower() in ("true", "false")
            )
        case inspect.IntType():
            return isinstance(value, int) and not isinstance(value, bool)
        case inspect.FloatType():
            return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(kind, inspect.StrType) and isinstance(value, str)


def _narrowness(kind: Type) -> int:
    """Rank the members of a union that may all be exactly right; the lowest wins."""
    order = (inspect.BoolType, inspect.IntType, inspect.FloatType)
    return order.index(type(kind)) if type(kind) in order else len(order)


def boolean(value: str | int | float) -> Any:
    """Return the boolean that `value` is or says, or WRONG."""
    word = str(value).strip().lower()
    if word in _TRUE:
        return True
    return False if word in _FALSE else WRONG


def _number(kind: inspect.IntType | inspect.FloatType, value: str | int | float) -> Any:
    if isinstance(value, bool):
        return WRONG
    try:
        number = float(value)
        if isinstance(kind, inspect.IntType):
            number = _whole(value)
    except (ValueError, OverflowError):
        return WRONG
    within = (
        (kind.gt is None or number > kind.gt)
        and (kind.ge is None or number >= kind.ge)
        and (kind.lt is None or number < kind.lt)
        and (kind.le is None or number <= kind.le)
    )
    return number if within and math.isfinite(number) else WRONG


def _whole(value: str | int | float) -> int:
    """Return the integer that `value` is or says; raises `ValueError` for `1.5`."""
    if isinstance(value, str) and "." not in value:
        return int(value)
    whole = int(float(value)) if not isinstance(value, int) else value
    if whole != float(value):
        raise ValueError(value)
    return whole


def _allowed_value(kind: Type, text: str) -> Any:
    for allowed in allowed_values(kind):
        if str(allowed) == text:
            return kind.cls(allowed) if isinstance(kind, inspect.EnumType) else allowed
    return WRONG


def _fits(kind: inspect.StrType, text: str) -> bool:
    return (
        len(text) >= (kind.min_length or 0)
        and (kind.max_length is None or len(text) <= kind.max_length)
        and (kind.pattern is None or re.search(kind.pattern, text) is not None)
    )


def _plain(value: Any) -> Any:
    """Return a copy of `value` without the marks on its texts."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _correction(kind: Type, value: Any) -> str:
    """Return what the writer of a wrong value probably meant, empty if that is unclear."""
    if not isinstance(value, str) or isinstance(value, Filled):
        return ""
    for choice in choices(kind):
        if isinstance(choice, inspect.IntType | inspect.FloatType) and _NUMBER_WITH_UNIT.fullmatch(
            value
        ):
            return "write the number without its unit"
        allowed = [str(word) for word in allowed_values(choice)]
        if similar := _most_similar(value, allowed):
            return f"did you mean {similar!r}?"
    return ""


def _suggest(option: str, known: Sequence[str]) -> str:
    similar = _most_similar(option, known)
    return f"did you mean {similar!r}?" if similar else f"known here: {', '.join(sorted(known))}"


def _most_similar(word: str, known: Sequence[str]) -> str | None:
    import difflib  # only a mistake costs its import

    by_letters = {_letters(candidate): candidate for candidate in known}
    found = difflib.get_close_matches(_letters(word), by_letters, n=1, cutoff=_LIKENESS)
    return by_letters[found[0]] if found else None


def _letters(word: str) -> str:
    """Return a word without what people get wrong first: case, hyphens and underscores."""
    return word.lower().replace("_", "").replace("-", "")
