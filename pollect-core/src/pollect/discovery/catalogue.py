"""The types of pollect's own distributions, known without having them installed.

`catalogue.json` is generated from the plugin modules and the pyproject files (`make catalogue`); a
test compares them.
"""

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pollect.discovery.entry import Entry, Kind
from pollect.needs import Needs
from pollect.plugin import SourceSpec, WriterSpec

FILE = Path(__file__).with_name("catalogue.json")

#: Facts of a spec that the file keeps where they differ from their default.
_FACTS = {
    name: default
    for name, default in zip(
        SourceSpec.__struct_fields__[-len(SourceSpec.__struct_defaults__) :],
        SourceSpec.__struct_defaults__,
        strict=True,
    )
    if name != "needs"
}


class Catalogue:
    """What the file says; read when somebody asks for the first time."""

    def __init__(self, file: Path = FILE) -> None:
        self._file = file

    def find(self, kind: Kind, word: str) -> Entry | None:
        """Return the type that a config means by `word`, without a version."""
        return self._entries.get((kind, word))

    def words(self, kind: Kind) -> list[str]:
        """Return the types of one kind and their aliases."""
        return [word for known_kind, word in self._entries if known_kind == kind]

    def entries(self, kind: Kind) -> list[Entry]:
        """Return what is known of the types of one kind."""
        found = {entry.spec.type: entry for entry in self._entries.values() if entry.kind == kind}
        return list(found.values())

    def requirements(self, distribution: str, extras: Iterable[str]) -> list[str]:
        """Return what a distribution requires from third parties, with these extras."""
        facts = self._data["distributions"].get(distribution)
        if facts is None:
            return []
        needed = list(facts["requires"])
        for extra in extras:
            needed += facts["extras"].get(extra, [])
        return needed

    @functools.cached_property
    def _data(self) -> Mapping[str, Any]:
        data: dict[str, Any] = msgspec.json.decode(self._file.read_bytes())
        return data

    @functools.cached_property
    def _entries(self) -> Mapping[tuple[Kind, str], Entry]:
        entries: dict[tuple[Kind, str], Entry] = {}
        for facts in self._data["types"]:
            entry = _read_entry(facts)
            for word in (entry.spec.type, *entry.spec.aliases):
                entries[entry.kind, word] = entry
        return entries


def write_entry(entry: Entry) -> dict[str, Any]:
    """Return the facts of a type as they stand in the file."""
    spec = entry.spec
    facts: dict[str, Any] = {
        "type": spec.type,
        "kind": entry.kind,
        "distribution": entry.distribution,
        "target": spec.target,
    }
    facts |= {
        name: getattr(spec, name)
        for name, default in _FACTS.items()
        if getattr(spec, name, default) != default
    }
    if needs := msgspec.to_builtins(spec.needs):
        facts["needs"] = needs
    return facts


def _read_entry(facts: Mapping[str, Any]) -> Entry:
    spec_type = SourceSpec if facts["kind"] == "source" else WriterSpec
    known: dict[str, Any] = {name: _frozen(facts[name]) for name in _FACTS if name in facts}
    needs = msgspec.convert(facts.get("needs", {}), Needs)
    spec = spec_type(facts["type"], facts["target"], needs=needs, **known)
    return Entry(spec, facts["distribution"])


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
