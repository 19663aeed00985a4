"""What types need beside their plugin: third-party packages and external programs.

Everything is read from the metadata of the distributions; nothing that is judged is imported.
"""

import enum
import functools
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

    #: Of the distribution: `gufo-snmp`.
    name: str
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
    """What is installed and what it asks for; the metadata of each distribution is read once."""

    def __init__(self) -> None:
        self._metadata: dict[str, _Metadata] = {}
        self._chosen: dict[tuple[str, tuple[str, ...]], list[Requirement]] = {}
        self._missing: dict[tuple[str, tuple[str, ...]], list[Missing]] = {}

    def version(self, name: str) -> str | None:
        """Return the version of a distribution, None if it is not installed."""
        return self._read(name).version

    def requirements(self, name: str, extras: Iterable[str]) -> "list[Requirement]":
        """Return what a distribution asks for on this platform; nothing if it is not installed."""
        step = name, tuple(extras)
        if step not in self._chosen:
            self._chosen[step] = self._read(name).requirements(step[1])
        return self._chosen[step]

    def missing(self, name: str, extras: Iterable[str]) -> "list[Missing]":
        """Return what of that does not fit, without what is behind extras of requirements."""
        step = name, tuple(extras)
        if step not in self._missing:
            found = (self._judge(requirement) for requirement in self.requirements(*step))
            self._missing[step] = [missing for missing in found if missing is not None]
        return self._missing[step]

    def _judge(self, requirement: "Requirement") -> Missing | None:
        version = self.version(requirement.name)
        if version is None:
            return Missing(requirement.name, _text(requirement))
        if not requirement.specifier.contains(version, prereleases=True):
            return Missing(requirement.name, _text(requirement), version)
        return None

    def _read(self, name: str) -> "_Metadata":
        if name not in self._metadata:
            self._metadata[name] = _Metadata(*_read_metadata(name))
        return self._metadata[name]


class _Metadata:
    """The metadata of one distribution; its requirements are understood when somebody asks."""

    def __init__(self, version: str | None, requires: Iterable[str]) -> None:
        self.version = version
        self._requires = requires

    def requirements(self, extras: Iterable[str]) -> "list[Requirement]":
        """Return what is asked for with some extras."""
        return [
            requirement
            for requirement, always in self._parsed
            if always or any(_applies(requirement, extra) for extra in extras)
        ]

    @functools.cached_property
    def _parsed(self) -> "list[tuple[Requirement, bool]]":
        """Every requirement, and whether it is asked for without any extra."""
        from packaging.requirements import InvalidRequirement, Requirement

        parsed = []
        for line in self._requires:
            try:
                requirement = Requirement(line)
            except InvalidRequirement:
                continue  # it is installed all the same: pip judged it by its own lights
            parsed.append((requirement, _applies(requirement, "")))
        return parsed


def _applies(requirement: "Requirement", extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _read_metadata(name: str) -> tuple[str | None, list[str]]:
    """Return the version and the requirements of a distribution; None if it is not installed."""
    # Reading metadata is wanted by few commands, and its import is not for free.
    from email.parser import HeaderParser

    from importlib_metadata import PackageNotFoundError, distribution

    try:
        found = distribution(name)
    except PackageNotFoundError:
        return None, []
    text = found.read_text("METADATA")
    if text is None:  # an egg, which keeps its requirements in a file of their own
        return found.version, found.requires or []
    # The library would parse the description too, which is most of the file, each time one asks.
    headers = HeaderParser().parsestr(text.partition("\n\n")[0])
    return headers["Version"], headers.get_all("Requires-Dist", [])


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
        missing |= {found.name: found for found in installed.missing(*step)}
        todo += (
            (requirement.name, tuple(sorted(requirement.extras)))
            for requirement in installed.requirements(*step)
            if requirement.extras and requirement.name not in missing
        )
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


def _text(requirement: "Requirement") -> str:
    """Return a requirement without its marker, which was evaluated."""
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    source = f" @ {requirement.url}" if requirement.url else str(requirement.specifier)
    return f"{requirement.name}{extras}{source}"
