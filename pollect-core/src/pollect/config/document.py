"""A config file as plain data, and where in the file each part of it stands.

YAML (`.yml`, `.yaml`) and JSON (`.json`) become the same dicts, lists, texts and numbers. Paths
into them are written as in messages: `executors[0].sources[2].timeout`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec

from pollect.errors import ConfigError, describe

Key: TypeAlias = str | int

#: How many mappings and lists may stand inside each other.
DEEPEST = 100


class Place(NamedTuple):
    """Where something begins in a file; line and column count from 1."""

    line: int
    column: int
    #: The file it was included from; None for the document's own.
    file: Path | None = None


class Document(msgspec.Struct, frozen=True):
    """One config file that was read."""

    #: None for data that was never in a file.
    file: Path | None
    data: Any
    #: Path -> its key in the file, or the value itself for list items.
    places: Mapping[str, Place]
    #: Path -> the number or boolean as it is written, where Python would write it differently:
    #: `0123`, `1.10`, `yes`.
    texts: Mapping[str, str]
    #: Keys written twice in one mapping; the last one counts.
    duplicates: Sequence[ConfigError] = ()
    #: What is wrong with the files that it includes.
    problems: Sequence[ConfigError] = ()
    #: The files that it includes, in their order.
    included: Sequence[Path] = ()

    def place_of(self, path: str) -> Place | None:
        """Return where `path` stands, or for something absent what it should stand in."""
        while path not in self.places:
            if not path:
                return None
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.places[path]

    def order_of(self, error: ConfigError) -> tuple[int, int, int]:
        """Return what sorts mistakes as the files have them, the document's own file first."""
        files = {file: number for number, file in enumerate(self.included, start=1)}
        number = files.get(error.file, 0) if error.file else 0
        return number, error.line or 0, error.column or 0

    def located(self, error: ConfigError, path: str) -> ConfigError:
        """Return a mistake in the part at `path` with its place in the file.

        `error.key` is relative to that part.
        """
        key = join_path(path, error.key) if error.key else path
        place = self.place_of(key)
        found = ConfigError(
            error.problem or describe(error),
            key=key,
            hint=error.hint,
            file=(place and place.file) or self.file,
            line=place.line if place else None,
            column=place.column if place else None,
        )
        found.__cause__ = error.__cause__
        return found


#: For sections that a program made.
NOWHERE = Document(None, None, {}, {})


def join_path(path: str, key: Key) -> str:
    """Return the path of an entry: `a` and `b` give `a.b`, `a` and 0 give `a[0]`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


class Reader:
    """What the readers of both formats have in common."""

    def __init__(self, file: Path, text: str) -> None:
        self._file = file
        self._text = text
        self._places = {"": Place(1, 1)}
        self._texts: dict[str, str] = {}
        self._duplicates: list[ConfigError] = []

    def _document(self, data: Any) -> Document:
        return Document(self._file, data, self._places, self._texts, self._duplicates)

    def _note_scalar(self, path: str, value: Any, written: str) -> None:
        """Remember how a value is written, if a text made of it would differ."""
        if isinstance(value, bool | int | float) and scalar_text(value) != written:
            self._texts[path] = written

    def _note_key(self, path: str, place: Place, repeated: bool) -> None:
        if repeated:
            first = self._places[path].line
            self._duplicates.append(
                ConfigError(
                    f"is defined twice, first in line {first}",
                    key=path,
                    hint="the last one counts",
                    file=self._file,
                    line=place.line,
                    column=place.column,
                )
            )
        self._places[path] = place

    def _error(self, problem: str, place: Place, hint: str = "") -> ConfigError:
        return ConfigError(
            problem, hint=hint, file=self._file, line=place.line, column=place.column
        )

    def _too_deep(self) -> ConfigError:
        return ConfigError("is nested too deeply", file=self._file)


def place_of_offset(text: str, offset: int) -> Place:
    """Return where the character of this index stands."""
    line_start = text.rfind("\n", 0, offset) + 1
    return Place(text.count("\n", 0, offset) + 1, offset - line_start + 1)


def scalar_text(value: object) -> str:
    """Return a number or boolean as text, booleans as `true` and `false`."""
    return str(value).lower() if isinstance(value, bool) else str(value)
