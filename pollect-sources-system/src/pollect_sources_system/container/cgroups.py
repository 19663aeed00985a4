"""Containers as the kernel sees them: control groups, version 2 or 1.

Every runtime puts a container into a cgroup that ends in its id of 64 hexadecimal digits, with the
runtime's name around it when systemd makes the cgroup::

    system.slice/docker-ID.scope    docker/ID                    Docker
    machine.slice/libpod-ID.scope   libpod_parent/libpod-ID      Podman
    .../cri-containerd-ID.scope     .../crio-ID.scope            Kubernetes
    system.slice/nerdctl-ID.scope   default/ID                   containerd

Figures are those of the kernel's documentation, admin-guide/cgroup-v2 and cgroup-v1.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

MICROSECONDS_PER_SECOND = 1_000_000
NANOSECONDS_PER_SECOND = 1_000_000_000
#: Version 1 shows "no limit" as the largest number of pages there is, in bytes.
NO_LIMIT_BYTES = 2**62

RUNTIMES = {
    "docker": "docker",
    "libpod": "podman",
    "cri-containerd": "containerd",
    "nerdctl": "containerd",
    "containerd": "containerd",
    "crio": "crio",
}
_CGROUP = re.compile(r"(?:(?P<prefix>[a-z-]+)-)?(?P<id>[0-9a-f]{64})(?:\.scope)?")


class Found(NamedTuple):
    """A container's cgroup."""

    id: str
    runtime: str
    #: Below the root of the hierarchy, or of each hierarchy of version 1.
    path: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What a container uses; None for what its cgroup does not account for."""

    cpu_seconds: float | None = None
    memory_bytes: float | None = None
    #: Memory without the file cache that can be dropped, as cAdvisor and Kubernetes count it.
    working_set_bytes: float | None = None
    memory_limit_bytes: float | None = None
    read_bytes: float | None = None
    written_bytes: float | None = None
    reads: float | None = None
    writes: float | None = None
    tasks: float | None = None


def is_version_2(root: Path) -> bool:
    """Return whether the hierarchy at `root` (`/sys/fs/cgroup`) is that of version 2.

    On hybrid hosts version 2 is mounted below it, but the figures are in version 1.
    """
    return (root / "cgroup.controllers").exists()


def find_containers(root: Path) -> list[Found]:
    """Return the cgroups of all running containers; raises `OSError`."""
    if is_version_2(root):
        return list(_walk(root))
    # Not every controller need be mounted, and they need not agree on all containers.
    found: dict[str, Found] = {}
    for controller in ("memory", "cpuacct", "pids", "blkio"):
        if (root / controller).is_dir():
            found |= {container.id: container for container in _walk(root / controller)}
    return list(found.values())


def _walk(root: Path) -> Iterator[Found]:
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(root / folder) as entries:
                names = sorted(entry.name for entry in entries if entry.is_dir())
        except FileNotFoundError:
            continue  # it ended meanwhile
        for name in names:
            path = f"{folder}/{name}" if folder else name
            match = _CGROUP.fullmatch(name)
            if match is None:
                folders.append(path)
            elif match["prefix"] is None or match["prefix"] in RUNTIMES:
                prefix = match["prefix"] or folder.rpartition("/")[2]
                yield Found(match["id"], RUNTIMES.get(prefix, "containerd"), path)


def read_usage(root: Path, container: Found) -> Usage:
    """Return what a container uses now; a cgroup that ended meanwhile gives nothing."""
    if is_version_2(root):
        return _read_version_2(root / container.path)
    return _read_version_1(root, container.path)


def _read_version_2(folder: Path) -> Usage:
    cpu = _read_pairs(folder / "cpu.stat")
    memory = _read_number(folder / "memory.current")
    io = parse_io_stat(_read(folder / "io.stat"))
    # Without the controller the file is missing; with it and without I/O it is empty.
    has_io = (folder / "io.stat").exists()
    inactive = _read_pairs(folder / "memory.stat").get("inactive_file", 0.0)
    usage = cpu.get("usage_usec")
    return Usage(
        cpu_seconds=None if usage is None else usage / MICROSECONDS_PER_SECOND,
        memory_bytes=memory,
        working_set_bytes=None if memory is None else max(0.0, memory - inactive),
        memory_limit_bytes=_read_number(folder / "memory.max"),
        read_bytes=io.get("rbytes", 0.0) if has_io else None,
        written_bytes=io.get("wbytes", 0.0) if has_io else None,
        reads=io.get("rios", 0.0) if has_io else None,
        writes=io.get("wios", 0.0) if has_io else None,
        tasks=_read_number(folder / "pids.current"),
    )


def _read_version_1(root: Path, path: str) -> Usage:
    cpu = _read_number(root / "cpuacct" / path / "cpuacct.usage")
    memory = _read_number(root / "memory" / path / "memory.usage_in_bytes")
    limit = _read_number(root / "memory" / path / "memory.limit_in_bytes")
    statistics = _read_pairs(root / "memory" / path / "memory.stat")
    volume = parse_blkio(_read(root / "blkio" / path / "blkio.throttle.io_service_bytes"))
    operations = parse_blkio(_read(root / "blkio" / path / "blkio.throttle.io_serviced"))
    inactive = statistics.get("total_inactive_file", 0.0)
    return Usage(
        cpu_seconds=None if cpu is None else cpu / NANOSECONDS_PER_SECOND,
        memory_bytes=memory,
        working_set_bytes=None if memory is None else max(0.0, memory - inactive),
        memory_limit_bytes=limit if limit is not None and limit < NO_LIMIT_BYTES else None,
        read_bytes=volume.get("Read"),
        written_bytes=volume.get("Write"),
        reads=operations.get("Read"),
        writes=operations.get("Write"),
        tasks=_read_number(root / "pids" / path / "pids.current"),
    )


def parse_io_stat(text: str) -> dict[str, float]:
    """Return the sums over all devices of `io.stat`: `8:0 rbytes=1 wbytes=2 rios=3 wios=4`."""
    return _add_up(
        field.partition("=")[::2] for line in text.splitlines() for field in line.split()[1:]
    )


def parse_blkio(text: str) -> dict[str, float]:
    """Return the sums over all devices of a `blkio.throttle` file: lines of `8:0 Read 123`."""
    rows = (line.split() for line in text.splitlines())
    return _add_up((row[1], row[2]) for row in rows if len(row) == 3)


def _add_up(pairs: Iterable[tuple[str, str]]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for name, value in pairs:
        if value.isdecimal():
            sums[name] = sums.get(name, 0.0) + float(value)
    return sums


def _read_pairs(file: Path) -> Mapping[str, float]:
    rows = (line.split() for line in _read(file).splitlines())
    return {row[0]: float(row[1]) for row in rows if len(row) == 2 and row[1].isdecimal()}


def _read_number(file: Path) -> float | None:
    """Return the number in a file; None if there is none, and for `max`."""
    text = _read(file).strip()
    return float(text) if text.isdecimal() else None


def _read(file: Path) -> str:
    try:
        return file.read_text("ascii")
    except OSError:
        return ""  # the controller is off, or the container ended meanwhile
