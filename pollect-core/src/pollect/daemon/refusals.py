"""Every mistake that a constructor finds in its section, although it stops at the first.

What it refuses is put back to its default, in a copy of the section, and the constructor runs
again: constructors do no I/O, and nothing that this makes is used.
"""

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from pollect.config.declared import fields_of, struct_type
from pollect.config.words import meaning
from pollect.errors import ConfigError, InvalidConfig
from pollect.plugin import is_default

#: Calls of one constructor; one that refuses everything ends here.
MOST_CALLS = 100
#: For a required option without a default, by the end of its name or what it means.
STAND_INS = (("url", "http://localhost/"), ("a host", "localhost"))
_TOKEN = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_Path = Sequence[str | int]


class Refusals(NamedTuple):
    """What is wrong with a section, and what it is without that."""

    problems: list[ConfigError]
    #: What the constructor made in the end, None if it made nothing.
    rest: object
    #: Options that are not as the config has them in `rest`.
    put_back: tuple[str, ...]


def all_refusals(
    build: Callable[[Any], object],
    config: msgspec.Struct,
    first: ConfigError,
    wrong: Iterable[str] = (),
) -> Refusals:
    """Return `first`, which building a section of this config raised, and what it hides.

    A mistake of an option that was put back, or that the config does not even name, is left out:
    it may be about what is no longer there. `wrong` are options that were put back before.
    """
    search = _Search(build, config, wrong)
    problems = search.run(first)
    return Refusals(problems, search.built, tuple(search.put_back))


class _Stays(Exception):
    """An option cannot be put back."""


class _Search:
    def __init__(
        self, build: Callable[[Any], object], config: msgspec.Struct, wrong: Iterable[str]
    ) -> None:
        self._build = build
        self._config = self._original_config = config
        self._calls = 0
        #: What the latest call made, None if it raised.
        self.built: object = None
        self._written = [
            field.encode_name
            for field in msgspec.structs.fields(config)
            if field.required or not is_default(field, config)
        ]
        #: Options that were put back.
        self.put_back: list[str] = list(wrong)
        #: Path of a list -> where those of its items stood that are left.
        self._positions: dict[str, list[int]] = {}

    def run(self, first: ConfigError) -> list[ConfigError]:
        refused = list(_each(first))
        found = [error for error in refused if not self._is_doubtful(error)]
        while refused:
            for error in refused:
                if not (self._put_back_around(error.key) or self._put_back_the_cause(error)):
                    return found
            refused = self._refused()
            known = {(error.key, error.problem) for error in found}
            fresh = [error for error in refused if not self._is_doubtful(error)]
            found = found + [error for error in fresh if (error.key, error.problem) not in known]
        return found

    def _refused(self) -> list[ConfigError]:
        """Return what the constructor refuses now."""
        self._calls += 1
        if self._calls > MOST_CALLS:
            return []
        self.built = None
        try:
            self.built = self._build(self._config)
        except ConfigError as error:
            return [self._original(each) for each in _each(error)]
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - code of a plugin, with options it never had
            return []
        return []

    def _put_back(self, key: str) -> bool:
        """Put an option back to its default; return whether there was something to put back."""
        try:
            self._config = self._without(self._config, _parse(key), "")
        except (_Stays, ConfigError, ValueError):  # the latter from a check of the section itself
            return False
        self.put_back.append(key)
        return True

    def _put_back_around(self, key: str) -> bool:
        """Put an option back, or else the smallest part of the section that it is in."""
        path = _parse(key)
        return any(
            self._put_back(functools.reduce(_join, path[:length], ""))
            for length in range(len(path), 0, -1)
        )

    def _put_back_the_cause(self, error: ConfigError) -> bool:
        """Put back the option because of which another one, that is not there, is missed."""
        for option in self._written:
            before = self._config, list(self.put_back)
            if option == "type" or not self._put_back(option):
                continue
            refused = self._refused()
            if not any(
                each.problem == error.problem or self._is_doubtful(each) for each in refused
            ):
                return True
            self._config, self.put_back = before
        return False

    def _is_doubtful(self, error: ConfigError) -> bool:
        """Whether a mistake may be about something that was put back."""
        key, told = error.key, f"{error.problem} {error.hint}"
        # As in "expected at most `timeout`, 10 seconds".
        if any(re.search(rf"`{re.escape(reset)}\b", told) for reset in self.put_back):
            return True
        if any(_is_within(key, reset) or _is_within(reset, key) for reset in self.put_back):
            return True
        if self._is_written(key):
            return False
        # It may be missed because of another option beside it.
        beside = key.rpartition(".")[0]
        return any(not beside or _is_within(reset, beside) for reset in self.put_back)

    def _is_written(self, key: str) -> bool:
        """Whether the config names an option, as far as a default tells."""
        value: Any = self._original_config
        for token in _parse(key):
            if isinstance(value, msgspec.Struct):
                fields = {field.encode_name: field for field in msgspec.structs.fields(value)}
                field = fields.get(str(token))
                if field is None or (not field.required and is_default(field, value)):
                    return False
                value = getattr(value, field.name)
            elif isinstance(value, tuple | list) and isinstance(token, int):
                if token >= len(value):
                    return False
                value = value[token]
            else:  # an entry of a mapping, or a text that stands for a list
                return True
        return True

    def _without(self, value: Any, path: _Path, where: str) -> Any:
        """Return a value without what stands at `path` in it; raises `_Stays`."""
        token, rest = path[0], path[1:]
        if isinstance(value, msgspec.Struct):
            return self._struct_without(value, str(token), rest, where)
        inner = _join(where, token)
        if isinstance(value, tuple | list) and isinstance(token, int):
            positions = self._positions.setdefault(where, list(range(len(value))))
            if token not in positions:
                raise _Stays
            index = positions.index(token)
            items = list(value)
            try:
                if not rest:
                    raise _Stays
                items[index] = self._without(items[index], rest, inner)
            except _Stays:
                del items[index], positions[index]
            return type(value)(items)
        if isinstance(value, Mapping) and token in value:
            return {name: item for name, item in value.items() if name != token}
        raise _Stays

    def _struct_without(self, value: msgspec.Struct, name: str, rest: _Path, where: str) -> Any:
        field = next(
            (each for each in fields_of(struct_type(type(value))) if each.encode_name == name), None
        )
        if field is None:
            raise _Stays
        current = getattr(value, field.name)
        if rest:
            try:
                inner = self._without(current, rest, _join(where, name))
            except _Stays:
                pass
            else:
                return msgspec.structs.replace(value, **{field.name: inner})
        default = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        if default is msgspec.NODEFAULT:
            default = next(
                (
                    stand_in
                    for sign, stand_in in STAND_INS
                    if name.lower().endswith(sign) or meaning(field.type) == sign
                ),
                current,
            )
        if default == current:
            raise _Stays
        return msgspec.structs.replace(value, **{field.name: default})

    def _original(self, error: ConfigError) -> ConfigError:
        """Return a mistake with the place where it stands in the file."""
        key = ""
        for token in _parse(error.key) if error.key else ():
            position = token
            if isinstance(token, int) and token < len(self._positions.get(key, ())):
                position = self._positions[key][token]
            key = _join(key, position)
        found = ConfigError(error.problem, key=key, hint=error.hint)
        found.__cause__ = error.__cause__
        return found


def _each(error: ConfigError) -> Iterator[ConfigError]:
    yield from error.problems if isinstance(error, InvalidConfig) else (error,)


def _parse(key: str) -> list[str | int]:
    """Return the parts of `apps[1].package`; an empty key has one that names nothing."""
    return [match[1] or int(match[2]) for match in _TOKEN.finditer(key)] or [""]


def _join(path: str, token: str | int) -> str:
    if isinstance(token, int):
        return f"{path}[{token}]"
    return f"{path}.{token}" if path else token


def _is_within(key: str, other: str) -> bool:
    return key == other or key.startswith((f"{other}.", f"{other}["))
