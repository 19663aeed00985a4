"""One section of the config: plain data -> the typed config of its plugin, mistakes collected.

More forgiving than `msgspec.convert`, as a file for people should be: numbers and booleans may be
written as text (variables always are), text may look like a number, one text will do for a list of
texts, and an option left empty counts as not given.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar, cast

import msgspec
from msgspec import inspect
from msgspec.inspect import StructType, Type

from pollect.config.declared import fields_of, misused, struct_type
from pollect.config.document import join_path, scalar_text
from pollect.config.environment import Options, Unset, unset_texts
from pollect.config.problems import Problems
from pollect.config.scalars import WRONG, Wrong, convert_scalar, scalar_type
from pollect.config.words import (
    allows_none,
    choices,
    describe_type,
    describe_value,
    description,
    item_types,
    meaning,
    place_problem,
)
from pollect.errors import ConfigError, InvalidConfig, PluginLoadError, describe

#: Half of a surrogate pair, as JSON can have it. Bytes that are not UTF-8 are in the range that is
#: left out here: the name of a file, in a variable, may have some.
_NO_TEXT = re.compile("[\ud800-\udc7f\udd00-\udfff]")
NO_TEXT = "is not valid Unicode"

ConfigT = TypeVar("ConfigT", bound=msgspec.Struct)


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
        #: Of the latest section with mistakes: class, sound values by field, and wrong options.
        self._sound: tuple[type[msgspec.Struct], dict[str, Any], tuple[str, ...]] | None = None

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
        self._sound = None
        try:
            config = self._struct(struct_type(config_type), section, path, also_known)
        except PluginLoadError as error:
            problem = ConfigError(f"{config_type.__name__} cannot be used: {error}")
            problem.__cause__ = error
            self._problems.refuse(path, problem)
            return None
        if config is WRONG:
            return None
        problems = list(misused(config))
        for problem in problems:
            self._problems.refuse(path, problem)
        # `_struct` builds exactly the class it is given.
        return None if problems else cast(ConfigT, config)

    def sound_part(self) -> "tuple[msgspec.Struct, tuple[str, ...]] | None":
        """Return the section that was read last without its wrong options, and their names.

        None where an option is missing that is required.
        """
        if self._sound is None:
            return None
        struct, values, wrong = self._sound
        try:
            return struct(**values), wrong
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - its own check, code of a plugin, has spoken already
            return None

    def sound_rest(self, config_type: type[ConfigT], **instead: Any) -> ConfigT:
        """Return the section of this class that was read last, without its wrong options.

        `instead` has those that are required.
        """
        values = self._sound[1] if self._sound is not None else {}
        return config_type(**{**instead, **values})

    def _struct(
        self, kind: StructType, section: Mapping[Any, Any], path: str, also_known: Collection[str]
    ) -> Any:
        keeps_unknown = getattr(kind.cls, "keep_unknown", False)
        fields = {field.encode_name: field for field in fields_of(kind)}
        values: dict[str, Any] = {}
        wrong: list[str] = []
        for name, field in fields.items():
            value = section.get(name)
            if value is None and not (name in section and allows_none(field.type)):
                if field.required:
                    wrong.append(name)
                    wanted = description(field.type).partition(". ")[0].rstrip(".")
                    self._refuse(join_path(path, name), "required option missing", wanted)
                continue
            converted = self._value(field.type, value, join_path(path, name))
            if converted is WRONG:
                wrong.append(name)
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
        if not wrong:
            return self._build(kind.cls, values, path)
        # That of the outermost section is noted last.
        self._sound = kind.cls, values, tuple(wrong)
        return WRONG

    def _build(self, struct: type[msgspec.Struct], values: Mapping[str, Any], path: str) -> Any:
        try:
            return struct(**values)
        except ConfigError as error:
            self._problems.refuse(path, error)
        except ValueError as error:  # what msgspec takes from `__post_init__`
            self._refuse(path, str(error))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - `__post_init__` is code of a plugin
            failure = PluginLoadError(f"fails to check its options: {describe(error)}")
            failure.__cause__ = error
            problem = ConfigError(str(failure))
            problem.__cause__ = failure
            self._problems.refuse(path, problem)
        return WRONG

    def _warn_unread(self, key: Any, value: Any, path: str, known: Sequence[str]) -> None:
        inner = join_path(path, str(key))
        if known:
            from pollect.config.suggestions import suggest

            hint = suggest(str(key), known)
            self._problems.warn(inner, ConfigError("unknown option", hint=hint))
        for where, unset in unset_texts(value, inner):
            self._problems.warn(where, ConfigError(unset.problem, hint=unset.hint))

    def _value(self, kind: Type, value: Any, path: str) -> Any:
        """Return a value as `kind`, or WRONG after reporting why it cannot be."""
        if isinstance(value, Unset):
            return self._refuse(path, value.problem, value.hint)
        if value is None and allows_none(kind):
            return None
        if isinstance(value, int | float) and (meant := meaning(kind)):
            written = self._texts.get(path) or scalar_text(value)
            hint = f"write {written!r} in quotes if that is what it is called"
            return self._refuse(path, f"expected {meant}, got {written}", hint)
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
        converted = convert_scalar(chosen, value, self._texts.get(path))
        if converted is WRONG:
            return self._unexpected(chosen, value, path)
        if isinstance(converted, str) and not converted.isascii() and _NO_TEXT.search(converted):
            return self._refuse(path, NO_TEXT)
        if isinstance(converted, str) and ("\0" in converted or converted[:1] == "~"):
            problem = place_problem(meaning(kind), converted)
            if problem:
                return self._refuse(path, problem)
        return converted

    def _choose(self, candidates: Sequence[Type], value: Any, path: str) -> Type | None:
        """Return the member of a union that `value` is meant to be, None if there is none."""
        if isinstance(value, Mapping):
            fitting = (kind for kind in candidates if _takes_mapping(kind, value))
        elif isinstance(value, list | tuple):
            fitting = (kind for kind in candidates if item_types(kind))
        else:
            chosen = scalar_type(candidates, value, self._texts.get(path))
            if chosen is not None:
                return chosen
            fitting = (kind for kind in candidates if _is_list(value, item_types(kind)))
        anything = (kind for kind in candidates if isinstance(kind, inspect.AnyType))
        return next(fitting, None) or next(anything, None)

    def _no_member(self, kind: Type, candidates: Sequence[Type], value: Any, path: str) -> Wrong:
        """Report that `value` is not a member of a union."""
        tagged = [choice for choice in candidates if isinstance(choice, StructType)]
        if not (tagged and isinstance(value, Mapping)):
            return self._unexpected(kind, value, path)
        tags = ", ".join(str(choice.tag) for choice in tagged)
        found = describe_value(value.get(tagged[0].tag_field), quoted=True)
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

    def _unexpected(self, kind: Type, value: Any, path: str, found: str = "") -> Wrong:
        from pollect.config.suggestions import correct

        single = not all(_is_structured(choice) for choice in choices(kind))
        found = found or describe_value(value, self._texts.get(path), quoted=single)
        problem = f"expected {describe_type(kind)}, got {found}"
        return self._refuse(path, problem, correct(kind, value))

    def _refuse(self, path: str, problem: str, hint: str = "") -> Wrong:
        self._problems.refuse(path, ConfigError(problem, hint=hint))
        return WRONG


def _is_list(value: Any, items: Sequence[Type] | None) -> bool:
    """Whether `value` can be a list of `items`: one it is, or a scalar that stands for a list."""
    if items is None or value is None or isinstance(value, Mapping):
        return False
    return isinstance(value, list | tuple | set | frozenset) or takes_single(items)


def takes_single(items: Sequence[Type]) -> bool:
    """Whether a list of such items may be written as one scalar."""
    return len(items) == 1 and not any(
        _is_structured(kind) or isinstance(kind, inspect.AnyType) for kind in choices(items[0])
    )


def _is_structured(kind: Type) -> bool:
    return isinstance(kind, StructType | inspect.DictType) or item_types(kind) is not None


def _length_limits(kind: Type, length: int) -> str:
    """Return the limit of a list that `length` breaks, in words; empty if it breaks none."""
    shortest, longest = getattr(kind, "min_length", None), getattr(kind, "max_length", None)
    if shortest is not None and length < shortest:
        return f"at least {shortest}"
    return f"at most {longest}" if longest is not None and length > longest else ""


def _takes_mapping(kind: Type, value: Mapping[Any, Any]) -> bool:
    if isinstance(kind, StructType):
        return kind.tag_field is None or value.get(kind.tag_field) == kind.tag
    return isinstance(kind, inspect.DictType)


def _plain(value: Any) -> Any:
    """Return a copy of `value` without the marks on its texts."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
