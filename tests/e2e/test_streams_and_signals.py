"""What goes to which stream, and what the daemon does for signals and as process 1."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pollect.testing.waiting import wait_until
from tests.e2e.command import LIMIT_SECONDS, POLLECT, PROMPT_SECONDS, call, start
from tests.tools.distributions import write_distribution

CONFIG = """\
tickTime: 0.1
executors:
  - collection: house
    sources:
      - {{type: {type}}}
writers:
  - {{type: {writer}}}
"""

#: A writer that refuses everything, and a plugin that takes its time to judge a config.
PLUGIN = """
import pathlib, time
from pollect.api import Rejected, Writer, hookimpl

class RefuseWriter(Writer):
    "Takes nothing."
    def write(self, batches):
        raise Rejected("no")

@hookimpl
def pollect_writers():
    return [RefuseWriter]

@hookimpl
def pollect_config_loaded(config):
    slow = pathlib.Path("slow")
    if slow.exists():
        with open("reloads", "a") as file:
            file.write("x")
        time.sleep(float(slow.read_text()))
"""


def write_config(folder: Path, *, type: str = "Dummy, value: 1", writer: str = "InMemory") -> Path:
    file = folder / "config.yml"
    file.write_text(CONFIG.format(type=type, writer=writer))
    return file


def install_plugin(folder: Path) -> dict[str, str]:
    site = folder / "site"
    write_distribution(
        site, "pollect-slow", modules={"slow_plugin.py": PLUGIN}, plugin="slow_plugin"
    )
    return {"PYTHONPATH": str(site)}


def test_no_number_of_reloads_hides_the_signal_to_stop(tmp_path: Path) -> None:
    write_config(tmp_path)
    with start("run", folder=tmp_path, environ=install_plugin(tmp_path)) as daemon:
        daemon.wait_for("pollect 2")
        (tmp_path / "slow").write_text("0.5")
        daemon.send(signal.SIGHUP)
        wait_until((tmp_path / "reloads").exists, "the first reload")
        for _ in range(300):
            daemon.send(signal.SIGHUP)
        wait_until(lambda: daemon.output.count("reloaded: ") == 2, "the second reload")
        (tmp_path / "slow").write_text("3600")
        for _ in range(300):
            daemon.send(signal.SIGHUP)
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < PROMPT_SECONDS
    assert daemon.output.count("reloaded: ") == 2, "300 reloads are one"


#: Python imports it by itself before anything of a command. It sends SIGHUP at one moment.
HANGING_UP = """
import os, signal, sys

word = os.environ["HANG_UP_AT"]

def watch(event, arguments):
    global word
    if event == "import" and arguments[0] == word:
        word = None
        os.kill(os.getpid(), signal.SIGHUP)

sys.addaudithook(watch)
"""


@pytest.mark.parametrize(
    "moment",
    [
        "pollect.cli.process",  # the first that `main` imports
        "pollect.cli.start",
        "pollect.daemon.loading",  # in the middle of reading the config
    ],
)
@pytest.mark.parametrize("words", [["run"], ["run", "--strict"]])
def test_a_reload_that_is_asked_for_during_the_start_ends_nothing(
    tmp_path: Path, moment: str, words: list[str]
) -> None:
    write_config(tmp_path)
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(HANGING_UP)
    environ = {"PYTHONPATH": str(site), "HANG_UP_AT": moment}
    with start(*words, folder=tmp_path, environ=environ) as daemon:
        daemon.wait_for("pollect 2")
        assert daemon.stop() == 0


SEIZING = """
import signal
from pollect.api import Source

class SeizingSource(Source):
    "Of a library that thinks it is alone."
    def __init__(self, config, context):
        super().__init__(config, context)
        {lines}
    def probe(self):
        return 1
"""


@pytest.mark.parametrize(
    "lines",
    [
        "[signal.signal(n, signal.SIG_IGN) for n in (signal.SIGTERM, signal.SIGHUP)]",
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})",
        "signal.set_wakeup_fd(-1)",
    ],
)
def test_a_library_that_takes_the_signals_is_relieved_of_them(tmp_path: Path, lines: str) -> None:
    (tmp_path / "extensions").mkdir()
    (tmp_path / "extensions" / "Seizing.py").write_text(SEIZING.format(lines=lines))
    write_config(tmp_path, type="extensions.Seizing")
    with start("run", folder=tmp_path) as daemon:
        daemon.wait_for("a plugin changed what signals do")
        daemon.send(signal.SIGHUP)
        daemon.wait_for("reloaded: ")
        assert daemon.stop() == 0


def test_log_goes_to_standard_error_and_leaves_the_other_to_writers(tmp_path: Path) -> None:
    write_config(tmp_path, writer="JsonLines")
    done = call("run", "--once", folder=tmp_path)
    assert done.returncode == 0
    assert [line[0] for line in done.stdout.splitlines()] == ["{"]
    write_config(tmp_path).write_text("a: 1")
    done = call("run", folder=tmp_path)
    assert done.stdout == ""


def test_a_reload_asked_for_until_the_very_end_leaves_the_exit_code(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with start("run", "-c", config, folder=tmp_path) as daemon:
        daemon.wait_for("runs")
        daemon.send(signal.SIGTERM)
        while daemon.process.poll() is None:
            daemon.send(signal.SIGHUP)
            time.sleep(0.0005)
        assert daemon.wait() == 0


@pytest.mark.parametrize("shell", ["{} run --dry-run | head -1", "{} run -r | true"])
def test_dry_run_ends_silently_with_its_reader(tmp_path: Path, shell: str) -> None:
    write_config(tmp_path, type="LoadAvg")
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shell.format(POLLECT)}"],
        cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == shell.count("head")
    assert re.fullmatch(r"I .* \[pollect\] pollect \S+ runs .*\n", done.stderr)


@pytest.mark.parametrize("shell", ["{} schema | head -1", "{} plugins list | true"])
def test_a_reader_that_has_seen_enough_is_no_failure(tmp_path: Path, shell: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shell.format(POLLECT)}"],
        cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


BREAKING = """
import click, os, sys
from pollect.api import hookimpl

@click.command()
def breaking():
    reader, writer = os.pipe()
    os.close(reader)
    os.write(writer, b"x")

@click.command()
def leaving():
    sys.exit(5)

@hookimpl
def pollect_commands():
    return [breaking, leaving]
"""


def test_a_broken_pipe_of_a_plugin_is_not_taken_for_that_of_the_output(tmp_path: Path) -> None:
    site = tmp_path / "site"
    write_distribution(site, "breaking", modules={"breaking.py": BREAKING}, plugin="breaking")
    environ = {"PYTHONPATH": str(site)}
    assert call("leaving", folder=tmp_path, environ=environ).returncode == 5
    done = call("breaking", folder=tmp_path, environ=environ)
    assert (done.returncode, done.stderr) == (1, "pollect: Broken pipe\n")


@pytest.mark.parametrize("command", ["check", "--version", "--help", "schema"])
def test_output_that_takes_nothing_is_a_failure_in_one_line(tmp_path: Path, command: str) -> None:
    write_config(tmp_path)
    done = subprocess.run(
        ["bash", "-c", f"{POLLECT} {command} >/dev/full"],
        cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "pollect: cannot write: No space left on device\n")


def test_a_message_that_cannot_be_written_keeps_its_exit_code(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{POLLECT} check missing.yml 2>/dev/full"],
        cwd=tmp_path, timeout=LIMIT_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 2


def test_closed_standard_streams_are_no_reason_to_fail(tmp_path: Path) -> None:
    write_config(tmp_path)
    log = tmp_path / "log"
    done = subprocess.run(
        ["bash", "-c", f"{POLLECT} run --once 2>{log} >&- <&-; exec {POLLECT} check >&- 2>&-"],
        cwd=tmp_path, timeout=LIMIT_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert log.read_text() == ""


@pytest.mark.parametrize("style", ["text", "json"])
def test_lines_in_the_journal_carry_their_priority(tmp_path: Path, style: str) -> None:
    write_config(tmp_path).write_text(
        CONFIG.format(type="Dummy, fail: out of order", writer="InMemory")
    )
    journal = tmp_path / "journal"
    with journal.open("wb") as stream:
        facts = os.fstat(stream.fileno())
        environ = {**os.environ, "JOURNAL_STREAM": f"{facts.st_dev}:{facts.st_ino}"}
        command = [POLLECT, "run", "--log-format", style, "--once"]
        subprocess.run(
            command, cwd=tmp_path, env=environ, stderr=stream, timeout=LIMIT_SECONDS, check=False
        )
    (line,) = journal.read_text().splitlines()
    assert line.startswith("<4>W " if style == "text" else '<4>{"time"')
    assert "out of order" in line
    done = call("run", "--once", folder=tmp_path, environ={"JOURNAL_STREAM": "1:2"})
    assert done.stderr.startswith("W ")


def test_once_exits_with_1_when_samples_were_lost(tmp_path: Path) -> None:
    environ = install_plugin(tmp_path)
    write_config(tmp_path, writer="Refuse")
    done = call("run", "--once", folder=tmp_path, environ=environ)
    assert done.returncode == 1
    assert "Refuse: 1 samples were lost" in done.stderr


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a process-id namespace")
def test_process_1_of_a_container_reaps_orphans_and_passes_signals_on(tmp_path: Path) -> None:
    write_config(tmp_path)
    orphan = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
    orphan += "        open('orphan', 'w').write(str(os.getpid())); os._exit(0)\n    os._exit(0)\n"
    orphan += "os.wait()\n"
    environ = install_plugin(tmp_path)
    module = tmp_path / "site" / "slow_plugin.py"
    module.write_text(orphan + module.read_text())
    command = ("unshare", "-fp", "--mount-proc", "--kill-child", POLLECT)
    with start("run", folder=tmp_path, command=command, environ=environ) as daemon:
        daemon.wait_for("pollect 2")
        first = children_of(daemon.process.pid)
        (process_1,) = first
        # The daemon, which has printed something; orphans come and go beside it.
        wait_until((tmp_path / "orphan").exists, "an orphan")
        wait_until(lambda: len(children_of(process_1)) == 1, "the end of all zombies")
        os.kill(process_1, signal.SIGHUP)
        daemon.wait_for("reloaded: ")
        os.kill(process_1, signal.SIGTERM)
        assert daemon.wait() == 0
    assert daemon.output.endswith("[pollect] stopped\n")


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
