"""Source `Process`: CPU, memory and number of the processes that match.

Read from `/proc/PID`, elsewhere through psutil. Cost of a probe: the command line of every process
of the host, which is one short read each, and one more read per process that matches.
"""

import os
import re
from collections.abc import (
    Collection,
    Hashable,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta

from pollect.api import (
    DETAIL,
    ConfigError,
    FilePath,
    Headline,
    Kind,
    Metric,
    Panel,
    Sample,
    Source,
    SourceConfig,
    SourceContext,
)
from pollect.support.rates import Rates
from pollect_sources_system.kernel import ON_LINUX, place_of, read_text
from pollect_sources_system.processes import KernelProcesses, Process, Processes

#: Label value of `process_count`.
ALL = "all"
PERCENT = 100.0
#: Of a command line as a label; those of Java run to thousands.
LABEL_CHARACTERS = 256

LOAD = Metric(
    "load_percent",
    help="CPU time since the last probe in percent of one CPU, user and system together.",
    unit="percent",
    labels=("pidx",),
    headline=Headline("CPU"),
)
VIRTUAL_MEMORY = Metric(
    "virtual_memory", help="Virtual memory in bytes.", unit="bytes", labels=("pidx",)
)
COUNT = Metric(
    "process_count",
    help="Processes that match.",
    unit="processes",
    labels=("pidx",),
    headline=Headline("processes", {"pidx": "all"}),
)

RESIDENT_MEMORY = Metric(
    "resident_memory",
    help="Resident memory in bytes.",
    unit="bytes",
    labels=("pidx",),
    headline=Headline("memory"),
    panel=DETAIL,
)
THREADS = Metric(
    "num_threads",
    help="Threads.",
    unit="threads",
    labels=("pidx",),
    panel=DETAIL,
)
FILES = Metric(
    "num_fds",
    help="Open file descriptors; only for processes of the same user, or as root.",
    unit="files",
    labels=("pidx",),
    panel=DETAIL,
)
UPTIME = Metric(
    "uptime",
    help="Seconds since the process started.",
    unit="seconds",
    labels=("pidx",),
    panel=DETAIL,
)
READ_BYTES = Metric(
    "io_read_bytes",
    help="Bytes read from storage; only for processes of the same user, or as root.",
    unit="bytes",
    kind=Kind.COUNTER,
    labels=("pidx",),
    panel=DETAIL,
)
WRITE_BYTES = Metric(
    "io_write_bytes",
    help="Bytes written to storage; only for processes of the same user, or as root.",
    unit="bytes",
    kind=Kind.COUNTER,
    labels=("pidx",),
    panel=DETAIL,
)

_WITH_TOTAL = Panel(needs=("total",))
TOTAL_LOAD = Metric(
    "total_load_percent",
    help="CPU time of all matching processes since the last probe in percent of one CPU.",
    unit="percent",
    panel=_WITH_TOTAL,
)
TOTAL_VIRTUAL_MEMORY = Metric(
    "total_virtual_memory",
    help="Virtual memory of all matching processes in bytes.",
    unit="bytes",
    panel=_WITH_TOTAL,
)
TOTAL_RESIDENT_MEMORY = Metric(
    "total_resident_memory",
    help="Resident memory of all matching processes in bytes; shared pages count for each.",
    unit="bytes",
    panel=_WITH_TOTAL,
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
        FilePath | None,
        Meta(
            description="Only processes of this program, a shell pattern: the whole path if it "
            "has a slash, else the file name."
        ),
    ] = None
    user: Annotated[str | None, Meta(description="Only processes of this user.")] = None
    pid_file: Annotated[
        FilePath | None, Meta(description="Only the process whose number stands in this file.")
    ] = None
    total: Annotated[bool, Meta(description="Also report the sums over all matches.")] = False
    label: Annotated[
        Literal["pid", "cmdline", "name"] | None,
        Meta(
            description="Label to add to the values of each process: its number, its command line "
            "(which may hold passwords) or the name of its program; default: none."
        ),
    ] = None


class Reading(NamedTuple):
    """What one process shows at one moment."""

    #: Which process it is, see `Process.key`.
    key: Hashable
    #: Value of the label that the config asks for; empty without.
    label: str
    load_percent: float | None
    virtual_bytes: int
    #: 0 unless totals are wanted.
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

    _processes: Processes

    def __init__(self, config: ProcessConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        try:
            self._search = re.compile(config.proc_regex).search
        except re.error as error:
            raise ConfigError(
                f"{config.proc_regex!r} is not a regular expression: {error}", key="procRegex"
            ) from error
        self._own_words = re.compile(rf"procRegex=(['\"]?){re.escape(config.proc_regex)}\1")
        self._rates: Rates[Hashable] = Rates()
        self._io = SteadyCounters()

    def expected_metrics(self) -> Sequence[Metric]:
        return [self._labelled(metric) for metric in self.metrics]

    def open(self) -> None:
        if ON_LINUX:
            self._processes = KernelProcesses(self.context.roots.proc)
        else:
            from pollect_sources_system.psutil_processes import PsutilProcesses

            self._processes = PsutilProcesses(self.context)

    def probe(self) -> Iterable[Sample]:
        readings = list(self._read_matches())
        self._rates.keep({reading.key for reading in readings})
        samples: list[Sample] = []
        series = set()
        for index, reading in enumerate(readings):
            labels = (str(index), reading.label) if self.config.label else (str(index),)

            def add(metric: Metric, value: float, labels: tuple[str, ...] = labels) -> None:
                samples.append(self._labelled(metric).sample(value, *labels))

            if self.config.load and reading.load_percent is not None:
                add(LOAD, reading.load_percent)
            if self.config.memory:
                add(VIRTUAL_MEMORY, reading.virtual_bytes)
            for metric, value in reading.details:
                if metric.kind is Kind.COUNTER:
                    series.add((metric.name, *labels))
                    value = self._io.update((metric.name, *labels), reading.key, value)
                add(metric, value)
        self._io.keep(series, {reading.key for reading in readings})
        samples.append(COUNT.sample(len(readings), ALL))
        if self.config.total:
            samples += self._totals(readings)
        return samples

    def _labelled(self, metric: Metric) -> Metric:
        """Return a metric of single processes with the label that the config asks for."""
        label = self.config.label
        if label is None or metric.labels != ("pidx",) or metric == COUNT:
            return metric
        return metric.labelled(label)

    def _totals(self, readings: list[Reading]) -> list[Sample]:
        return [
            TOTAL_LOAD.sample(sum(reading.load_percent or 0.0 for reading in readings)),
            TOTAL_VIRTUAL_MEMORY.sample(sum(reading.virtual_bytes for reading in readings)),
            TOTAL_RESIDENT_MEMORY.sample(sum(reading.resident_bytes for reading in readings)),
        ]

    def _read_matches(self) -> Iterator[Reading]:
        for pid in self._pids():
            try:
                command_line = self._processes.command_line(pid)
                if not self._matches(command_line):
                    continue
                process = self._processes.look(pid)
                if not self._is_wanted(process):
                    continue
                reading = self._read(process, command_line)
            except (OSError, ValueError):
                continue  # it ended meanwhile, or is none of our business
            yield reading

    def _matches(self, command_line: str) -> bool:
        if not self._search(command_line):
            return False
        # `pollect probe Process procRegex=x` and the shell or sudo around it would find themselves,
        # as grep does in the output of ps.
        asked = self._own_words.sub("", command_line)
        return asked == command_line or self._search(asked) is not None

    def _pids(self) -> list[int]:
        if self.config.pid_file is None:
            pids = self._processes.pids()
        else:
            pids = self._read_pid_file(place_of(self.context, self.config.pid_file))
        if self.config.exclude_self:
            own = self._own_pid()
            return [pid for pid in pids if pid != own]
        return pids

    def _own_pid(self) -> int:
        """Return the number of this process; around a container it has another one."""
        with suppress(OSError, ValueError):
            return int(os.readlink(self.context.roots.proc / "self"))
        return os.getpid()

    def _read_pid_file(self, file: Path) -> list[int]:
        try:
            return [int(file.read_text("ascii").split()[0])]
        except (OSError, ValueError, IndexError) as error:
            # A service that is down has no such file: no process, which is what gets reported.
            self.log.debug("%s: %s", file, error)
            return []

    def _is_wanted(self, process: Process) -> bool:
        if process.is_zombie:
            return False
        config = self.config
        if config.user is not None and self._user_of(process) != config.user:
            return False
        if config.exe is not None:
            program = process.program()
            wanted = program if "/" in config.exe else os.path.basename(program)
            return fnmatchcase(wanted, config.exe)
        return True

    def _user_of(self, process: Process) -> str:
        if self.context.roots.rootfs == Path("/"):
            return process.user()
        # The users of the host are not those of this container.
        number = str(process.user_id())
        for line in read_text(self.context.roots.place("/etc/passwd")).split("\n"):
            name, *rest = line.split(":")
            if len(rest) > 1 and rest[1] == number:
                return name
        return number

    def _read(self, process: Process, command_line: str) -> Reading:
        now = self.context.clock.monotonic()
        is_new = process.key not in self._rates
        rates = self._rates.update(process.key, now, (process.cpu_seconds,))
        load = rates[0] * PERCENT if rates else None
        if is_new:
            load = 0.0  # as 1.x began, so that the series is there from the first probe on
        resident = process.resident_bytes() if self.config.total else 0
        details = self._read_details(process) if self.config.details else []
        label = self._label_of(process, command_line)
        return Reading(process.key, label, load, process.virtual_bytes, resident, details)

    def _label_of(self, process: Process, command_line: str) -> str:
        match self.config.label:
            case "pid":
                return str(process.pid)
            case "cmdline":
                return command_line[:LABEL_CHARACTERS]
            case "name":
                return process.name()
        return ""

    def _read_details(self, process: Process) -> list[tuple[Metric, float]]:
        found = process.details()
        values = (
            (RESIDENT_MEMORY, found.resident_bytes),
            (THREADS, found.threads),
            (UPTIME, found.uptime_seconds),
            (FILES, found.files),
            (READ_BYTES, found.read_bytes),
            (WRITE_BYTES, found.write_bytes),
        )
        return [(metric, value) for metric, value in values if value is not None]


class SteadyCounters:
    """Counters of series that other processes take over.

    `pidx` counts the matches: when the first of them ends, the second becomes the first. What a
    series counts goes on from where it was by what its present process adds.
    """

    def __init__(self) -> None:
        self._totals: dict[Hashable, float] = {}
        #: What each process had counted of each value, at the last look.
        self._seen: dict[tuple[Hashable, Hashable], float] = {}

    def update(self, series: tuple[Hashable, ...], process: Hashable, value: float) -> float:
        """Return the counter of a series, whose first member is the value's name."""
        key = process, series[0]
        known = self._seen.get(key)
        self._seen[key] = value
        total = self._totals.get(series)
        if total is None:
            total = value
        elif known is not None:
            total += max(0.0, value - known)
        else:
            total += value  # it started since the last look
        self._totals[series] = total
        return total

    def keep(self, series: Collection[Hashable], processes: Collection[Hashable]) -> None:
        """Forget what is neither among `series` nor `processes`."""
        self._totals = {key: total for key, total in self._totals.items() if key in series}
        self._seen = {key: value for key, value in self._seen.items() if key[0] in processes}
