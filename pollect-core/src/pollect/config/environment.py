"""`${...}` in the texts of a config.

============================  ====================================================================
`${NAME}`                     the variable; unset is a mistake
`${NAME:-text}`               the variable, or the text when it is unset or empty
`${NAME:?message}`            the variable; unset or empty is a mistake, reported with the message
`${file:/run/secrets/x}`      what the file holds, without the line break at its end; its name may
                              hold variables: `${file:${CREDENTIALS_DIRECTORY}/token}`
`$$`                          one `$`; what follows it is never substituted: `$${NAME}`
============================  ====================================================================

Everything else stays as it is written, `$NAME` and the `$` of a regular expression too. A text is
read once from left to right: what a variable or file holds is not looked at again. Keys are never
substituted.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pollect.config.document import join_path
from pollect.config.files import Unreadable, read_text
from pollect.config.templates import REPEATED, Template, split_text
from pollect.config.templates import Filled as Filled
from pollect.errors import ConfigError

_REFERENCE = re.compile(
    r"""
    \$ (?:
        (?P<dollar> \$ )
      | \{ (?P<name> [A-Za-z0-9_-]+ ) (?: : (?P<mode> [-?] ) (?P<text> [^}]* ) )? \}
      | \{ file: (?P<file> (?: \$\{ [^{}]* \} | [^}] )+ ) \}
    )
    """,
    re.VERBOSE,
)


#: What `${file:...}` takes at most; a secret or a list of names is far smaller.
LARGEST_FILE_BYTES = 1_000_000


class Unset(str):
    """Text with a `${...}` that cannot be filled in.

    A mistake only where it is read. The text itself is what the file says.
    """

    __slots__ = ("hint", "problem")
    problem: str
    hint: str


class UnsetVariable(ConfigError, KeyError):
    """An option was read that refers to something unset. A `KeyError`, as in 1.x."""


class Environment:
    """What `${...}` can refer to: variables, and files beside the config."""

    def __init__(self, variables: Mapping[str, str], directory: Path) -> None:
        self._variables = variables
        self._directory = directory

    def fill(self, text: str, keep: Collection[str] = ()) -> str:
        """Return `text` with every reference filled in.

        `${NAME}` stays for the names in `keep`. The result is a `Filled` if anything came from
        outside, an `Unset` if something is not there, and a `Template` where `keep` holds
        `REPEATED` and there is a place for a target.
        """
        if "$" not in text:
            return text
        if REPEATED in keep and ("${target" in text or "${label." in text):
            return self._fill_template(text, keep)
        origins: list[str] = []

        def replace(match: re.Match[str]) -> str:
            if match["file"]:
                origins.append(match[0])
                return self._read(_REFERENCE.sub(replace_in_name, match["file"]), match["file"])
            if match["name"] in keep and not match["mode"]:
                return match[0]
            return self._variable(match, origins)

        def replace_in_name(match: re.Match[str]) -> str:
            if match["file"]:
                raise _NotThere("the name of a file cannot come from another file")
            return self._variable(match, [])

        # Behind the last brace no reference can end, and looking for its end from each that begins
        # there would take minutes for a long text.
        end = text.rfind("}") + 1
        try:
            result = _REFERENCE.sub(replace, text[:end]) + text[end:].replace("$$", "$")
        except _NotThere as missing:
            unset = Unset(text)
            unset.problem, unset.hint = missing.problem, missing.hint
            return unset
        if not origins:
            return result
        filled = Filled(result)
        filled.origin = " and ".join(dict.fromkeys(origins))
        return filled

    def _fill_template(self, text: str, keep: Collection[str]) -> str:
        others = {name for name in keep if name != REPEATED}
        pieces = split_text(text, lambda part: self.fill(part, others), others)
        if pieces is None:
            return self.fill(text, others)
        for piece in pieces:
            if isinstance(piece, Unset):
                unset = Unset(text)
                unset.problem, unset.hint = piece.problem, piece.hint
                return unset
        template = Template(text)
        template.pieces = tuple(pieces)
        return template

    def _variable(self, match: re.Match[str], origins: list[str]) -> str:
        """Return what a reference to a variable stands for, and note where it came from."""
        if match["dollar"]:
            return "$"
        name, mode = match["name"], match["mode"]
        if mode == "-" and "${" in match["text"]:
            raise _NotThere(f"the default of ${{{name}}} cannot refer to another variable")
        value = self._variables.get(name)
        if value is None or (mode and not value):
            return _without_variable(match)
        origins.append(f"${{{name}}}")
        return value

    def _read(self, name: str, written: str) -> str:
        """Return the text of a file; a message has its name as `written` in the config."""
        try:
            text = read_text(self._directory / name, most_bytes=LARGEST_FILE_BYTES)
        except UnicodeDecodeError as error:
            raise _NotThere(f"cannot read {written}: it is not UTF-8 text") from error
        except Unreadable as error:
            raise _NotThere(f"cannot read {written}: {error}") from error
        return text.rstrip("\r\n")


class _NotThere(Exception):
    def __init__(self, problem: str, hint: str = "") -> None:
        self.problem = problem
        self.hint = hint


def _without_variable(match: re.Match[str]) -> str:
    name, mode, text = match["name"], match["mode"], match["text"]
    if mode == "-":
        return str(text)
    if mode == "?" and text:
        raise _NotThere(f"variable {name} is not set: {text}")
    raise _NotThere(f"variable {name} is not set", f"set it, or write ${{{name}:-default}}")


Placeholders = Callable[[str, Mapping[Any, Any]], Collection[str]]


def fill_data(data: Any, environment: Environment, placeholders: Placeholders) -> Any:
    """Return a copy of `data` with the references in all its texts filled in.

    `placeholders` gets the path and the raw content of each mapping and returns the names that
    keep their `${...}` in it.
    """

    def fill(value: Any, path: str, keep: Collection[str]) -> Any:
        if isinstance(value, str):
            return environment.fill(value, keep)
        if isinstance(value, dict):
            keep = {*keep, *placeholders(path, value)}
            return {k: fill(v, join_path(path, str(k)), keep) for k, v in value.items()}
        if isinstance(value, list):
            return [fill(item, join_path(path, i), keep) for i, item in enumerate(value)]
        return value

    return fill(data, "", ())


def unset_texts(value: Any, path: str) -> Iterator[tuple[str, Unset]]:
    """Yield every `Unset` inside `value`, with its path."""
    if isinstance(value, Unset):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from unset_texts(item, join_path(path, str(key)))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from unset_texts(item, join_path(path, index))


class Options(Mapping[str, Any]):
    """Options that no model describes, as a 1.x extension gets them.

    Read-only and compared by content. Reading one that refers to an unset variable raises
    `UnsetVariable`; one that is never read is not a mistake.
    """

    def __init__(self, data: Mapping[Any, Any], path: str = "") -> None:
        self._data = data
        self._path = path

    def __getitem__(self, key: str) -> Any:
        return self._open(self._data[key], join_path(self._path, str(key)))

    def _open(self, value: Any, path: str) -> Any:
        if isinstance(value, Unset):
            raise UnsetVariable(value.problem, key=path, hint=value.hint)
        if isinstance(value, str):
            return str(value)
        if isinstance(value, Mapping):
            return Options(value, path)
        if isinstance(value, list):
            return [self._open(item, join_path(path, i)) for i, item in enumerate(value)]
        return value

    def __contains__(self, key: object) -> bool:
        return key in self._data

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Options):
            return self._data == other._data
        return isinstance(other, Mapping) and self._data == other

    __hash__ = None  # type: ignore[assignment]  # as a dict: it holds lists

    def __repr__(self) -> str:
        return f"Options({', '.join(map(str, self._data))})"
