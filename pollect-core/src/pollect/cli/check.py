"""`pollect check`: every mistake of a config, without starting anything."""

import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from pollect.cli.calling import complain
from pollect.cli.exit_codes import exit_code
from pollect.cli.session import Session, config_file, log_options
from pollect.config.config import Config
from pollect.config.load import read_sound
from pollect.config.problems import Problems
from pollect.config.reading import find_config
from pollect.daemon.build import assemble, find_targets, refusals_of_doubtful
from pollect.daemon.daemon import describe_plan
from pollect.daemon.loading import ask_plugins, extension_paths
from pollect.daemon.ports import Ports
from pollect.daemon.settling import collector_paused
from pollect.discovery.registry import Registry
from pollect.discovery.requirements import Installed, Readiness, State, judge
from pollect.engine.clock import SystemClock
from pollect.engine.plan import Plan
from pollect.errors import ConfigError, InvalidConfig, MissingDependency, PluginError
from pollect.plugin import SourceConfig, WriterConfig
from pollect.plugin.traits import has_trait
from pollect.support.options import ClientTls
from pollect.text import visible_text

#: Options that name a file of a client's TLS, beside those in an option `tls`.
_TLS_FILES = frozenset({"ca_file", "client_cert", "client_key"})


@click.command()
@config_file
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@log_options
@click.pass_obj
def check(session: Session, config_name: str, as_json: bool) -> int:
    """Find the mistakes of a config.

    Reports all of them at once, including unknown options, unset variables, and missing packages
    and programs. Nothing is connected to. The exit code is 0 if there are no mistakes, 3 if only
    plugins or what they depend on are missing, else 2.
    """
    session.start_command_log()
    try:
        with collector_paused():
            summary, warnings = _check(config_name)
    except ConfigError as error:
        problems = error.problems if isinstance(error, InvalidConfig) else (error,)
        warnings = error.warnings if isinstance(error, InvalidConfig) else ()
        if as_json:
            _print_json(None, problems, warnings)
            return exit_code(error)
        if not warnings:
            raise
        for problem in problems:
            complain(visible_text(f"{'warning: ' if problem in warnings else ''}{problem}"))
        return exit_code(error)
    if as_json:
        _print_json(summary, warnings, warnings)
        return 0
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"no mistakes in {summary}")
    return 0


def _check(config_name: str) -> tuple[str, Sequence[ConfigError]]:
    """Return what a config without mistakes describes, and what cannot work in it all the same.

    Raises `ConfigError`.
    """
    file = find_config(config_name)
    registry = Registry(extension_paths=extension_paths(file))
    for problem in registry.problems:
        print(f"plugin {problem}", file=sys.stderr)
    config, problems = read_sound(file, registry)
    found = problems.errors + problems.warnings
    summary = ""
    warnings: Sequence[ConfigError] = ()
    inventories: Sequence[ConfigError] = ()
    if config is not None:
        found += (
            problems.located(f"{path}.type", _missing(reason))
            for path, reason in _missing_programs(config, registry)
        )
        try:
            ask_plugins(config, registry)
        except InvalidConfig as error:
            found += error.problems
        clock, stopping = SystemClock(), threading.Event()
        ports, targets = Ports(), None
        try:
            targets = find_targets(config, quiet=True)
            plan = assemble(
                config, registry, clock=clock, stopping=stopping, targets=targets, ports=ports
            )
            summary = describe_plan(plan, file)
            warnings = [*plan.warnings, *_idle_rules(config, plan, problems)]
        except InvalidConfig as error:
            found += [problem for problem in error.problems if problem not in error.warnings]
            warnings = error.warnings
        if targets is not None:
            inventories = targets.problems()
            found += (problems.located(*each) for each in targets.troubles())
        warnings = [*warnings, *(problems.located(*each) for each in _unreadable_files(config))]
        found += refusals_of_doubtful(config, registry, clock=clock, stopping=stopping, ports=ports)
    if found or inventories:
        sorted_problems = problems.sort([*found, *warnings])
        raise InvalidConfig([*sorted_problems, *inventories], warnings=warnings)
    return summary, problems.sort(warnings)


def _idle_rules(config: Config, plan: Plan, problems: Problems) -> Iterator[ConfigError]:
    """Yield the rules of notifying writers that nothing in the config can meet."""
    if any(executor.targeted for executor in config.executors):
        return  # who knows what its inventory will list
    if not any(has_trait(each, "notifies") for part in plan.executors for each in part.writers):
        return
    from pollect.derived.idle_rules import idle_rules
    from pollect.derived.rules import notifiers_of

    sections = [part for executor in config.executors for part in executor.writers]
    for writer, rules in notifiers_of(plan):
        path = next((part.path for part in sections if part.config == writer.config), "")
        for problem in idle_rules(plan, rules):
            yield problems.located(path, problem)


def _print_json(
    summary: str | None, problems: Sequence[ConfigError], warnings: Sequence[ConfigError]
) -> None:
    """Print the outcome for programs; without a summary the config has mistakes."""
    result = {
        "ok": summary is not None,
        "summary": summary,
        "problems": [
            {
                "file": str(problem.file) if problem.file else None,
                "line": problem.line,
                "column": problem.column,
                "key": problem.key or None,
                "problem": problem.problem,
                "hint": problem.hint or None,
                "missing": isinstance(problem.__cause__, PluginError),
                "warning": problem in warnings,
            }
            for problem in problems
        ],
    }
    print(json.dumps(result, indent=2, ensure_ascii=False))


def _missing_programs(config: Config, registry: Registry) -> Iterator[tuple[str, str]]:
    """Yield sections, and what the machine lacks for them beside Python packages."""
    readiness_of = _Readiness(registry)
    for section, path in _sections(config):
        if not section.enabled:
            continue
        readiness = readiness_of(section.type)
        if readiness is None:
            continue  # an extension, which nothing is known of
        # `command` replaces the program by one that only the operator knows.
        if readiness.state is State.PROGRAM_MISSING and _has_own_command(section):
            continue
        if readiness.state is not State.READY:
            yield path, readiness.reason


def _sections(config: Config) -> Iterator[tuple[SourceConfig, str]]:
    """Yield the sections of all sources with their paths, those without a target included."""
    for executor in config.executors:
        yield from ((part.config, part.path) for part in executor.sources)
        for targeted in executor.targeted:
            if targeted.example is not None:
                yield targeted.example, targeted.path
    for module in config.probes:
        if module.example is not None:
            yield module.example, module.blueprint.path


def _unreadable_files(config: Config) -> Iterator[tuple[str, ConfigError]]:
    """Yield sections, and which file of their TLS they could not use now.

    That is just a warning: the file may come later, and the source or writer tries again.
    """
    sections: dict[str, SourceConfig | WriterConfig] = {
        part.path: part.config for executor in config.executors for part in executor.writers
    }
    sections.update((path, source) for source, path in _sections(config) if source.enabled)
    for path, section in sections.items():
        for key, name in _tls_files(section):
            problem = _why_unreadable(config.directory / name)
            if problem:
                yield path, ConfigError(f"cannot read {name}: {problem}", key=key)


def _tls_files(section: SourceConfig | WriterConfig) -> Iterator[tuple[str, str]]:
    """Yield the options of a section that name a file of a client's TLS, with that file."""
    for field, key in zip(section.__struct_fields__, section.__struct_encode_fields__, strict=True):
        value = getattr(section, field)
        if field in _TLS_FILES and isinstance(value, str):
            yield key, value
        elif isinstance(value, ClientTls):
            for part in ("ca", "cert", "key"):
                file = getattr(value, part)
                if file is not None:
                    yield f"{key}.{part}", file


def _why_unreadable(path: Path) -> str:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return ""


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


def _missing(reason: str) -> ConfigError:
    problem = ConfigError(reason)
    problem.__cause__ = MissingDependency(reason)
    return problem
