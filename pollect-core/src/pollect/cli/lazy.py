"""Commands whose module is imported only when they run."""

import importlib
from collections.abc import Callable
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


def resolve_or_suggest(
    resolve: Callable[..., tuple[str | None, click.Command | None, list[str]]],
    group: click.Group,
    context: click.Context,
    arguments: list[str],
) -> tuple[str | None, click.Command | None, list[str]]:
    """Do what `resolve_command` of a group does, and suggest a command for an unknown one."""
    try:
        return resolve(context, arguments)
    except click.UsageError as error:
        from difflib import get_close_matches

        matches = get_close_matches(arguments[0], group.list_commands(context), 1)
        if not matches:
            raise
        # Newer versions of click suggest something by themselves, in other words.
        text = f"no command {arguments[0]!r}, did you mean {matches[0]!r}?"
        raise click.UsageError(text, context) from error


class SuggestingGroup(click.Group):
    """A group of commands that knows what a misspelt one was meant to be."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        return resolve_or_suggest(super().resolve_command, self, ctx, args)
