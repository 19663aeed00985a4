"""Calls the constructors of plugins, which may raise anything."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pollect.errors import ConfigError, InvalidConfig, PluginError, PluginLoadError, describe
from pollect.plugin import SourceConfig, WriterConfig

Built = TypeVar("Built")


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


def reporting_all(
    build: Callable[[Any], Built], config: SourceConfig | WriterConfig
) -> Callable[[], Built]:
    """Let a constructor refuse everything that is wrong with a section, not only the first."""

    def construct() -> Built:
        try:
            return build(config)
        except ConfigError as error:
            from pollect.daemon.refusals import all_refusals

            raise InvalidConfig(all_refusals(build, config, error)) from error

    return construct


def _caused_by(error: PluginError) -> ConfigError:
    problem = ConfigError(str(error))
    problem.__cause__ = error
    return problem
