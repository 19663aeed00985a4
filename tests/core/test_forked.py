"""Tasks done in turn in a process of their own: each answer counts by itself."""

import json
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")

#: Other threads of this process would keep it from forking.
SCRIPT = """
import json, os, signal, sys
from pollect.forked import Forked, Task

def text(task):
    answer = task.answer()
    return None if answer is None else answer.decode()

"""


def run(code: str) -> Any:
    """Run `code` in a fresh interpreter and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT + code],
        capture_output=True,
        text=True,
        timeout=150,
        check=True,
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_all_tasks_are_done_in_one_process_that_is_gone_afterwards() -> None:
    own, others, left = run(
        """
tasks = [Task(lambda: str(os.getpid()).encode()) for _ in range(3)]
with Forked(*tasks):
    answers = [text(task) for task in reversed(tasks)]
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print(json.dumps([str(os.getpid()), answers, "none"]))
"""
    )
    assert len(set(others)) == 1
    assert own not in others
    assert left == "none"


@pytest.mark.parametrize("failure", ["1 / 0", "sys.exit(0)", "[].pop()"])
def test_a_task_that_fails_costs_its_own_answer_only(failure: str) -> None:
    code = f"""
first, failing, last = Task(lambda: b"first"), Task(lambda: {failure}), Task(lambda: b"")
with Forked(first, failing, last):
    print(json.dumps([text(last), text(failing), text(first)]))
"""
    assert run(code) == ["", None, "first"]


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_what_was_answered_counts_although_the_process_ends(end: str) -> None:
    code = f"""
first, ending, last = Task(lambda: b"first"), Task(lambda: {end}), Task(lambda: b"last")
with Forked(first, ending, last):
    print(json.dumps([text(last), text(ending), text(first)]))
"""
    assert run(code) == [None, None, "first"]


def test_a_long_answer_comes_over_whole() -> None:
    code = """
long, last = Task(lambda: b"ab" * 5_000_000), Task(lambda: b"last")
with Forked(long, last):
    print(json.dumps([long.answer() == b"ab" * 5_000_000, text(last)]))
"""
    assert run(code) == [True, "last"]


def test_half_an_answer_is_none() -> None:
    """The process is killed while its answer is on the way, as by the kernel without memory."""
    code = """
task = Task(lambda: bytes(50_000_000))
with Forked(task) as process:
    process._pipe.peek(1)  # more than a pipe holds: the rest is still there
    os.kill(process._child, signal.SIGKILL)
    print(json.dumps(text(task)))
"""
    assert run(code) is None
