"""`pollect check`: every mistake of a config, without starting anything."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import click

from pollect.cli.session import DEFAULT_CONFIG, Session, log_options
from pollect.config.document import Document
from pollect.config.load import find_config, load_config
from pollect.config.reading import read_document
from pollect.config.root import Config
from pollect.daemon.build import assemble
from pollect.daemon.daemon import describe_plan
from pollect.daemon.loading import ask_plugins, extension_paths
from pollect.discovery.registry import Registry
from pollect.discovery.requirements import Installed, Readiness, State, judge
from pollect.engine.clock import SystemClock
from pollect.errors import ConfigError, InvalidConfig, MissingDependency
from pollect.plugin import SourceConfig


@click.command()
@click.argument("config_name", metavar="[FILE]", default=DEFAULT_CONFIG)
@log_options
@click.pass_obj
def check(session: Session, config_name: str) -> int:
    """Find the mistakes of a config.

    Tells all of them at once, unknown options, unset variables, missing extras and programs among
    them. Nothing is connected to. The exit code is 0 if there are none, 3 if only plugins or what
    they depend on are missing, else 2.
    """
    session.start_command_log()
    file = find_config(config_name)
    registry = Registry(extension_paths=extension_paths(file))
    for problem in registry.problems:
        print(f"plugin {problem}", file=sys.stderr)
    summary, found = _judge(file, registry)
    if found:
        raise InvalidConfig(sorted(found, key=_place))
    print(f"no mistakes in {summary}")
    return 0


def _judge(file: Path, registry: Registry) -> tuple[str, list[ConfigError]]:
    """Return what a config describes, if it can be told, and every mistake in it."""
    try:
        config = load_config(file, registry)
    except InvalidConfig as error:
        return "", list(error.problems)
    found = [*config.warnings, *_missing_programs(config, registry)]
    summary = ""
    try:
        ask_plugins(config, registry)
        plan = assemble(config, registry, clock=SystemClock(), stopping=threading.Event())
        summary = describe_plan(plan, file)
    except InvalidConfig as error:
        found += error.problems
    return summary, found


def _missing_programs(config: Config, registry: Registry) -> Iterator[ConfigError]:
    """Yield what the machine lacks, beside Python packages, for the types of a config."""
    document = read_document(config.file)
    readiness_of = _Readiness(registry)
    for executor in config.executors:
        for section in executor.sources:
            if not section.config.enabled:
                continue
            readiness = readiness_of(section.config.type)
            if readiness is None:
                continue  # an extension, which nothing is known of
            # `command` replaces the program by one that only the operator knows.
            if readiness.state is State.PROGRAM_MISSING and _has_own_command(section.config):
                continue
            if readiness.state is not State.READY:
                yield _located(document, f"{section.path}.type", readiness.reason)


class _Readiness:
    """Judges each source type once, however many sections name it."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._installed = Installed()
        self._known: dict[str, Readiness | None] = {}

    def __call__(self, type_name: str) -> Readiness | None:
        if type_name not in self._known:
            entry = self._registry.known("source", type_name)
            self._known[type_name] = None if entry is None else judge(entry, self._installed)
        return self._known[type_name]


def _has_own_command(config: SourceConfig) -> bool:
    return bool(getattr(config, "command", None))


def _located(document: Document, path: str, reason: str) -> ConfigError:
    problem = ConfigError(reason)
    problem.__cause__ = MissingDependency(reason)
    return document.located(problem, path)


def _place(problem: ConfigError) -> tuple[int, int]:
    return problem.line or 0, problem.column or 0
