"""`pollect doctor`: what this machine lacks for a config, and the cure."""

import json
import os
import pwd
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from pollect.cli import exit_codes
from pollect.cli.session import DEFAULT_CONFIG, Session, either_form, log_options
from pollect.cli.table import format_table, terminal_width
from pollect.config.config import Config
from pollect.config.load import load_config
from pollect.config.reading import find_config
from pollect.daemon.loading import extension_paths
from pollect.discovery.registry import Registry
from pollect.errors import ConfigError, EngineError, InvalidConfig
from pollect.operate.doctor import Me, examine
from pollect.operate.findings import Finding, State
from pollect.operate.machine import check_machine, check_secrets
from pollect.operate.network import check_names
from pollect.operate.survey import CREDENTIALS, Survey, survey
from pollect.operate.unit import CREDENTIALS_FOLDER
from pollect.plugin import Roots


@click.command()
@either_form("Config to check; default: config.yml.")
@click.option("-u", "--user", help="Check as this user, who will run pollect (needs root).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@log_options
@click.pass_obj
def doctor(session: Session, config_name: str | None, user: str | None, as_json: bool) -> int:
    """Check whether this machine has what a config needs, and name the cure.

    Programs, capabilities, devices, files, ports, multicast, names of hosts, the clock, the state
    folder and free space, as the user that runs it. The exit code is 0 if nothing fails, 3 if only
    packages and programs are missing, else 1.
    """
    session.start_command_log()
    findings = list(_examine(config_name, user))
    if as_json:
        print(json.dumps([_as_json(item) for item in findings], indent=2, ensure_ascii=False))
    else:
        _print(findings)
    problems = [finding for finding in findings if finding.state is State.PROBLEM]
    if not problems:
        return 0
    missing = all(finding.missing for finding in problems)
    return exit_codes.MISSING if missing else exit_codes.FAILURE


def _examine(config_name: str | None, user: str | None) -> Iterator[Finding]:
    file = _find(config_name)
    registry = Registry(extension_paths=extension_paths(file) if file else ())
    for problem in registry.problems:
        yield Finding(State.PROBLEM, problem.culprit, problem.what, problem.cure, missing=True)
    found = survey(file, registry) if file else None
    if user is not None:
        _become(user)
        if not os.access(os.__file__, os.R_OK):
            what = f"{user} cannot read {sys.base_prefix}, which pollect runs from"
            yield Finding(State.PROBLEM, "pollect", what, "install it in /opt/pollect, for example")
            return
    if found is None:
        yield Finding(State.NOTE, "config", "none given or found here", "pollect init writes one")
        yield from check_machine(_default_state_dir())
        return
    config = _load(found.file, registry)
    yield from _check_config(found.file, config)
    yield from check_secrets(found)
    roots = config.roots if isinstance(config, Config) else Roots()
    yield from examine(found, Me.here(), roots)
    yield from check_names(found.parts)
    yield from check_machine(config.state_dir if isinstance(config, Config) else _state_dir(found))


def _find(config_name: str | None) -> Path | None:
    """Return the config; None if none was named and there is none here."""
    if config_name is not None:
        return find_config(config_name)
    try:
        return find_config(DEFAULT_CONFIG)
    except ConfigError:
        return None


def _load(file: Path, registry: Registry) -> Config | InvalidConfig:
    try:
        # Where the unit of `pollect unit` has credentials from.
        return load_config(file, registry, environ={CREDENTIALS: CREDENTIALS_FOLDER, **os.environ})
    except InvalidConfig as error:
        return error


def _check_config(file: Path, config: Config | InvalidConfig) -> Iterator[Finding]:
    problems = config.problems if isinstance(config, InvalidConfig) else config.warnings
    if problems:
        state = State.PROBLEM if isinstance(config, InvalidConfig) else State.NOTE
        what = f"{file}: {len(problems)} mistake{'s' * (len(problems) > 1)}"
        # All of it may be plugins that are not there, of which there is more below.
        missing = (
            isinstance(config, InvalidConfig) and exit_codes.exit_code(config) == exit_codes.MISSING
        )
        yield Finding(state, "config", what, f"pollect check {file}", missing=missing)
    else:
        yield Finding(State.FINE, "config", str(file))


def _state_dir(found: Survey) -> Path:
    if found.state_dir:
        return found.directory.joinpath(Path(found.state_dir).expanduser())
    return _default_state_dir()


def _default_state_dir() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(os.environ.get("STATE_DIRECTORY", "").partition(":")[0] or Path(home, "pollect"))


def _become(name: str) -> None:
    """Go on as another user, with its groups and no more capabilities than it has."""
    try:
        user = pwd.getpwnam(name)
    except KeyError as error:
        raise EngineError(f"there is no user {name!r}") from error
    if user.pw_uid == os.geteuid():
        return
    if os.geteuid() != 0:
        raise EngineError(f"checking as {name} needs root: run it with sudo")
    os.initgroups(name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ["HOME"] = user.pw_dir


def _print(findings: list[Finding]) -> None:
    rows = [
        (item.state.value, item.subject, f"{item.what}: {item.cure}" if item.cure else item.what)
        for item in findings
    ]
    print(format_table(("STATE", "WHAT", "FOUND"), rows, width=terminal_width()))
    count = sum(item.state is State.PROBLEM for item in findings)
    said = f"{count} problem{'s' * (count != 1)}" if count else "nothing is missing"
    print(f"{said}, as user {Me.here().name}", file=sys.stderr)


def _as_json(finding: Finding) -> dict[str, str]:
    return {
        "state": finding.state.value,
        "subject": finding.subject,
        "found": finding.what,
        "cure": finding.cure,
    }
