"""The metrics `process_*` and `python_*` that every Python client of Prometheus shows.

Read as prometheus-client reads them, from /proc (proc(5)), the garbage collector and the
interpreter, but without the library, which brings its HTTP servers and TLS: 14 MB that would stay
resident in every daemon. Where there is no /proc, only `python_*` is shown.
"""

import gc
import os
import platform
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

METRICS = (
    *(VIRTUAL_MEMORY, RESIDENT_MEMORY, START_TIME, CPU, OPEN_FILES, MAX_OPEN_FILES),
    *(GC_COLLECTED, GC_UNCOLLECTABLE, GC_COLLECTIONS, INFO),
)


class Process:
    """The process this runs in; `proc` is where its kernel shows it."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._folder = proc / "self"
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
        if platform.python_implementation() == "CPython":
            yield from _garbage_collector()
        yield self._info

    def _usage(self, boot_time: float) -> list[Sample]:
        # The name of the program stands in brackets and may hold some itself.
        fields = (self._folder / "stat").read_bytes().rpartition(b")")[2].split()
        ticks = os.sysconf("SC_CLK_TCK")
        return [
            VIRTUAL_MEMORY.sample(float(fields[20])),
            RESIDENT_MEMORY.sample(float(fields[21]) * os.sysconf("SC_PAGE_SIZE")),
            START_TIME.sample(float(fields[19]) / ticks + boot_time),
            CPU.sample(float(fields[11]) / ticks + float(fields[12]) / ticks),
        ]

    def _files(self, boot_time: float) -> list[Sample]:
        lines = (self._folder / "limits").read_bytes().splitlines()
        limits = (line.split()[3] for line in lines if line.startswith(b"Max open files"))
        return [
            OPEN_FILES.sample(float(len(os.listdir(self._folder / "fd")))),
            *(MAX_OPEN_FILES.sample(float(limit)) for limit in limits if limit != b"unlimited"),
        ]


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
            yield metric.sample(float(stat[key]), str(generation))
