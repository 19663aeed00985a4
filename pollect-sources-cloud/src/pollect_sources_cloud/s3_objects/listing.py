"""Pages of ListObjectsV2, and what is counted of them. Pure."""

import fnmatch
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote_plus

from pollect.api import BadResponse


@dataclass(frozen=True)
class Page:
    """One page of a listing."""

    #: Key, size in bytes, Unix time in seconds of the last change.
    objects: list[tuple[str, int, float]]
    #: For the next page, None at the end.
    token: str | None


@dataclass
class Tally:
    """What is known of the objects below a prefix."""

    objects: int = 0
    size_bytes: int = 0
    #: Unix time in seconds, and size in bytes.
    newest: tuple[float, int] | None = None
    oldest: float | None = None

    def add(self, size: int, modified: float) -> None:
        """Count one more object."""
        self.objects += 1
        self.size_bytes += size
        self.newest = max(self.newest or (modified, size), (modified, size))
        self.oldest = min(self.oldest or modified, modified)


def parse_page(body: bytes) -> Page:
    """Return what stands in an answer; raises `BadResponse` when it is not a listing."""
    root = _root(body)
    if _name(root) != "ListBucketResult":
        raise BadResponse(f"expected a listing of a bucket, got <{_name(root)[:40]}>")
    is_encoded = _text(root, "EncodingType") == "url"
    objects = []
    for entry in _children(root, "Contents"):
        key, size, time = (_text(entry, name) for name in ("Key", "Size", "LastModified"))
        try:
            objects.append((unquote_plus(key) if is_encoded else key, int(size), _moment(time)))
        except ValueError as error:
            # Without it the sums would be wrong.
            raise BadResponse(
                f"object {key[:80]!r}: expected size and time, got {size[:40]!r} and {time[:40]!r}"
            ) from error
    more = _text(root, "IsTruncated").lower() == "true"
    token = _text(root, "NextContinuationToken")
    if more and not token:
        raise BadResponse("the listing is truncated, but names no next page")
    return Page(objects, token if more else None)


def parse_error(body: bytes) -> tuple[str, str]:
    """Return code and region of an error, empty texts where they are missing."""
    try:
        root = _root(body)
    except BadResponse:
        return "", ""
    if _name(root) != "Error":
        return "", ""
    return _text(root, "Code")[:60], _text(root, "Region")[:40]


def fits(key: str, pattern: str | None) -> bool:
    """Whether a key, or its last part, is like a shell pattern; folders are no objects."""
    if key.endswith("/"):
        return False
    if pattern is None:
        return True
    last = key.rpartition("/")[2]
    return fnmatch.fnmatchcase(key, pattern) or fnmatch.fnmatchcase(last, pattern)


def _root(body: bytes) -> ET.Element:
    if b"<!DOCTYPE" in body[:2000] or b"<!ENTITY" in body:
        raise BadResponse("expected XML without a document type")
    try:
        return ET.fromstring(body)  # noqa: S314 - nothing can be declared in it
    except ET.ParseError as error:
        raise BadResponse(f"expected XML: {error}") from error


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _children(element: ET.Element, name: str) -> Iterator[ET.Element]:
    return (child for child in element if _name(child) == name)


def _text(element: ET.Element, name: str) -> str:
    found = next(_children(element, name), None)
    return "" if found is None else (found.text or "")


def _moment(text: str) -> float:
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
