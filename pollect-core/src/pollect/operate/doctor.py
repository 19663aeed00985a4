"""Looks whether this machine has what a config needs, and names the cure for what it lacks.

Everything is tried as the user that runs it: a port is bound, a multicast group joined, a file
opened. Nothing is changed, and nothing beyond name resolution leaves this machine.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pollect.discovery.requirements import find_program, judge
from pollect.needs import Capability, Device, Setting
from pollect.operate import network
from pollect.operate.findings import Finding, State
from pollect.operate.survey import Part, Survey
from pollect.plugin import Roots

#: linux/capability.h; the numbers are part of the kernel's interface.
CAPABILITIES = {
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_SYS_RAWIO": 17,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}


@dataclass(frozen=True, slots=True)
class Me:
    """The user that runs this, and what the kernel lets it do."""

    name: str
    groups: frozenset[int]
    #: Bits of the effective capabilities.
    capabilities: int

    @classmethod
    def here(cls, proc: Path = Path("/proc")) -> "Me":
        """Return the user of this process."""
        import pwd

        try:
            name = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            name = str(os.geteuid())
        return cls(name, frozenset([os.getegid(), *os.getgroups()]), _effective(proc))

    def has(self, capability: str) -> bool:
        """Whether a capability is in effect; one this module does not know never is."""
        number = CAPABILITIES.get(capability)
        return number is not None and bool(self.capabilities >> number & 1)


def examine(survey: Survey, me: Me, roots: Roots) -> Iterator[Finding]:
    """Yield what is found for every source and writer of a config."""
    for named, error in survey.unusable:
        yield Finding(State.PROBLEM, named.type_name, str(error), missing=True)
    unusable = {named.type_name for named, _ in survey.unusable}
    for part in survey.unique():
        if part.type_name in unusable:
            continue
        findings = [
            *_installed(part),
            *_programs(part),
            *_capabilities(part, me, roots),
            *(_device(part, device, me, roots) for device in part.needs.devices),
            *_settings(part, me, roots),
            *_paths(survey, part),
            *_groups(part, me),
            *_kernel_features(part),
            *network.check_part(part),
        ]
        found = [finding for finding in findings if finding is not None]
        yield from found or [Finding(State.FINE, part.label, "has what it needs")]


def lacks_privilege(part: Part, me: Me, roots: Roots) -> str:
    """Return what this user may not do that a source needs, with the cure; empty if nothing."""
    found = (
        *_capabilities(part, me, roots),
        *(_device(part, device, me, roots) for device in part.needs.devices),
    )
    for finding in found:
        if finding is not None and finding.state is State.PROBLEM:
            return f"{finding.what}: {finding.cure}"
    return ""


def _installed(part: Part) -> Iterator[Finding]:
    if part.entry is None:
        if "." in part.type_name:
            yield Finding(
                State.NOTE, part.label, "an extension: what it needs is in its own documentation"
            )
        return
    readiness = judge(part.entry)
    # Programs are looked at below: `command` may replace them.
    if readiness.reason and not readiness.programs:
        yield Finding(State.PROBLEM, part.label, readiness.reason, missing=True)


def _programs(part: Part) -> Iterator[Finding]:
    override = part.command().split()
    if override:
        if find_program(override[0]) is None:
            what = f"`command` starts {override[0]}, which is not installed"
            yield Finding(State.PROBLEM, part.label, what, "install it", missing=True)
        return
    for program in part.needs.programs:
        if find_program(program.name) is None:
            state = State.NOTE if program.optional else State.PROBLEM
            what = f"the program {program.name} is not installed"
            yield Finding(
                state,
                part.label,
                what + (", it works without" if program.optional else ""),
                f"apt install {program.package}",
                missing=not program.optional,
            )


def _capabilities(part: Part, me: Me, roots: Roots) -> Iterator[Finding]:
    if part.command():
        return  # sudo, for example: another process is to have them
    for capability in part.needs.capabilities:
        if me.has(capability.name) or not _wanted(capability, roots):
            continue
        settings = [s for s in part.needs.settings if s.instead_of == capability.name]
        if any(_holds(setting, me, roots) for setting in settings):
            continue
        cures = [f"sysctl -w {setting.name}='{setting.value}'" for setting in settings]
        cures.append("run it with the unit of `pollect unit`, which grants it")
        what = f"{me.name} lacks {capability.name} for {capability.purpose}"
        if capability.optional:
            yield Finding(State.NOTE, part.label, f"{what}, it works without")
        else:
            yield Finding(State.PROBLEM, part.label, what, ", or ".join(cures))


def _wanted(capability: Capability, roots: Roots) -> bool:
    return not capability.device or any(roots.dev.glob(capability.device))


def _holds(setting: Setting, me: Me, roots: Roots) -> bool:
    try:
        text = roots.proc.joinpath("sys", *setting.name.split(".")).read_text().split()
    except OSError:
        return False
    if setting.judge == "equal":
        return text == setting.value.split()
    try:
        low, high = map(int, text)
    except ValueError:
        return False
    return any(low <= group <= high for group in me.groups)


def _settings(part: Part, me: Me, roots: Roots) -> Iterator[Finding]:
    for setting in part.needs.settings:
        if not setting.instead_of and not _holds(setting, me, roots):
            what = f"{setting.name} should be {setting.value}"
            cure = f"sysctl -w {setting.name}='{setting.value}'"
            yield Finding(State.PROBLEM, part.label, what, cure)


def _device(part: Part, device: Device, me: Me, roots: Roots) -> Finding | None:
    if part.command():
        return None
    mode = os.R_OK | (os.W_OK if device.write else 0)
    nodes = sorted(roots.dev.glob(device.pattern))
    closed = [node.name for node in nodes if not os.access(node, mode, effective_ids=True)]
    readable = me.has("CAP_DAC_READ_SEARCH") and not device.write
    if not closed or readable:
        return None
    what = f"{me.name} cannot open {', '.join(f'/dev/{name}' for name in closed[:3])}"
    cure = "run it with the unit of `pollect unit`"
    if device.group:
        cure = f"usermod -aG {device.group} {me.name}, then log in again, or {cure}"
    return Finding(State.PROBLEM, part.label, what, cure)


def _groups(part: Part, me: Me) -> Iterator[Finding]:
    import grp

    for name in part.needs.groups:
        try:
            member = grp.getgrnam(name).gr_gid in me.groups
        except KeyError:
            yield Finding(
                State.PROBLEM, part.label, f"there is no group {name}", f"groupadd {name}"
            )
            continue
        if not member:
            cure = f"usermod -aG {name} {me.name}, then log in again"
            what = f"{me.name} is not in the group {name}"
            yield Finding(State.PROBLEM, part.label, what, cure)


def _paths(survey: Survey, part: Part) -> Iterator[Finding]:
    for location in part.needs.paths:
        named = part.texts(location.option) if location.option else []
        for text in named or [location.path]:
            if not text or text == "-":
                continue
            path = survey.directory.joinpath(Path(text).expanduser())
            found = check_written(path) if location.write else _check_read(path)
            # What the config names itself is meant to be there.
            required = not location.optional or bool(named and text != location.path)
            if found and (required or path.exists()):
                state = State.PROBLEM if required else State.NOTE
                yield Finding(state, part.label, f"{path}: {found[0]}", found[1])


def _check_read(path: Path) -> tuple[str, str] | None:
    """Return what is wrong with a path that is read, and the cure."""
    if not path.exists():
        return "does not exist", "create it, or correct the config"
    mode = os.R_OK | (os.X_OK if path.is_dir() else 0)
    if not os.access(path, mode, effective_ids=True):
        return "cannot be read by this user", f"chmod or chown it, see `ls -ld {path}`"
    return None


def check_written(path: Path) -> tuple[str, str] | None:
    """Return what is wrong with a path that is written, and the cure; it need not exist."""
    existing = path
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if existing != path and not existing.is_dir():
        return f"{existing} is not a folder", "name another path in the config"
    mode = os.W_OK | (os.X_OK if existing.is_dir() else 0)
    if not os.access(existing, mode, effective_ids=True):
        if existing != path:
            return (
                f"cannot be made by this user, who may not write to {existing}",
                "make it and chown it, or name another one in the config",
            )
        return "cannot be written by this user", f"chown it, see `ls -ld {existing}`"
    return None


def _kernel_features(part: Part) -> Iterator[Finding]:
    if "bpf" in part.needs.system_calls and sys.platform == "linux":
        release = os.uname().release.split(".")
        try:
            version = (int(release[0]), int(release[1]))
        except (IndexError, ValueError):
            return
        if version < (5, 8):
            what = f"needs Linux 5.8 or newer, this is {os.uname().release}"
            yield Finding(State.PROBLEM, part.label, what, "update the kernel")


def _effective(proc: Path) -> int:
    try:
        status = (proc / "self" / "status").read_text()
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0
