"""What `tests/conftest.py` makes of integration tests that skip."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = """\
import pytest

@pytest.fixture
def service():
    pytest.skip("no service")

@pytest.mark.integration
def test_inside():
    pytest.skip("no program")

@pytest.mark.integration
@pytest.mark.skipif(True, reason="no library")
def test_mark():
    pass

@pytest.mark.integration
def test_fixture(service):
    pass

@pytest.mark.integration
@pytest.mark.xfail(reason="known")
def test_known():
    raise AssertionError

def test_unit():
    pytest.skip("not here")
"""


def run_tests(folder: Path, ci: str | None, processes: str = "0") -> str:
    file = folder / "test_skipping.py"
    file.write_text(TESTS)
    environ = {name: value for name, value in os.environ.items() if name != "CI"}
    if ci is not None:
        environ["CI"] = ci
    options = ["-p", "tests.conftest", "-p", "no:cacheprovider", "-c", "pyproject.toml", "-q"]
    options += ["--numprocesses", processes]
    command = [sys.executable, "-m", "pytest", *options, f"--rootdir={folder}", str(file)]
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    return done.stdout


@pytest.mark.parametrize("processes", ["0", "2"])
def test_integration_test_that_skips_in_ci_fails_and_says_why(
    tmp_path: Path, processes: str
) -> None:
    output = run_tests(tmp_path, "true", processes)
    for reason in ("no program", "no library", "no service"):
        assert f"an integration test must not skip in CI: Skipped: {reason}" in output
    assert "not here" in output
    assert "1 skipped, 1 xfailed" in output.splitlines()[-1]


@pytest.mark.parametrize("ci", [None, "", "false"])
def test_it_may_skip_elsewhere(tmp_path: Path, ci: str | None) -> None:
    assert "4 skipped, 1 xfailed" in run_tests(tmp_path, ci)
