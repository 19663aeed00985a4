"""Run the core's tests on every Python that pyenv has, 3.11 to 3.13: `make pythons`.

Each gets an environment under `.pythons/`; further arguments go to pytest.
"""

import os
import subprocess
import sys
from pathlib import Path

MINORS = ("3.11", "3.12", "3.13")
ROOT = Path(__file__).parents[2]


def find_pythons(versions: Path) -> dict[str, Path]:
    """Return the interpreter of the newest patch release for each minor version that is there."""
    found = {}
    for minor in MINORS:
        patches = [folder.name.rpartition(".")[2] for folder in versions.glob(f"{minor}.*")]
        newest = max((int(patch) for patch in patches if patch.isdigit()), default=None)
        if newest is not None:
            found[minor] = versions / f"{minor}.{newest}" / "bin" / "python"
    return found


def prepare(minor: str, interpreter: Path) -> Path:
    """Make the environment of a version unless it is up to date; return its interpreter."""
    folder = ROOT / ".pythons" / minor
    python, stamp = folder / "bin" / "python", folder / ".installed"
    projects = [ROOT / "pyproject.toml", *ROOT.glob("pollect-*/pyproject.toml")]
    if stamp.exists() and all(stamp.stat().st_mtime > file.stat().st_mtime for file in projects):
        return python
    print(f"installing pollect into {folder} ...", flush=True)
    subprocess.run([interpreter, "-m", "venv", "--clear", folder], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, "--upgrade", "pip"], check=True)
    editables = [word for file in projects[1:] for word in ("-e", str(file.parent))]
    subprocess.run([*install, *editables, "--group", "test"], cwd=ROOT, check=True)
    stamp.touch()
    return python


def main() -> int:
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    pythons = find_pythons(root / "versions")
    if not pythons:
        print(f"no Python {MINORS[0]} to {MINORS[-1]} in {root / 'versions'}", file=sys.stderr)
        return 1
    failed = []
    for minor, interpreter in pythons.items():
        python = prepare(minor, interpreter)
        print(f"Python {minor}", flush=True)
        if subprocess.run(
            [python, "-m", "pytest", "tests/core", *sys.argv[1:]], cwd=ROOT
        ).returncode:
            failed.append(minor)
    if failed:
        print(f"failed on Python {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
