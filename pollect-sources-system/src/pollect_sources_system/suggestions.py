"""What `pollect init` writes into the config of a new host: sources for what the host has.

Everything is read from the kernel's files; nothing is started.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pollect.api import Roots, Suggestion
from pollect_sources_system.container.cgroups import find_containers, is_version_2
from pollect_sources_system.md_raid import split_mdstat

_DRIVE = re.compile(r"sd[a-z]+|nvme\d+|hd[a-z]")
#: Block devices that are no hardware, as patterns for `exclude`.
_PSEUDO_DEVICES = ("loop", "ram", "zram")
#: Services that every host has; those of the operator are more interesting.
_PLUMBING = re.compile(r"systemd-.*|dbus.*|user@.*|getty@.*|serial-getty@.*|polkit|init|rc-local")
#: A config with more units than this is not a good example.
_MAX_UNITS = 12


def suggest(roots: Roots) -> Iterator[Suggestion]:
    """Yield a section for everything this host has, the common ones first."""
    yield _source("Load averages over 1, 5 and 15 minutes.", type="LoadAvg")
    yield _source(
        "What the CPUs spend their time on; `perCore: true` adds each of them.", type="Cpu"
    )
    yield _source("Main memory; `details: true` adds buffers, slab and more.", type="MemoryUsage")
    if re.search(r"^SwapTotal:\s*[1-9]", _read(roots.proc / "meminfo"), re.MULTILINE):
        yield _source("Swap space, and what moves to it and back.", type="Swap")
    yield _source(
        "Space of every mounted disk. `disks: [/, /mnt/data]` would report only those.",
        type="DiskUsage",
    )
    yield _source(
        "Traffic of the network cards but the loopback.", type="Interface", exclude=["lo"]
    )
    if devices := _list(roots.sys / "block"):
        pseudo = [
            f"{name}*"
            for name in _PSEUDO_DEVICES
            if any(device.startswith(name) for device in devices)
        ]
        options = {"exclude": pseudo} if pseudo else {}
        yield Suggestion("source", {"type": "IO", **options}, "Activity of the disks.")
    yield _source(
        "CPU and memory of processes found by their command line, here pollect itself. The name "
        "becomes part of the metrics.",
        type="Process",
        name="pollect",
        procRegex="pollect run",
    )
    yield _source("Uptime and boot time.", type="Uptime")
    if _read(roots.proc / "pressure" / "cpu"):
        yield _source("How much waits for CPU, memory and disks (PSI).", type="Pressure")
    yield from _suggest_hardware(roots)
    yield from _suggest_services(roots)


def _suggest_hardware(roots: Roots) -> Iterator[Suggestion]:
    if _list(roots.sys / "class" / "hwmon"):
        yield _source("Temperatures, voltages, fans and power.", type="Sensors")
    drives = [name for name in _list(roots.dev) if _DRIVE.fullmatch(name)]
    if drives:
        yield _source(
            "Health of the drives; disks that sleep are left asleep.",
            type="SmartCtl",
            tickTime=300,
        )
    if any(split_mdstat(_read(roots.proc / "mdstat"))):
        yield _source("Software RAID: failed disks, and how far a recovery is.", type="MdRaid")
    if any((roots.proc / "spl" / "kstat" / "zfs").glob("*/state")):
        yield _source("ZFS pools: space, health, activity and the cache.", type="Zfs", arc=True)


def _suggest_services(roots: Roots) -> Iterator[Suggestion]:
    cgroups = roots.sys / "fs" / "cgroup"
    try:
        containers = find_containers(cgroups)
    except OSError:
        containers = []
    if containers:
        yield _source("CPU, memory and I/O of every container.", type="Container")
    tree = cgroups if is_version_2(cgroups) else cgroups / "systemd"
    units = [name for name in _list(tree / "system.slice") if name.endswith(".service")]
    own = [unit for unit in units if not _PLUMBING.fullmatch(unit.removesuffix(".service"))]
    if own:
        yield _source(
            "State, restarts, memory and CPU time of the services that run now.",
            type="SystemdUnit",
            units=own[:_MAX_UNITS],
        )


def _source(comment: str, *, caveat: str = "", **section: Any) -> Suggestion:
    return Suggestion("source", section, comment, caveat)


def _list(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8", "replace")
    except OSError:
        return ""
