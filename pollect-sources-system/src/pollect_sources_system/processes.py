"""The processes of a host, as `/proc/PID` of Linux shows them (proc(5)).

All methods raise `OSError` for a process that has ended, or that only its own user may look at.
"""

import os
from collections.abc import Hashable
from pathlib import Path
from typing import NamedTuple, Protocol

from pollect_sources_system.kernel import ON_LINUX, read_text

#: More than this is read in pieces; nearly all command lines are shorter.
COMMAND_LINE_BYTES = 16 * 1024
#: The kernel cuts names of programs here.
LONGEST_NAME = 15


class Details(NamedTuple):
    """What only some ask for; None where the system does not tell."""

    resident_bytes: int
    threads: int
    uptime_seconds: float
    files: int | None
    read_bytes: int | None
    write_bytes: int | None


class Process(Protocol):
    """One process at the moment it was looked at."""

    #: Its number with its start: a number alone comes round again.
    key: Hashable
    pid: int
    is_zombie: bool
    #: User and system together.
    cpu_seconds: float
    virtual_bytes: int

    def resident_bytes(self) -> int:
        """Return the resident memory; shared pages count in full."""

    def details(self) -> Details:
        """Return the rest."""

    def name(self) -> str:
        """Return the name of the program."""

    def program(self) -> str:
        """Return the path of the program, empty for a kernel thread."""

    def user_id(self) -> int:
        """Return the number of the user it belongs to."""

    def user(self) -> str:
        """Return the name of that user on this system, or else the number."""


class Processes(Protocol):
    """The processes of one system."""

    def pids(self) -> list[int]:
        """Return the numbers of all processes."""

    def command_line(self, pid: int) -> str:
        """Return the arguments joined by one blank; empty for kernel threads."""

    def look(self, pid: int) -> Process:
        """Look at one process."""


class KernelProcesses:
    """The processes that `/proc` of Linux shows.

    psutil takes four times as long for a command line, which is read of every process of the host
    (remembering it does not help: exec() changes it), and 1.1 MB of memory.
    """

    def __init__(self, proc: Path) -> None:
        self._proc = str(proc)

    def pids(self) -> list[int]:
        return [int(name) for name in os.listdir(self._proc) if name.isdigit()]

    def command_line(self, pid: int) -> str:
        file = os.open(f"{self._proc}/{pid}/cmdline", os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(file, COMMAND_LINE_BYTES)
            if len(text) == COMMAND_LINE_BYTES:
                while piece := os.read(file, COMMAND_LINE_BYTES):
                    text += piece
        finally:
            os.close(file)
        return format_command_line(text)

    def look(self, pid: int) -> Process:
        return KernelProcess(self._proc, pid)


class KernelProcess:
    """One process of Linux."""

    _tick_seconds = 1 / os.sysconf("SC_CLK_TCK") if ON_LINUX else 0.0

    def __init__(self, proc: str, pid: int) -> None:
        self.pid = pid
        self._folder = Path(proc, str(pid))
        # `PID (name) state ...`, and the name may hold blanks and brackets.
        start, _, rest = read_text(self._folder / "stat").rpartition(")")
        self._comm = start.partition("(")[2]
        fields = rest.split()
        try:
            self.is_zombie = fields[0] == "Z"
            self.cpu_seconds = (int(fields[11]) + int(fields[12])) * self._tick_seconds
            self._threads = int(fields[17])
            started = int(fields[19])
            self.virtual_bytes = int(fields[20])
        except (ValueError, IndexError) as error:
            raise OSError(f"cannot make sense of {self._folder / 'stat'}") from error
        #: Seconds after the start of the system.
        self._started = started * self._tick_seconds
        self.key: Hashable = (pid, started)

    def resident_bytes(self) -> int:
        # In `stat` it lags behind.
        pages = int(read_text(self._folder / "statm").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def details(self) -> Details:
        up_seconds = float(read_text(self._folder.parent / "uptime").split()[0])
        files = read = written = None
        try:
            files = len(os.listdir(self._folder / "fd"))
            counters = dict(line.split(":") for line in read_text(self._folder / "io").splitlines())
            read, written = int(counters["read_bytes"]), int(counters["write_bytes"])
        except (PermissionError, FileNotFoundError):
            pass  # of another user, or a kernel that does not count
        uptime = max(up_seconds - self._started, 0.0)
        return Details(self.resident_bytes(), self._threads, uptime, files, read, written)

    def name(self) -> str:
        if len(self._comm) >= LONGEST_NAME:
            text = (self._folder / "cmdline").read_bytes()
            program, _, _ = text.partition(b"\0" if b"\0" in text else b" ")
            whole = os.path.basename(os.fsdecode(program))
            if whole.startswith(self._comm):
                return whole
        return self._comm

    def program(self) -> str:
        try:
            return os.readlink(self._folder / "exe").removesuffix(" (deleted)")
        except FileNotFoundError:
            os.stat(self._folder)  # raises if the process is gone
            return ""

    def user_id(self) -> int:
        for line in read_text(self._folder / "status").splitlines():
            if line.startswith("Uid:"):
                return int(line.split()[1])
        raise OSError(f"cannot make sense of {self._folder / 'status'}")

    def user(self) -> str:
        import pwd

        number = self.user_id()
        try:
            return pwd.getpwuid(number).pw_name
        except KeyError:
            return str(number)


def format_command_line(text: bytes) -> str:
    """Return the contents of `/proc/PID/cmdline` as one line.

    Arguments end with NUL there; a process that overwrote its title may leave blanks instead.
    """
    arguments = text.removesuffix(b"\0" if text.endswith(b"\0") else b" ")
    return os.fsdecode(arguments.replace(b"\0", b" "))
