"""What has to be installed for a config: distributions with extras, programs, what lies behind."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pollect import __version__
from pollect.discovery.entry import Entry, Kind, minimum, with_extras
from pollect.discovery.plugins import CORE
from pollect.discovery.registry import Registry
from pollect.discovery.requirements import expand, find_missing, find_program
from pollect.errors import PluginError, UnknownPlugin
from pollect.needs import Program

_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True)
class Named:
    """A type that a config names, and where."""

    kind: Kind
    type_name: str
    path: str


@dataclass(frozen=True, slots=True)
class Unit:
    """The smallest thing pip can be asked for: a distribution with one extra, for some types."""

    distribution: str
    extra: str
    #: Empty for a distribution that is not installed.
    version: str
    types: tuple[str, ...]

    @property
    def requirement(self) -> str:
        """`pollect-sources-network[snmp]`."""
        return with_extras(self.distribution, [self.extra] if self.extra else [])

    @property
    def line(self) -> str:
        """`pollect-sources-network[snmp]>=2.0`."""
        return self.requirement + minimum(self.version)

    @property
    def missing(self) -> bool:
        """Whether the distribution or something its extra requires is not installed."""
        if not self.version:
            return True
        return bool(find_missing(self.distribution, [self.extra] if self.extra else []))

    def __str__(self) -> str:
        return self.requirement + (f" (for {', '.join(self.types)})" if self.types else "")


class Needs:
    """What the types of a config need."""

    def __init__(self, named: Iterable[Named], registry: Registry) -> None:
        self._registry = registry
        self._entries: list[Entry] = []
        #: Unknown types, and those of two plugins at once, with their place.
        self.unusable: list[tuple[Named, PluginError]] = []
        for part in named:
            try:
                entry = self._find(part)
            except PluginError as error:
                if "." not in part.type_name:  # else it is a file of the user's own
                    self.unusable.append((part, error))
            else:
                if entry not in self._entries:
                    self._entries.append(entry)

    def units(self, *, missing: bool = False) -> list[Unit]:
        """Return what to ask pip for, extra by extra; with `missing` only what is not there.

        The core is always part of it: it runs the config, whoever has the types.
        """
        types: dict[tuple[str, str, str], list[str]] = {(CORE, "", __version__): []}
        for entry in self._entries:
            key = (entry.distribution, entry.spec.extra, entry.version)
            types.setdefault(key, []).append(entry.spec.type)
        units = [Unit(*key, tuple(sorted(names))) for key, names in sorted(types.items())]
        return [unit for unit in units if unit.missing] if missing else units

    def programs(self, *, missing: bool = False) -> dict[Program, list[str]]:
        """Return the external programs with the types that start them."""
        found: dict[Program, list[str]] = {}
        for entry in self._entries:
            for program in entry.spec.needs.programs:
                if not (missing and find_program(program.name)):
                    found.setdefault(program, []).append(entry.spec.type)
        return found

    def behind(self, unit: Unit) -> list[str]:
        """Return what a unit requires from third parties; the core's own needs are no news."""
        if unit.distribution == CORE:
            return []
        extras = [unit.extra] if unit.extra else []
        if unit.version:
            return expand(unit.distribution, extras)
        return self._registry.catalogue.requirements(unit.distribution, extras)

    def disagreements(self, units: Iterable[Unit]) -> list[str]:
        """Return what units ask for when another of them asks for the same in another version."""
        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name

        asked: dict[str, dict[str, list[Unit]]] = {}
        for unit in units:
            for line in self.behind(unit):
                name = canonicalize_name(Requirement(line).name)
                asked.setdefault(name, {}).setdefault(line, []).append(unit)
        return [
            f"{', '.join(unit.requirement for unit in askers)} needs {line}"
            for lines in asked.values()
            if len(lines) > 1
            for line, askers in lines.items()
        ]

    def _find(self, part: Named) -> Entry:
        """Return an installed type, or one that an uninstalled distribution of pollect has."""
        try:
            return self._registry.find(part.kind, part.type_name)
        except UnknownPlugin:
            entry = self._registry.catalogue.find(part.kind, part.type_name)
            if entry is None:
                raise
            return entry


def merge_lines(units: Iterable[Unit]) -> list[str]:
    """Return one requirement line per distribution, with the extras of all its units."""
    merged: dict[str, list[Unit]] = {}
    for unit in units:
        merged.setdefault(unit.distribution, []).append(unit)
    return [
        with_extras(name, [unit.extra for unit in parts if unit.extra]) + minimum(parts[0].version)
        for name, parts in merged.items()
    ]


def named_types(data: Any, fill: Callable[[str], str] = str) -> Iterator[Named]:
    """Yield every type in the plain data of a config, whatever else may be wrong with it.

    `fill` puts variables into a text.
    """
    if not isinstance(data, Mapping):
        return
    yield from _writers(data, "", fill)
    for number, executor in enumerate(_list(data, "executors")):
        if isinstance(executor, Mapping):
            path = f"executors[{number}]"
            for index, source in enumerate(_list(executor, "sources")):
                yield from _named("source", source, f"{path}.sources[{index}]", fill)
            yield from _writers(executor, f"{path}.", fill)


def find_conflict(parts: Sequence[_Part], fits: Callable[[Sequence[_Part]], bool]) -> list[_Part]:
    """Return a smallest group that does not fit together, of parts that do not.

    Asks `fits` about as often as the logarithm of their number for each member of the group.
    """
    culprits: list[_Part] = []
    rest = list(parts)
    while rest and fits(culprits):
        fitting, failing = 0, len(rest)
        while failing - fitting > 1:
            middle = (fitting + failing) // 2
            if fits([*culprits, *rest[:middle]]):
                fitting = middle
            else:
                failing = middle
        culprits.append(rest[failing - 1])
        rest = rest[: failing - 1]
    return culprits


def _writers(section: Mapping[str, Any], path: str, fill: Callable[[str], str]) -> Iterator[Named]:
    for index, writer in enumerate(_list(section, "writers")):
        yield from _named("writer", writer, f"{path}writers[{index}]", fill)
    yield from _named("writer", section.get("writer"), f"{path}writer", fill)


def _named(kind: Kind, section: Any, path: str, fill: Callable[[str], str]) -> Iterator[Named]:
    word = section.get("type") if isinstance(section, Mapping) else None
    if isinstance(word, str):
        yield Named(kind, fill(word), f"{path}.type")


def _list(section: Mapping[str, Any], key: str) -> list[Any]:
    found = section.get(key)
    return found if isinstance(found, list) else []
