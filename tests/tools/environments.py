"""Environments with all distributions, their extras and the developers' tools.

`python -m tests.tools.environments` prints what pip takes for that.
"""

import hashlib
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "constraints.txt"


def project_files() -> list[Path]:
    """Return the pyproject files of all distributions."""
    return sorted(ROOT.glob("pollect-*/pyproject.toml"))


def editables() -> Iterator[str]:
    """Yield the arguments with which pip installs every distribution with all its extras."""
    for file in project_files():
        extras = ",".join(_read(file)["project"].get("optional-dependencies", {}))
        yield from ("-e", f"{file.parent}[{extras}]" if extras else str(file.parent))


def requirements(groups: Iterable[str] = ("test",)) -> Iterator[str]:
    """Yield every requirement on third parties that the pyproject files name."""
    for file in project_files():
        project = _read(file)["project"]
        parts = [
            project.get("dependencies", []),
            *project.get("optional-dependencies", {}).values(),
        ]
        yield from (line for part in parts for line in part if not line.startswith("pollect-"))
    declared = _read(ROOT / "pyproject.toml")["dependency-groups"]
    for group in groups:
        yield from declared[group]


def make_environment(
    folder: Path,
    interpreter: Path,
    *,
    constraints: Path | None = CONSTRAINTS,
    groups: Iterable[str] = ("test",),
) -> Path:
    """Make the environment in `folder` unless it is up to date; return its interpreter."""
    python, stamp = folder / "bin" / "python", folder / ".installed"
    groups = tuple(groups)
    recipe = _recipe(interpreter, constraints, groups)
    if stamp.exists() and stamp.read_text(encoding="utf-8") == recipe:
        return python
    print(f"installing pollect into {folder} ...", flush=True)
    subprocess.run([interpreter, "-m", "venv", "--clear", folder], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, "--upgrade", "pip"], check=True)
    if constraints:
        install += ["--constraint", str(constraints)]
    wanted = [word for group in groups for word in ("--group", group)]
    subprocess.run([*install, *editables(), *wanted], cwd=ROOT, check=True)
    stamp.write_text(recipe, encoding="utf-8")
    return python


def _recipe(interpreter: Path, constraints: Path | None, groups: tuple[str, ...]) -> str:
    """Return a hash of all that an environment is made of, whenever its files were written."""
    files = [ROOT / "pyproject.toml", *project_files(), *([constraints] if constraints else [])]
    parts = [str(interpreter).encode(), repr(groups).encode(), *(f.read_bytes() for f in files)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _read(file: Path) -> dict[str, Any]:
    return tomllib.loads(file.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.stdout.write(" ".join(editables()))
