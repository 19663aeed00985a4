"""A unit for systemd, hardened as far as a config allows.

The strictest unit comes first; what a source needs takes away exactly the lines that stand in its
way, and a comment says which source that was. The meaning of each line is in systemd.exec(5).
"""

import platform
import pwd
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pollect.needs import Capability
from pollect.operate.grants import Grant, Grants, grant, joined
from pollect.operate.survey import CREDENTIALS, Part, Survey

CREDENTIALS_FOLDER = "/etc/pollect/credentials"
ENVIRONMENT_FILE = "/etc/pollect/environment"
#: Who runs pollect where a user must exist beyond the unit; a unit called `pollect` has one of that
#: name while it runs.
USER = "_pollect"
#: Where systemd takes the users from that end with their unit, systemd.exec(5).
DYNAMIC_USERS = range(61184, 65520)
MAKE_USER = ("useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", USER)
#: What `ProtectHome=yes` hides.
HOMES = ("/home", "/root", "/run/user")
#: Where `PrivateTmp=yes` puts other folders.
TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 - not used, only recognized
#: Seconds beyond the config's own that stopping may take.
STOP_MARGIN_SECONDS = 20
#: From here on Linux charges maps of BPF to the memory of the cgroup, not to a limit.
ACCOUNTED_MEMORY = (5, 11)


@dataclass
class _Loosened(Grants):
    """What the sources of a config need, each with those that need it."""

    families: Grant = field(default_factory=dict)
    calls: Grant = field(default_factory=dict)
    written: Grant = field(default_factory=dict)
    homes: list[str] = field(default_factory=list)
    temporary: list[str] = field(default_factory=list)
    processes: list[str] = field(default_factory=list)
    memory: list[str] = field(default_factory=list)
    #: What could be granted and is not, in words.
    left_out: list[str] = field(default_factory=list)


def write_unit(
    survey: Survey,
    *,
    executable: str,
    name: str = "pollect",
    dev: Path = Path("/dev"),
    release: str = "",
    version: str,
    can_reload: bool = False,
) -> str:
    """Return the text of a unit for a config.

    `executable` is the command `pollect` as systemd shall start it. `name` is that of the unit and
    of its folders, because two daemons must not share their state. `dev` is the folder of this
    host's device nodes, `release` the version of its kernel, by default the running one. With
    `can_reload` the command knows `reload`.
    """
    config = survey.file.absolute()
    needed = _collect(survey, Path(executable), dev, release or platform.release())
    lines = [
        f"# Made by pollect {version} for {config}:",
        f"#   pollect unit -c {shlex.quote(str(config))}",
        "# Make it again when other sources or writers are configured. What each of them needs",
        "# is named at the line that allows it; everything else is forbidden.",
        "",
        "[Unit]",
        "Description=pollect metrics daemon",
        "After=network-online.target",
        "Wants=network-online.target",
        "",
        "[Service]",
        "Type=notify",
        f"ExecStart={_words(executable, 'run', '-c', str(config))}",
        _reload_line(executable, config, can_reload),
        "Restart=on-failure",
        "RestartSec=5",
        "# Restarting cures neither a mistake in the config (2) nor a missing plugin (3).",
        "RestartPreventExitStatus=2 3",
        "WatchdogSec=60",
        f"TimeoutStopSec={round(survey.shutdown_seconds) + STOP_MARGIN_SECONDS}",
        "",
        *_secrets(survey),
        f"# A user of its own, made at every start; state in /var/lib/{name}.",
        "DynamicUser=yes",
        *_user(needed),
        f"StateDirectory={name}",
        "StateDirectoryMode=0700",
        f"RuntimeDirectory={name}",
        "RuntimeDirectoryMode=0700",
        "UMask=0077",
        "",
        *_sandbox(needed),
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    # What the config calls its things must not become a line of its own.
    return "\n".join(" ".join(line.splitlines()) for line in lines) + "\n"


def lacks_user(survey: Survey) -> bool:
    """Whether the unit needs a user that this host does not have; `MAKE_USER` makes it."""
    if not any(part.needs.bus for part in survey.parts):
        return False
    try:
        return pwd.getpwnam(USER).pw_uid in DYNAMIC_USERS
    except KeyError:
        return True


def notes(survey: Survey) -> list[str]:
    """Return what the operator has to know beside the unit itself."""
    found = []
    if lacks_user(survey):
        labels = [part.label for part in survey.unique() if part.needs.bus]
        found.append(
            f"{joined(labels)}: the system bus turns away users that exist only while a unit runs; "
            f"make one that stays: {shlex.join(MAKE_USER)}"
        )
    for part in survey.unique():
        words = part.command().split()
        if words and Path(words[0]).name in ("sudo", "doas", "su"):
            found.append(
                f"{part.label}: {words[0]} cannot work in this unit, which forbids new "
                "privileges; leave `command` out, the unit grants what the program needs"
            )
    found += [
        f"{name}: readable for the unit's user? A secret is better a credential: write "
        f"${{file:${{{CREDENTIALS}}}/{Path(name).name}}} in the config"
        for name in survey.secret_files
    ]
    return found


def _collect(survey: Survey, executable: Path, dev: Path, release: str) -> _Loosened:
    needed = _Loosened()
    for part in survey.unique():
        _collect_part(needed, survey, part, dev, release)
    own = (survey.file.absolute(), executable.absolute(), executable.resolve())
    if any(_is_below(path, HOMES) for path in own):
        needed.homes.append("the config or pollect itself")
    if any(_is_below(path, TEMPORARY) for path in own):
        needed.temporary.append("the config or pollect itself")
    if survey.state_dir:
        folder = str(survey.directory.joinpath(Path(survey.state_dir).expanduser()))
        needed.written.setdefault(folder, []).append("stateDir")
    return needed


def _collect_part(needed: _Loosened, survey: Survey, part: Part, dev: Path, release: str) -> None:
    needs, label = part.needs, part.label
    for capability in needs.capabilities:
        reason = _why_not(capability, dev)
        if reason:
            needed.left_out.append(f"{label}: {capability.name} for {capability.purpose}, {reason}")
        else:
            grant(needed.capabilities, capability.name, label)
    for device in needs.devices:
        if any(dev.glob(device.pattern)):
            access = "rw" if device.write else "r"
            grant(needed.devices, f"{device.systemd} {access}", label)
            if device.group:
                grant(needed.groups, device.group, label)
        else:
            needed.left_out.append(
                f"{label}: DeviceAllow={device.systemd}, where there is /dev/{device.pattern}"
            )
    for group in needs.groups:
        grant(needed.groups, group, label)
    for family in needs.families:
        grant(needed.families, family, label)
    for call in needs.system_calls:
        grant(needed.calls, call, label)
    for path in survey.paths(part):
        if _is_below(path, HOMES) and label not in needed.homes:
            needed.homes.append(label)
        if _is_below(path, TEMPORARY) and label not in needed.temporary:
            needed.temporary.append(label)
    for path in survey.paths(part, write=True):
        grant(needed.written, str(_folder_of(path, part)), label)
    if needs.processes:
        needed.processes.append(label)
    if needs.bus:
        needed.bus.append(label)
    if needs.locked_memory and _kernel(release) < ACCOUNTED_MEMORY:
        needed.memory.append(label)


def _kernel(release: str) -> tuple[int, int]:
    """Return the version of a kernel; one that cannot be read counts as old."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _why_not(capability: Capability, dev: Path) -> str:
    """Return why a capability is not granted; empty if it is."""
    if capability.device and not any(dev.glob(capability.device)):
        return f"where there is /dev/{capability.device}"
    return "if wanted" if capability.optional else ""


def _folder_of(path: Path, part: Part) -> Path:
    """Return the folder to write into: an option that names a file means the one it is in."""
    named = {location.option for location in part.needs.paths if location.write}
    return path if any(option.endswith("Dir") for option in named) else path.parent


def _secrets(survey: Survey) -> Iterator[str]:
    if survey.credentials:
        yield f"# Readable for root only; the config has them as ${{file:${{{CREDENTIALS}}}/NAME}}."
        for name in survey.credentials:
            yield f"LoadCredential={name}:{CREDENTIALS_FOLDER}/{name}"
        yield ""
    if survey.variables:
        yield f"# NAME=value, a line each: {', '.join(survey.variables)}"
        yield f"EnvironmentFile={ENVIRONMENT_FILE}"
        yield ""


def _user(needed: _Loosened) -> Iterator[str]:
    """Yield the user where the usual one, which ends with the unit, does not do.

    A user of that name that exists is taken in its place, systemd.exec(5); all else that
    `DynamicUser=` means stays.
    """
    if needed.bus:
        labels = joined(needed.bus)
        yield f"# {labels}: the system bus turns away users that exist only while a unit"
        yield f"# runs. Make one that stays: {shlex.join(MAKE_USER)}"
        yield f"User={USER}"


def _sandbox(needed: _Loosened) -> Iterator[str]:
    yield "NoNewPrivileges=yes"
    yield "ProtectSystem=strict"
    for folder, labels in needed.written.items():
        yield f"# {joined(labels)}: its user must be allowed to write there"
        yield f"ReadWritePaths={folder}"
    yield from _switch("ProtectHome", "yes", "read-only", needed.homes)
    yield from _switch("PrivateTmp", "yes", "no", needed.temporary)
    yield from _capabilities(needed)
    yield from _devices(needed)
    for group, labels in needed.groups.items():
        yield f"# {joined(labels)}"
        yield f"SupplementaryGroups={group}"
    yield from _switch("ProtectProc", "invisible", "default", needed.processes)
    yield from (
        f"{name}=yes"
        for name in (
            "ProtectClock",
            "ProtectKernelLogs",
            "ProtectKernelModules",
            "ProtectKernelTunables",
            "ProtectControlGroups",
            "ProtectHostname",
            "RestrictNamespaces",
            "RestrictRealtime",
            "RestrictSUIDSGID",
            "LockPersonality",
            "MemoryDenyWriteExecute",
            "RemoveIPC",
        )
    )
    for family, labels in needed.families.items():
        yield f"# {family}: {joined(labels)}"
    yield f"RestrictAddressFamilies={' '.join(['AF_UNIX', *needed.families])}"
    yield "SystemCallArchitectures=native"
    yield "SystemCallFilter=@system-service"
    yield "SystemCallFilter=~@privileged @resources"
    for call, labels in needed.calls.items():
        yield f"# {joined(labels)}"
        yield f"SystemCallFilter={call}"
    yield "SystemCallErrorNumber=EPERM"
    if needed.memory:
        yield f"# {joined(needed.memory)}: before Linux 5.11"
        yield "LimitMEMLOCK=infinity"
    if needed.left_out:
        yield "# Not granted:"
        yield from (f"#   {line}" for line in dict.fromkeys(needed.left_out))


def _capabilities(needed: _Loosened) -> Iterator[str]:
    for name, labels in needed.capabilities.items():
        yield f"# {name}: {joined(labels)}"
    granted = " ".join(needed.capabilities)
    yield f"CapabilityBoundingSet={granted}"
    if granted:
        yield f"AmbientCapabilities={granted}"
        # In a user namespace of its own a capability means nothing to the kernel outside.
        yield "PrivateUsers=no"
    else:
        yield "PrivateUsers=yes"


def _devices(needed: _Loosened) -> Iterator[str]:
    if not needed.devices:
        yield "PrivateDevices=yes"
        return
    yield "PrivateDevices=no"
    yield "DevicePolicy=closed"
    for device, labels in needed.devices.items():
        yield f"# {joined(labels)}"
        yield f"DeviceAllow={device}"


def _switch(name: str, strict: str, loose: str, labels: list[str]) -> Iterator[str]:
    """Yield a line in its strict form, or in the loose one with those that need it."""
    if labels:
        yield f"# {joined(labels)}"
    yield f"{name}={loose if labels else strict}"


def _reload_line(executable: str, config: Path, can_reload: bool) -> str:
    if can_reload:
        return f"ExecReload={_words(executable, 'reload', '-c', str(config))}"
    # Slim systems have no /bin/kill; every shell has its own.
    return "ExecReload=/bin/sh -c 'kill -HUP $MAINPID'"


def _words(*words: str) -> str:
    """Return a command line as systemd.service(5) reads it."""
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    escaped = word.replace("%", "%%").replace("$", "$$")
    if escaped.strip("\"'") == escaped and not any(mark in escaped for mark in " \t\\;\"'"):
        return escaped
    inner = escaped.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{inner}"'


def _is_below(path: Path, folders: tuple[str, ...]) -> bool:
    return any(path == Path(folder) or Path(folder) in path.parents for folder in folders)
