"""What types need beside their plugin: third-party packages and external programs.

Everything is read from the metadata of the distributions; nothing that is judged is imported.
"""

import enum
import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pollect.discovery.entry import Entry
from pollect.needs import Program

if TYPE_CHECKING:
    from packaging.requirements import Requirement

#: Where Debian keeps programs that a user's PATH leaves out.
SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
#: How the names of pollect's own distributions begin.
OWN_PREFIX = "pollect-"


class State(enum.Enum):
    """Whether a type can be used as it is."""

    READY = "ready"
    NOT_INSTALLED = "not installed"
    EXTRA_MISSING = "extra missing"
    PROGRAM_MISSING = "program missing"
    OTHER_PLATFORM = "not for this platform"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Missing:
    """A requirement that the environment does not meet."""

    #: As the metadata has it, without its marker: `gufo-snmp>=0.13`.
    requirement: str
    #: The version that is there and does not fit; empty if there is none.
    installed: str = ""

    def __str__(self) -> str:
        return f"{self.requirement} (is {self.installed})" if self.installed else self.requirement


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a type can be used, and what stands in the way."""

    state: State
    packages: tuple[Missing, ...] = ()
    programs: tuple[Program, ...] = ()
    #: What is missing and what to do about it; empty if the type is ready.
    reason: str = ""


class Installed:
    """The metadata of what is installed, each distribution's read once."""

    def __init__(self) -> None:
        self._versions: dict[str, str | None] = {}
        self._requirements: dict[str, list[Requirement]] = {}

    def version(self, name: str) -> str | None:
        """Return the version of a distribution, None if it is not installed."""
        # Reading metadata is wanted by few commands, and its import is not for free.
        from importlib_metadata import PackageNotFoundError, version

        if name not in self._versions:
            try:
                self._versions[name] = version(name)
            except PackageNotFoundError:
                self._versions[name] = None
        return self._versions[name]

    def requirements(self, name: str, extras: Iterable[str]) -> "list[Requirement]":
        """Return what a distribution asks for on this platform; nothing if it is not installed."""
        if name not in self._requirements:
            self._requirements[name] = _read_requirements(name)
        return [
            requirement
            for requirement in self._requirements[name]
            if requirement.marker is None
            or any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras))
        ]


def judge(entry: Entry, installed: Installed | None = None) -> Readiness:
    """Say whether a type can be used, from metadata alone.

    Whoever judges many hands over one `Installed` for all.
    """
    if not entry.installed:
        return Readiness(State.NOT_INSTALLED, reason=entry.pip_command)
    spec = entry.spec
    extras = [spec.extra] if spec.extra else []
    packages = tuple(find_missing(entry.distribution, extras, installed))
    programs = tuple(
        program
        for program in spec.needs.programs
        if not program.optional and find_program(program.name) is None
    )
    if packages:
        needs = ", ".join(map(str, packages))
        state, reason = State.EXTRA_MISSING, f"needs {needs}: {entry.pip_command}"
    elif spec.platforms and sys.platform not in spec.platforms:
        state, reason = State.OTHER_PLATFORM, f"works on {', '.join(spec.platforms)} only"
    elif programs:
        names = ", ".join(program.name for program in programs)
        state = State.PROGRAM_MISSING
        reason = f"needs the program {names}: {apt_command(programs)}"
    else:
        state, reason = State.READY, ""
    return Readiness(state, packages, programs, reason)


def find_program(name: str) -> str | None:
    """Return the path of an external program, also one that only root has on the PATH."""
    folders = os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS])
    return shutil.which(name, path=folders)


def apt_command(programs: Iterable[Program]) -> str:
    """Return the command that installs the Debian packages of some programs."""
    return "apt install " + " ".join(sorted({program.package for program in programs}))


def find_missing(
    distribution: str, extras: Iterable[str] = (), installed: Installed | None = None
) -> list[Missing]:
    """Return what an installed distribution and its extras require and do not find.

    The extras of a requirement count as well: `pollect-core[http]` also needs what `http` does.
    """
    installed = installed or Installed()
    missing: dict[str, Missing] = {}
    seen: set[tuple[str, tuple[str, ...]]] = set()
    todo = [(distribution, tuple(extras))]
    while todo:
        step = todo.pop()
        if step in seen:
            continue
        seen.add(step)
        for requirement in installed.requirements(*step):
            version = installed.version(requirement.name)
            if version is None:
                missing[requirement.name] = Missing(_text(requirement))
            elif not requirement.specifier.contains(version, prereleases=True):
                missing[requirement.name] = Missing(_text(requirement), version)
            elif requirement.extras:
                todo.append((requirement.name, tuple(sorted(requirement.extras))))
    return list(missing.values())


def expand(distribution: str, extras: Iterable[str]) -> list[str]:
    """Return what an installed distribution requires from third parties with these extras.

    A requirement on another distribution of pollect is what its extras stand for.
    """
    installed = Installed()
    found = []
    for requirement in installed.requirements(distribution, extras):
        if not requirement.name.startswith(OWN_PREFIX):
            found.append(_text(requirement))
        elif requirement.extras:
            behind = installed.requirements(requirement.name, requirement.extras)
            plain = installed.requirements(requirement.name, ())
            found += [_text(known) for known in behind if known not in plain]
    return found


def _read_requirements(distribution: str) -> "list[Requirement]":
    from importlib_metadata import PackageNotFoundError, requires
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        lines = requires(distribution) or []
    except PackageNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            found.append(Requirement(line))
        except InvalidRequirement:
            continue  # it is installed all the same: pip judged it by its own lights
    return found


def _text(requirement: "Requirement") -> str:
    """Return a requirement without its marker, which was evaluated."""
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    source = f" @ {requirement.url}" if requirement.url else str(requirement.specifier)
    return f"{requirement.name}{extras}{source}"
