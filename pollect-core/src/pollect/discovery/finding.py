"""Finds plugin modules: stevedore loads what the entry points of `pollect.plugins` name.

Costs about 4 MB of memory (stevedore, importlib.metadata, email, zipfile), so nothing imports this
module before it is needed, and a daemon has it done elsewhere: see `apart`.
"""

import functools
from importlib.metadata import Distribution, EntryPoint, entry_points
from types import ModuleType
from typing import Any

import msgspec

from pollect.discovery.extension_manager import ExtensionManager
from pollect.discovery.found import CORE, Found
from pollect.errors import PluginLoadError

GROUP = "pollect.plugins"


def find_plugins() -> list[Found]:
    """Return the plugins that are installed, the core's first; broken ones say what is wrong."""
    found: list[Found] = []

    def note_failure(manager: object, point: EntryPoint, error: BaseException) -> None:
        plugin = _describe(point)
        # What stevedore would have let pass arrives wrapped.
        cause = error.__cause__ if isinstance(error, _LetPass) else None
        found.append(msgspec.structs.replace(plugin, failure=plugin.explain(cause or error)))

    loaded = PluginModules(GROUP, on_load_failure_callback=note_failure)
    found += [_describe(extension.entry_point) for extension in loaded]
    return sorted(found, key=_core_first)


class _LetPass(PluginLoadError):
    """Wraps an error with which a plugin would take everything down."""


class PluginModules(ExtensionManager[ModuleType]):
    """The modules that entry points of `pollect.plugins` name."""

    def list_entry_points(self) -> list[EntryPoint]:
        # stevedore's own list comes from a cache file in the home directory, which a daemon should
        # not write, and which has lost the distributions the entry points belong to.
        return list(entry_points(group=GROUP))

    def _load_one_plugin(self, ep: EntryPoint, *args: Any, **kwargs: Any) -> Any:
        try:
            return super()._load_one_plugin(ep, *args, **kwargs)
        except (AssertionError, SystemExit) as error:
            raise _LetPass from error  # stevedore handles neither of the two


def _describe(point: EntryPoint) -> Found:
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
def _read_metadata(distribution: Distribution) -> tuple[str, str]:
    # Reading the metadata parses its whole file, each time one asks.
    metadata = distribution.metadata
    return metadata["Name"], metadata["Version"]


def _core_first(plugin: Found) -> tuple[bool, str, str]:
    return plugin.distribution != CORE, plugin.distribution, plugin.name
