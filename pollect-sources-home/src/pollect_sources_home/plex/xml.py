"""XML of a Plex server, read with care: no document type, and no tree where a count will do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree

from pollect.api import BadResponse

ROOT = "MediaContainer"
Attributes = Mapping[str, str]


@dataclass
class Listing:
    """The attributes of a container, and what its children say about themselves, added up."""

    attributes: Attributes = field(default_factory=dict)
    #: The `type` of the children, of the last one if they differ.
    child_type: str = ""
    #: Sums over the children.
    leaves: int = 0
    children: int = 0


class _Refused(Exception):
    pass


class _TreeBuilder(ElementTree.TreeBuilder):
    """Builds the tree of a document that declares no type: entities may grow without end."""

    def doctype(self, name: str, public_id: str | None, system: str | None) -> None:
        raise _Refused("a document type is declared")


class _ListingBuilder:
    """Adds up the children of the root while they pass by."""

    def __init__(self) -> None:
        self._listing = Listing()
        self._depth = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        listing = self._listing
        if self._depth == 1:
            if tag != ROOT:
                raise _Refused(f"expected {ROOT}, got {tag:.40}")
            listing.attributes = attributes
        elif self._depth == 2:
            listing.child_type = attributes.get("type", "")
            listing.leaves += counted(attributes, "leafCount") or 0
            listing.children += counted(attributes, "childCount") or 0

    def end(self, tag: str) -> None:
        self._depth -= 1

    def data(self, text: str) -> None:
        pass

    def doctype(self, name: str, public_id: str | None, system: str | None) -> None:
        raise _Refused("a document type is declared")

    def close(self) -> Listing:
        return self._listing


def parse_tree(body: bytes, where: str) -> ElementTree.Element:
    """Return the root of a small document; raises `BadResponse` naming `where`."""
    root: ElementTree.Element = _parse(body, _TreeBuilder(), where)
    if root.tag != ROOT:
        raise BadResponse(f"{where}: expected XML of Plex: expected {ROOT}, got {root.tag:.40}")
    return root


def parse_listing(body: bytes, where: str) -> Listing:
    """Return what a listing of any size adds up to; raises `BadResponse` naming `where`."""
    listing: Listing = _parse(body, _ListingBuilder(), where)
    return listing


def whole_number(text: str | None) -> int | None:
    """Return a text of digits as a number, None for anything else."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else None


def counted(attributes: Attributes, name: str) -> int | None:
    """Return the number in an attribute, None if the attribute is absent.

    Raises `ValueError` for what is not a whole number.
    """
    text = attributes.get(name)
    number = whole_number(text)
    if text and number is None:
        raise ValueError(f"expected a number as {name}, got {text!r:.40}")
    return number


def _parse(body: bytes, target: object, where: str):  # type: ignore[no-untyped-def]
    # Entities of a document come with a declared type only, and that is refused.
    parser = ElementTree.XMLParser(target=target)  # noqa: S314
    try:
        parser.feed(body)
        return parser.close()
    except (ElementTree.ParseError, _Refused, ValueError, LookupError) as error:
        raise BadResponse(f"{where}: expected XML of Plex: {error}") from error
