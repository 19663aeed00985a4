"""`pollect deps`: what to install for a config."""

import os
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Sequence

import click

from pollect.cli import exit_codes
from pollect.cli.installer import install_command, pip
from pollect.cli.session import Session, config_file, log_options
from pollect.config.document import Document
from pollect.config.environment import Environment
from pollect.config.reading import find_config, read_document
from pollect.daemon.loading import extension_paths
from pollect.discovery.needs import Needs, Unit, find_conflict, merge_lines, named_types
from pollect.discovery.registry import Registry
from pollect.errors import ConfigError, EngineError


@click.command()
@config_file
@click.option("--missing", is_flag=True, help="Leave out what is installed.")
@click.option("--expand", is_flag=True, help="Add the third-party packages behind them.")
@click.option("--system", is_flag=True, help="Print only the Debian packages of programs.")
@click.option("--install", is_flag=True, help="Install what is missing with pip, after asking.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--check", is_flag=True, help="Find out whether all of it can be installed together.")
@log_options
@click.pass_obj
def deps(
    session: Session,
    config_name: str,
    missing: bool,
    expand: bool,
    system: bool,
    install: bool,
    yes: bool,
    check: bool,
) -> int:
    """Print what to install for a config, as lines for pip.

    Works before anything is installed: pip install -r <(pollect deps config.yml). External
    programs follow as comments. An unknown type makes the exit code 3.
    """
    session.start_command_log()
    needs = _read_needs(config_name)
    if check:
        return _check(needs)
    if install:
        return _install(needs, ask=not yes)
    _print_needs(needs, missing=missing, expand=expand, system=system)
    return exit_codes.MISSING if needs.unusable else 0


def print_dependencies(config_name: str) -> int:
    """Do what `--dependencies` of pollect 1.x does: print, and never fail for unknown types."""
    _print_needs(_read_needs(config_name))
    return 0


def _read_needs(config_name: str) -> Needs:
    """Return what a config needs, after reporting which of its types are unknown."""
    file = find_config(config_name)
    document = read_document(file)
    environment = Environment(os.environ, file.absolute().parent)
    registry = Registry(extension_paths=extension_paths(file))
    needs = Needs(named_types(document.data, environment.fill), registry)
    for problem in registry.problems:
        print(problem, file=sys.stderr)
    _print_unusable(needs, document)
    return needs


def _print_unusable(needs: Needs, document: Document) -> None:
    for named, error in needs.unusable:
        print(document.located(ConfigError(str(error)), named.path), file=sys.stderr)


def _print_needs(
    needs: Needs, *, missing: bool = False, expand: bool = False, system: bool = False
) -> None:
    programs = needs.programs(missing=missing)
    if system:
        for package in sorted({program.package for program in programs}):
            print(package)
        return
    units = needs.units(missing=missing)
    for line in merge_lines(units):
        print(line)
    if expand:
        behind: dict[str, list[Unit]] = {}
        for unit in units:
            for requirement in needs.behind(unit):
                behind.setdefault(requirement, []).append(unit)
        for requirement, askers in sorted(behind.items()):
            print(f"{requirement}  # {', '.join(unit.requirement for unit in askers)}")
    for program, types in programs.items():
        print(f"# {', '.join(types)}: program {program.name}, apt install {program.package}")


def _install(needs: Needs, *, ask: bool) -> int:
    """Install what is missing with pip, whose progress is seen."""
    lines = merge_lines(needs.units(missing=True))
    for program, types in needs.programs(missing=True).items():
        print(
            f"{', '.join(types)} also needs the program {program.name}: "
            f"apt install {program.package}",
            file=sys.stderr,
        )
    if not lines:
        print("nothing to install")
        return exit_codes.MISSING if needs.unusable else 0
    print(shlex.join(install_command(lines)), flush=True)
    if ask and not click.confirm("Install?"):
        return exit_codes.FAILURE
    install_with_pip(lines)
    return exit_codes.MISSING if needs.unusable else 0


def install_with_pip(lines: Sequence[str]) -> None:
    """Install requirements for this Python; raises `EngineError` if pip fails."""
    if subprocess.run(install_command(lines), check=False).returncode != 0:
        raise EngineError("it was not installed, see above")


def _check(needs: Needs) -> int:
    """Let pip resolve everything without installing it, and name those that disagree."""
    units = needs.units()
    complaints: dict[tuple[Unit, ...], str] = {}

    def fits(chosen: Sequence[Unit]) -> bool:
        key = tuple(chosen)
        if key not in complaints:
            complaints[key] = _resolve(chosen) if chosen else ""
        return not complaints[key]

    if fits(units):
        print(f"everything fits together: {', '.join(merge_lines(units)) or 'nothing to install'}")
        return exit_codes.MISSING if needs.unusable else 0
    culprits = find_conflict(units, fits)
    names = " and ".join(map(str, culprits))
    together = " together" if len(culprits) > 1 else ""
    # pip tells of the last combination it tried, which need not be the one that matters.
    reason = "\n".join(needs.disagreements(culprits)) or complaints[tuple(culprits)]
    print(f"{names} cannot be installed{together}:", file=sys.stderr)
    print(textwrap.indent(reason, "    "), file=sys.stderr)
    return exit_codes.MISSING


def _resolve(units: Iterable[Unit]) -> str:
    """Ask pip whether requirements fit together; return what it says against it, or nothing."""
    options = ["install", "--dry-run", "--no-input", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip(), *options, *(unit.line for unit in units)],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # it explains a conflict on the one and calls it one on the other
        text=True,
    )
    return "" if done.returncode == 0 else _explain(done.stdout)


def _explain(output: str) -> str:
    """Return the part of pip's output that says who wants what, else its errors."""
    _, found, cause = output.partition("The conflict is caused by:\n")
    if found:
        return textwrap.dedent(cause.partition("\n\n")[0]).rstrip()
    errors = [line for line in output.splitlines() if line.startswith("ERROR: ")]
    return "\n".join(line.removeprefix("ERROR: ") for line in errors) or output.strip()
