"""`pollect schema`: the JSON Schema of a config, for editors."""

import json
import sys
from typing import Any

import click

from pollect.cli.session import Session, log_options
from pollect.config.schema import build_schema
from pollect.discovery.entry import Kind
from pollect.discovery.registry import Registry
from pollect.errors import PluginError


@click.command()
@log_options
@click.pass_obj
def schema(session: Session) -> None:
    """Print the JSON Schema of a config, made from the plugins that are installed.

    With the first line `# yaml-language-server: $schema=pollect.schema.json` in a config, editors
    complete and check it against the file you save this in.
    """
    session.start_command_log()
    registry = Registry()
    composed = build_schema(_classes(registry, "source"), _classes(registry, "writer"))
    print(json.dumps(composed, indent=2, ensure_ascii=False))


def _classes(registry: Registry, kind: Kind) -> dict[str, type[Any]]:
    """Return the class of every type and alias; one that fails to load is reported and left out."""
    classes: dict[str, type[Any]] = {}
    for word, entry in registry.words(kind).items():
        try:
            classes[word] = entry.spec.load()
        except PluginError as error:
            print(f"left out: {error}", file=sys.stderr)
    return classes
