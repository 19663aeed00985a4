"""`make run` as a newcomer uses it: in a terminal, ended with Ctrl-C."""

import os
import shutil
import subprocess
import sys
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


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_run_says_where_to_look_and_ctrl_c_ends_it_with_0(tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    config.write_text(CONFIG)
    (tmp_path / ".installed").touch()
    make = ["make", "run", f"VENV={tmp_path}", f"QUICKSTART={POLLECT} run -c {config}"]
    output = tmp_path / "output"
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
        ) as terminal,
    ):
        assert terminal.stdin is not None
        try:
            wait_until(lambda: "listening on" in output.read_text(), limit_seconds=20)
            terminal.stdin.write(CTRL_C)
            terminal.stdin.flush()
            assert terminal.wait(20) == 0, output.read_text()
        finally:
            terminal.kill()
    first, *_ = output.read_text().splitlines()
    assert "http://localhost:8000/" in first
    assert "***" not in output.read_text(), "make has nothing to complain about"
