"""Types with a dot for `pollect plugins`: what the extensions beside a config are."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from pollect.cli.session import DEFAULT_CONFIG
from pollect.config.environment import Environment
from pollect.config.reading import find_config, read_document
from pollect.daemon.loading import extension_paths
from pollect.discovery.entry import KINDS, Entry
from pollect.discovery.local import find_extension
from pollect.discovery.needs import named_types
from pollect.discovery.registry import Registry
from pollect.discovery.requirements import Readiness, State
from pollect.errors import PluginError, UnknownPlugin
from pollect.plugin import Source, SourceSpec, Writer, WriterSpec


def load_extension(
    type_name: str, config_name: str | None
) -> Iterator[tuple[Entry, type[Source[Any]] | type[Writer[Any]]]]:
    """Yield the source and the writer that a type with a dot means beside a config.

    Without a config it is looked for in the working folder. Raises `PluginError` if it is neither.
    """
    search = extension_paths(find_config(config_name) if config_name else Path(DEFAULT_CONFIG))
    errors: list[PluginError] = []
    for kind in KINDS:
        try:
            plugin = find_extension(type_name, kind, search)
        except PluginError as error:
            errors.append(error)
        else:
            yield _entry_of(type_name, plugin), plugin
    if len(errors) == len(KINDS):
        # What was found and cannot be used says more than what was not found.
        raise min(errors, key=lambda error: isinstance(error, UnknownPlugin))


def judge_extensions(registry: Registry, config_name: str) -> Iterator[tuple[Entry, Readiness]]:
    """Yield every extension that a config names, and whether it can be used."""
    file = find_config(config_name)
    environment = Environment(os.environ, file.absolute().parent)
    named = named_types(read_document(file).data, environment.fill)
    for kind, type_name in dict.fromkeys((found.kind, found.type_name) for found in named):
        if "." not in type_name or type_name in registry.words(kind):
            continue
        try:
            plugin = find_extension(type_name, kind, extension_paths(file))
        except PluginError as error:
            spec_type = SourceSpec if kind == "source" else WriterSpec
            broken = Readiness(State.BROKEN, reason=str(error))
            yield Entry(spec_type(type_name, ""), "an extension"), broken
        else:
            yield _entry_of(type_name, plugin), Readiness(State.READY)


def _entry_of(type_name: str, plugin: type[Source[Any]] | type[Writer[Any]]) -> Entry:
    """Describe an extension; its file takes the place of the distribution."""
    described = SourceSpec.of(plugin) if issubclass(plugin, Source) else WriterSpec.of(plugin)
    spec = msgspec.structs.replace(described, type=type_name)
    return Entry(spec, str(sys.modules[plugin.__module__].__file__))
