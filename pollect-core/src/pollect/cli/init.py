"""`pollect init`: a config for this host, with comments, that runs as it is."""

import importlib
import logging
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any

import click
import yaml

from pollect.cli.deps import install_with_pip
from pollect.cli.session import Session, complete_files, log_options
from pollect.config.load import load_config
from pollect.config.roots import choose_roots
from pollect.discovery.registry import Registry
from pollect.discovery.requirements import State, judge
from pollect.errors import ConfigError, MissingDependency, describe
from pollect.operate.doctor import Me, lacks_privilege
from pollect.operate.survey import part_of
from pollect.plugin import Roots, Suggestion
from pollect.plugin.taken import taken

DEFAULT_FILE = "config.yml"
#: Stands for standard output.
STDOUT = "-"
TICK_SECONDS = 10
WIDTH = 96
#: What reads a host and shows it; the core alone has only what is good for trying out.
BASICS = ("pollect-sources-system", "pollect-writers")

#: What a host without any other writer gets.
PRINT = Suggestion(
    "writer", {"type": "DryRun"}, "Prints every value: no other writer is installed."
)

log = logging.getLogger(__name__)


@click.command()
@click.argument("file", metavar="[FILE]", default=DEFAULT_FILE, shell_complete=complete_files)
@click.option("-f", "--force", is_flag=True, help="Overwrite the file if it is there.")
@click.option("--install", is_flag=True, help="First install the distributions it needs with pip.")
@log_options
@click.pass_obj
def init(session: Session, file: str, force: bool, install: bool) -> int:
    """Look at what this host has, and write a config for it.

    FILE is config.yml by default; `-` prints the config instead. What the host has but pollect
    cannot read yet, because a program, a package or a privilege is missing, is in it as a comment.
    """
    session.start_command_log()
    registry = Registry()
    roots = choose_roots(None, Path.cwd(), os.environ)
    suggestions = list(find_suggestions(registry, roots))
    if not _has_source(suggestions):
        if not install:
            raise MissingDependency(
                "nothing that is installed can read this host: "
                f"pip install {' '.join(BASICS)}, or run `pollect init --install`",
                requirement=" ".join(BASICS),
            )
        install_with_pip(BASICS)
        importlib.invalidate_caches()
        registry = Registry()
        suggestions = list(find_suggestions(registry, roots))
    text = format_config(suggestions)
    if file == STDOUT:
        print(text, end="")
        return 0
    path = Path(file)
    write_config(path, text, force=force)
    load_config(path, registry)
    print(f"wrote {path}: {_summarize(suggestions)}")
    for suggestion in suggestions:
        if suggestion.caveat:
            print(f"  as a comment: {suggestion.section['type']}: {suggestion.caveat}")
    print(f"next: pollect run -c {path}")
    return 0


def _has_source(suggestions: Iterable[Suggestion]) -> bool:
    """Whether a config of these would have a source; without one, `check` refuses it."""
    return any(item.kind == "source" and not item.caveat for item in suggestions)


def find_suggestions(registry: Registry, roots: Roots) -> Iterator[Suggestion]:
    """Ask every plugin what suits this host; what cannot run here gets the reason as its caveat."""
    writers = 0
    for plugin, implementation in registry.plugins.implementations(
        "pollect_suggestions", roots=roots
    ):
        try:
            suggestions = [
                _with_readiness(registry, roots, item) for item in taken(implementation())
            ]
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - code of a plugin
            log.warning("%s suggests nothing: %s", plugin.distribution, describe(error))
            continue
        writers += sum(item.kind == "writer" and not item.caveat for item in suggestions)
        yield from suggestions
    if not writers:
        yield PRINT


def _with_readiness(registry: Registry, roots: Roots, suggestion: Suggestion) -> Suggestion:
    entry = registry.find(suggestion.kind, suggestion.section["type"])
    readiness = judge(entry)
    reason = readiness.reason
    if readiness.state is State.READY:
        part = part_of(suggestion.kind, suggestion.section, entry)
        reason = suggestion.caveat or lacks_privilege(part, Me.here(), roots)
    return Suggestion(suggestion.kind, suggestion.section, suggestion.comment, reason)


def format_config(suggestions: Iterable[Suggestion]) -> str:
    """Return a config with a comment above every section; what cannot run is commented out."""
    sources = [item for item in suggestions if item.kind == "source"]
    writers = [item for item in suggestions if item.kind == "writer"]
    lines = [
        *_comment(
            "What pollect collects on this host, and where it goes. Written by `pollect init`."
        ),
        *_comment(
            "`pollect check FILE` finds mistakes; `pollect plugins show TYPE` explains options."
        ),
        "",
        *_comment("Seconds between two probes; a source may have its own `tickTime`."),
        f"tickTime: {TICK_SECONDS}",
        "",
        "writers:",
        *(line for writer in writers for line in _section(writer, indent=2)),
        *_comment("One executor is one collection: its name begins the names of the metrics."),
        "executors:",
        "  - collection: pollect",
        "    sources:",
        *(line for source in sources for line in _section(source, indent=6)),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def _section(suggestion: Suggestion, *, indent: int) -> Iterator[str]:
    yield from _comment(suggestion.comment, indent=indent)
    if suggestion.caveat:
        yield from _comment(f"Not used yet: {suggestion.caveat}.", indent=indent)
    margin = " " * indent + ("# " if suggestion.caveat else "")
    first = "- "
    for line in _dump(suggestion.section):
        yield f"{margin}{first}{line}"
        first = "  "
    yield ""


def _comment(text: str, *, indent: int = 0) -> Iterator[str]:
    margin = " " * indent + "# "
    for line in wrap(text, WIDTH - len(margin), break_long_words=False, break_on_hyphens=False):
        yield margin + line


def _dump(section: Mapping[str, Any]) -> Iterator[str]:
    """Yield a section as lines of YAML, a list in one line."""
    for key, value in section.items():
        text = yaml.safe_dump(
            [value], default_flow_style=True, width=math.inf, allow_unicode=True, sort_keys=False
        )
        yield f"{key}: {text.strip()[1:-1]}"


def write_config(path: Path, text: str, *, force: bool) -> None:
    """Write a new file; raises `ConfigError` if it is there and `force` is not set."""
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError(f"{path} is there already", hint="--force overwrites it") from error
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error


def _summarize(suggestions: Iterable[Suggestion]) -> str:
    used = [item for item in suggestions if not item.caveat]
    sources = sum(item.kind == "source" for item in used)
    writers = ", ".join(item.section["type"] for item in used if item.kind == "writer")
    return f"{sources} sources, written by {writers}"
