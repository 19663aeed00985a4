"""YAML as plain data with the place of every key and list item."""

from typing import Any

import yaml

from pollect.config.document import (
    Document,
    Key,
    Place,
    Reader,
    join_path,
    place_of_offset,
)
from pollect.errors import ConfigError

#: What to say for a message of the YAML library that contains the first text: the problem, and
#: a hint. Both of its loaders are covered, the one in C and the one in Python.
_YAML_MESSAGES = (
    ("cannot start any token", "a value cannot begin with this character", "put it in quotes"),
    ("undefined alias", "* names an anchor that is not there", "a text with * needs quotes"),
    ("mapping values are not", "a ':' where none can be", "check the indentation and quotes"),
    ("sequence entries are not", "a list cannot begin in this line", "begin it in the next one"),
    ("could not find expected ':'", "a key without ':'", "or a text not indented enough"),
    ("expected key", "this does not belong to the lines above", "check indentation and quotes"),
    ("<block end>", "this does not belong to the lines above", "check indentation and quotes"),
    ("expected '-'", "this does not belong to the list above", "check the indentation"),
    ("expected ',' or", "no ',' and no closing bracket", ""),
    ("end of stream", "a quote that never ends", ""),
    ("another document", "a second document begins here", "a file holds one config"),
    ("second occurrence", "an anchor of this name is there already", "give it another name"),
)
_YAML_TAG = "tag:yaml.org,2002:"


class YamlReader(Reader):
    """Composes the nodes with the YAML library and makes the data itself, to know the places."""

    def read(self) -> Document:
        #: Mapping node -> its keys before anything was merged into it; an alias visits it again.
        self._own_keys: dict[int, set[int]] = {}
        loader_type: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            self._loader = loader_type(self._text)
            try:
                root = self._loader.get_single_node()
                return self._document(None if root is None else self._value(root, "", ()))
            finally:
                self._loader.dispose()
        except yaml.reader.ReaderError as error:
            # The error knows an offset, in bytes or in characters depending on the loader.
            found = yaml.reader.Reader.NON_PRINTABLE.search(self._text)
            place = place_of_offset(self._text, found.start() if found else 0)
            raise self._error("a control character, which YAML does not allow", place) from error
        except yaml.MarkedYAMLError as error:
            raise self._explain(error) from error

    def _explain(self, error: yaml.MarkedYAMLError) -> ConfigError:
        """Say in plain words what a syntax error is, quoting nothing: it may be a password."""
        message, mark = str(error.problem), error.problem_mark or error.context_mark
        at = 0 if mark is None else mark.index
        problem, hint = next(
            ((problem, hint) for part, problem, hint in _YAML_MESSAGES if part in message),
            (message, ""),
        )
        if self._text[at : at + 1] == "\t":
            problem, hint = "a tab where YAML wants spaces", ""
        elif self._text[at - 1 : at + 1] == "${":
            problem, hint = "${...} without quotes between brackets", 'write "${NAME}"'
        elif "end of stream" in message:
            mark = error.context_mark
        elif "expected ',' or" in message and error.context_mark is not None:
            hint = f"the bracket opens in line {error.context_mark.line + 1}"
        return self._error(problem, _place_of_mark(mark), hint)

    def _value(self, node: yaml.Node, path: str, inside: tuple[int, ...]) -> Any:
        """Return the data of `node`; `inside` are the ids of the nodes it is part of."""
        if id(node) in inside:
            raise self._error("an anchor that contains itself", _place_of_mark(node.start_mark))
        tag = node.tag.removeprefix(_YAML_TAG)
        if tag == "map":
            return self._mapping(node, path, (*inside, id(node)))
        if tag == "seq":
            return self._list(node, path, (*inside, id(node)))
        return self._scalar(node, tag, path)

    def _mapping(self, node: Any, path: str, inside: tuple[int, ...]) -> dict[Key, Any]:
        own_keys = self._own_keys.setdefault(id(node), {id(key) for key, _ in node.value})
        self._loader.flatten_mapping(node)  # `<<` puts what it merges in front, to be overridden
        data: dict[Key, Any] = {}
        seen = set()
        for key_node, value_node in node.value:
            key = self._key(key_node)
            inner = join_path(path, str(key))
            self._note_key(inner, _place_of_mark(key_node.start_mark), repeated=key in seen)
            if id(key_node) in own_keys:
                seen.add(key)
            data[key] = self._value(value_node, inner, inside)
        return data

    def _key(self, node: Any) -> Key:
        value = self._scalar(node, node.tag.removeprefix(_YAML_TAG), "")
        # `on:` and `1.10:` are names to whoever wrote them; whole numbers stay what they are.
        return value if type(value) is int else str(node.value)

    def _list(self, node: Any, path: str, inside: tuple[int, ...]) -> list[Any]:
        data = []
        for index, item in enumerate(node.value):
            inner = join_path(path, index)
            self._places[inner] = _place_of_mark(item.start_mark)
            data.append(self._value(item, inner, inside))
        return data

    def _scalar(self, node: Any, tag: str, path: str) -> Any:
        place = _place_of_mark(node.start_mark)
        if not isinstance(node.value, str):
            raise self._error("a key must be plain text", place)
        match tag:
            case "null":
                return None
            case "bool" | "int" | "float":
                try:
                    value = self._loader.construct_object(node)
                except (KeyError, ValueError):  # `!!int x`, or digits that are not all there
                    return node.value
                self._note_scalar(path, value, node.value)
                return value
            # A date stays what was written: no option wants one, names and passwords may look so.
            case "str" | "timestamp" | "value":
                return node.value
        raise self._error("an unknown tag", place, "a text that begins with ! needs quotes")


def _place_of_mark(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)
