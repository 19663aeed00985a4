"""All tests run in several processes, and what has to stays in one of them."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import pytest_xdist_auto_num_workers
from tests.spread import WORKERS, group_of

pytest_plugins = ["pytester"]


@pytest.mark.parametrize(
    ("arguments", "processes"),
    [
        ((), WORKERS),
        (("--durations=20", "-x", "-q"), WORKERS),
        (("tests",), 0),
        (("-k", "some"), 0),
        (("-m", "integration"), 0),
        (("--last-failed",), 0),
    ],
)
def test_only_a_run_of_all_tests_takes_several_processes(
    pytester: pytest.Pytester, arguments: tuple[str, ...], processes: int
) -> None:
    pytester.makeini("[pytest]\ntestpaths = tests")
    pytester.mkdir("tests")
    assert pytest_xdist_auto_num_workers(pytester.parseconfig(*arguments)) == processes


def test_files_that_use_the_same_costly_thing_stay_together() -> None:
    images = {
        group_of(f"tests/deploy/test_{name}.py::test_it[a/b::c]") for name in ("image", "booted")
    }
    assert images == {"images"}


def test_other_files_go_their_own_way() -> None:
    assert group_of("tests/core/test_skips.py::test_it") == "tests/core/test_skips.py"
    assert group_of("tests/core/test_spread.py::test_it") == "tests/core/test_spread.py"


ODD_TESTS = """\
import logging

def test_passes():
    logging.getLogger().warning("half a pair: \\ud800")

def test_fails():
    print("\\ud801")
    assert not "\\ud802", "\\ud803"
"""


def test_what_is_not_unicode_is_reported_by_every_process(tmp_path: Path) -> None:
    file = tmp_path / "test_odd.py"
    file.write_text(ODD_TESTS, encoding="utf-8")
    options = ["-p", "tests.conftest", "-p", "no:cacheprovider", "-c", "pyproject.toml", "-q"]
    command = [sys.executable, "-m", "pytest", *options, "-n", "1", f"--rootdir={tmp_path}"]
    done = subprocess.run(
        [*command, str(file)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1].startswith("1 failed, 1 passed"), done.stdout
    assert "AssertionError: \\ud803" in done.stdout
