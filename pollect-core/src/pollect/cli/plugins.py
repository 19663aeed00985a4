"""`pollect plugins`: what is installed, whether it can be used, and how to use it."""

import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from pollect.cli import exit_codes
from pollect.cli.completion import complete_types
from pollect.cli.lazy import LazyCommand, SuggestingGroup
from pollect.cli.session import Session, complete_files, log_options
from pollect.cli.table import format_table, terminal_width
from pollect.daemon.settling import collector_paused
from pollect.discovery.entry import KINDS, Entry
from pollect.discovery.guess import SHORTEST_WORD
from pollect.discovery.plugins import Problem
from pollect.discovery.registry import Registry
from pollect.discovery.requirements import Installed, Readiness, State, judge
from pollect.errors import PluginError, UnknownPlugin

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _config_option(help: str) -> Callable[[_Command], _Command]:
    return click.option(
        "-c", "--config", "config_name", metavar="FILE", shell_complete=complete_files, help=help
    )


@click.group(cls=SuggestingGroup)
def plugins() -> None:
    """List and explain what is installed."""


@plugins.command("list")
@click.argument("word", required=False)
@click.option("--available", is_flag=True, help="List what could be installed, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@_config_option("List the extensions that a config names too.")
@log_options
@click.pass_obj
def list_plugins(
    session: Session, word: str | None, available: bool, as_json: bool, config_name: str | None
) -> int:
    """List source and writer types, and whether they can be used.

    WORD lists only types that have it in their name or summary, those that could be installed
    included; the exit code is 1 if there are none.
    """
    session.start_command_log()
    with collector_paused():
        registry = Registry()
        rows = _judge_all(registry, word or "", available=available, config_name=config_name)
    problems = [] if word else list(registry.problems)
    if as_json:
        print(json.dumps(_as_json(problems, rows), indent=2, ensure_ascii=False))
    elif rows:
        _print_table(problems, rows)
    else:
        print(f"no type has {word!r} in its name or summary", file=sys.stderr)
    return 0 if rows else exit_codes.FAILURE


def _judge_all(
    registry: Registry, word: str, *, available: bool, config_name: str | None
) -> list[tuple[Entry, Readiness]]:
    """Return the types to be listed, each with whether it can be used."""
    entries = [*registry.sources.values(), *registry.writers.values()]
    if available or word:
        known = {(entry.kind, entry.spec.type) for entry in entries}
        entries += [
            entry
            for kind in KINDS
            for entry in registry.catalogue.entries(kind)
            if (kind, entry.spec.type) not in known
        ]
    installed = Installed()
    rows = [(entry, judge(entry, installed)) for entry in entries]
    for entry, rival in registry.rivals:
        reason = f"also registered by {rival.origin}"
        rows.append((entry, Readiness(State.BROKEN, reason=reason)))
    if config_name is not None:
        from pollect.cli.extensions import judge_extensions

        rows += judge_extensions(registry, config_name)
    if word:
        found = {(entry.kind, entry.spec.type) for entry in registry.search(word, available=True)}
        rows = [row for row in rows if (row[0].kind, row[0].spec.type) in found]
    return rows


@plugins.command("show")
@click.argument("type_name", metavar="TYPE", shell_complete=complete_types)
@_config_option("Look for extensions beside this config.")
@log_options
@click.pass_obj
def show_plugin(session: Session, type_name: str, config_name: str | None) -> int:
    """Print the manual of one source or writer type, made from its class.

    A type with a dot is an extension, a file of your own. For a type that is not installed it says
    how to get it; the exit code is then 3.
    """
    session.start_command_log()
    registry = Registry()
    entries = [entry for kind in KINDS if (entry := registry.words(kind).get(type_name))]
    if not entries and "." not in type_name:
        entries = _meant(registry, type_name)
    if entries:
        found = [(entry, entry.spec.load()) for entry in entries]
    elif "." in type_name:
        from pollect.cli.extensions import load_extension

        found = list(load_extension(type_name, config_name))
    else:
        return _show_absent(registry, type_name)
    from pollect.cli.manual import write_manual

    print("\n\n\n".join(write_manual(entry, plugin) for entry, plugin in found))
    return 0


def _meant(registry: Registry, word: str) -> list[Entry]:
    """Return the one installed type that is for what `word` names, as Container is for Docker."""
    if any(registry.known(kind, word) for kind in KINDS) or len(word) < SHORTEST_WORD:
        return []
    found = registry.search(word)
    if len(found) != 1 or word.lower() in found[0].spec.type.lower():
        return []
    entry = found[0]
    print(f"no type {word!r}; this is {entry.spec.type}: {entry.spec.summary}", file=sys.stderr)
    return found


plugins.add_command(LazyCommand("new", "pollect.cli.new:new", "Create a plugin of your own."))


def _show_absent(registry: Registry, type_name: str) -> int:
    """Say how to get a type that is not installed; raises `PluginError` if it is unknown."""
    errors: list[PluginError] = []
    for kind in KINDS:
        try:
            registry.find(kind, type_name)
        except UnknownPlugin as error:
            entry = registry.catalogue.find(kind, type_name)
            if entry is not None:
                print(f"{type_name}: {kind} of {entry.distribution}, which is not installed")
                print(entry.spec.summary)
                print(f"To get it: {entry.pip_command}")
                return exit_codes.MISSING
            errors.append(error)
        except PluginError as error:
            errors.insert(0, error)
    # Among sources and writers, the one with a suggestion is what was meant.
    raise min(errors, key=_is_without_suggestion)


def _is_without_suggestion(error: PluginError) -> bool:
    return not (isinstance(error, UnknownPlugin) and error.suggestion)


def _print_table(problems: list[Problem], rows: list[tuple[Entry, Readiness]]) -> None:
    lines: list[tuple[str, ...]] = [
        (entry.spec.type, entry.kind, entry.origin, readiness.state.value, entry.spec.summary)
        for entry, readiness in rows
    ]
    lines += [
        (problem.subject, "plugin", problem.culprit, State.BROKEN.value, "") for problem in problems
    ]
    header = ("TYPE", "KIND", "DISTRIBUTION", "STATE", "SUMMARY")
    print(format_table(header, lines, width=terminal_width()))
    cures = [
        f"{entry.spec.type}: {readiness.reason}" for entry, readiness in rows if readiness.reason
    ]
    cures += [f"{problem.subject}: {problem.what} ({problem.cure})" for problem in problems]
    if cures:
        print("\nWhat is missing or broken:")
        for cure in cures:
            print(f"  {cure}")


def _as_json(problems: list[Problem], rows: list[tuple[Entry, Readiness]]) -> dict[str, Any]:
    return {
        "types": [
            {
                "type": entry.spec.type,
                "aliases": list(entry.spec.aliases),
                "kind": entry.kind,
                "summary": entry.spec.summary,
                "distribution": entry.distribution,
                "version": entry.version,
                "extra": entry.spec.extra or None,
                "state": readiness.state.value,
                "reason": readiness.reason or None,
            }
            for entry, readiness in rows
        ],
        "problems": [
            {
                "culprit": problem.culprit,
                "subject": problem.subject,
                "problem": problem.what,
                "cure": problem.cure,
            }
            for problem in problems
        ],
    }
