"""A new plugin, made, installed and tested in a fresh environment, as its author would."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pollect.testing import serve_http, wait_until
from tests.e2e.command import call, scrape, start
from tests.simulators.daemons import free_port

ROOT = Path(__file__).parents[2]

CONFIG = """\
tickTime: 0.2
writers:
  - {{type: Prometheus, bind: 127.0.0.1, port: {port}}}
executors:
  - collection: harbour
    sources:
      - {{type: Tide, host: "{host}"}}
"""


def run(*command: str | Path, folder: Path) -> str:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(300)
def test_a_new_plugin_is_installed_tested_listed_and_served(tmp_path) -> None:
    assert call("plugins", "new", "tide", folder=tmp_path).returncode == 0
    assert call("plugins", "new", "--writer", "jetty", folder=tmp_path).returncode == 0
    run(sys.executable, "-m", "venv", "--without-pip", "venv", folder=tmp_path)
    binaries = tmp_path / "venv" / "bin"
    # The pip of this environment serves the fresh one, which saves installing it there.
    pip = (sys.executable, "-m", "pip", "--python", binaries / "python")
    run(
        *(*pip, "install", "--quiet", "--disable-pip-version-check"),
        *(f"{ROOT / 'pollect-core'}[http]", ROOT / "pollect-writers", "./pollect-tide[test]"),
        "./pollect-jetty",
        folder=tmp_path,
    )

    tests = run(binaries / "python", "-m", "pytest", "-q", folder=tmp_path / "pollect-tide")
    assert "17 passed" in tests
    assert "skipped" not in tests

    tests = run(binaries / "python", "-m", "pytest", "-q", folder=tmp_path / "pollect-jetty")
    assert "19 passed" in tests
    assert "skipped" not in tests

    listed = run(binaries / "pollect", "plugins", "list", folder=tmp_path)
    (line,) = [line for line in listed.splitlines() if line.startswith("Tide")]
    assert line.split()[:5] == ["Tide", "source", "pollect-tide", "0.1.0", "ready"]
    assert "Level in metres." in run(
        binaries / "pollect", "plugins", "show", "Tide", folder=tmp_path
    )

    # The wheel holds the template, hidden files included.
    run(binaries / "pollect", "plugins", "new", "tide", "--into", "again", folder=tmp_path)
    again = {file.relative_to(tmp_path / "again") for file in (tmp_path / "again").rglob("*.*")}
    assert {Path("pollect-tide/.gitignore"), Path("pollect-tide/pyproject.toml")} <= again

    port = free_port()
    with serve_http({"/status": {"level": 2.5, "readings": 17}}) as gauge:
        (tmp_path / "config.yml").write_text(CONFIG.format(port=port, host=gauge.address))
        command = (str(binaries / "pollect"),)
        with start("run", "-c", "config.yml", folder=tmp_path, command=command) as daemon:

            def served() -> bool:
                assert daemon.process.poll() is None, daemon.output
                try:
                    return "harbour_Tide_level_metres 2.5" in scrape(port)
                except OSError:
                    return False

            wait_until(served, "the value of the gauge")
            assert daemon.stop() == 0
