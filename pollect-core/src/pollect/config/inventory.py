"""Inventories: lists of targets in the formats that Prometheus reads.

File format: `<file_sd_config>` and `<http_sd_config>` of the Prometheus documentation, a list of
`{targets: [...], labels: {...}}` in JSON or YAML. An entry that cannot be used costs itself only.
Labels that begin with `__` are for `${label.NAME}` in the section and reach no series.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pollect.config.addresses import split_target
from pollect.config.document import Document, join_path, scalar_text
from pollect.config.words import describe_value
from pollect.errors import ConfigError
from pollect.text import valid_text

#: 100,000 targets with ten labels each are smaller.
LARGEST_BYTES = 32_000_000
#: Targets of one section.
MOST_TARGETS = 100_000
MOST_LABELS = 64
LONGEST_LABEL = 1024
#: Mistakes of one inventory that are shown one by one.
MOST_LOCATED = 20
#: Labels that begin so reach no series, as in Prometheus.
HIDDEN_PREFIX = "__"
_LABEL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


class Target(msgspec.Struct, frozen=True):
    """One target of an inventory."""

    #: As its inventory writes it.
    address: str
    #: By name in order, hidden ones included. Targets of one entry share them.
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def values(self) -> Mapping[str, str]:
        return dict(self.labels)

    @property
    def host(self) -> str:
        return split_target(self.address).host

    @property
    def port(self) -> str:
        return split_target(self.address).port


class Listing(msgspec.Struct, frozen=True):
    """What one file or one answer says, and the paths of the targets in it."""

    targets: tuple[tuple[Target, str], ...] = ()
    #: Of all mistakes the first ones.
    bad: tuple[ConfigError, ...] = ()
    bad_count: int = 0


def read_listing(text: str, file: Path | None) -> Listing:
    """Return the targets of an inventory, and what is wrong with entries of it.

    `file` is None for what came over HTTP, which is JSON. Raises `ConfigError` when nothing of it
    can be used: it is cut off, empty, or something else.
    """
    name = file or Path("inventory")
    # Without places JSON is read in a tenth of the time.
    document = Document(None, _read_json(text, name), {}, {}) if _is_json(file) else None
    document = document or read_document(text, name)
    data = document.data
    if not isinstance(data, list):
        found = "nothing" if data is None else describe_value(data)
        raise ConfigError(f"expected a list of {{targets, labels}}, got {found}", file=name)
    reader = _Reader(document.texts)
    targets = tuple(reader.targets(data))
    bad: Sequence[ConfigError] = reader.bad
    if bad and file is not None:
        located = read_document(text, file) if not document.places else document
        bad = [located.located(error, "") for error in bad[:MOST_LOCATED]]
    return Listing(targets, tuple(bad[:MOST_LOCATED]), len(reader.bad))


def read_document(text: str, file: Path) -> Document:
    """Return an inventory as data with its places; raises `ConfigError`."""
    if _is_json(file):
        from pollect.config.json_reader import JsonReader

        return JsonReader(file, text).read()
    from pollect.config.yaml_reader import YamlReader

    return YamlReader(file, text).read()


def _is_json(file: Path | None) -> bool:
    return file is None or file.suffix.lower() == ".json"


def _read_json(text: str, name: Path) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        problem = f"is not valid JSON: {error.msg[:1].lower()}{error.msg[1:]}"
        raise ConfigError(problem, file=name, line=error.lineno, column=error.colno) from error
    except (RecursionError, ValueError) as error:  # nested too deeply, a number of 5,000 digits
        raise ConfigError("is not JSON that can be read", file=name) from error


class _Reader:
    """Reads entries and collects what is wrong with them."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.bad: list[ConfigError] = []
        self._texts = texts

    def targets(self, data: Sequence[Any]) -> Iterator[tuple[Target, str]]:
        count = 0
        for number, entry in enumerate(data):
            path = f"[{number}]"
            labels = self._labels(entry, path)
            for address, where in self._addresses(entry, path) if labels is not None else ():
                if count == MOST_TARGETS:
                    self._refuse(where, f"more than {MOST_TARGETS:,} targets: the rest is left out")
                    return
                count += 1
                yield Target(address, labels or ()), where

    def _addresses(self, entry: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
        path = join_path(path, "targets")
        found = entry.get("targets")
        if not isinstance(found, list):
            self._refuse(path, f"expected a list of texts, got {describe_value(found)}")
            return
        for number, address in enumerate(found):
            where = f"{path}[{number}]"
            if not isinstance(address, str):
                self._refuse(where, f"expected text, got {describe_value(address)}")
                continue
            try:
                split_target(address)
            except ValueError as error:
                self._refuse(where, str(error))
                continue
            yield address, where

    def _labels(self, entry: Any, path: str) -> tuple[tuple[str, str], ...] | None:
        """Return the labels of an entry, None for one that cannot be used."""
        try:
            return tuple(sorted(self._read_labels(entry, path)))
        except ConfigError as error:
            self.bad.append(error)
            return None

    def _read_labels(self, entry: Any, path: str) -> Iterator[tuple[str, str]]:
        if not isinstance(entry, Mapping):
            raise ConfigError(f"expected a mapping, got {describe_value(entry)}", key=path)
        path = join_path(path, "labels")
        labels = entry.get("labels")
        if labels is None:
            return
        if not isinstance(labels, Mapping):
            raise ConfigError(f"expected a mapping, got {describe_value(labels)}", key=path)
        if len(labels) > MOST_LABELS:
            problem = f"expected {MOST_LABELS} labels or fewer, got {len(labels)}"
            raise ConfigError(problem, key=path)
        for name, value in labels.items():
            if not isinstance(name, str) or _LABEL_NAME.fullmatch(name) is None:
                problem = f"expected the name of a label, got {str(name)[:80]!r}"
                raise ConfigError(problem, key=path)
            where = join_path(path, name)
            if isinstance(value, list | Mapping):
                raise ConfigError(f"expected text, got {describe_value(value)}", key=where)
            text = "" if value is None else self._texts.get(where) or scalar_text(value)
            if len(text) > LONGEST_LABEL or valid_text(text) != text:
                problem = f"expected Unicode text of at most {LONGEST_LABEL} characters"
                raise ConfigError(problem, key=where)
            yield name, text

    def _refuse(self, path: str, problem: str) -> None:
        self.bad.append(ConfigError(problem, key=path))
