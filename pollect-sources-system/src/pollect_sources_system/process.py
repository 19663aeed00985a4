"""Source `Process`: CPU, memory and number of the processes that match.

Read from `/proc/PID` through psutil. Cost of a probe: the command line of every process of the
host, which is one short read each, and three more reads per process that matches.
"""

import os
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, NamedTuple

from msgspec import Meta

from pollect.api import ConfigError, Kind, Metric, Sample, Source, SourceConfig, SourceContext
from pollect.support.rates import Rates
from pollect_sources_system.load_psutil import load_psutil

#: Label value of `process_count`.
ALL = "all"
PERCENT = 100.0
#: More than this is read in pieces; nearly all command lines are shorter.
COMMAND_LINE_BYTES = 16 * 1024

LOAD = Metric(
    "load_percent",
    help="CPU time since the last probe in percent of one CPU, user and system together.",
    unit="percent",
    labels=("pidx",),
)
VIRTUAL_MEMORY = Metric(
    "virtual_memory", help="Virtual memory in bytes.", unit="bytes", labels=("pidx",)
)
COUNT = Metric("process_count", help="Processes that match.", unit="processes", labels=("pidx",))

RESIDENT_MEMORY = Metric(
    "resident_memory", help="Resident memory in bytes.", unit="bytes", labels=("pidx",)
)
THREADS = Metric("num_threads", help="Threads.", unit="threads", labels=("pidx",))
FILES = Metric(
    "num_fds",
    help="Open file descriptors; only for processes of the same user, or as root.",
    unit="files",
    labels=("pidx",),
)
UPTIME = Metric(
    "uptime", help="Seconds since the process started.", unit="seconds", labels=("pidx",)
)
READ_BYTES = Metric(
    "io_read_bytes",
    help="Bytes read from storage; only for processes of the same user, or as root.",
    unit="bytes",
    kind=Kind.COUNTER,
    labels=("pidx",),
)
WRITE_BYTES = Metric(
    "io_write_bytes",
    help="Bytes written to storage; only for processes of the same user, or as root.",
    unit="bytes",
    kind=Kind.COUNTER,
    labels=("pidx",),
)

TOTAL_LOAD = Metric(
    "total_load_percent",
    help="CPU time of all matching processes since the last probe in percent of one CPU.",
    unit="percent",
)
TOTAL_VIRTUAL_MEMORY = Metric(
    "total_virtual_memory",
    help="Virtual memory of all matching processes in bytes.",
    unit="bytes",
)
TOTAL_RESIDENT_MEMORY = Metric(
    "total_resident_memory",
    help="Resident memory of all matching processes in bytes; shared pages count for each.",
    unit="bytes",
)


class ProcessConfig(SourceConfig, frozen=True, kw_only=True):
    proc_regex: Annotated[
        str,
        Meta(
            description="Regular expression, searched in the arguments joined by one blank. One "
            "that matches nothing at all also matches all kernel threads."
        ),
    ]
    memory: Annotated[bool, Meta(description="Report the memory.")] = True
    load: Annotated[bool, Meta(description="Report the CPU load.")] = True
    exclude_self: Annotated[
        bool, Meta(description="Leave pollect out, should its own command line match.")
    ] = False
    exe: Annotated[
        str | None,
        Meta(
            description="Only processes of this program, a shell pattern: the whole path if it "
            "has a slash, else the file name."
        ),
    ] = None
    user: Annotated[str | None, Meta(description="Only processes of this user.")] = None
    pid_file: Annotated[
        str | None, Meta(description="Only the process whose number stands in this file.")
    ] = None
    total: Annotated[bool, Meta(description="Also report the sums over all matches.")] = False


class Reading(NamedTuple):
    """What one process shows at one moment."""

    #: psutil's handle. Handles are equal when number and start are: a number alone comes round
    #: again, and the start as time of day moves when the clock is set.
    process: Any
    load_percent: float | None
    virtual_bytes: int
    resident_bytes: int
    #: The values of `details`, without their label.
    details: list[tuple[Metric, float]]


class ProcessSource(Source[ProcessConfig]):
    """CPU load, memory and number of the processes whose command line matches."""

    config_type = ProcessConfig
    metrics = (
        LOAD,
        VIRTUAL_MEMORY,
        COUNT,
        RESIDENT_MEMORY,
        THREADS,
        FILES,
        UPTIME,
        READ_BYTES,
        WRITE_BYTES,
        TOTAL_LOAD,
        TOTAL_VIRTUAL_MEMORY,
        TOTAL_RESIDENT_MEMORY,
    )

    _psutil: ModuleType

    def __init__(self, config: ProcessConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        try:
            self._search = re.compile(config.proc_regex).search
        except re.error as error:
            raise ConfigError(
                f"{config.proc_regex!r} is no regular expression: {error}", key="procRegex"
            ) from error
        self._rates: Rates[Any] = Rates()

    def open(self) -> None:
        self._psutil = load_psutil(self.context.roots)

    def probe(self) -> Iterable[Sample]:
        readings = list(self._read_matches())
        self._rates.keep({reading.process for reading in readings})
        samples: list[Sample] = []
        for index, reading in enumerate(readings):
            pidx = str(index)
            if self.config.load and reading.load_percent is not None:
                samples.append(LOAD.sample(reading.load_percent, pidx))
            if self.config.memory:
                samples.append(VIRTUAL_MEMORY.sample(reading.virtual_bytes, pidx))
            samples += [metric.sample(value, pidx) for metric, value in reading.details]
        samples.append(COUNT.sample(len(readings), ALL))
        if self.config.total:
            samples += self._totals(readings)
        return samples

    def _totals(self, readings: list[Reading]) -> list[Sample]:
        return [
            TOTAL_LOAD.sample(sum(reading.load_percent or 0.0 for reading in readings)),
            TOTAL_VIRTUAL_MEMORY.sample(sum(reading.virtual_bytes for reading in readings)),
            TOTAL_RESIDENT_MEMORY.sample(sum(reading.resident_bytes for reading in readings)),
        ]

    def _read_matches(self) -> Iterator[Reading]:
        for pid in self._pids():
            try:
                if not self._search(self._command_line(pid)):
                    continue
                process = self._psutil.Process(pid)
                with process.oneshot():
                    reading = self._read(process) if self._is_wanted(process) else None
            except (self._psutil.Error, OSError):
                continue  # it ended meanwhile, is a zombie, or is none of our business
            if reading:
                yield reading

    def _pids(self) -> list[int]:
        if self.config.pid_file is None:
            pids: list[int] = self._psutil.pids()
        else:
            pids = self._read_pid_file(self.context.config_dir / self.config.pid_file)
        if self.config.exclude_self:
            return [pid for pid in pids if pid != os.getpid()]
        return pids

    def _read_pid_file(self, file: Path) -> list[int]:
        try:
            return [int(file.read_text("ascii").split()[0])]
        except (OSError, ValueError, IndexError) as error:
            # A service that is down has no such file: no process, which is what gets reported.
            self.log.debug("%s: %s", file, error)
            return []

    def _command_line(self, pid: int) -> str:
        """Return the arguments joined by one blank; empty for kernel threads."""
        if not self._psutil.LINUX:
            return " ".join(self._psutil.Process(pid).cmdline())
        # psutil's way to the same text takes four times as long, and this is done for every
        # process of the host. Remembering it is no way out: exec() changes it.
        file = os.open(f"{self.context.roots.proc}/{pid}/cmdline", os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = b""
            while piece := os.read(file, COMMAND_LINE_BYTES):
                text += piece
                if len(piece) < COMMAND_LINE_BYTES:
                    break
        finally:
            os.close(file)
        return format_command_line(text)

    def _is_wanted(self, process: Any) -> bool:
        if process.status() == self._psutil.STATUS_ZOMBIE:
            return False
        config = self.config
        if config.user is not None and process.username() != config.user:
            return False
        if config.exe is not None:
            exe = process.exe()
            return fnmatchcase(exe if "/" in config.exe else os.path.basename(exe), config.exe)
        return True

    def _read(self, process: Any) -> Reading:
        times = process.cpu_times()
        now = self.context.clock.monotonic()
        memory = process.memory_info()
        is_new = process not in self._rates
        rates = self._rates.update(process, now, (times.user + times.system,))
        load = rates[0] * PERCENT if rates else None
        if is_new:
            load = 0.0  # as 1.x began, so that the series is there from the first probe on
        details = self._read_details(process) if self.config.details else []
        return Reading(process, load, memory.vms, memory.rss, details)

    def _read_details(self, process: Any) -> list[tuple[Metric, float]]:
        details = [
            (RESIDENT_MEMORY, process.memory_info().rss),
            (THREADS, process.num_threads()),
            (UPTIME, self.context.clock.time() - process.create_time()),
        ]
        try:
            details.append((FILES, process.num_fds()))
            io = process.io_counters()
        except (self._psutil.AccessDenied, AttributeError):
            return details  # another user's process, or a system that does not tell
        return [*details, (READ_BYTES, io.read_bytes), (WRITE_BYTES, io.write_bytes)]


def format_command_line(text: bytes) -> str:
    """Return the contents of `/proc/PID/cmdline` as one line.

    Arguments end with NUL there; a process that overwrote its title may leave blanks instead.
    """
    arguments = text.removesuffix(b"\0" if text.endswith(b"\0") else b" ")
    return os.fsdecode(arguments.replace(b"\0", b" "))
