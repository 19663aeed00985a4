"""The manual of the command line names every command and every option."""

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pollect.builtin.plugin import pollect_commands
from pollect.cli.commands import pollect

PAGE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")
#: Every command has it, and it explains itself.
HELP = {"--help", "-h"}


def commands() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(pollect)
    yield "pollect", pollect
    for command in pollect_commands():
        name = command.name or ""
        # The real command, not what stands for it until it runs.
        with command.make_context(name, [], parent=context, resilient_parsing=True) as inner:
            yield f"pollect {name}", inner.command
            if isinstance(inner.command, click.Group):
                for part, nested in inner.command.commands.items():
                    yield f"pollect {name} {part}", nested


ALL = dict(commands())


@pytest.mark.parametrize("name", ALL)
def test_command_and_its_options_are_in_the_manual(name: str) -> None:
    assert name in PAGE
    options = {
        spelling
        for parameter in ALL[name].params
        if isinstance(parameter, click.Option)
        for spelling in parameter.opts
    }
    assert {option for option in options - HELP if option not in PAGE} == set()
