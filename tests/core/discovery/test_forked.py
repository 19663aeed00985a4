"""Looking for plugins in a process of its own: the same answer, nothing left behind."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tools.distributions import write_distribution

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="searches apart on Linux only")

SEARCH = """
import json, os, sys, threading
import msgspec
from pollect.discovery.forked import PluginSearch
from pollect.forked import Forked

def plain(found):
    return msgspec.to_builtins(found)

def children():
    try:
        return os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return "none"

"""


def run_search(site: Path, code: str) -> Any:
    """Run `code` in a fresh interpreter that also imports from `site`; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SEARCH + code],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=150,
        check=True,
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_search_apart_finds_what_a_search_here_finds(tmp_path: Path) -> None:
    write_distribution(tmp_path, "pollect-good", modules={"good.py": ""}, plugin="good")
    write_distribution(tmp_path, "pollect-bad", modules={"bad.py": "1 / 0"}, plugin="bad")
    apart, here, held = run_search(
        tmp_path,
        """
with Forked(search := PluginSearch()):
    apart = plain(search.result())
held = {"stevedore", "importlib.metadata", "email", "good"} & sys.modules.keys()
from pollect.discovery.plugins import find_plugins
print(json.dumps([apart, plain(find_plugins()), sorted(held)]))
""",
    )
    assert apart == here
    assert held == []
    failures = {found["distribution"]: found["failure"] for found in apart}
    assert failures["pollect-core"] == failures["pollect-good"] == ""
    assert failures["pollect-bad"] == "fails at import: ZeroDivisionError: division by zero"


def test_nothing_is_printed_by_a_plugin_that_is_only_looked_at(tmp_path: Path) -> None:
    loud = {"loud.py": "import sys; print('loud'); print('loud', file=sys.stderr, flush=True)"}
    write_distribution(tmp_path, "pollect-loud", modules=loud, plugin="loud")
    code = "with Forked(search := PluginSearch()): print(json.dumps(plain(search.result())))"
    assert "pollect-loud" in [found["distribution"] for found in run_search(tmp_path, code)]


def test_search_is_left_to_the_caller_while_other_threads_run(tmp_path: Path) -> None:
    code = """
end = threading.Event()
other = threading.Thread(target=end.wait)
other.start()
with Forked(search := PluginSearch()):
    print(json.dumps([search.result(), children()]))
end.set()
other.join()
"""
    assert run_search(tmp_path, code) == [None, "none"]


def test_search_that_dies_is_left_to_the_caller(tmp_path: Path) -> None:
    deadly = {"deadly.py": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"}
    write_distribution(tmp_path, "pollect-deadly", modules=deadly, plugin="deadly")
    code = "with Forked(search := PluginSearch()): print(json.dumps([search.result(), children()]))"
    assert run_search(tmp_path, code) == [None, "none"]


def test_signal_for_the_whole_group_is_left_to_the_caller(tmp_path: Path) -> None:
    """The handlers of the daemon stop the daemon: a search that ran them would end well."""
    stopped = {"stopped.py": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"}
    write_distribution(tmp_path, "pollect-stopped", modules=stopped, plugin="stopped")
    code = """
import signal
signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
with Forked(search := PluginSearch()): print(json.dumps([search.result(), children()]))
"""
    assert run_search(tmp_path, code) == [None, "none"]


def test_search_that_nobody_waits_for_is_ended(tmp_path: Path) -> None:
    slow = {"slow.py": "import time; time.sleep(3600)"}
    write_distribution(tmp_path, "pollect-slow", modules=slow, plugin="slow")
    code = """
with Forked(PluginSearch()):
    pass
print(json.dumps(children()))
"""
    assert run_search(tmp_path, code) == "none"


def test_search_of_a_process_that_ignores_its_children_leaves_none(tmp_path: Path) -> None:
    code = """
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
with Forked(search := PluginSearch()):
    found = search.result()
with Forked(PluginSearch()):
    pass
print(json.dumps([found[0].distribution, children()]))
"""
    assert run_search(tmp_path, code) == ["pollect-core", "none"]


def test_search_is_left_to_the_caller_where_no_process_may_start(tmp_path: Path) -> None:
    code = """
import resource
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
if os.getuid() == 0:
    os.setuid(65534)  # root may start any number of processes
with Forked(search := PluginSearch()):
    print(json.dumps([search.result(), children()]))
"""
    assert run_search(tmp_path, code) == [None, "none"]
