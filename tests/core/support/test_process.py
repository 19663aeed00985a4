import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from pollect.api import BadResponse, MissingDependency, NoData, Program, TargetUnavailable
from pollect.support.process import Command, end_process, search_path
from tests.simulators.tcp import IN_TIME_SECONDS

PYTHON = Program(sys.executable, "python3")


def python(code: str, *arguments: str, stopping: threading.Event | None = None, **options):
    return Command(PYTHON, stopping=stopping).run("-c", code, *arguments, **options)


def test_output_and_errors_are_kept_apart() -> None:
    finished = python("import sys; print('out'); print('err', file=sys.stderr)")
    assert (finished.status, finished.stdout, finished.stderr) == (0, "out\n", "err\n")


def test_program_sees_utf8_messages_in_english_and_no_input() -> None:
    finished = python("import os, sys; print(os.environ['LC_ALL'], repr(sys.stdin.read()), '°')")
    assert finished.stdout == "C.UTF-8 '' °\n"


def test_programs_do_not_get_what_systemd_hands_to_the_daemon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """systemctl reported its end to the socket, and systemd complained about it at every probe."""
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/pollect.service")
    monkeypatch.setenv("LANGUAGE", "en")
    names = "('NOTIFY_SOCKET', 'WATCHDOG_USEC', 'CREDENTIALS_DIRECTORY', 'LANGUAGE')"
    finished = python(f"import os; print([n for n in {names} if n in os.environ])")
    assert finished.stdout == "['LANGUAGE']\n"


def test_output_that_is_no_utf8_is_replaced() -> None:
    assert python("import sys; sys.stdout.buffer.write(b'\\xb0C')").stdout == "\ufffdC"


def test_folders_for_system_programs_are_searched_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/bin:/sbin")
    assert search_path() == "/bin:/sbin:/usr/sbin"


def test_missing_program_names_itself_and_its_debian_package() -> None:
    command = Command(Program("smartctl-that-is-not-there", "smartmontools"))
    with pytest.raises(MissingDependency, match="apt install smartmontools") as caught:
        command.require()
    assert caught.value.program == "smartctl-that-is-not-there"
    assert caught.value.package == "smartmontools"
    with pytest.raises(MissingDependency):
        command.run()


@pytest.mark.parametrize(
    "override", [f"{sys.executable} -c", [sys.executable, "-c"], (sys.executable, "-c")]
)
def test_override_replaces_the_name_as_line_or_words(override) -> None:
    command = Command(Program("nothing-like-it", "nowhere"), override)
    assert command.run("print(42)").stdout == "42\n"


def test_unexpected_status_quotes_the_first_line_of_stderr() -> None:
    code = "import sys; print('\\n  cannot open /dev/sda\\nmore', file=sys.stderr); sys.exit(3)"
    with pytest.raises(TargetUnavailable, match=r"exit status 3: cannot open /dev/sda$"):
        python(code)


def test_any_status_can_be_allowed() -> None:
    assert python("raise SystemExit(4)", statuses=None).status == 4
    assert python("raise SystemExit(4)", statuses=(0, 4)).status == 4


def test_large_output_does_not_block() -> None:
    assert len(python("print('x' * 5_000_000)").stdout) == 5_000_001


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_program_that_prints_without_end_is_killed_and_named(stream: str, tmp_path: Path) -> None:
    code = (
        "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid()))\n"
        f"while True: sys.{stream}.write('x' * 100_000)"
    )
    pid_file = tmp_path / "pid"
    before = psutil.Process().memory_info().rss
    with pytest.raises(BadResponse, match="prints more than 16777216 bytes, killed"):
        python(code, str(pid_file), timeout=30)
    wait_until_gone(int(pid_file.read_text()))
    assert psutil.Process().memory_info().rss - before < 100_000_000


def test_program_that_closes_its_output_and_goes_on_is_killed_in_time() -> None:
    started = time.monotonic()
    with pytest.raises(TargetUnavailable, match="no answer within 1 s, killed"):
        python("import os, time; os.close(1); os.close(2); time.sleep(60)", timeout=1)
    assert time.monotonic() - started < IN_TIME_SECONDS


def test_line_ends_of_other_systems_are_one() -> None:
    code = "import sys; sys.stdout.buffer.write(b'a\\r\\nb\\rc')"
    assert python(code).stdout == "a\nb\nc"


def wait_until_gone(pid: int) -> None:
    for _ in range(500):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} is still alive")


SLEEPER_WITH_CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(sys.argv[1], "w").write(str(child.pid))
child.wait()
"""


def test_timeout_kills_the_program_and_what_it_started(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    started = time.monotonic()
    with pytest.raises(TargetUnavailable, match="no answer within 1 s, killed"):
        python(SLEEPER_WITH_CHILD, str(pid_file), timeout=1)
    assert time.monotonic() - started < IN_TIME_SECONDS
    wait_until_gone(int(pid_file.read_text()))


def test_child_left_behind_with_the_pipe_does_not_block_for_ever(tmp_path: Path) -> None:
    code = SLEEPER_WITH_CHILD.replace("child.wait()", "")
    with pytest.raises(TargetUnavailable, match="no answer within 1 s"):
        python(code, str(tmp_path / "pid"), timeout=1)
    wait_until_gone(int((tmp_path / "pid").read_text()))


def test_stop_of_the_daemon_kills_a_running_program() -> None:
    stopping = threading.Event()
    timer = threading.Timer(0.3, stopping.set)
    timer.start()
    started = time.monotonic()
    with pytest.raises(NoData, match="killed because pollect stops"):
        python("import time; time.sleep(60)", stopping=stopping, timeout=30)
    timer.join()
    assert time.monotonic() - started < IN_TIME_SECONDS


def test_started_program_is_ended_with_its_group() -> None:
    process = Command(PYTHON).start("-c", "import time; time.sleep(60)")
    end_process(process)
    end_process(process)
    assert process.returncode is not None
