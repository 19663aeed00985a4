"""The processes of a system that has no `/proc` as Linux has it, through psutil."""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from pollect.api import Clock, SourceContext
from pollect_sources_system.load_psutil import load_psutil
from pollect_sources_system.processes import Details, Process


class PsutilProcesses:
    """The processes that psutil shows; see `Processes`."""

    def __init__(self, context: SourceContext) -> None:
        self._psutil = load_psutil(context.roots)
        self._clock = context.clock

    def pids(self) -> list[int]:
        pids: list[int] = self._psutil.pids()
        return pids

    def command_line(self, pid: int) -> str:
        with _errors_of(self._psutil):
            return " ".join(self._psutil.Process(pid).cmdline())

    def look(self, pid: int) -> Process:
        return PsutilProcess(self._psutil, pid, self._clock)


class PsutilProcess:
    """One process; see `Process`."""

    def __init__(self, psutil: ModuleType, pid: int, clock: Clock) -> None:
        self.pid = pid
        self._psutil = psutil
        self._clock = clock
        with _errors_of(psutil):
            self._process: Any = psutil.Process(pid)
            #: psutil's handles are equal when number and start are.
            self.key: Hashable = self._process
            with self._process.oneshot():
                self.is_zombie = self._process.status() == psutil.STATUS_ZOMBIE
                times = self._process.cpu_times()
                self.cpu_seconds = times.user + times.system
                self.virtual_bytes = self._process.memory_info().vms

    def resident_bytes(self) -> int:
        with _errors_of(self._psutil):
            return int(self._process.memory_info().rss)

    def details(self) -> Details:
        process = self._process
        files = read = written = None
        with _errors_of(self._psutil), process.oneshot():
            uptime = self._clock.time() - process.create_time()
            try:
                files = process.num_fds()
                counters = process.io_counters()
                read, written = counters.read_bytes, counters.write_bytes
            except (self._psutil.AccessDenied, AttributeError):
                pass  # another user's process, or a system that does not tell
            resident = process.memory_info().rss
            return Details(resident, process.num_threads(), uptime, files, read, written)

    def name(self) -> str:
        with _errors_of(self._psutil):
            return str(self._process.name())

    def program(self) -> str:
        with _errors_of(self._psutil):
            return str(self._process.exe())

    def user_id(self) -> int:
        with _errors_of(self._psutil):
            return int(self._process.uids().real)

    def user(self) -> str:
        with _errors_of(self._psutil):
            return str(self._process.username())


@contextmanager
def _errors_of(psutil: ModuleType) -> Iterator[None]:
    """Raise what psutil raises as the `OSError` it stands for."""
    try:
        yield
    except psutil.AccessDenied as error:
        raise PermissionError(str(error)) from error
    except psutil.Error as error:
        raise ProcessLookupError(str(error)) from error
