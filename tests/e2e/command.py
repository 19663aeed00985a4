"""Runs the installed command as users do: a process of its own, its output in a file."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pollect.testing.waiting import wait_until

POLLECT = str(Path(sys.executable).with_name("pollect"))
#: Long enough for a machine that is busy or slow; no test waits that long on purpose.
LIMIT_SECONDS = 150.0
#: At once on such a machine, and less than what a mistake would wait for: 30 s for a reload that
#: hangs, and without end for a source.
PROMPT_SECONDS = 40.0


def call(
    *arguments: str | Path,
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
    stdin: str = "",
    prefix: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Run `pollect` with arguments to its end; `prefix` is a command that runs it."""
    return subprocess.run(
        [*prefix, POLLECT, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **(environ or {})},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )


class Daemon:
    """A running `pollect`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def output(self) -> str:
        """What it printed so far, errors included."""
        return self._log.read_text(encoding="utf-8")

    def wait_for(self, text: str, *, after: str = "") -> None:
        """Wait until it has printed `text`, somewhere behind the first `after`."""

        def is_there() -> bool:
            return text in self.output.partition(after)[2] if after else text in self.output

        def printed() -> bool:
            assert is_there() or self.process.poll() is None or is_there(), self.output
            return is_there()

        wait_until(printed, f"{text!r} in the output", limit_seconds=LIMIT_SECONDS)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end and return the exit code."""
        return self.process.wait(LIMIT_SECONDS)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop and return the exit code."""
        self.send(number)
        return self.wait()


@contextmanager
def start(
    *arguments: str | Path,
    folder: Path,
    environ: Mapping[str, str] | None = None,
    command: Sequence[str] = (POLLECT,),
) -> Iterator[Daemon]:
    """Start `pollect` with arguments; killed at the end of the block if it still runs."""
    log = folder / "output.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *map(str, arguments)],
            cwd=folder,
            # What runs at the same time on this machine has other state.
            env={"XDG_STATE_HOME": str(folder / "state"), **os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Daemon(process, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def scrape(port: int) -> str:
    """Return what the endpoint on a port of this host shows."""
    url = f"http://127.0.0.1:{port}/metrics"
    with urllib.request.urlopen(url, timeout=LIMIT_SECONDS) as answer:
        text: str = answer.read().decode()
        return text
