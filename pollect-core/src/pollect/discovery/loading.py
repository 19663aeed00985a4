"""Plugin modules: found and loaded by stevedore, checked and held by pluggy, one by one.

A plugin that raises at import, is not where its entry point says, or has hooks that pollect does
not know becomes a `Problem`; every other plugin goes on as if it were not there.
"""

import functools
from collections.abc import Callable, Iterator
from importlib.metadata import Distribution, EntryPoint, entry_points
from types import ModuleType
from typing import Any

import msgspec
import pluggy

from pollect import hookspecs
from pollect.discovery.extension_manager import ExtensionManager
from pollect.errors import PluginLoadError

GROUP = "pollect.plugins"
CORE = "pollect-core"


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
    entry_point: EntryPoint

    @property
    def distribution(self) -> str:
        return distribution_name(self.entry_point)

    @property
    def version(self) -> str:
        return _name_and_version(self.entry_point)[1]

    @property
    def name(self) -> str:
        return f"{self.distribution}:{self.entry_point.name}"

    def problem(self, what: str, cure: str) -> Problem:
        return Problem(_origin(self.entry_point), self.entry_point.value, what, cure)


class PluginModules(ExtensionManager[ModuleType]):
    """The modules that entry points of `pollect.plugins` name."""

    def list_entry_points(self) -> list[EntryPoint]:
        # stevedore's own list comes from a cache file in the home directory, which a daemon should
        # not write, and which has lost the distributions the entry points belong to.
        return sorted(entry_points(group=GROUP), key=_core_first)

    def _load_one_plugin(self, ep: EntryPoint, *args: Any, **kwargs: Any) -> Any:
        try:
            return super()._load_one_plugin(ep, *args, **kwargs)
        except (AssertionError, SystemExit) as error:
            # stevedore lets these two pass, and one plugin would take everything down with it.
            raise PluginLoadError(describe(error)) from error


class Plugins:
    """All plugins that can be used, their hooks, and the problems of the rest."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._manager = _new_manager()
        self._by_name: dict[str, Plugin] = {}
        for extension in PluginModules(GROUP, on_load_failure_callback=self._load_failed):
            self._register(Plugin(extension.plugin, extension.entry_point))

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

    def _register(self, plugin: Plugin) -> None:
        """Check the hooks of a plugin in a manager of its own, then keep it."""
        tell = f"tell its author, or pip uninstall {plugin.distribution}"
        trial = _new_manager()
        try:
            trial.register(plugin.module, plugin.name)
            self._manager.register(plugin.module, plugin.name)
        except (pluggy.PluginValidationError, ValueError) as error:
            reason = " ".join(str(error).split())
            self.problems.append(plugin.problem(f"is no usable plugin: {reason:.200}", tell))
            return
        self._by_name[plugin.name] = plugin
        try:
            trial.check_pending()
        except pluggy.PluginValidationError:
            for hook in _unknown_hooks(trial):
                self.problems.append(plugin.problem(_describe_unknown_hook(hook), tell))

    def _load_failed(
        self, manager: ExtensionManager[ModuleType], point: EntryPoint, error: BaseException
    ) -> None:
        name = distribution_name(point)
        if _is_absent(point, error):
            what = "is named by its entry point and is not there"
        elif isinstance(error, PluginLoadError):
            what = f"fails at import: {error}"
        else:
            what = f"fails at import: {describe(error)}"
        cure = f"pip install --force-reinstall {name}, or pip uninstall {name}"
        self.problems.append(Problem(_origin(point), point.value, what, cure))


def distribution_name(point: EntryPoint) -> str:
    return _name_and_version(point)[0]


def describe(error: BaseException) -> str:
    """Return an error of foreign code in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _origin(point: EntryPoint) -> str:
    return " ".join(filter(None, _name_and_version(point)))


def _name_and_version(point: EntryPoint) -> tuple[str, str]:
    return _read_metadata(point.dist) if point.dist else ("an unknown distribution", "")


@functools.cache
def _read_metadata(distribution: Distribution) -> tuple[str, str]:
    # Reading the metadata parses its whole file, each time one asks.
    metadata = distribution.metadata
    return metadata["Name"], metadata["Version"]


def _core_first(point: EntryPoint) -> tuple[bool, str, str]:
    name = distribution_name(point)
    return name != CORE, name, point.name


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


def _is_absent(point: EntryPoint, error: BaseException) -> bool:
    """Whether the entry point leads nowhere, rather than to something that fails by itself."""
    if isinstance(error, ModuleNotFoundError):
        missing = error.name or ""
        return point.module == missing or point.module.startswith(f"{missing}.")
    return bool(point.attr) and isinstance(error, AttributeError)
