"""The metrics `process_*` and `python_*` that every Python client of Prometheus shows.

Names, labels and values are those of prometheus-client, which pollect 1.x exposed. The library
itself is not used: importing it costs 57 ms and 13 MiB, half of what the whole daemon may take, and
these few lines are held against it in the tests. `/proc` is described in proc_pid_stat(5).
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
OPEN_FDS = Metric("process_open_fds", help="Number of open file descriptors.")
MAX_FDS = Metric("process_max_fds", help="Maximum number of open file descriptors.")
_GENERATION = ("generation",)
GC_METRICS = {
    "collected": Metric(
        "python_gc_objects_collected_total",
        help="Objects collected during gc",
        kind=Kind.COUNTER,
        labels=_GENERATION,
    ),
    "uncollectable": Metric(
        "python_gc_objects_uncollectable_total",
        help="Uncollectable objects found during GC",
        kind=Kind.COUNTER,
        labels=_GENERATION,
    ),
    "collections": Metric(
        "python_gc_collections_total",
        help="Number of times this generation was collected",
        kind=Kind.COUNTER,
        labels=_GENERATION,
    ),
}
PYTHON_INFO = Metric(
    "python_info",
    help="Python platform information",
    labels=("implementation", "major", "minor", "patchlevel", "version"),
)

# Fields of /proc/PID/stat after the name of the program, counted from 0.
_UTIME, _STIME, _STARTTIME, _VSIZE, _RSS = 11, 12, 19, 20, 21


def process_samples(proc: Path = Path("/proc")) -> Iterator[Sample]:
    """Yield the state of this process; nothing where there is no /proc."""
    try:
        stat = (proc / "self/stat").read_bytes()
        boot_time = _boot_time((proc / "stat").read_bytes())
        open_fds = len(os.listdir(proc / "self/fd"))
    except OSError:
        return
    fields = stat.rpartition(b")")[2].split()
    ticks_per_second = os.sysconf("SC_CLK_TCK")
    yield VIRTUAL_MEMORY.sample(float(fields[_VSIZE]))
    yield RESIDENT_MEMORY.sample(float(fields[_RSS]) * os.sysconf("SC_PAGE_SIZE"))
    yield START_TIME.sample(float(fields[_STARTTIME]) / ticks_per_second + boot_time)
    yield CPU.sample((float(fields[_UTIME]) + float(fields[_STIME])) / ticks_per_second)
    yield OPEN_FDS.sample(open_fds)
    yield MAX_FDS.sample(os.sysconf("SC_OPEN_MAX"))


def python_samples() -> Iterator[Sample]:
    """Yield the state of the garbage collector and which Python this is."""
    for generation, stats in enumerate(gc.get_stats()):
        for key, metric in GC_METRICS.items():
            yield metric.sample(stats[key], str(generation))
    version = platform.python_version()
    yield PYTHON_INFO.sample(
        1, platform.python_implementation(), *platform.python_version_tuple(), version
    )


def _boot_time(stat: bytes) -> float:
    """Return Unix time in seconds when the system started."""
    for line in stat.splitlines():
        if line.startswith(b"btime "):
            return float(line.split()[1])
    return 0.0
