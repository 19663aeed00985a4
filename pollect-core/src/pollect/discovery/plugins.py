"""The plugins that are installed: found by stevedore, checked and held by pluggy, one by one.

An entry point of the group `pollect.plugins` names a plugin module. One that raises at import, is
not where its entry point says, or has hooks that pollect does not know becomes a `Problem`; every
other plugin goes on as if it were not there.
"""

import functools
import importlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import pluggy

from pollect import hookspecs
from pollect.errors import PluginLoadError, describe

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

GROUP = "pollect.plugins"
#: The distribution that this module is part of.
CORE = "pollect-core"
#: The version of the plugin API. A plugin may state the one it is written for, `api = 2`; it is
#: raised when plugins have to change, see docs/compatibility.md.
API = 2


class Found(msgspec.Struct, frozen=True):
    """An entry point of `pollect.plugins`, looked at.

    Plain data, so that one process can look for plugins and another use them.
    """

    #: Of the entry point, unique within its distribution.
    name: str
    #: As the entry point has it, `module` or `module:attribute`.
    value: str
    module: str
    #: Empty if the module itself is the plugin.
    attribute: str
    distribution: str
    #: Empty if unknown.
    version: str
    #: What is wrong with it, in words; empty if it could be loaded.
    failure: str = ""

    @property
    def origin(self) -> str:
        """Distribution and version, for people."""
        return f"{self.distribution} {self.version}".rstrip()

    def load(self) -> object:
        """Import the module and return the plugin; which may raise anything."""
        module = importlib.import_module(self.module)
        return functools.reduce(getattr, filter(None, self.attribute.split(".")), module)

    def explain(self, error: BaseException) -> str:
        """Say what an error at loading means."""
        if self._is_absent(error):
            return "is named by its entry point and is not there"
        return f"fails at import: {describe(error)}"

    def _is_absent(self, error: BaseException) -> bool:
        """Whether the entry point leads nowhere, rather than to something that fails by itself."""
        if isinstance(error, ModuleNotFoundError):
            missing = error.name or ""
            return self.module == missing or self.module.startswith(f"{missing}.")
        return bool(self.attribute) and isinstance(error, AttributeError)


def find_plugins() -> list[Found]:
    """Return the plugins that are installed, the core's first; broken ones say what is wrong.

    Costs 5 MB of memory (stevedore, importlib.metadata, email, hashlib with OpenSSL), so that a
    daemon has it done in another process: see `forked`.
    """
    from importlib.metadata import entry_points

    from stevedore.extension import ExtensionManager

    # Its type parameter is a late addition: stevedore 5.2 has none.
    class Modules(ExtensionManager):  # type: ignore[type-arg]
        def list_entry_points(self) -> "list[EntryPoint]":
            # stevedore's own list comes from a cache file in the home directory, which a daemon
            # should not write, and which has lost the distributions of the entry points.
            return list(entry_points(group=GROUP))

        def _load_one_plugin(self, ep: "EntryPoint", *args: Any, **kwargs: Any) -> Any:
            try:
                return super()._load_one_plugin(ep, *args, **kwargs)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # stevedore lets pass what is not an `Exception`
                raise _NotLoaded from error

    found: list[Found] = []

    def note_failure(manager: object, point: "EntryPoint", error: BaseException) -> None:
        plugin = _describe(point)
        failure = plugin.explain(error.__cause__ or error)
        found.append(msgspec.structs.replace(plugin, failure=failure))

    loaded = Modules(GROUP, on_load_failure_callback=note_failure)
    found += [_describe(extension.entry_point) for extension in loaded]
    return sorted(found, key=_core_first)


class _NotLoaded(PluginLoadError):
    """Wraps whatever a plugin raises at import."""


def _describe(point: "EntryPoint") -> Found:
    distribution, version = _read_metadata(point.dist) if point.dist else ("", "")
    return Found(
        name=point.name,
        value=point.value,
        module=point.module,
        attribute=point.attr or "",
        distribution=distribution or "an unknown distribution",
        version=version or "",
    )


@functools.cache
def _read_metadata(distribution: "Distribution") -> tuple[str, str]:
    # Reading the metadata parses its whole file, each time one asks.
    metadata = distribution.metadata
    return metadata["Name"], metadata["Version"]


def _core_first(plugin: Found) -> tuple[bool, str, str]:
    return plugin.distribution != CORE, plugin.distribution, plugin.name


class Problem(msgspec.Struct, frozen=True):
    """Something about an installed plugin that keeps all or part of it from being used."""

    #: Distribution and version: `pollect-tide 1.0`.
    culprit: str
    #: The module or type in question.
    subject: str
    what: str
    cure: str

    def __str__(self) -> str:
        return f"{self.culprit}: {self.subject} {self.what} ({self.cure})"


class Plugin(msgspec.Struct, frozen=True):
    """One loaded plugin module and where it comes from."""

    module: object
    found: Found

    @property
    def distribution(self) -> str:
        return self.found.distribution

    @property
    def version(self) -> str:
        return self.found.version

    @property
    def name(self) -> str:
        return f"{self.distribution}:{self.found.name}"

    def problem(self, what: str, cure: str) -> Problem:
        return Problem(self.found.origin, self.found.value, what, cure)


class Plugins:
    """All plugins that can be used, their hooks, and the problems of the rest."""

    def __init__(self, found: Iterable[Found]) -> None:
        self.problems: list[Problem] = []
        self._manager = _new_manager()
        self._by_name: dict[str, Plugin] = {}
        for plugin in found:
            self._load(plugin)

    @property
    def hooks(self) -> Any:
        """pluggy's hook relay."""
        return self._manager.hook

    def implementations(
        self, hook: str, **arguments: Any
    ) -> Iterator[tuple[Plugin, Callable[[], Any]]]:
        """Yield each plugin with its implementation of a hook, ready to be called.

        pluggy would call all of them in one go, and the first that raises would end it.
        """
        for found in getattr(self.hooks, hook).get_hookimpls():
            values = [arguments[name] for name in found.argnames]
            yield self._by_name[found.plugin_name], functools.partial(found.function, *values)

    def _load(self, found: Found) -> None:
        failure = found.failure
        if not failure:
            try:
                module = found.load()
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - code of a plugin
                failure = found.explain(error)
        if failure:
            name = found.distribution
            cure = f"pip install --force-reinstall {name}, or pip uninstall {name}"
            self.problems.append(Problem(found.origin, found.value, failure, cure))
        else:
            self._register(Plugin(module, found))

    def _register(self, plugin: Plugin) -> None:
        """Check the hooks of a plugin in a manager of its own, then keep it."""
        tell = f"tell its author, or pip uninstall {plugin.distribution}"
        trial = _new_manager()
        try:
            if problem := _other_api(plugin):
                self.problems.append(problem)
                return
            # Looks at every name of the module, which may run code of whatever that stands for.
            trial.register(plugin.module, plugin.name)
            self._manager.register(plugin.module, plugin.name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - code of a plugin
            known = isinstance(error, pluggy.PluginValidationError | ValueError)
            reason = " ".join(str(error).split()) if known else describe(error)
            self.problems.append(plugin.problem(f"cannot be used as a plugin: {reason:.200}", tell))
            return
        self._by_name[plugin.name] = plugin
        try:
            trial.check_pending()
        except pluggy.PluginValidationError:
            for hook in _unknown_hooks(trial):
                self.problems.append(plugin.problem(_describe_unknown_hook(hook), tell))


def _other_api(plugin: Plugin) -> Problem | None:
    """Return why a plugin that states another version of the plugin API cannot be used."""
    stated = getattr(plugin.module, "api", API)
    if stated == API:
        return None
    if isinstance(stated, int) and stated < API:
        cure = f"pip install --upgrade {plugin.distribution}"
    else:
        cure = f"pip install --upgrade {CORE}"
    return plugin.problem(
        f"is written for version {stated!r:.20} of the plugin API, this pollect has {API}", cure
    )


def _new_manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager("pollect")
    manager.add_hookspecs(hookspecs)
    return manager


def _unknown_hooks(manager: pluggy.PluginManager) -> list[str]:
    callers = {name: caller for name, caller in vars(manager.hook).items() if name[0] != "_"}
    return [name for name, caller in callers.items() if not caller.has_spec()]


def _describe_unknown_hook(hook: str) -> str:
    from difflib import get_close_matches

    known = [name for name in vars(hookspecs) if name.startswith("pollect_")]
    guess = get_close_matches(hook, known, 1)
    suggestion = f", probably {guess[0]}" if guess else ""
    return f"implements the hook {hook}, which does not exist{suggestion}"
