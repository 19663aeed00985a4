"""External programs: found, started, watched and ended in one way.

Their environment is the daemon's without what systemd puts there; with `LC_ALL=C.UTF-8`, so that
numbers and error texts are the same everywhere, and with `/usr/sbin` and `/sbin` in the search
path, where programs for disks live. They get no standard input and a process group of their own,
which is killed as a whole.
What they print is taken up to a limit; a program that prints more is killed.
"""

import os
import selectors
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from pollect.errors import BadResponse, MissingDependency, NoData, TargetUnavailable
from pollect.needs import Program
from pollect.plugin import FilePath

if TYPE_CHECKING:
    import asyncio

#: Type of the config field that replaces a program's name.
CommandOverride: TypeAlias = tuple[str, ...] | FilePath | None

DEFAULT_TIMEOUT_SECONDS = 10.0
#: Per stream. `zfs list` prints 2 MB for 10,000 datasets.
MAX_OUTPUT_BYTES = 16 * 1024 * 1024
_SBIN = ("/usr/sbin", "/sbin")
#: Of sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3) and systemd.exec(5).
_FOR_THE_DAEMON = frozenset(
    {
        "CREDENTIALS_DIRECTORY",
        "LISTEN_FDNAMES",
        "LISTEN_FDS",
        "LISTEN_PID",
        "MAINPID",
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
    }
)
#: Share of a probe's deadline that its programs may take; the rest is for telling that they did.
_SHARE_OF_DEADLINE = 0.9
#: How often a running program is looked at for the daemon's end.
_SLICE_SECONDS = 0.2
#: How long the pipes of a killed program may stay open, held by somebody it left behind.
_REAP_SECONDS = 1.0
_READ_BYTES = 64 * 1024
_QUOTED_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Finished:
    """What a program left behind. Bytes that are not UTF-8 are replaced."""

    status: int
    stdout: str
    stderr: str

    @property
    def first_error_line(self) -> str:
        """The first line of stderr with text in it, shortened; empty if there is none."""
        lines = (line.strip() for line in self.stderr.splitlines())
        return next(filter(None, lines), "")[:_QUOTED_CHARACTERS]


class Command:
    """An external program as a source uses it."""

    def __init__(
        self,
        program: Program,
        override: Sequence[str] | str | None = None,
        *,
        stopping: threading.Event | None = None,
    ) -> None:
        """`override` replaces the program's name: words, or one line as a shell would split it.

        A running program is killed when `stopping` is set.
        """
        words = shlex.split(override) if isinstance(override, str) else override
        self._words = list(words or [program.name])
        self._program = program
        self._stopping = stopping or threading.Event()

    def require(self) -> None:
        """Raise `MissingDependency` with the Debian package when the program is not installed."""
        if shutil.which(self._words[0], path=search_path()) is None:
            name, package = self._words[0], self._program.package
            raise MissingDependency(
                f"program {name!r} is not installed; on Debian: apt install {package}",
                program=name,
                package=package,
            )

    def start(self, *arguments: str, merge_errors: bool = False) -> subprocess.Popen[str]:
        """Start the program with pipes for stdout and stderr; end it with `end_process`.

        With `merge_errors` stderr goes where stdout goes: a pipe that is never read stalls a
        program that runs on. Raises `MissingDependency`, or `TargetUnavailable` when the program
        cannot be started.
        """
        self.require()
        try:
            return subprocess.Popen(
                [*self._words, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if merge_errors else subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                env=environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise TargetUnavailable(f"{self._words[0]}: {error.strerror}") from error

    def run(
        self,
        *arguments: str,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        statuses: Sequence[int] | None = (0,),
    ) -> Finished:
        """Run the program to its end.

        Raises `MissingDependency`, `TargetUnavailable` after `timeout` seconds and for an exit
        status that is not among `statuses` (None allows all), `BadResponse` when it prints more
        than `MAX_OUTPUT_BYTES`, and `NoData` when the daemon stops.
        """
        process = self.start(*arguments)
        # `zpool list` or `smartctl`: the options would only bury what went wrong.
        name = " ".join([self._words[0], *(word for word in arguments[:1] if word[:1] != "-")])
        try:
            stdout, stderr = self._communicate(process, name, timeout)
        finally:
            end_process(process)
        finished = Finished(process.returncode, stdout, stderr)
        if statuses is not None and finished.status not in statuses:
            reason = finished.first_error_line or "no message"
            raise TargetUnavailable(f"{name}: exit status {finished.status}: {reason}")
        return finished

    def _communicate(
        self, process: "subprocess.Popen[str]", name: str, timeout: float
    ) -> tuple[str, str]:
        until = time.monotonic() + timeout

        def left() -> float:
            """Return how long to wait at most before asking again."""
            if self._stopping.is_set():
                raise NoData(f"{name}: killed because pollect stops")
            left = until - time.monotonic()
            if left <= 0:
                raise TargetUnavailable(f"{name}: no answer within {timeout:.3g} s, killed")
            return min(left, _SLICE_SECONDS)

        printed = {pipe: bytearray() for pipe in (process.stdout, process.stderr) if pipe}
        with selectors.DefaultSelector() as selector:
            for pipe, data in printed.items():
                selector.register(pipe, selectors.EVENT_READ, data)
            while selector.get_map():
                for key, _ in selector.select(left()):
                    part = os.read(key.fd, _READ_BYTES)
                    take_output(key.data, part, name)
                    if not part:
                        selector.unregister(key.fileobj)
        while process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(left())
        output, errors = (_text(data) for data in printed.values())
        return output, errors


def take_output(data: bytearray, part: bytes, name: str) -> None:
    """Append what a program printed; raises `BadResponse` when it is more than is accepted."""
    data += part
    if len(data) > MAX_OUTPUT_BYTES:
        raise BadResponse(f"{name}: prints more than {MAX_OUTPUT_BYTES} bytes, killed")


async def read_output(process: "asyncio.subprocess.Process", name: str) -> tuple[bytes, bytes]:
    """Return what a program prints until its end, to stdout and stderr if they are pipes.

    Raises `BadResponse` when it prints more than `MAX_OUTPUT_BYTES`; killing it is the caller's.
    """
    import asyncio

    async def read(stream: asyncio.StreamReader | None) -> bytes:
        data = bytearray()
        while stream is not None and (part := await stream.read(_READ_BYTES)):
            take_output(data, part, name)
        return bytes(data)

    output, errors = await asyncio.gather(read(process.stdout), read(process.stderr))
    await process.wait()
    return output, errors


def _text(data: bytearray) -> str:
    return data.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")


def end_process(process: subprocess.Popen[str]) -> None:
    """Kill a program and all it started, unless it ended and closed its output, and reap it."""
    pipes = [pipe for pipe in (process.stdout, process.stderr) if pipe is not None]
    ended = process.poll() is not None
    if not ended or not all(pipe.closed for pipe in pipes):
        # PermissionError: it runs as somebody else, through sudo; closed pipes are all it gets.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_REAP_SECONDS)
    for pipe in pipes:
        pipe.close()


def program_timeout(deadline_seconds: float, programs: int = 1) -> float:
    """Return how long each of some programs may run for a probe to end before its deadline."""
    return min(DEFAULT_TIMEOUT_SECONDS, _SHARE_OF_DEADLINE * deadline_seconds / programs)


def environment() -> dict[str, str]:
    """Return the environment of a program: what systemd hands to the daemon is not for it.

    systemctl, for one, would report its own end to the socket of a service that it was started by.
    """
    kept = {name: text for name, text in os.environ.items() if name not in _FOR_THE_DAEMON}
    return {**kept, "LC_ALL": "C.UTF-8", "PATH": search_path()}


def search_path() -> str:
    """Return the daemon's PATH with the folders for system programs appended."""
    path = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join([*path, *(folder for folder in _SBIN if folder not in path)])
