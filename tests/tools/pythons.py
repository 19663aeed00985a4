"""Run all tests on every Python that pyenv has, 3.11 to 3.13: `make pythons`.

`PARTS="3.13"` runs them on some of these; further arguments go to pytest. Each has an environment
under `.pythons/`.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.tools.environments import ROOT, make_environment

MINORS = ("3.11", "3.12", "3.13")


def installed_pythons() -> dict[str, Path]:
    """Return the interpreters that pyenv has, by minor version."""
    return find_pythons(Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions")


def find_pythons(versions: Path) -> dict[str, Path]:
    """Return the interpreter of the newest patch release for each minor version that is there."""
    found = {}
    for minor in MINORS:
        patches = [folder.name.rpartition(".")[2] for folder in versions.glob(f"{minor}.*")]
        newest = max((int(patch) for patch in patches if patch.isdigit()), default=None)
        if newest is not None:
            found[minor] = versions / f"{minor}.{newest}" / "bin" / "python"
    return found


def main() -> int:
    pythons = installed_pythons()
    minors = os.environ.get("PARTS", "").split() or list(pythons)
    absent = [minor for minor in minors if minor not in pythons]
    if absent or not minors:
        print(f"pyenv has no Python {' '.join(absent or MINORS)}", file=sys.stderr)
        return 1
    failed = []
    for minor in minors:
        python = make_environment(ROOT / ".pythons" / minor, pythons[minor])
        print(f"Python {minor}", flush=True)
        if subprocess.run([python, "-m", "pytest", *sys.argv[1:]], cwd=ROOT).returncode:
            failed.append(minor)
    if failed:
        print(f"failed on Python {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
