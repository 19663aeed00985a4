"""Commands whose module is imported only when they run."""

import importlib
from typing import Any

import click


class LazyCommand(click.Command):
    """Stands for the command at `target` (`module:name`) until it is called.

    Listing commands, as `--help` does, needs no more than `name` and `help`.
    """

    def __init__(self, name: str, target: str, help: str) -> None:
        super().__init__(name, help=help, short_help=help)
        self._target = target

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> click.Context:
        module_name, _, name = self._target.partition(":")
        command: click.Command = getattr(importlib.import_module(module_name), name)
        return command.make_context(info_name, args, parent, **extra)
