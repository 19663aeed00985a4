"""Run the tests with the lowest and with the newest versions allowed: `make bounds`.

`PARTS="lowest"` or `PARTS="newest"` runs one of the two; further arguments go to pytest. Each
has an environment under `.bounds/`, of the oldest Python for the lowest versions.
"""

import os
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.tools.environments import ROOT, make_environment, requirements
from tests.tools.pythons import MINORS, installed_pythons

FOLDER = ROOT / ".bounds"
PARTS = ("lowest", "newest")


def lowest_versions(lines: list[str]) -> dict[str, str]:
    """Return the lowest version of each package that all of `lines` allow."""
    found: dict[str, Version] = {}
    for requirement in map(Requirement, lines):
        bounds = (part for part in requirement.specifier if part.operator in (">=", "~=", "=="))
        for bound in bounds:
            name, version = canonicalize_name(requirement.name), Version(bound.version)
            found[name] = max(found.get(name, version), version)
    return {name: str(version) for name, version in sorted(found.items())}


def prepare(part: str) -> Path:
    """Make the environment of a part and return its interpreter."""
    pythons = installed_pythons()
    oldest = pythons.get(MINORS[0], Path(sys.executable))
    if part == "newest":
        (FOLDER / part / ".installed").unlink(missing_ok=True)  # newer ones may be out since
        return make_environment(FOLDER / part, Path(sys.executable), constraints=None)
    FOLDER.mkdir(exist_ok=True)
    constraints = FOLDER / "lowest.txt"
    lines = [f"{name}=={version}\n" for name, version in lowest_versions([*requirements()]).items()]
    if not constraints.exists() or constraints.read_text(encoding="utf-8") != "".join(lines):
        constraints.write_text("".join(lines), encoding="utf-8")
    return make_environment(FOLDER / part, oldest, constraints=constraints)


def main() -> int:
    parts = os.environ.get("PARTS", "").split() or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        print(f"PARTS: expected {' or '.join(PARTS)}, got {' '.join(unknown)}", file=sys.stderr)
        return 2
    failed = []
    for part in parts:
        python = prepare(part)
        print(f"{part} versions", flush=True)
        if subprocess.run([python, "-m", "pytest", *sys.argv[1:]], cwd=ROOT).returncode:
            failed.append(part)
    if failed:
        print(f"failed with the {' and the '.join(failed)} versions", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
