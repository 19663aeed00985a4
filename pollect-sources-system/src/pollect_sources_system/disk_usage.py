"""Source `DiskUsage`: space of mounted file systems.

Asked by statvfs(3), which hangs when the server of a network or FUSE mount is gone. So the calls
run in a helper thread: a mount that gives no answer in time is left out until its call returned,
and no second call is started for it. Cost of a probe: a system call per mount.

Without `disks` the mounts are those of `/proc/self/mountinfo` (proc(5)), elsewhere psutil's. Of the
host around a container they are those of its process 1, asked below the `rootfs` of the roots.
"""

import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from types import ModuleType
from typing import Annotated, NamedTuple

from msgspec import Meta

from pollect.api import (
    YES_NO,
    Alert,
    ConfigError,
    FilePath,
    Headline,
    Metric,
    Panel,
    Sample,
    Source,
    SourceConfig,
    SourceContext,
    TargetUnavailable,
)
from pollect.support.distinct import shorten_apart
from pollect.support.filters import NameFilter, Names
from pollect_sources_system.kernel import (
    ON_LINUX,
    Mount,
    parse_filesystems,
    parse_mountinfo,
    parse_mounts,
    read_of_namespace,
    read_text,
)
from pollect_sources_system.load_psutil import load_psutil

#: How long statvfs may take before a mount counts as stuck; node_exporter allows the same.
LIMIT_SECONDS = 5.0
#: After this long without an answer the mounts still waiting get another thread.
PATIENCE_SECONDS = 0.1
#: A helper thread waits for so many intervals for the next probe, and so many seconds at most.
LINGER_INTERVALS = 2.5
LONGEST_LINGER_SECONDS = 60.0
ROOT = "/"
#: What the troubles call the list of mounts.
MOUNTS = "mounts"
#: Images that can only be read: they are always full.
IMAGE_TYPES = ("squashfs", "erofs", "iso9660", "udf")
#: A number or a truth value, written where a path belongs.
_NO_PATH = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?|true|false|null", re.IGNORECASE)

SPACE = Metric(
    help="Space in bytes; `used` counts what is reserved for root as free, `free` does not.",
    unit="bytes",
    labels=("disk", "type"),
    alert=Alert(
        "DiskFull",
        "less than 5 % of the disk is free",
        below=0.05,
        lasting_seconds=600,
        labels={"type": "free"},
        share_of={"type": "total"},
    ),
    headline=[Headline(kind, {"type": kind}, words={"_": "/"}) for kind in ("free", "used")],
)
INODES = Metric(
    "inodes",
    help="Inodes of the file system, by state.",
    unit="inodes",
    labels=("disk", "type"),
    alert=Alert(
        "InodesUsedUp",
        "less than 5 % of the inodes are free: soon it takes no new files",
        below=0.05,
        lasting_seconds=600,
        labels={"type": "free"},
        share_of={"type": "total"},
    ),
    panel=Panel(needs=("inodes|details",)),
)
READONLY = Metric(
    "readonly",
    help="1 if the file system is mounted read-only, else 0.",
    labels=("disk",),
    panel=YES_NO.needing("readonly|details"),
)


class Space(NamedTuple):
    """What one file system says of itself, in bytes and inodes."""

    total: int
    used: int
    free: int
    inodes: int = 0
    inodes_free: int = 0
    readonly: bool = False


class DiskUsageConfig(SourceConfig, frozen=True, kw_only=True):
    disks: Annotated[
        tuple[FilePath, ...] | FilePath | None,
        Meta(
            description="Mount points, or any path on the file systems; default: every mounted "
            "file system that is backed by a device."
        ),
    ] = None
    exclude: Annotated[
        Names,
        Meta(description="Mount points to leave out, by name or shell pattern (without `disks`)."),
    ] = None
    exclude_fs_types: Annotated[
        Names, Meta(description="File system types to leave out (without `disks`).")
    ] = IMAGE_TYPES
    inodes: Annotated[bool, Meta(description="Also report the inodes.")] = False
    readonly: Annotated[bool, Meta(description="Also report what is mounted read-only.")] = False


class DiskUsageSource(Source[DiskUsageConfig]):
    """Total, used and free space of file systems."""

    config_type = DiskUsageConfig
    metrics = (SPACE, INODES, READONLY)

    _psutil: ModuleType

    def __init__(self, config: DiskUsageConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._disks = [config.disks] if isinstance(config.disks, str) else config.disks
        for position, disk in enumerate(self._disks or ()):
            if not disk or _NO_PATH.fullmatch(disk):
                key = "disks" if isinstance(config.disks, str) else f"disks[{position}]"
                raise ConfigError(f"expected a path such as /srv, got {disk!r}", key=key)
        self._filter = NameFilter(exclude=config.exclude)
        self._type_filter = NameFilter(exclude=config.exclude_fs_types)
        self._reader = SpaceReader(
            min(LIMIT_SECONDS, self.deadline_seconds() / 2),
            linger_seconds=min(LINGER_INTERVALS * context.interval, LONGEST_LINGER_SECONDS),
        )

    def open(self) -> None:
        self._reader.open()
        if not self._disks and not ON_LINUX:
            self._psutil = load_psutil(self.context.roots)

    def probe(self) -> Iterable[Sample]:
        disks = self._label(self._disks or self._discover())
        places = {disk: str(self._place(disk)) for disk in disks}
        answers = self._reader.read(places.values())
        samples: list[Sample] = []
        for disk, label in disks.items():
            answer = answers.get(places[disk])
            if isinstance(answer, Space):
                self.troubles.works(disk)
                samples += self._samples(label, answer)
            elif answer is None:
                self.troubles.failed(disk, "stuck: its file system does not answer")
            else:
                self.troubles.failed(disk, answer.strerror or answer)
        self.troubles.keep({*disks, MOUNTS})
        if not samples and str(self.troubles):
            raise TargetUnavailable(str(self.troubles))
        return samples

    def close(self) -> None:
        self._reader.close()

    def _place(self, disk: str) -> str | Path:
        """Return where a path of the host is found here."""
        return self.context.roots.place(disk) if disk.startswith("/") else disk

    def _discover(self) -> list[str]:
        if not ON_LINUX:
            parts = self._psutil.disk_partitions(all=False)
            mounts = [Mount(part.mountpoint, part.fstype, part.device, "/") for part in parts]
            types = {mount.fs_type for mount in mounts}
        else:
            mounts, types = self._read_mounts()
        by_device: dict[str, list[Mount]] = {}
        for mount in mounts:
            if mount.fs_type in types and self._is_wanted(mount) and self._is_folder(mount):
                by_device.setdefault(mount.device, []).append(mount)
        found = [min((m.point for m in each), key=len) for each in by_device.values()]
        root = next((mount for mount in mounts if mount.point == ROOT), None)
        # In a container and on some routers the root is an overlay, which no device backs; it is
        # the disk that fills up all the same.
        if not found or (ROOT not in found and root is not None and self._is_wanted(root)):
            found.insert(0, ROOT)
        return found

    def _read_mounts(self) -> tuple[list[Mount], set[str]]:
        """Return what is mounted, and the types that a device backs."""
        roots = self.context.roots
        try:
            try:
                table = parse_mountinfo(read_of_namespace(roots, "mountinfo"))
            except FileNotFoundError:
                table = parse_mounts(read_of_namespace(roots, "mounts"))
            types = parse_filesystems(read_text(roots.proc / "filesystems"))
        except OSError as error:
            self.troubles.failed(MOUNTS, f"cannot be listed, only / is reported: {error}")
            return [], set()
        self.troubles.note(MOUNTS, table.problems)
        # fuseblk is what NTFS and exFAT are mounted as when a program serves them.
        return list(table.rows.values()), {*types, "fuseblk"}

    def _is_wanted(self, mount: Mount) -> bool:
        return self._type_filter.accepts(mount.fs_type) and self._filter.accepts(mount.point)

    def _is_folder(self, mount: Mount) -> bool:
        """Whether it is a folder, as opposed to a file such as /etc/resolv.conf of a container."""
        return mount.root == ROOT or os.path.isdir(self._place(mount.point))

    def _label(self, disks: Sequence[str]) -> dict[str, str]:
        return shorten_apart(dict.fromkeys(disks), format_label)

    def _samples(self, label: str, space: Space) -> Iterable[Sample]:
        if space.total:
            yield SPACE.sample(space.total, label, "total")
            yield SPACE.sample(space.used, label, "used")
            yield SPACE.sample(space.free, label, "free")
        if space.inodes and (self.config.inodes or self.config.details):
            yield INODES.sample(space.inodes, label, "total")
            yield INODES.sample(space.inodes - space.inodes_free, label, "used")
            yield INODES.sample(space.inodes_free, label, "free")
        if self.config.readonly or self.config.details:
            yield READONLY.sample(float(space.readonly), label)


class SpaceReader:
    """Asks file systems for their space without waiting for those that hang."""

    def __init__(
        self,
        limit_seconds: float = LIMIT_SECONDS,
        ask: Callable[[str], Space] | None = None,
        *,
        linger_seconds: float = LIMIT_SECONDS,
    ) -> None:
        """`ask` is the call that may hang, `read_space` by default.

        `linger_seconds`: how long a thread waits for the next paths before it ends.
        """
        self._limit_seconds = limit_seconds
        self._ask = ask or read_space
        self._linger_seconds = linger_seconds
        self._lock = threading.Lock()
        #: Each has a thread that takes it; None ends one.
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        #: Whether a thread waits for a job.
        self._idle = False
        self._closed = False
        #: Paths whose call has not returned; worker threads take theirs out.
        self._pending: set[str] = set()

    def open(self) -> None:
        """Keep a thread for the next paths from now on."""
        self._closed = False

    def close(self) -> None:
        """Let the threads end, those inside of a call when that returns."""
        with self._lock:
            self._closed = True
            if self._idle:
                self._idle = False
                self._jobs.put(None)

    def read(self, paths: Iterable[str]) -> dict[str, Space | OSError]:
        """Return the space of each path, or why there is none; what is stuck is missing."""
        todo = deque(path for path in paths if path not in self._pending)
        results: SimpleQueue[tuple[str, Space | OSError]] = SimpleQueue()
        answers: dict[str, Space | OSError] = {}
        expected = len(todo)
        until = time.monotonic() + self._limit_seconds
        self._pending.update(todo)
        try:
            if todo:
                self._start(_Job(todo, results))
            while len(answers) < expected and (left := until - time.monotonic()) > 0:
                try:
                    path, answer = results.get(timeout=min(left, PATIENCE_SECONDS))
                except Empty:
                    if todo:
                        self._start(_Job(todo, results))
                    continue
                answers[path] = answer
        finally:
            self._pending.difference_update(todo)  # no thread came to ask them
            todo.clear()
        return answers

    def _start(self, job: "_Job") -> None:
        """Have a thread take a job; raises `RuntimeError` if the system has none left."""
        with self._lock:
            if not self._idle:
                # Daemonic: nothing can end a thread inside a hung system call, nor should exit
                # wait.
                threading.Thread(target=self._work, name="disk-usage", daemon=True).start()
            self._idle = False
            self._jobs.put(job)

    def _work(self) -> None:
        job = self._jobs.get()
        while job is not None:
            self._do(job)
            job = self._next()

    def _next(self) -> "_Job | None":
        """Wait for a job; None to end the thread."""
        with self._lock:
            if self._idle or self._closed:
                return None
            self._idle = True
        try:
            return self._jobs.get(timeout=self._linger_seconds)
        except Empty:
            with self._lock:
                if self._idle:
                    self._idle = False
                    return None
            return self._jobs.get()  # it came at the last moment

    def _do(self, job: "_Job") -> None:
        while job.todo:
            try:
                path = job.todo.popleft()
            except IndexError:
                return  # another thread took the last one
            answer: Space | OSError
            try:
                answer = self._ask(path)
            except OSError as error:
                answer = error
            self._pending.discard(path)
            job.results.put((path, answer))


class _Job(NamedTuple):
    #: Paths to ask; several threads may share them.
    todo: deque[str]
    results: SimpleQueue[tuple[str, Space | OSError]]


def read_space(path: str) -> Space:
    """Return the space of the file system that holds `path`; raises `OSError`."""
    if not hasattr(os, "statvfs"):
        import shutil  # brings every kind of archive along, 0.4 MB

        return Space(*shutil.disk_usage(path))
    found = os.statvfs(path)
    return Space(
        total=found.f_blocks * found.f_frsize,
        used=(found.f_blocks - found.f_bfree) * found.f_frsize,
        free=found.f_bavail * found.f_frsize,
        inodes=found.f_files,
        inodes_free=found.f_ffree,
        readonly=bool(found.f_flag & os.ST_RDONLY),
    )


def format_label(disk: str) -> str:
    r"""Return the label of a path: `/mnt/data` is `_mnt_data`, `C:\` is `C`."""
    label = disk.replace("\\", "/").replace(":", "")
    return label.replace("/", "_" if label.startswith("/") else "")
