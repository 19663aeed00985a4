"""The tables of Linux in `/proc`, read line by line: one that makes no sense costs only itself.

Formats are those of proc(5) and of the kernel's documentation, admin-guide/iostats.
"""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from pollect.api import BadResponse, Roots, SourceContext

ON_LINUX: bool = sys.platform.startswith("linux")
OWN_PROC = Path("/proc")
SECTOR_BYTES = 512
QUOTED_CHARACTERS = 80
#: Label value of all CPUs together.
ALL = "all"
CPU_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
#: Older kernels have fewer columns, 2.6.0 these.
FEWEST_CPU_MODES = 4

_Row = TypeVar("_Row")
#: Names may hold blanks of Unicode, which are no separators.
_WORDS = re.compile(r"[^ \t]+")
_MEMINFO_LINE = re.compile(r"^(\w+): +([0-9]{1,18})\b", re.MULTILINE)


class Table(NamedTuple, Generic[_Row]):
    """Rows by the name of what they are about, and what could not be read."""

    rows: dict[str, _Row]
    problems: list[str]


class CardCounters(NamedTuple):
    """One network card, its fields named as psutil names them."""

    bytes_recv: int
    packets_recv: int
    errin: int
    dropin: int
    bytes_sent: int
    packets_sent: int
    errout: int
    dropout: int


class DiskCounters(NamedTuple):
    """One block device, its fields named as psutil names them; times in milliseconds."""

    read_count: int
    read_bytes: int
    read_time: int
    write_count: int
    write_bytes: int
    write_time: int
    busy_time: int


class Memory(NamedTuple):
    """Main memory in bytes, its fields named as psutil names them; None for what is not known."""

    total: int
    available: int
    free: int
    buffers: int
    #: File contents, and what the kernel could give back of its own tables.
    cached: int
    shared: int | None
    slab: int | None
    active: int | None
    inactive: int | None


class Mount(NamedTuple):
    """One mounted file system."""

    point: str
    fs_type: str
    #: What tells file systems apart: `major:minor`, or the name of the device.
    device: str
    #: Folder or file of the file system that shows at `point`; empty if not known.
    root: str


def place_of(context: SourceContext, path: str) -> Path:
    """Return where a path of the config is found: beside the config, or below the host's root.

    One that names the host's root itself (`/host/var/lib`) is taken as it is.
    """
    found = context.config_dir / Path(path).expanduser()
    is_of_host = path.startswith("/") and not found.is_relative_to(context.roots.rootfs)
    return context.roots.place(found) if is_of_host else found


def read_of_namespace(roots: Roots, name: str) -> str:
    """Return a file that shows the namespaces of its process: `net/dev`, `mountinfo`.

    For the host around a container they are those of process 1. Raises `OSError`.
    """
    folders = ["", "self"] if roots.proc == OWN_PROC else ["1", "", "self"]
    errors: list[OSError] = []
    for folder in folders:
        try:
            return read_text(roots.proc / folder / name)
        except OSError as error:
            errors.append(error)
    # Permission denied says more than that there is no such file elsewhere.
    raise min(errors, key=lambda error: isinstance(error, FileNotFoundError))


def read_text(file: Path) -> str:
    """Return the text of a file, whose names may not be UTF-8; raises `OSError`."""
    return os.fsdecode(file.read_bytes())


def parse_cpu_times(text: str) -> Table[dict[str, float]]:
    """Return seconds by mode out of `/proc/stat`, by the kernel's number of the CPU and `all`."""
    ticks_per_second = os.sysconf("SC_CLK_TCK")

    def parse(words: list[str]) -> tuple[str, dict[str, float]]:
        ticks = [int(word) for word in words[1 : 1 + len(CPU_MODES)]]
        if len(ticks) < FEWEST_CPU_MODES:
            raise ValueError("too few columns")
        number = words[0].removeprefix("cpu")
        seconds = (tick / ticks_per_second for tick in ticks)
        return str(int(number)) if number else ALL, dict(zip(CPU_MODES, seconds, strict=False))

    lines = (line for line in text.split("\n") if line.startswith("cpu"))
    return _parse("\n".join(lines), parse)


def parse_meminfo(text: str) -> Memory:
    """Return the memory out of `/proc/meminfo`: lines as `MemTotal: 3742148 kB`.

    Raises `BadResponse` for one without what every kernel tells.
    """
    found: dict[str, str] = dict(_MEMINFO_LINE.findall(text))

    def size(name: str) -> int | None:
        return int(found[name]) * 1024 if name in found else None

    total, free, buffers, cached = map(size, ("MemTotal", "MemFree", "Buffers", "Cached"))
    if total is None or free is None or buffers is None or cached is None:
        quoted = text[:QUOTED_CHARACTERS]
        raise BadResponse(f"expected MemTotal, MemFree, Buffers and Cached, got {quoted!r}")
    available = size("MemAvailable")
    if available is None:  # Linux before 3.14
        available = free + cached
    elif available > total:  # a container sees its own total, and what its host has available
        available = free
    reclaimable = size("SReclaimable") or 0
    rest = map(size, ("Shmem", "Slab", "Active", "Inactive"))
    return Memory(total, available, free, buffers, cached + reclaimable, *rest)


def parse_net_dev(text: str) -> Table[CardCounters]:
    """Return the cards of `/proc/net/dev`: two lines of heading, then `eth0: 1 2 ...`."""

    def parse(words: list[str]) -> tuple[str, CardCounters]:
        # A name may have colons, and may touch its first number.
        name, colon, rest = " ".join(words).rpartition(":")
        if not (name and colon):
            raise ValueError("no name")
        numbers = [int(word) for word in rest.split()]
        return name, CardCounters(*numbers[:4], *numbers[8:12])

    return _parse("\n".join(text.split("\n")[2:]), parse)


def parse_diskstats(text: str) -> Table[DiskCounters]:
    """Return the devices of `/proc/diskstats`, disks and partitions."""

    def parse(words: list[str]) -> tuple[str, DiskCounters]:
        numbers = [int(word) for word in words[3:]]
        if len(numbers) == 4:  # a partition, up to Linux 2.6.24
            reads, read_sectors, writes, written_sectors = numbers
            read_time = write_time = busy = 0
        else:
            reads, _, read_sectors, read_time, writes, _, written_sectors, write_time = numbers[:8]
            busy = numbers[9]
        return words[2], DiskCounters(
            reads,
            read_sectors * SECTOR_BYTES,
            read_time,
            writes,
            written_sectors * SECTOR_BYTES,
            write_time,
            busy,
        )

    return _parse(text, parse)


def parse_filesystems(text: str) -> set[str]:
    """Return the types of `/proc/filesystems` that are backed by a device, and ZFS."""
    rows = (line.split() for line in text.splitlines())
    return {"zfs", *(row[0] for row in rows if len(row) == 1)}


def parse_mountinfo(text: str) -> Table[Mount]:
    """Return the mounts of `/proc/self/mountinfo`; of several at one place the last hides them."""

    def parse(words: list[str]) -> tuple[str, Mount]:
        separator = words.index("-", 6)
        point, fs_type, source = _unescape(words[4]), words[separator + 1], words[separator + 2]
        # btrfs gives every subvolume a number of its own.
        device = source if fs_type == "btrfs" else words[2]
        return point, Mount(point, fs_type, device, _unescape(words[3]))

    return _parse(text, parse)


def parse_mounts(text: str) -> Table[Mount]:
    """Return the mounts of `/proc/mounts`, which does not show the root of a mount."""

    def parse(words: list[str]) -> tuple[str, Mount]:
        point = _unescape(words[1])
        return point, Mount(point, words[2], words[0], "")

    return _parse(text, parse)


def _parse(text: str, parse: Callable[[list[str]], tuple[str, _Row]]) -> Table[_Row]:
    rows: dict[str, _Row] = {}
    problems: list[str] = []
    for line in text.split("\n"):
        words = _WORDS.findall(line)
        if not words:
            continue
        try:
            name, row = parse(words)
        except (ValueError, IndexError, TypeError, OverflowError):
            quoted = " ".join(words)[:QUOTED_CHARACTERS]
            problems.append(f"cannot make sense of the line {quoted!r}")
            continue
        rows.pop(name, None)
        rows[name] = row
    return Table(rows, problems)


def _unescape(text: str) -> str:
    """Return a path of a table of mounts, where a blank is written as `\\040`."""
    first, *rest = text.split("\\")
    return first + "".join(
        chr(int(part[:3], 8)) + part[3:] if part[:3].isdigit() else f"\\{part}" for part in rest
    )
