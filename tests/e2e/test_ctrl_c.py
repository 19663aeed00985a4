"""Ctrl-C ends a command silently, whatever it is doing at that moment."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command import LIMIT_SECONDS, POLLECT

#: How a process ends that obeys Ctrl-C: by the signal, or with what a shell would report.
INTERRUPTED = (-signal.SIGINT, 130)
#: Python imports it by itself before anything of a command. It presses Ctrl-C at one moment.
SITE = """
import os, sys

def press():
    os.kill(os.getpid(), 2)

word = os.environ["PRESS_AT"]
if word == "end":
    import atexit
    atexit.register(press)
else:
    def watch(event, arguments):
        global word
        if event == "import" and arguments[0] == word:
            word = None
            press()
    sys.addaudithook(watch)
"""


@pytest.fixture(autouse=True)
def heed_ctrl_c() -> Iterator[None]:
    """Let commands heed the signal though these tests may run behind `nohup`, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press_at(moment: str, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, and press Ctrl-C when it imports a module."""
    (folder / "sitecustomize.py").write_text(SITE)
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "PRESS_AT": moment},
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )


@pytest.mark.parametrize(
    "moment",
    [
        "pollect.cli.process",  # the first that `main` imports
        "logging",
        "click",
        "pollect.config.schema",  # the command itself
        "pollect.discovery.registry",
        "end",  # when Python tidies up
    ],
)
def test_ctrl_c_ends_a_command_silently_at_every_moment(tmp_path: Path, moment: str) -> None:
    done = press_at(moment, tmp_path, POLLECT, "schema")
    assert done.returncode in INTERRUPTED, (done.returncode, done.stderr)
    assert done.stderr.strip() == ""


def test_ctrl_c_ends_python_m_pollect_as_silently(tmp_path: Path) -> None:
    done = press_at("pollect.cli.process", tmp_path, sys.executable, "-m", "pollect", "--version")
    assert (done.returncode in INTERRUPTED, done.stderr) == (True, "")


def test_a_command_that_is_to_ignore_ctrl_c_goes_on(tmp_path: Path) -> None:
    ignoring = (
        "import os, signal, sys\nsignal.signal(2, signal.SIG_IGN)\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = (sys.executable, "-S", "-c", ignoring, POLLECT, "--version")
    done = press_at("pollect.cli.process", tmp_path, *command)
    assert (done.returncode, done.stdout) == (0, "pollect 2.0.0\n")


def test_what_python_imports_before_ctrl_c_is_handled_is_next_to_nothing() -> None:
    """What comes meanwhile shows a traceback, which the command cannot prevent."""
    script = (
        "import sys\nbefore = set(sys.modules)\nimport pollect.cli.main\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=150
    )
    own = {"pollect", "pollect.version", "pollect.cli", "pollect.cli.main"}
    assert set(done.stdout.split()) == own
