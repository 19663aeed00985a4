"""JSON as plain data with the place of every key and list item."""

import json
import re
from typing import Any

from pollect.config.document import DEEPEST, Document, Place, Reader, join_path
from pollect.errors import ConfigError

_SYMBOL = re.compile(r'[ \t\r\n]*([{}\[\],:]|"(?:[^"\\]|\\.)*"|[^\s{}\[\],:"]+)')


class JsonReader(Reader):
    """Reads JSON twice: the standard library judges the syntax, then places are noted."""

    def read(self) -> Document:
        try:
            json.loads(self._text)
        except json.JSONDecodeError as error:
            problem = f"is not valid JSON: {error.msg[:1].lower()}{error.msg[1:]}"
            raise self._error(problem, Place(error.lineno, error.colno)) from error
        except ValueError as error:
            raise ConfigError("contains a number with too many digits", file=self._file) from error
        except RecursionError as error:
            raise self._too_deep() from error
        self._symbols = _SYMBOL.finditer(self._text)
        self._line, self._line_start = 1, 0
        self._advance()
        return self._document(self._value("", 0))

    def _advance(self) -> None:
        match = next(self._symbols, None)
        if match is None:  # the text ends after its one value
            return
        before = self._text.count("\n", match.start(), match.start(1))
        if before:
            self._line += before
            self._line_start = self._text.rfind("\n", 0, match.start(1)) + 1
        self._symbol = match[1]
        self._place = Place(self._line, match.start(1) - self._line_start + 1)

    def _value(self, path: str, depth: int) -> Any:
        symbol = self._symbol
        self._advance()
        if symbol in "{[":
            if depth >= DEEPEST:
                raise self._too_deep()
            read = self._mapping if symbol == "{" else self._list
            return read(path, depth + 1)
        value = json.loads(symbol)
        self._note_scalar(path, value, symbol)
        return value

    def _mapping(self, path: str, depth: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        while self._symbol != "}":
            key = json.loads(self._symbol)
            inner = join_path(path, key)
            self._note_key(inner, self._place, repeated=key in data)
            self._advance()
            self._advance()
            data[key] = self._value(inner, depth)
            self._skip_comma()
        self._advance()
        return data

    def _list(self, path: str, depth: int) -> list[Any]:
        data: list[Any] = []
        while self._symbol != "]":
            inner = join_path(path, len(data))
            self._places[inner] = self._place
            data.append(self._value(inner, depth))
            self._skip_comma()
        self._advance()
        return data

    def _skip_comma(self) -> None:
        if self._symbol == ",":
            self._advance()
