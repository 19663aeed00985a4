"""Containers as the kernel sees them: control groups, version 2 or 1.

Every runtime puts a container into a cgroup that ends in its id of 64 hexadecimal digits, with the
runtime's name around it when systemd makes the cgroup::

    system.slice/docker-ID.scope    docker/ID                    Docker
    machine.slice/libpod-ID.scope   libpod_parent/libpod-ID      Podman
    system.slice/web.service/libpod-payload-ID                   Podman Quadlet
    .../cri-containerd-ID.scope     .../crio-ID.scope            Kubernetes
    .../kubepods-podUID.slice:cri-containerd:ID                  Kubernetes, mixed drivers
    system.slice/nerdctl-ID.scope   default/ID                   containerd

A bare id below a folder of any other name may be of any of them.

Figures are those of the kernel's documentation, admin-guide/cgroup-v2 and cgroup-v1.
"""

import errno
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
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
    "libpod-payload": "podman",
    "cri-containerd": "containerd",
    "nerdctl": "containerd",
    "containerd": "containerd",
    "crio": "crio",
}
#: Where a bare id stands for a container of this runtime.
PARENTS = {"docker": "docker", "libpod_parent": "podman"}
_CGROUP = re.compile(r"(?:(?:.*:)?(?P<prefix>[a-z-]+)[-:])?(?P<id>[0-9a-f]{64})(?:\.scope)?")
_DEVICE = re.compile(r"\d+:\d+")
_ABSENT = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ESRCH, errno.EOPNOTSUPP))


class Found(NamedTuple):
    """A container's cgroup."""

    id: str
    #: Empty when the cgroup does not show it.
    runtime: str
    #: Below the root of the hierarchy, or of each hierarchy of version 1.
    path: str

    @property
    def unit(self) -> str:
        """The service of systemd it runs in, `web` for `web.service`; empty outside of services."""
        parent = self.path.rpartition("/")[0].rpartition("/")[2]
        return parent.removesuffix(".service") if parent.endswith(".service") else ""


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
        except OSError:
            if not folder:
                raise
            continue  # it ended meanwhile
        for name in names:
            path = f"{folder}/{name}" if folder else name
            match = _CGROUP.fullmatch(name)
            if match is None:
                folders.append(path)
            elif match["prefix"] is None or match["prefix"] in RUNTIMES:
                parent = PARENTS.get(folder.rpartition("/")[2], "")
                yield Found(match["id"], RUNTIMES.get(match["prefix"] or "", parent), path)


class BlockDevices:
    """Which block devices are made of others, as `major:minor`; looked up once each."""

    def __init__(self, sys: Path) -> None:
        self._folder = sys / "dev" / "block"
        #: The devices below each, None where there are some but not which ones is known.
        self._below: dict[str, set[str] | None] = {}

    def find_stacked(self, devices: Collection[str]) -> set[str]:
        """Return those of `devices` whose I/O is counted again for another of them.

        That are volumes (device-mapper, md, bcache) on disks and loop devices on files.
        """
        return {device for device in devices if self._is_counted_below(device, devices)}

    def _is_counted_below(self, device: str, devices: Collection[str]) -> bool:
        below = self._find_below(device)
        if below is None:
            return len(devices) > 1
        return any(lower in devices or self._is_counted_below(lower, devices) for lower in below)

    def _find_below(self, device: str) -> set[str] | None:
        if device not in self._below:
            self._below[device] = set()  # no device is below itself
            self._below[device] = self._read_below(self._folder / device)
        return self._below[device]

    def _read_below(self, folder: Path) -> set[str] | None:
        if (folder / "loop" / "backing_file").exists():
            return None  # which disk holds the file is not recorded
        try:
            slaves = list((folder / "slaves").iterdir())
        except OSError:
            return set()
        # I/O is counted for disks, not for their partitions.
        disks = (
            slave.resolve().parent if (slave / "partition").exists() else slave for slave in slaves
        )
        numbers = {_read(disk / "dev").strip() for disk in disks}
        return None if "" in numbers else numbers


def read_usage(root: Path, container: Found, devices: BlockDevices, problems: list[str]) -> Usage:
    """Return what a container uses now; a cgroup that ended meanwhile gives nothing.

    What is there and cannot be read is added to `problems`.
    """
    files = _Files(problems)
    if is_version_2(root):
        return _read_version_2(root / container.path, devices, files)
    return _read_version_1(root, container.path, devices, files)


def _read_version_2(folder: Path, devices: BlockDevices, files: "_Files") -> Usage:
    cpu = files.pairs(folder / "cpu.stat")
    memory = files.number(folder / "memory.current")
    io = parse_io_stat(files.text(folder / "io.stat"), devices, files.problems)
    # Without the controller the file is missing; with it and without I/O it is empty.
    has_io = (folder / "io.stat").exists()
    inactive = files.pairs(folder / "memory.stat").get("inactive_file", 0.0)
    usage = cpu.get("usage_usec")
    return Usage(
        cpu_seconds=None if usage is None else usage / MICROSECONDS_PER_SECOND,
        memory_bytes=memory,
        working_set_bytes=None if memory is None else max(0.0, memory - inactive),
        memory_limit_bytes=files.number(folder / "memory.max"),
        read_bytes=io.get("rbytes", 0.0) if has_io else None,
        written_bytes=io.get("wbytes", 0.0) if has_io else None,
        reads=io.get("rios", 0.0) if has_io else None,
        writes=io.get("wios", 0.0) if has_io else None,
        tasks=files.number(folder / "pids.current"),
    )


def _read_version_1(root: Path, path: str, devices: BlockDevices, files: "_Files") -> Usage:
    cpu = files.number(root / "cpuacct" / path / "cpuacct.usage")
    memory = files.number(root / "memory" / path / "memory.usage_in_bytes")
    limit = files.number(root / "memory" / path / "memory.limit_in_bytes")
    statistics = files.pairs(root / "memory" / path / "memory.stat")
    blkio, problems = root / "blkio" / path, files.problems
    volume = parse_blkio(files.text(blkio / "blkio.throttle.io_service_bytes"), devices, problems)
    operations = parse_blkio(files.text(blkio / "blkio.throttle.io_serviced"), devices, problems)
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
        tasks=files.number(root / "pids" / path / "pids.current"),
    )


def parse_io_stat(text: str, devices: BlockDevices, problems: list[str]) -> dict[str, float]:
    """Return the sums over all disks of `io.stat`: `8:0 rbytes=1 wbytes=2 rios=3 wios=4`.

    Some kernels leave out the figures of an idle device and the end of its line, so that the next
    device stands behind it.
    """
    rows: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        words = line.split()
        found = [word for word in words if _DEVICE.fullmatch(word)]
        if found:
            rows.append((found[-1], words))
    stacked = devices.find_stacked({device for device, _ in rows})
    return _add_up(
        (
            word.partition("=")[::2]
            for device, words in rows
            if device not in stacked
            for word in words
            if not _DEVICE.fullmatch(word)
        ),
        problems,
    )


def parse_blkio(text: str, devices: BlockDevices, problems: list[str]) -> dict[str, float]:
    """Return the sums over all disks of a `blkio.throttle` file: lines of `8:0 Read 123`."""
    rows = [row for row in (line.split() for line in text.splitlines()) if len(row) == 3]
    stacked = devices.find_stacked({row[0] for row in rows})
    return _add_up(((row[1], row[2]) for row in rows if row[0] not in stacked), problems)


def _add_up(pairs: Iterable[tuple[str, str]], problems: list[str]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for name, value in pairs:
        if value.isdecimal():
            sums[name] = sums.get(name, 0.0) + float(value)
        else:
            problems.append(f"expected a number of {name!r:.40}, got {value!r:.40}")
    return sums


class _Files:
    """Reads the files of a cgroup, and notes those that hold something else than they should."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems

    def pairs(self, file: Path) -> Mapping[str, float]:
        """Return the numbers in the lines of `name number`."""
        found: dict[str, float] = {}
        for line in self.text(file).splitlines():
            name, _, value = line.partition(" ")
            if value.isdecimal():
                found[name] = float(value)
            else:
                self.problems.append(f"{file.name}: expected a name and a number, got {line!r:.60}")
        return found

    def number(self, file: Path) -> float | None:
        """Return the number in a file; None if there is none, and for `max`."""
        text = self.text(file).strip()
        if text.isdecimal():
            return float(text)
        if text not in ("", "max"):
            self.problems.append(f"{file.name}: expected a number, got {text!r:.60}")
        return None

    def text(self, file: Path) -> str:
        try:
            return _read_file(file)
        except OSError as error:
            # Else the controller is off, or the container ended meanwhile.
            if error.errno not in _ABSENT:
                self.problems.append(f"{file.name}: {error.strerror}")
            return ""


def _read_file(file: Path) -> str:
    return file.read_text("ascii", "replace")


def _read(file: Path) -> str:
    try:
        return _read_file(file)
    except OSError:
        return ""
