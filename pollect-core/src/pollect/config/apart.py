"""Reads a config in a process of its own: YAML takes 1 MB, and much more for a large file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from pollect.config.document import Document, Place
from pollect.forked import Task


class ConfigReading(Task):
    """Reading the config that a name means, for a process of its own."""

    def __init__(self, name: str) -> None:
        super().__init__(lambda: _read(name))

    def result(self) -> Document | None:
        """Return the config; None if it is to be read here, as everything with a mistake is."""
        answer = self.answer()
        return None if answer is None else msgspec.msgpack.decode(answer, type=_Answer).document()


class _Answer(msgspec.Struct, array_like=True):
    """A `Document` in which nothing is wrong, as one process sends it to another."""

    file: str
    data: Any
    #: Line, column and the index of an included file.
    places: dict[str, tuple[int, int, int | None]]
    texts: Mapping[str, str]
    included: list[str]

    def document(self) -> Document:
        included = [Path(file) for file in self.included]
        places = {
            path: Place(line, column, None if file is None else included[file])
            for path, (line, column, file) in self.places.items()
        }
        return Document(Path(self.file), self.data, places, self.texts, included=included)


def _read(name: str) -> bytes:
    from pollect.config.reading import find_config, read_document

    # A pipe can be read only once.
    document = read_document(find_config(name), pipes=False)
    if document.duplicates or document.problems:
        raise ValueError("mistakes are found once more where they are reported")
    included = list(document.included)
    places = {
        path: (place.line, place.column, None if place.file is None else included.index(place.file))
        for path, place in document.places.items()
    }
    return msgspec.msgpack.encode(
        _Answer(str(document.file), document.data, places, document.texts, list(map(str, included)))
    )
