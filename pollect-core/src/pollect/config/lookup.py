"""What the config has to know of plugins: the class behind the word for a type."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol, TypeVar

from pollect.config.declared import struct_type
from pollect.config.environment import Environment
from pollect.config.options import PROBES, TARGETS
from pollect.config.templates import REPEATED
from pollect.errors import MissingDependency, PluginError, PluginLoadError, describe
from pollect.model import Metric
from pollect.plugin import Source, SourceConfig, Writer, WriterConfig

_PluginT = TypeVar("_PluginT", Source[Any], Writer[Any])
_SOURCE_PATH = re.compile(r"executors\[\d+\]\.sources\[\d+\]|probes\.[^.\[\]]+")


class TypeLookup(Protocol):
    """Finds the class behind a type; both methods raise a `PluginError` if there is none."""

    def source_type(self, type_name: str) -> type[Source[Any]]:
        """Return the class of a source type."""

    def writer_type(self, type_name: str) -> type[Writer[Any]]:
        """Return the class of a writer type."""


class TypeMemory:
    """Looks every type up once, however many sections name it, and remembers what went wrong."""

    def __init__(self, types: TypeLookup) -> None:
        self._types = types
        self._sources: dict[str, type[Source[Any]] | PluginError] = {}
        self._writers: dict[str, type[Writer[Any]] | PluginError] = {}

    def source_type(self, type_name: str) -> type[Source[Any]]:
        return _recall(self._sources, type_name, self._types.source_type)

    def writer_type(self, type_name: str) -> type[Writer[Any]]:
        return _recall(self._writers, type_name, self._types.writer_type)


def _recall(
    known: dict[str, type[_PluginT] | PluginError],
    type_name: str,
    look_up: Callable[[str], type[_PluginT]],
) -> type[_PluginT]:
    if type_name not in known:
        try:
            found = look_up(type_name)
            _check_class(found)
            known[type_name] = found
        except PluginError as error:
            known[type_name] = error
    remembered = known[type_name]
    if isinstance(remembered, PluginError):
        raise remembered
    return remembered


def _check_class(found: type[Any]) -> None:
    """Raise `PluginLoadError` where a class has not what a config needs of it."""
    base = SourceConfig if issubclass(found, Source) else WriterConfig
    try:
        name, config_type = found.__qualname__, found.config_type
        if not (isinstance(config_type, type) and issubclass(config_type, base)):
            raise PluginLoadError(
                f"{name}: expected a class derived from {base.__name__} as config_type, "
                f"got {config_type!r:.80}"
            )
        if issubclass(found, Source) and not are_metrics(found.metrics):
            raise PluginLoadError(f"{name}: expected Metrics as metrics, got {found.metrics!r:.80}")
        for method in ("probe", "open", "close") if issubclass(found, Source) else ("write",):
            if not callable(getattr(found, method)):
                raise PluginLoadError(f"{name}: {method} is not a method")
    except (KeyboardInterrupt, PluginLoadError):
        raise
    except BaseException as error:
        raise PluginLoadError(f"its class cannot be inspected: {describe(error)}") from error
    try:
        struct_type(config_type)
    except PluginLoadError as error:
        raise PluginLoadError(f"{config_type.__name__}: {error}") from error


def are_metrics(metrics: object) -> bool:
    """Whether a source declares metrics as it should."""
    return isinstance(metrics, list | tuple) and all(isinstance(one, Metric) for one in metrics)


def declared_placeholders(
    types: TypeLookup, environment: Environment
) -> Callable[[str, Mapping[str, Any]], Collection[str]]:
    """Return what tells the placeholders that the source of a section declares."""

    def placeholders(path: str, section: Mapping[str, Any]) -> Collection[str]:
        word = section.get("type")
        if not (_SOURCE_PATH.fullmatch(path) and isinstance(word, str)):
            return ()
        lacks_target = isinstance(section.get(TARGETS), Mapping) or path.startswith(PROBES)
        repeated = (REPEATED,) if lacks_target else ()
        try:
            declared = _declared_by(types, environment.fill(word)).placeholders(section)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - code of a plugin
            # No such type, or a section with mistakes: converting it reports them.
            return repeated
        return (*declared, *repeated)

    return placeholders


def _declared_by(types: TypeLookup, word: str) -> type[SourceConfig]:
    """Return the config class of a source type, whether or not its packages are installed."""
    try:
        return types.source_type(word).config_type
    except MissingDependency as error:
        plugin = error.plugin
        if plugin is None:
            raise
        found: type[SourceConfig] = plugin.config_type
        return found
