"""Calls the constructors of plugins, which may raise anything."""

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from pollect.config.document import NOWHERE, Document
from pollect.config.lookup import are_metrics
from pollect.config.reading import read_document
from pollect.daemon.ports import Ports
from pollect.errors import (
    ConfigError,
    InvalidConfig,
    PluginError,
    PluginLoadError,
    PollectError,
    describe,
)
from pollect.plugin import (
    Source,
    SourceConfig,
    SourceContext,
    Writer,
    WriterConfig,
    WriterContext,
)
from pollect.plugin.given import Given
from pollect.plugin.taken import taken

if TYPE_CHECKING:
    from pollect.daemon.refusals import Refusals

Built = TypeVar("Built")

#: What pollect reads of a source or writer later on.
_MADE_BY_THE_BASE: Mapping[str, tuple[type, ...]] = {
    "config": (SourceConfig, WriterConfig),
    "context": (SourceContext, WriterContext),
    "log": (logging.Logger, logging.LoggerAdapter),
}


class Construction:
    """Builds the parts of one plan; collects what is refused, each with its place in the file."""

    def __init__(self, file: Path, ports: Ports | None = None) -> None:
        """`ports` are those that another construction for the same file has noted."""
        self.refused: list[ConfigError] = []
        self.warnings: list[ConfigError] = []
        self._file = file
        self._ports = ports or Ports()

    def constructed(
        self, build: Callable[[Any], Built], path: str, config: SourceConfig | WriterConfig
    ) -> Built | None:
        """Return what a constructor makes of a section; None if it refuses it, which is noted."""

        def note(found: "Refusals") -> None:
            self.note_ports_of_rest(found.rest, path, found.put_back)

        return self.built(reporting_all(whole(build), config, note), path, config.type)

    def built(self, build: Callable[[], Built], path: str, type_name: str) -> Built | None:
        """Return what a constructor makes; None if it raises, which is noted."""
        built, problems = attempt(build, type_name)
        if problems:
            self.refuse(path, problems)
        return built

    def note_ports(self, plugin: Source[Any] | Writer[Any], path: str) -> None:
        """Refuse a plugin that wants to listen where another one of this config does."""
        wanted = self.built(lambda: _addresses(plugin), path, plugin.config.type)
        taken = self._ports.taken(wanted or (), path, plugin.config, shared=False)
        self.refuse(path, taken)

    def note_ports_of_rest(self, rest: object, path: str, put_back: Sequence[str]) -> None:
        """Do the same for what is left of a section, as far as its mistakes cannot matter."""
        if not isinstance(rest, Source | Writer):
            return
        addresses, _ = attempt(lambda: _certain(rest, put_back), "")
        shared = isinstance(rest, Writer)
        taken = self._ports.taken(addresses or (), path, rest.config, shared=shared)
        self.refuse(path, taken)

    def refuse(self, path: str, problems: Sequence[ConfigError]) -> None:
        self.refused += self._located(problems, path)

    def warn(self, source: Source[Any], path: str) -> None:
        """Note what a source runs with although a part of it cannot work."""
        found = self.built(lambda: _warnings(source), path, source.config.type)
        self.warnings += self._located(found or (), path)

    def _located(self, problems: Sequence[ConfigError], path: str) -> list[ConfigError]:
        return [self._document.located(_in_words(problem), path) for problem in problems]

    @functools.cached_property
    def _document(self) -> Document:
        """The file again, read at the first refusal: a daemon does not keep its places."""
        return read_document(self._file) if self._file.is_file() else NOWHERE


def attempt(
    build: Callable[[], Built], type_name: str
) -> tuple[Built | None, Sequence[ConfigError]]:
    """Return what a constructor makes, or why it makes nothing."""
    try:
        return build(), ()
    except InvalidConfig as error:
        return None, error.problems
    except ConfigError as error:
        return None, [error]
    except PluginError as error:
        return None, [_caused_by(error)]
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - code of a plugin, which may raise anything
        failure = PluginLoadError(f"{type_name} fails to start: {describe(error)}")
        failure.__cause__ = error
        return None, [_caused_by(failure)]


def whole(build: Callable[..., Built]) -> Callable[..., Built]:
    """Let a constructor fail whose object lacks what its base makes of it."""

    def construct(*arguments: Any) -> Built:
        built = build(*arguments)
        if not isinstance(built, Source | Writer):
            raise TypeError(f"its class makes an object of another one, {type(built).__name__}")
        for name, kind in _MADE_BY_THE_BASE.items():
            if not hasattr(built, name) or isinstance(getattr(built, name), Given):
                raise TypeError("its constructor does not call super().__init__(config, context)")
            if not isinstance(getattr(built, name), kind):
                raise TypeError(
                    f"its constructor sets self.{name}, which pollect needs as the base makes it"
                )
        if isinstance(built, Source) and not are_metrics(built.metrics):
            raise TypeError(f"expected Metrics as metrics, got {built.metrics!r:.80}")
        return built

    return construct


def _addresses(plugin: Source[Any] | Writer[Any]) -> list[tuple[str, int]]:
    addresses = taken(plugin.listens_on())
    for address in addresses:
        if not isinstance(address, tuple) or list(map(type, address)) != [str, int]:
            raise TypeError(f"listens_on(): expected addresses and ports, got {address!r:.80}")
    return addresses


def _certain(plugin: Source[Any] | Writer[Any], put_back: Sequence[str]) -> list[tuple[str, int]]:
    """Return where a plugin listens because its config says so, and not because it lacks a part."""
    lost = {name.partition(".")[0].partition("[")[0] for name in put_back}
    fields = msgspec.structs.fields(plugin.config)
    kept = [getattr(plugin.config, field.name) for field in fields if field.encode_name not in lost]
    gone = [getattr(plugin.config, field.name) for field in fields if field.encode_name in lost]
    return [
        (address, port)
        for address, port in _addresses(plugin)
        if port in kept and address not in gone
    ]


def _warnings(source: Source[Any]) -> list[ConfigError]:
    warnings = taken(getattr(source, "config_warnings", ()))
    for warning in warnings:
        if not isinstance(warning, ConfigError):
            raise TypeError(f"config_warnings: expected ConfigErrors, got {warning!r:.80}")
    return warnings


def reporting_all(
    build: Callable[[Any], Built],
    config: SourceConfig | WriterConfig,
    note: "Callable[[Refusals], None]" = lambda _: None,
) -> Callable[[], Built]:
    """Let a constructor refuse everything that is wrong with a section, not only the first.

    `note` is called with what was found if there is anything.
    """

    def construct() -> Built:
        try:
            return build(config)
        except ConfigError as error:
            from pollect.daemon.refusals import all_refusals

            found = all_refusals(build, config, error)
            note(found)
            raise InvalidConfig(found.problems) from error

    return construct


def _in_words(problem: object) -> ConfigError:
    """Return what a plugin listed as a mistake, whatever it is."""
    if isinstance(problem, ConfigError):
        return problem
    return ConfigError(f"expected a ConfigError, got {type(problem).__name__}")


def _caused_by(error: PollectError) -> ConfigError:
    problem = ConfigError(describe(error))
    problem.__cause__ = error
    return problem
