"""Every installed source and writer type.

A type is known by its spec; the class behind it is imported only when somebody asks for it by
name. What is wrong with which plugin is in `problems`; the others go on.
"""

import functools
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pollect.discovery.entry import KINDS, Entry, Kind
from pollect.discovery.plugins import CORE, Found, Plugin, Plugins, Problem, find_plugins
from pollect.errors import (
    DuplicatePlugin,
    MissingDependency,
    UnknownPlugin,
    describe,
)
from pollect.needs import Needs
from pollect.plugin import Source, SourceSpec, Writer, WriterSpec
from pollect.plugin.taken import taken

if TYPE_CHECKING:
    import click

    from pollect.discovery.catalogue import Catalogue

_SPECS: Mapping[Kind, type[SourceSpec | WriterSpec]] = {
    "source": SourceSpec,
    "writer": WriterSpec,
}
_CLASSES: Mapping[Kind, type[Any]] = {"source": Source, "writer": Writer}

#: The word of a type: a part of metric names, and what a config says.
_WORD = re.compile(r"\w[\w.-]{0,99}")

log = logging.getLogger(__name__)


class Registry:
    """The types of all installed plugins.

    `extension_paths` are the folders in which types with a dot are looked for. `found` is what
    somebody else has found already; without it the plugins are looked for here.
    """

    def __init__(
        self, *, extension_paths: Sequence[Path] = (), found: Iterable[Found] | None = None
    ) -> None:
        self.extension_paths = tuple(extension_paths)
        self.plugins = Plugins(find_plugins() if found is None else found)
        #: Kind and word of a config -> everybody who claims it; aliases included.
        self._claims: dict[tuple[Kind, str], list[Entry]] = {}
        for kind in KINDS:
            for entry in self._offered(kind):
                for word in (entry.spec.type, *entry.spec.aliases):
                    self._claims.setdefault((kind, word), []).append(entry)
        self._note_duplicates()
        self._loaded: dict[tuple[Kind, str], Any] = {}

    @functools.cached_property
    def catalogue(self) -> "Catalogue":
        """The types of all distributions of pollect, for those that are not installed."""
        from pollect.discovery.catalogue import Catalogue

        return Catalogue()

    @property
    def sources(self) -> Mapping[str, Entry]:
        """Source types by name, without those that two plugins claim."""
        return self._types("source")

    @property
    def writers(self) -> Mapping[str, Entry]:
        """Writer types by name, without those that two plugins claim."""
        return self._types("writer")

    @property
    def rivals(self) -> Sequence[tuple[Entry, Entry]]:
        """Every claim to a type that another plugin claims too, with one of the others."""
        contested = (claims for claims in self._claims.values() if len(claims) > 1)
        return [
            (entry, claims[number - 1])
            for claims in contested
            for number, entry in enumerate(claims)
        ]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with which plugin."""
        return tuple(self.plugins.problems)

    @property
    def hooks(self) -> Any:
        """pluggy's hook relay, for those who only look on."""
        return self.plugins.hooks

    def source_type(self, type_name: str) -> type[Source[Any]]:
        """Import and return the class of a source type; a type with a dot is an extension.

        Raises `UnknownPlugin` with a way to get it, `DuplicatePlugin`, `PluginLoadError`, and
        `MissingDependency` when the extra it needs is not installed.
        """
        found: type[Source[Any]] = self._load("source", type_name)
        return found

    def writer_type(self, type_name: str) -> type[Writer[Any]]:
        """Import and return the class of a writer type; raises what `source_type` raises."""
        found: type[Writer[Any]] = self._load("writer", type_name)
        return found

    def find(self, kind: Kind, type_name: str) -> Entry:
        """Return what is known of an installed type, without importing it.

        Raises `UnknownPlugin` or `DuplicatePlugin`.
        """
        claims = self._claims.get((kind, type_name), [])
        if not claims:
            raise self._unknown(kind, type_name)
        if len(claims) > 1:
            raise DuplicatePlugin(type_name, kind, [entry.origin for entry in claims])
        return claims[0]

    def words(self, kind: Kind) -> dict[str, Entry]:
        """Return all words a config may use for types of one kind, aliases included."""
        return {
            word: claims[0]
            for (claimed_kind, word), claims in sorted(self._claims.items())
            if claimed_kind == kind and len(claims) == 1
        }

    def known(self, kind: Kind, type_name: str) -> Entry | None:
        """Return a type that is installed, or that an uninstalled distribution of pollect has."""
        claims = self._claims.get((kind, type_name))
        return claims[0] if claims else self.catalogue.find(kind, type_name)

    def search(self, word: str, *, available: bool = False) -> list[Entry]:
        """Return the types whose name, other names or summary has `word`, in any case.

        With `available` those of pollect's distributions that are not installed, too.
        """
        wanted = word.lower()
        found: dict[tuple[Kind, str], Entry] = {}
        for kind in KINDS:
            entries = list(self.words(kind).values())
            if available:
                entries += self.catalogue.entries(kind)
            for entry in entries:
                names = (entry.spec.type, *entry.spec.aliases, entry.spec.summary)
                if any(wanted in name.lower() for name in names):
                    found.setdefault((kind, entry.spec.type), entry)
        return list(found.values())

    def commands(self) -> Iterator[tuple[str, "click.Command"]]:
        """Yield the commands of all plugins but the core's, each with its plugin's distribution."""
        for plugin, implementation in self.plugins.implementations("pollect_commands"):
            if plugin.distribution == CORE:
                continue
            try:
                commands = taken(implementation())
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - code of a plugin
                log.warning("%s offers no commands: %s", plugin.distribution, describe(error))
                continue
            for command in commands:
                yield plugin.distribution, command

    def _load(self, kind: Kind, type_name: str) -> Any:
        if (kind, type_name) not in self._loaded:
            self._loaded[kind, type_name] = self._import(kind, type_name)
        return self._loaded[kind, type_name]

    def _import(self, kind: Kind, type_name: str) -> Any:
        if "." in type_name and (kind, type_name) not in self._claims:
            from pollect.discovery.local import find_extension

            return find_extension(type_name, kind, self.extension_paths)
        entry = self.find(kind, type_name)
        if entry.spec.extra:
            # Only now, and only for types with an extra: reading metadata takes time and memory.
            from pollect.discovery.requirements import find_missing

            missing = ", ".join(map(str, find_missing(entry.distribution, [entry.spec.extra])))
            if missing:
                raise MissingDependency(
                    f"{kind} {type_name} needs {missing}: {entry.pip_command}",
                    requirement=entry.requirement,
                    load=entry.spec.load,
                )
        return entry.spec.load()

    def _types(self, kind: Kind) -> dict[str, Entry]:
        words = self.words(kind)
        return {word: entry for word, entry in words.items() if word == entry.spec.type}

    def _offered(self, kind: Kind) -> Iterator[Entry]:
        """Ask every plugin for its types of one kind."""
        hook = f"pollect_{kind}s"
        for plugin, implementation in self.plugins.implementations(hook):
            try:
                offered = taken(implementation())
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - code of a plugin
                cure = f"pip install --upgrade {plugin.distribution}, or tell its author"
                self._note(plugin, f"fails in {hook}: {describe(error)}", cure)
                continue
            for item in offered:
                try:
                    spec = _as_spec(kind, item)
                except _NotASpec as error:
                    what = f"returns {error.got} from {hook}, expected {error.wanted}"
                    self._note(plugin, what, "tell its author")
                    continue
                except KeyboardInterrupt:
                    raise
                except BaseException as error:  # noqa: BLE001 - methods of what a plugin made
                    what = f"returns what cannot be used from {hook}: {describe(error)}"
                    self._note(plugin, what, "tell its author")
                    continue
                yield Entry(spec, plugin.distribution, plugin.version, plugin.found.name)

    def _note(self, plugin: Plugin, what: str, cure: str) -> None:
        self.plugins.problems.append(plugin.problem(what, cure))

    def _note_duplicates(self) -> None:
        for (kind, word), claims in self._claims.items():
            if len(claims) > 1:
                first, *others = claims
                names = " and ".join(entry.origin for entry in others)
                what = f"is also registered by {names}; a config cannot use it"
                cure = f"uninstall one: pip uninstall {others[-1].distribution}"
                problem = Problem(first.origin, f"{kind} type {word}", what, cure)
                self.plugins.problems.append(problem)

    def _unknown(self, kind: Kind, type_name: str) -> UnknownPlugin:
        """Return the error for an unknown type, with what was probably meant and how to get it."""
        hint, suggestion = "'pollect plugins list' shows what is installed", ""
        other: Kind = "writer" if kind == "source" else "source"
        if broken := self._broken_home(kind, type_name):
            hint = f"it belongs to a plugin that is broken: {broken}"
        elif available := self.catalogue.find(kind, type_name):
            hint = f"it is in {available.distribution}: {available.pip_command}"
        elif self.known(other, type_name) is not None:
            hint = f"it is a {other}"
        elif guess := self._guess(kind, type_name):
            suggestion, known = guess, self.known(kind, guess)
            how = ""
            if known is not None and not known.installed:
                how = f", in {known.distribution}: {known.pip_command}"
            hint = f"did you mean {guess!r}{how}?"
        return UnknownPlugin(type_name, kind, hint, suggestion=suggestion)

    def _guess(self, kind: Kind, type_name: str) -> str | None:
        """Return the type that was probably meant: by its name, else by what it is for."""
        from pollect.discovery.guess import SHORTEST_WORD, closest

        guess = closest(type_name, [*self.words(kind), *self.catalogue.words(kind)])
        if guess is None and len(type_name) >= SHORTEST_WORD:
            found = self.search(type_name, available=True)
            guess = next((entry.spec.type for entry in found if entry.kind == kind), None)
        return guess

    def _broken_home(self, kind: Kind, type_name: str) -> Problem | None:
        home = self.catalogue.find(kind, type_name)
        if home is None:
            return None
        culprits = (p for p in self.problems if p.culprit.split()[0] == home.distribution)
        return next(culprits, None)


class _NotASpec(Exception):
    """What a plugin returned in place of a type."""

    def __init__(self, got: str, wanted: str) -> None:
        self.got = got
        self.wanted = wanted


def _as_spec(kind: Kind, item: object) -> SourceSpec | WriterSpec:
    """Return the spec of a type, sound enough for lists and look-ups; raises `_NotASpec`."""
    spec_type = _SPECS[kind]
    if isinstance(item, type) and issubclass(item, _CLASSES[kind]):
        item = spec_type.of(item)
    if not isinstance(item, spec_type):
        wanted = f"a {spec_type.__name__} or a class derived from {kind.title()}"
        raise _NotASpec(f"{item!r:.80}", wanted)
    name = f"{spec_type.__name__}({item.type!r:.80})"
    for field in ("type", "target", "summary", "extra"):
        if not isinstance(value := getattr(item, field), str):
            raise _NotASpec(name, f"text as its {field}, got {value!r:.80}")
    for field in ("aliases", "platforms"):
        values = getattr(item, field)
        if not isinstance(values, tuple | list) or not all(isinstance(v, str) for v in values):
            raise _NotASpec(name, f"texts as its {field}, got {values!r:.80}")
    if not isinstance(item.needs, Needs):
        raise _NotASpec(name, f"Needs as its needs, got {item.needs!r:.80}")
    for word in (item.type, *item.aliases):
        if not _WORD.fullmatch(word):
            raise _NotASpec(name, f"letters, digits, '_', '-' and '.' in a type, got {word!r:.80}")
    return item
