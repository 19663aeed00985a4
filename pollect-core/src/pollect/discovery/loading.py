"""Plugin modules that were found: checked and held by pluggy, one by one.

A plugin that raises at import, is not where its entry point says, or has hooks that pollect does
not know becomes a `Problem`; every other plugin goes on as if it were not there.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
import pluggy

from pollect import hookspecs
from pollect.discovery.found import Found


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
            except (Exception, SystemExit) as error:  # noqa: BLE001 - code of a plugin
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
