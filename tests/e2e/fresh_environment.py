"""Virtual environments with nothing in them but what a test installs from pollect's wheels."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 500


class FreshEnvironment:
    """A new virtual environment; pip finds pollect's wheels in the folder `wheels`."""

    def __init__(self, folder: Path, wheels: Path) -> None:
        self._python = str(folder / "bin" / "python")
        self.command = str(folder / "bin" / "pollect")
        self._environ = {**os.environ, "PIP_FIND_LINKS": str(wheels)}
        self._environ.pop("PYTHONPATH", None)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)

    def pip(self, *arguments: str) -> None:
        command = [self._python, "-m", "pip", "--quiet", *arguments]
        subprocess.run(command, check=True, env=self._environ, timeout=LIMIT_SECONDS)

    def pollect(
        self, *arguments: str, folder: Path, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.command, *arguments],
            cwd=folder,
            env={**self._environ, **(environ or {})},
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )


def build_wheels(folder: Path) -> None:
    """Build the wheels of all distributions of pollect into a folder."""
    projects = [str(file.parent) for file in sorted(ROOT.glob("pollect-*/pyproject.toml"))]
    # Built apart: an environment with the lowest versions has no room for hatchling's needs.
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run(
        [*command, "--wheel-dir", str(folder), *projects], check=True, timeout=LIMIT_SECONDS
    )
