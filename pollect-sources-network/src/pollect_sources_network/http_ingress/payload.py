"""What clients push, as bytes in and updates out.

The body is JSON, as `{"metrics": {"queue_length": {"value": 7, "labels": {"site": "north"}}}}`. A
metric may also have a list of such objects. Without `value` it is 0; labels that the metric does
not have are passed over.
"""

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from pollect.api import PollectError

#: What the text of one label may have by default.
MAX_LABEL_BYTES = 1024
#: zlib's window for gzip with its header.
_GZIP_WINDOW_BITS = 31


class Refused(PollectError):
    """A push that cannot be accepted; the text tells the client why."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Definition:
    """A metric that may be pushed."""

    labels: tuple[str, ...] = ()
    is_counter: bool = False
    #: Seconds without a push until a label set is dropped; None for never.
    expire: float | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """One value of one label set; `labels` follow the definition's order."""

    metric: str
    labels: tuple[str, ...]
    value: float


def parse_push(
    body: bytes, definitions: Mapping[str, Definition], *, max_label_bytes: int = MAX_LABEL_BYTES
) -> list[Update]:
    """Return everything a body asks for; raises `Refused` if anything in it is wrong."""
    try:
        document = json.loads(body)
    except RecursionError as error:
        raise Refused("the document is nested too deeply") from error
    except ValueError as error:  # also text that is not UTF-8
        raise Refused(str(error)) from error
    metrics = document.get("metrics") if isinstance(document, dict) else None
    if not isinstance(metrics, dict):
        raise Refused('expected an object like {"metrics": {"<name>": {"value": 1}}}')
    updates = []
    for name, entries in metrics.items():
        definition = definitions.get(name)
        if definition is None:
            raise Refused(f"Metric def {name} not found")
        for entry in entries if isinstance(entries, list) else (entries,):
            if not isinstance(entry, dict):
                raise Refused(f'{name}: expected an object like {{"value": 1, "labels": {{}}}}')
            labels = _read_labels(name, entry, definition, max_label_bytes)
            updates.append(Update(name, labels, _read_value(name, entry)))
    return updates


def decompress(data: bytes, limit: int) -> bytes:
    """Unpack gzip; raises `Refused` when it is none, or gives more than `limit` bytes."""
    unpacker = zlib.decompressobj(_GZIP_WINDOW_BITS)
    try:
        unpacked = unpacker.decompress(data, limit + 1)
    except zlib.error as error:
        raise Refused(f"the body is not gzip: {error}") from error
    if len(unpacked) > limit:
        raise Refused(f"the body is larger than {limit} bytes", status=413)
    if not unpacker.eof:
        raise Refused("the body is not gzip: it ends too early")
    return unpacked


def _read_labels(
    name: str, entry: Mapping[str, object], definition: Definition, max_bytes: int
) -> tuple[str, ...]:
    labels = entry.get("labels")
    if labels is None:
        labels = {}
    if not isinstance(labels, dict):
        raise Refused(f"{name}: expected the labels as an object")
    found = []
    for label in definition.labels:
        if label not in labels:
            raise Refused(f"Missing label: {label}")
        value = labels[label]
        if not isinstance(value, str | int | float):
            raise Refused(f"{name}: expected text as label {label}, got {json.dumps(value)[:40]}")
        text = json.dumps(value) if isinstance(value, bool) else str(value)
        try:
            size = len(text.encode())
        except UnicodeEncodeError as error:  # JSON may hold half of a surrogate pair
            raise Refused(f"{name}: label {label} is not valid Unicode: {text[:40]!a}") from error
        if size > max_bytes:
            raise Refused(f"{name}: label {label} has {size} bytes, the limit is {max_bytes}")
        found.append(text)
    return tuple(found)


def _read_value(name: str, entry: Mapping[str, object]) -> float:
    value = entry.get("value", 0)
    number = math.nan
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
    if not math.isfinite(number):
        raise Refused(f"{name}: expected a finite number as value, got {json.dumps(value)[:40]}")
    return number
