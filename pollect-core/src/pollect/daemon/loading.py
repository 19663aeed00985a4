"""What every command that reads a config does first."""

import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pollect.config.apart import ConfigReading
from pollect.config.config import Config
from pollect.config.document import Document
from pollect.config.load import load_config
from pollect.config.lookup import TypeLookup
from pollect.config.reading import find_config, read_document
from pollect.discovery.forked import PluginSearch
from pollect.discovery.registry import Registry
from pollect.errors import ConfigError, InvalidConfig, describe

#: Where the container image has config and extensions.
CONTAINER_FOLDER = Path("/pollect")

log = logging.getLogger(__name__)


class Loaded(msgspec.Struct, frozen=True):
    """A config that was found valid, and the plugins it was judged with."""

    config: Config
    registry: Registry


def load(
    name: str,
    *,
    dry_run: bool = False,
    strict: bool = False,
    search: PluginSearch | None = None,
    reading: ConfigReading | None = None,
) -> Loaded:
    """Find, read and judge a config; what was begun already is only waited for.

    Raises `ConfigError` if there is none, `InvalidConfig` with all its mistakes (with `strict` also
    what is otherwise only a warning), and `PluginError`.
    """
    file = find_config(name)
    place = file.absolute()
    found = search.result() if search else None
    registry = Registry(extension_paths=extension_paths(file), found=found)
    document = reading.result() if reading else None
    file = unmoved(file, place)
    config = reload(file, registry, dry_run=dry_run, strict=strict, document=document)
    return Loaded(in_place(config, place), registry)


def unmoved(file: Path, place: Path) -> Path:
    """Return a config as the user named it, or its `place` if that name means another one now.

    A plugin may have changed the working directory, or removed the one it changed to.
    """
    try:
        return file if file.absolute() == place else place
    except FileNotFoundError:
        return place


def in_place(config: Config, place: Path) -> Config:
    """Return a config whose file is `unmoved`."""
    file = unmoved(config.file, place)
    return config if file is config.file else msgspec.structs.replace(config, file=file)


def reload(
    file: Path,
    registry: Registry,
    *,
    dry_run: bool = False,
    strict: bool = False,
    document: Document | None = None,
) -> Config:
    """Judge a config with plugins that are loaded already; raises what `load` raises.

    `document` is what the file holds, if it was read already.
    """
    types: TypeLookup = registry
    if dry_run:
        from pollect.daemon.dry_run import DryRunTypes

        types = DryRunTypes(registry)
    try:
        config = load_config(file, types, document=document)
    except InvalidConfig as error:
        if strict:
            raise InvalidConfig(error.problems) from error
        raise
    if strict and config.warnings:
        raise InvalidConfig(config.warnings)
    ask_plugins(config, registry)
    return config


def log_warnings(config: Config, registry: Registry) -> None:
    """Mention what is odd and does not stop anything."""
    for problem in registry.problems:
        log.warning("%s", problem)
    for warning in config.warnings:
        log.warning("%s", warning)


def ask_plugins(config: Config, registry: Registry) -> None:
    """Let plugins refuse the config."""
    refused: list[ConfigError] = []
    for plugin, implementation in registry.plugins.implementations(
        "pollect_config_loaded", config=config.data
    ):
        try:
            implementation()
        except ConfigError as error:
            refused += error.problems if isinstance(error, InvalidConfig) else [error]
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - code of a plugin
            log.error("%s failed to look at the config: %s", plugin.distribution, describe(error))
    if refused:
        raise InvalidConfig(_placed(refused, config.file))


def _placed(problems: Sequence[ConfigError], file: Path) -> list[ConfigError]:
    document = read_document(file)
    return [problem if problem.file else document.located(problem, "") for problem in problems]


def extension_paths(file: Path) -> list[Path]:
    """Return the folders in which extensions are looked for, in order."""
    folders = (file.resolve().parent, Path.cwd(), CONTAINER_FOLDER)
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]
