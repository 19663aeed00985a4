"""`include:` at the top of a config: further files that add executors, sources and writers.

An included file is read as a config of its own, of which only `executors`, `writers` and `writer`
count. An executor that has nothing but `collection` and `sources` adds its sources to the executor
of that collection; any other is one more executor. Every mistake is reported with its own file.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pollect.config.document import Document, Place, join_path
from pollect.config.environment import Environment, Unset
from pollect.config.words import describe_value
from pollect.errors import ConfigError

#: What is read of a folder.
PATTERNS = ("*.yml", "*.yaml", "*.json")
#: The lists of an included file that are added to those of the config.
_LISTS = ("executors", "writers")
_WILDCARDS = frozenset("*?[")
#: The paths of what can be added, the more exact first.
_SECTIONS = (
    re.compile(r"executors\[\d+\]\.sources\[\d+\]"),
    re.compile(r"(?:executors|writers)\[\d+\]|writer(?![\w])"),
)


def add_included(document: Document, read: Callable[[Path], Document]) -> Document:
    """Return a config with what the files of its `include` add; `read` reads one of them."""
    assert document.file is not None  # noqa: S101 - it was read from there
    return _Merger(document, read).merge()


class _Merger:
    def __init__(self, document: Document, read: Callable[[Path], Document]) -> None:
        self._document = document
        self._read = read
        self._folder = (document.file or Path()).absolute().parent
        self._environment = Environment(os.environ, self._folder)
        self._data: dict[str, Any] = dict(document.data)
        self._places = dict(document.places)
        self._texts = dict(document.texts)
        self._duplicates = list(document.duplicates)
        self._problems: list[ConfigError] = []
        self._included: list[Path] = []
        #: Of the file at hand: the path of a section in it -> its path in the whole.
        self._moves: dict[str, str] = {}

    def merge(self) -> Document:
        wanted = self._data["include"]
        entries = list(enumerate(wanted)) if isinstance(wanted, list) else [(None, wanted)]
        for index, entry in entries:
            path = "include" if index is None else join_path("include", index)
            if isinstance(entry, str):
                for file in self._found(entry, path):
                    self._add_file(file)
            elif isinstance(entry, int | float):  # which an option of texts takes as one
                problem = f"expected a path, got {describe_value(entry)}"
                self._refuse(path, problem, "put the name of a file in quotes")
        return msgspec.structs.replace(
            self._document,
            data=self._data,
            places=self._places,
            texts=self._texts,
            duplicates=self._duplicates,
            problems=self._problems,
            included=self._included,
        )

    def _found(self, entry: str, path: str) -> Sequence[Path]:
        """Return the files that one entry means; one that cannot be looked for is reported."""
        try:
            return list(self._files(entry, path))
        except OSError as error:  # a name that is too long, a folder that is not ours to look into
            self._refuse(path, f"cannot look for {entry}: {error.strerror}")
        except (ValueError, RuntimeError) as error:  # a pattern like `a**`, the home of no user
            self._refuse(path, f"cannot look for {entry}: {error}")
        return ()

    def _files(self, entry: str, path: str) -> Iterator[Path]:
        """Yield the files that one entry means, in the order of their names."""
        filled = self._environment.fill(entry)
        if isinstance(filled, Unset):
            return  # reported where the options are read
        named = Path(filled).expanduser()
        if _WILDCARDS & set(filled):
            root = Path(named.anchor) if named.is_absolute() else self._folder
            pattern = str(named.relative_to(named.anchor) if named.is_absolute() else named)
            yield from sorted(filter(os.path.isfile, root.glob(pattern)))
            return
        whole = self._folder / named
        if whole.is_dir():
            found = (file for pattern in PATTERNS for file in whole.glob(pattern))
            yield from sorted(filter(os.path.isfile, found))
        elif whole.exists():
            yield whole
        else:
            hint = "a pattern such as conf.d/*.yml may match nothing"
            self._refuse(path, f"no file or folder {entry}", hint)

    def _add_file(self, file: Path) -> None:
        main = self._document.file
        if main is not None and file.resolve() == main.resolve():
            return  # `include: "*.yml"` beside the config
        if file in self._included:
            return
        self._included.append(file)
        try:
            part = self._read(file)
        except ConfigError as error:
            self._problems.append(error)
            return
        if part.data is None:
            return
        if not isinstance(part.data, dict):
            problem = f"expected a mapping, got {describe_value(part.data)}"
            self._problems.append(part.located(ConfigError(problem), ""))
            return
        self._duplicates += part.duplicates
        self._moves = {}
        for key, value in part.data.items():
            if key in _LISTS:
                self._add_list(part, key, value)
            elif key == "writer":
                self._add_items(part, "writer", [value], "writers")
            elif key != "$schema" and not str(key).startswith("x-"):
                hint = "put it in the main config" if key != "include" else "name all files there"
                problem = "an included file has only executors, writers and writer"
                self._problems.append(part.located(ConfigError(problem, hint=hint), str(key)))
        self._take_places(part)

    def _add_list(self, part: Document, key: str, value: Any) -> None:
        if value is None:
            return
        if not isinstance(value, list):
            problem = f"expected a list, got {describe_value(value)}"
            self._problems.append(part.located(ConfigError(problem), key))
            return
        if key == "writers":
            self._add_items(part, key, value, key)
            return
        for index, executor in enumerate(value):
            source = join_path(key, index)
            known = self._executor_of(executor)
            if known is None:
                self._add_items(part, source, [executor], key)
            else:
                target = join_path(join_path("executors", known), "sources")
                sources = self._data["executors"][known]["sources"]
                for number, section in enumerate(executor["sources"]):
                    where = join_path(join_path(source, "sources"), number)
                    self._moves[where] = join_path(target, len(sources))
                    sources.append(section)

    def _add_items(self, part: Document, source: str, items: list[Any], key: str) -> None:
        """Add items to a list of the config; `source` is the path of the list or the one item."""
        present = self._data.get(key)
        if present is None:
            present = []
            if source in part.places:
                self._places.setdefault(key, part.places[source]._replace(file=part.file))
        if not isinstance(present, list):
            return  # a mistake that is reported where it is
        added = [*present]
        for index, item in enumerate(items):
            where = source if len(items) == 1 and source != key else join_path(source, index)
            self._moves[where] = join_path(key, len(added))
            added.append(item)
        self._data[key] = added

    def _executor_of(self, executor: Any) -> int | None:
        """Return which executor of the config gets the sources of an included one, if any does."""
        if not isinstance(executor, Mapping) or set(executor) != {"collection", "sources"}:
            return None
        executors = self._data.get("executors")
        if not (isinstance(executors, list) and isinstance(executor["sources"], list)):
            return None
        for index, known in enumerate(executors):
            if not (isinstance(known, Mapping) and isinstance(known.get("sources"), list)):
                continue
            if known.get("collection") == executor["collection"]:
                # Anchors share sections: what is added belongs to this executor alone.
                copy = {**known, "sources": list(known["sources"])}
                self._data["executors"] = [*executors[:index], copy, *executors[index + 1 :]]
                return index
        return None

    def _take_places(self, part: Document) -> None:
        """Take over the places and spellings of what was added, for its new paths."""
        for path, place in part.places.items():
            if (moved := self._moved(path)) is not None:
                self._places[moved] = Place(place.line, place.column, part.file)
        for path, text in part.texts.items():
            if (moved := self._moved(path)) is not None:
                self._texts[moved] = text

    def _moved(self, path: str) -> str | None:
        """Return where a path of the included file is in the whole; None if it is not there."""
        for pattern in _SECTIONS:
            match = pattern.match(path)
            if match is not None and match[0] in self._moves:
                return self._moves[match[0]] + path[match.end() :]
        return None

    def _refuse(self, path: str, problem: str, hint: str = "") -> None:
        self._problems.append(self._document.located(ConfigError(problem, hint=hint), path))
