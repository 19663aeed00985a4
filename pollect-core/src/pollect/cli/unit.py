"""`pollect unit`: a hardened systemd unit for exactly one config."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click

from pollect.builtin.plugin import pollect_commands
from pollect.cli import exit_codes
from pollect.cli.session import Session, config_file, log_options
from pollect.config.reading import find_config
from pollect.errors import EngineError, MissingDependency
from pollect.operate.survey import Survey, survey
from pollect.operate.unit import (
    CREDENTIALS_FOLDER,
    ENVIRONMENT_FILE,
    MAKE_USER,
    lacks_user,
    notes,
    write_unit,
)
from pollect.version import __version__

UNIT_FOLDER = Path("/etc/systemd/system")
#: Of what systemd.unit(5) allows, what a folder of state may be called, too.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def _check_name(context: click.Context, option: click.Parameter, value: str) -> str:
    name = value.removesuffix(".service")
    if not _NAME.fullmatch(name):
        raise click.BadParameter(f"expected letters, digits, '-', '_' and '.', got {value!r}")
    return name


@click.command()
@config_file
@click.option("--install", is_flag=True, help="Write, enable and start it, after asking.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--name", default="pollect", show_default=True, callback=_check_name, help="Name of the unit."
)
@click.option("--executable", help="The pollect command that systemd starts; default: this one.")
@log_options
@click.pass_obj
def unit(
    session: Session, config_name: str, install: bool, yes: bool, name: str, executable: str | None
) -> int:
    """Print a systemd unit for a config, as strict as its sources allow.

    Run it on the host that will run pollect: which devices are there decides on what is allowed.
    """
    session.start_command_log()
    found = survey(find_config(config_name))
    text = write_unit(
        found,
        executable=executable or find_executable(),
        name=name,
        version=__version__,
        can_reload=any(command.name == "reload" for command in pollect_commands()),
    )
    for named, error in found.unusable:
        print(f"{named.path}: {error}", file=sys.stderr)
    for note in notes(found):
        print(f"note: {note}", file=sys.stderr)
    if not install:
        print(text, end="")
        return exit_codes.MISSING if found.unusable else 0
    return _install(text, UNIT_FOLDER / f"{name}.service", found, ask=not yes)


def find_executable() -> str:
    """Return the absolute path of this very command, to be written into a file."""
    beside = Path(sys.executable).with_name("pollect")
    if beside.exists():
        return str(beside.absolute())
    return os.path.abspath(shutil.which("pollect") or sys.argv[0])


def _install(text: str, file: Path, found: Survey, *, ask: bool) -> int:
    if os.geteuid() != 0:
        raise EngineError(f"writing {file} needs root: run it with sudo")
    if shutil.which("systemctl") is None:
        raise MissingDependency(
            "systemctl is not installed: this system does not run systemd", program="systemctl"
        )
    _print_preparations(found)
    changed = "replace" if file.exists() else "write"
    commands = [
        *_make_user(found, file),
        ["systemctl", "daemon-reload"],
        ["systemctl", "enable", file.name],
        ["systemctl", "restart", file.name],
    ]
    print(text, end="")
    print(f"\nThis will {changed} {file} and run:")
    for command in commands:
        print(f"  {' '.join(command)}")
    sys.stdout.flush()
    if ask and not click.confirm("Go on?"):
        return exit_codes.FAILURE
    _write(file, text)
    for command in commands:
        if subprocess.run(command, check=False).returncode != 0:
            cure = f": see `journalctl -u {file.name}`" if command[0] == "systemctl" else ""
            raise EngineError(f"{' '.join(command)} failed{cure}")
    print(f"{file.name} runs; `systemctl status {file.name}` shows how it fares")
    return 0


def _make_user(found: Survey, file: Path) -> list[list[str]]:
    if not lacks_user(found):
        return []
    # While a unit runs that was started without it, there is one of that name that ends with it.
    stop = [["systemctl", "stop", file.name]] if file.exists() else []
    return [*stop, [*MAKE_USER]]


def _print_preparations(found: Survey) -> None:
    """Name the files the unit reads that are not there yet."""
    wanted = [f"{CREDENTIALS_FOLDER}/{name}" for name in found.credentials]
    wanted += [ENVIRONMENT_FILE] if found.variables else []
    missing = [name for name in wanted if not Path(name).exists()]
    if missing:
        raise EngineError(f"the unit reads {', '.join(missing)}: write it first, mode 0600")


def _write(file: Path, text: str) -> None:
    """Write a file whole or not at all."""
    unfinished = file.with_name(f".{file.name}.new")
    try:
        unfinished.write_text(text, "utf-8")
        unfinished.chmod(0o644)
        unfinished.replace(file)
    except OSError as error:
        raise EngineError(f"cannot write {file}: {error.strerror}") from error
