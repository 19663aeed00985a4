"""`zpool iostat` running between the probes, and the averages of what it printed."""

import logging
import os
import signal
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass

from pollect.api import BadResponse, Clock, TargetUnavailable
from pollect.support.background import Background
from pollect.support.process import Command, end_process
from pollect_sources_system.zfs.payload import Activity, parse_activity

#: More pools, lines between two probes, or characters of a line than any host has.
MAX_POOLS = 1000
MAX_LINES = 100_000
MAX_LINE_CHARACTERS = 4096
#: After this many intervals without a line the last averages are no longer true.
STALE_INTERVALS = 3


_NOTHING = Activity(0.0, 0.0, 0.0, 0.0)


@dataclass(slots=True)
class _Series:
    """What one pool did since the last probe."""

    sums: Activity
    count: int
    average: Activity | None
    #: Monotonic seconds of the last line.
    seen: float


class IostatReader:
    """Runs `zpool iostat` and keeps the averages per pool.

    The first report of the program is the average since the pool's import, which `-y` leaves out;
    so the first average is there after one interval.
    """

    def __init__(self, command: Command, interval: int, clock: Clock, log: logging.Logger) -> None:
        self._command = command
        self._interval = interval
        self._clock = clock
        self._log = log
        self._lock = threading.Lock()
        self._series: dict[str, _Series] = {}
        #: How many lines came since the last probe.
        self._lines = 0
        self._process: subprocess.Popen[str] | None = None
        self._background = Background(self._read, interrupt=self._interrupt, log=log, clock=clock)

    def start(self) -> None:
        """Begin to watch the pools that exist now."""
        self._background.start()

    def stop(self) -> None:
        """End the program; what it said so far still counts."""
        self._background.stop()

    def take_averages(self) -> dict[str, Activity]:
        """Return what each pool did per second on average since the last call.

        Without a new line that is the last average again, for some intervals.
        """
        now = self._clock.monotonic()
        with self._lock:
            self._lines = 0
            for pool, series in list(self._series.items()):
                if series.count:
                    series.average = Activity(*(each / series.count for each in series.sums))
                    series.sums, series.count = _NOTHING, 0
                elif now - series.seen > STALE_INTERVALS * self._interval:
                    del self._series[pool]
            return {pool: series.average for pool, series in self._series.items() if series.average}

    def _read(self) -> None:
        process = self._command.start("iostat", "-Hpy", str(self._interval), merge_errors=True)
        with self._lock:
            self._process = process
        said = ""
        try:
            # Whoever stopped us before the process was known here could not interrupt it.
            if self._background.stopped:
                return
            while process.stdout and (line := process.stdout.readline(MAX_LINE_CHARACTERS)):
                said = self._take(line) or said
        finally:
            with self._lock:
                self._process = None
            end_process(process)
        raise TargetUnavailable(f"zpool iostat ended: {said or 'no message'}")

    def _take(self, line: str) -> str:
        """Remember one line; returns it if it is none of the table."""
        with self._lock:
            self._lines += 1
            is_flood = self._lines > MAX_LINES or len(self._series) > MAX_POOLS
        if is_flood:
            raise TargetUnavailable("zpool iostat: prints without end, killed")
        try:
            pool, activity = parse_activity(line)
        except BadResponse:
            return line.strip()
        if activity is not None:
            with self._lock:
                series = self._series.setdefault(pool, _Series(_NOTHING, 0, None, 0.0))
                pairs = zip(series.sums, activity, strict=True)
                series.sums = Activity(*(total + value for total, value in pairs))
                series.count += 1
                series.seen = self._clock.monotonic()
            self._background.works()
        return ""

    def _interrupt(self) -> None:
        with self._lock:
            if self._process is not None:
                # PermissionError: it runs through sudo, and ends when it finds its pipe closed.
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)
