"""Finds the running daemon that a command is about, by its state folder."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import click

from pollect.cli.session import DEFAULT_CONFIG, complete_files, either_form
from pollect.config.environment import Environment
from pollect.config.reading import find_config, read_document
from pollect.config.state import state_folder
from pollect.daemon.control import find_socket
from pollect.errors import ConfigError

_Command = TypeVar("_Command", bound=Callable[..., Any])

#: Where the state of a service of the system is, see `pollect unit`.
SERVICE_FOLDER = Path("/var/lib/pollect")
_OF_THE_DAEMON = "Config of the daemon; without it the one in the usual state folder is asked."


def daemon_file(command: _Command) -> _Command:
    """Add `[FILE]` and `-c FILE`, which tells one daemon from others."""
    return either_form(_OF_THE_DAEMON)(command)


def daemon_option(command: _Command) -> _Command:
    """Add `-c FILE` alone, to a command whose words are something else."""
    return click.option(
        "-c",
        "--config",
        "config_name",
        metavar="FILE",
        shell_complete=complete_files,
        help=_OF_THE_DAEMON,
    )(command)


def folder_of(config_name: str | None) -> Path:
    """Return the state folder of the daemon that runs a config, or of the usual one.

    Raises `ConfigError` for a config that is absent or unreadable.
    """
    if config_name is not None:
        return _folder_in(find_config(config_name))
    usual = state_folder(None, Path.cwd() / DEFAULT_CONFIG, os.environ)
    candidates = [usual, SERVICE_FOLDER]
    with suppress(ConfigError):  # no config here, or none that can be read: not asked for
        candidates.insert(0, _folder_in(find_config(DEFAULT_CONFIG)))
    return next((folder for folder in candidates if find_socket(folder) is not None), usual)


def _folder_in(file: Path) -> Path:
    data = read_document(file).data
    option = data.get("stateDir") if isinstance(data, dict) else None
    filled = Environment(os.environ, file.absolute().parent).fill(option) if option else None
    return state_folder(filled if isinstance(filled, str) else None, file, os.environ)
