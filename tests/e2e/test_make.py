"""`make run` as a newcomer uses it, in a terminal."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pollect.testing.waiting import wait_until
from tests.e2e.command import POLLECT

ROOT = Path(__file__).parents[2]
CTRL_C = "\x03"

#: Runs a command in a terminal of its own that types what arrives on standard input.
TERMINAL = """
import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))
"""

CONFIG = """\
tickTime: 10
executors: [{collection: house, sources: [{type: Dummy, value: 1}]}]
writer: {type: Prometheus, bind: 127.0.0.1, port: 0}
"""


pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


class Terminal:
    """A terminal in which `make run` was typed; `output` is what it shows."""

    def __init__(self, process: subprocess.Popen[str], output: Path) -> None:
        self.process = process
        self._output = output

    @property
    def output(self) -> str:
        return self._output.read_text()

    def type(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()


@contextmanager
def make_run(folder: Path) -> Iterator[Terminal]:
    """Type `make run` in a terminal, with a config and an environment of the test's own."""
    config = folder / "config.yml"
    config.write_text(CONFIG)
    (folder / ".installed").touch()
    make = ["make", "run", f"VENV={folder}", f"QUICKSTART={POLLECT} run -c {config}"]
    output = folder / "output"
    with (
        output.open("w") as writing,
        subprocess.Popen(
            [sys.executable, "-c", TERMINAL, *make],
            cwd=ROOT,
            # The make that runs these tests would have this one print the folders it enters.
            env={k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))},
            stdin=subprocess.PIPE,
            stdout=writing,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        try:
            wait_until(lambda: "listening on" in output.read_text())
            yield Terminal(process, output)
        finally:
            process.kill()


def child_of(pid: int) -> int:
    """Return the one child of a process."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def test_make_run_says_where_to_look_and_ctrl_c_ends_it_with_0(tmp_path: Path) -> None:
    with make_run(tmp_path) as terminal:
        terminal.type(CTRL_C)
        assert terminal.process.wait(60) == 0, terminal.output
    first, *_ = terminal.output.splitlines()
    assert "http://localhost:8000/" in first
    assert "***" not in terminal.output, "make has nothing to complain about"


@pytest.mark.skipif(sys.platform != "linux", reason="finds make's process as Linux tells it")
def test_ending_make_ends_what_it_runs(tmp_path: Path) -> None:
    with make_run(tmp_path) as terminal:
        make = child_of(terminal.process.pid)
        pollect = child_of(make)
        os.kill(make, signal.SIGTERM)
        terminal.process.wait(60)
        assert not Path(f"/proc/{pollect}").exists()
    assert "SIGTERM: stopping" in terminal.output
    assert "stopped" in terminal.output
