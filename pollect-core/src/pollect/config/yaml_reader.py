"""YAML as plain data with the place of every key and list item.

The library only parses. What it would make of the parts is made here, because it differs from
version to version: 6.0.4 merges `<<: [*b, *a]` wrongly, and before it the composer written in C
ended the whole process when a text was nested deeply enough.
"""

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, TypeAlias

import msgspec
import yaml

from pollect.config.document import (
    DEEPEST,
    Document,
    Key,
    Place,
    Reader,
    join_path,
    place_of_offset,
)
from pollect.config.yaml_errors import explain, is_too_deep
from pollect.errors import ConfigError

#: How many values a file may stand for once its anchors are expanded.
MOST_VALUES = 1_000_000
#: An integer of more bits is taken for a text: no option holds it, and Python may not show it.
MOST_BITS = 1024

_YAML_TAG = "tag:yaml.org,2002:"


class _Scalar(msgspec.Struct, eq=False, frozen=True):
    tag: str
    text: str
    place: Place
    values: ClassVar[int] = 1


class _List(msgspec.Struct, eq=False, frozen=True):
    items: "list[_Node]"
    #: How many values it stands for, itself included.
    values: int
    place: Place


class _Mapping(msgspec.Struct, eq=False, frozen=True):
    #: Its own keys in the order of the file; one written twice is there twice.
    own: "list[tuple[Key, Place]]"
    #: All its keys: its own, and what `<<` adds.
    keys: "dict[Key, tuple[Place, _Node]]"
    values: int
    place: Place


#: A value as it is written, before anchors are expanded.
_Node: TypeAlias = _Scalar | _List | _Mapping


class YamlReader(Reader):
    """Turns the parser's events into nodes, and these into data with its places."""

    def read(self) -> Document:
        self._anchors: dict[str, _Node] = {}
        #: Anchors whose value is being read.
        self._open_anchors: dict[str, Place] = {}
        #: Keys that were copied to where `<<` wants them.
        self._merged = 0
        loader_type: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            self._loader: Any = loader_type(self._text)
            try:
                root = self._root()
                return self._document(None if root is None else self._value(root, "", 0))
            finally:
                self._loader.dispose()
        except yaml.reader.ReaderError as error:
            # The error knows an offset, in bytes or in characters depending on the parser.
            found = yaml.reader.Reader.NON_PRINTABLE.search(self._text)
            place = place_of_offset(self._text, found.start() if found else 0)
            raise self._error("a control character, which YAML does not allow", place) from error
        except yaml.MarkedYAMLError as error:
            if is_too_deep(self._text, error):
                raise self._too_deep() from error
            problem, hint, mark = explain(self._text, error)
            place = _place_of_mark(mark) if mark else Place(1, 1)
            raise self._error(problem, place, hint) from error

    def _root(self) -> _Node | None:
        """Return the one value of the file, None if it has none."""
        next_event = self._loader.get_event
        next_event()  # the stream starts
        if isinstance(next_event(), yaml.StreamEndEvent):
            return None
        root = self._node(next_event(), 0)
        next_event()  # the document ends
        following = next_event()
        if not isinstance(following, yaml.StreamEndEvent):
            place = _place_of_mark(following.start_mark)
            raise self._error("a second document starts here", place, "a file contains one config")
        return root

    def _node(self, event: Any, depth: int) -> _Node:
        """Return the value that begins with `event`."""
        place = _place_of_mark(event.start_mark)
        name = event.anchor
        if isinstance(event, yaml.AliasEvent):
            return self._anchored(name, place)
        if name is None:
            return self._new_node(event, place, depth)
        if name in self._anchors or name in self._open_anchors:
            problem = "an anchor of this name is there already"
            raise self._error(problem, place, "give it another name")
        self._open_anchors[name] = place
        node = self._anchors[name] = self._new_node(event, place, depth)
        del self._open_anchors[name]
        return node

    def _anchored(self, name: str, place: Place) -> _Node:
        if name in self._open_anchors:
            raise self._error("an anchor that contains itself", self._open_anchors[name])
        if name not in self._anchors:
            problem = "no anchor of the name after *"
            raise self._error(problem, place, "a text that starts with * needs quotes")
        return self._anchors[name]

    def _new_node(self, event: Any, place: Place, depth: int) -> _Node:
        tag: str = event.tag or "!"
        if isinstance(event, yaml.ScalarEvent):
            if tag == "!":
                tag = self._loader.resolve(yaml.ScalarNode, event.value, event.implicit)
            return _Scalar(tag.removeprefix(_YAML_TAG), event.value, place)
        if depth >= DEEPEST:
            raise self._too_deep()
        tag = tag.removeprefix(_YAML_TAG)
        if isinstance(event, yaml.SequenceStartEvent):
            items = list(self._inside(yaml.SequenceEndEvent, depth))
            node: _Node = _List(items, self._sum_of_values(items, place), place)
            known = tag in ("!", "seq")
        else:
            node = self._new_mapping(place, depth)
            known = tag in ("!", "map")
        if not known:
            raise self._unknown_tag(place)
        return node

    def _inside(self, end: type[yaml.Event], depth: int) -> Iterator[_Node]:
        while not isinstance(event := self._loader.get_event(), end):
            yield self._node(event, depth + 1)

    def _new_mapping(self, place: Place, depth: int) -> _Mapping:
        own: list[tuple[Key, Place]] = []
        values: dict[Key, tuple[Place, _Node]] = {}
        merged: list[_Mapping] = []
        parts = self._inside(yaml.MappingEndEvent, depth)
        for key_node in parts:
            value = next(parts)
            if isinstance(key_node, _Scalar) and key_node.tag == "merge":
                # As with every key written twice, the last one counts.
                merged = [*self._mappings_to_merge(value), *merged]
            else:
                key = self._key(key_node)
                own.append((key, key_node.place))
                values[key] = key_node.place, value
        keys: dict[Key, tuple[Place, _Node]] = {}
        for part in reversed(merged):  # the earlier of them wins
            self._merged = self._bounded(self._merged + len(part.keys), place)
            keys |= part.keys
        keys |= values
        nodes = (node for _, node in keys.values())
        return _Mapping(own, keys, self._sum_of_values(nodes, place), place)

    def _mappings_to_merge(self, value: _Node) -> list[_Mapping]:
        parts = value.items if isinstance(value, _List) else [value]
        found = [part for part in parts if isinstance(part, _Mapping)]
        if len(found) < len(parts):
            problem = "<< takes a mapping or a list of mappings"
            raise self._error(problem, value.place, "a key of this name needs quotes")
        return found

    def _key(self, node: _Node) -> Key:
        if not isinstance(node, _Scalar):
            raise self._error("a key must be plain text", node.place)
        # `on:` and `1.10:` are names to whoever wrote them; whole numbers stay what they are.
        value = self._scalar(node, "")
        return value if type(value) is int else node.text

    def _value(self, node: _Node, path: str, depth: int) -> Any:
        """Return the data of `node`, and note the places in it."""
        if isinstance(node, _Scalar):
            return self._scalar(node, path)
        if depth >= DEEPEST:  # anchors can nest what is flat in the file
            raise self._too_deep()
        if isinstance(node, _Mapping):
            return self._mapping(node, path, depth + 1)
        data = []
        for index, item in enumerate(node.items):
            inner = join_path(path, index)
            self._places[inner] = item.place
            data.append(self._value(item, inner, depth + 1))
        return data

    def _mapping(self, node: _Mapping, path: str, depth: int) -> dict[Key, Any]:
        own: set[Key] = set()
        for key, place in node.own:
            self._note_key(join_path(path, str(key)), place, repeated=key in own)
            own.add(key)
        data: dict[Key, Any] = {}
        for key, (place, value) in node.keys.items():
            inner = join_path(path, str(key))
            self._places[inner] = place
            data[key] = self._value(value, inner, depth)
        return data

    def _sum_of_values(self, nodes: Iterable[_Node], place: Place) -> int:
        """Return how many values a list or mapping of these stands for.

        What anchors multiply is refused here, before any of it is made.
        """
        return self._bounded(1 + sum(node.values for node in nodes), place)

    def _bounded(self, values: int, place: Place) -> int:
        if values > MOST_VALUES:
            problem = f"stands for more than {MOST_VALUES:,} values"
            raise self._error(problem, place, "anchors of anchors multiply")
        return values

    def _scalar(self, node: _Scalar, path: str) -> Any:
        match node.tag:
            case "null":
                return None
            case "bool" | "int" | "float":
                plain = yaml.ScalarNode(_YAML_TAG + node.tag, node.text)
                try:
                    value = self._loader.construct_object(plain)
                except (KeyError, ValueError):  # `!!int x`, or digits that are not all there
                    return node.text
                if isinstance(value, int) and value.bit_length() > MOST_BITS:
                    return node.text
                self._note_scalar(path, value, node.text)
                return value
            # A date stays what was written: no option wants one, names and passwords may look so.
            case "str" | "timestamp" | "value":
                return node.text
        raise self._unknown_tag(node.place)

    def _unknown_tag(self, place: Place) -> ConfigError:
        return self._error("an unknown tag", place, "a text that starts with ! needs quotes")


def _place_of_mark(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)
