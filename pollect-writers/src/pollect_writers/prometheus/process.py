"""The metrics `process_*` and `python_*` that every Python client of Prometheus shows.

Read as prometheus-client reads them, from /proc (proc(5)), the garbage collector and the
interpreter, but without the library, which brings its HTTP servers and TLS: 14 MB that would stay
resident in every daemon. Where there is no /proc, only `python_*` is shown.
"""

import gc
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from pollect.api import Kind, Metric, Sample

VIRTUAL_MEMORY = Metric("process_virtual_memory_bytes", help="Virtual memory size in bytes.")
RESIDENT_MEMORY = Metric("process_resident_memory_bytes", help="Resident memory size in bytes.")
START_TIME = Metric(
    "process_start_time_seconds", help="Start time of the process since unix epoch in seconds."
)
CPU = Metric(
    "process_cpu_seconds_total",
    help="Total user and system CPU time spent in seconds.",
    kind=Kind.COUNTER,
)
OPEN_FILES = Metric("process_open_fds", help="Number of open file descriptors.")
MAX_OPEN_FILES = Metric("process_max_fds", help="Maximum number of open file descriptors.")

_GENERATION = ("generation",)
GC_COLLECTED = Metric(
    "python_gc_objects_collected_total",
    help="Objects collected during gc",
    kind=Kind.COUNTER,
    labels=_GENERATION,
)
GC_UNCOLLECTABLE = Metric(
    "python_gc_objects_uncollectable_total",
    help="Uncollectable objects found during GC",
    kind=Kind.COUNTER,
    labels=_GENERATION,
)
GC_COLLECTIONS = Metric(
    "python_gc_collections_total",
    help="Number of times this generation was collected",
    kind=Kind.COUNTER,
    labels=_GENERATION,
)
INFO = Metric(
    "python_info",
    help="Python platform information",
    labels=("version", "implementation", "major", "minor", "patchlevel"),
)

#: More than the kernel shows in one of the files read at a scrape.
_MOST_BYTES = 16 * 1024

METRICS = (
    *(VIRTUAL_MEMORY, RESIDENT_MEMORY, START_TIME, CPU, OPEN_FILES, MAX_OPEN_FILES),
    *(GC_COLLECTED, GC_UNCOLLECTABLE, GC_COLLECTIONS, INFO),
)


class Process:
    """The process this runs in; `proc` is where its kernel shows it."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        # Texts, as a scrape waits for these to be read.
        self._stat, self._limits, self._open = (
            str(proc / "self" / name) for name in ("stat", "limits", "fd")
        )
        self._ticks = os.sysconf("SC_CLK_TCK")
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self._boot_time = _boot_time(proc)
        self._info = INFO.sample(
            1,
            platform.python_version(),
            platform.python_implementation(),
            *platform.python_version_tuple(),
        )

    def samples(self) -> Iterator[Sample]:
        """Yield the values of now; a file that cannot be read costs what stands in it."""
        if self._boot_time is not None:
            for read in (self._usage, self._files):
                try:
                    yield from read(self._boot_time)
                except OSError:
                    continue
        if sys.implementation.name == "cpython":
            yield from _garbage_collector()
        yield self._info

    def _usage(self, boot_time: float) -> list[Sample]:
        # The name of the program stands in brackets and may hold some itself.
        fields = _read(self._stat).rpartition(b")")[2].split(None, 22)
        return [
            Sample(VIRTUAL_MEMORY, float(fields[20])),
            Sample(RESIDENT_MEMORY, float(fields[21]) * self._page_bytes),
            Sample(START_TIME, float(fields[19]) / self._ticks + boot_time),
            Sample(CPU, float(fields[11]) / self._ticks + float(fields[12]) / self._ticks),
        ]

    def _files(self, boot_time: float) -> list[Sample]:
        limits = _read(self._limits).partition(b"\nMax open files")[2].split(None, 1)
        samples = [Sample(OPEN_FILES, float(len(os.listdir(self._open))))]
        if limits and limits[0] != b"unlimited":
            samples.append(Sample(MAX_OPEN_FILES, float(limits[0])))
        return samples


def _read(file: str) -> bytes:
    """Return a short file of the kernel."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _MOST_BYTES)
    finally:
        os.close(descriptor)


def _boot_time(proc: Path) -> float | None:
    """Return when the kernel started, in seconds since 1970; None where there is no /proc."""
    try:
        lines = (proc / "stat").read_bytes().splitlines()
    except OSError:
        return None
    return next((float(line.split()[1]) for line in lines if line.startswith(b"btime ")), None)


def _garbage_collector() -> Iterator[Sample]:
    stats = gc.get_stats()
    for metric, key in (
        (GC_COLLECTED, "collected"),
        (GC_UNCOLLECTABLE, "uncollectable"),
        (GC_COLLECTIONS, "collections"),
    ):
        for generation, stat in enumerate(stats):
            yield Sample(metric, float(stat[key]), (str(generation),))
