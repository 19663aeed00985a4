"""Write `constraints.txt` again, with the newest version of everything: `make upgrade`."""

import subprocess
import sys
from pathlib import Path

from tests.tools.environments import CONSTRAINTS, ROOT, make_environment

HEADING = """\
# One tested version of every third-party package, for `make run` and `make test`.
# Written by `make upgrade`.
"""
#: Part of every environment, or ours.
LEFT_OUT = ("pip", "setuptools", "wheel")


def main() -> int:
    """Install everything without constraints, and note which versions that gave."""
    folder = ROOT / ".bounds" / "upgrade"
    stamp = folder / ".installed"
    stamp.unlink(missing_ok=True)
    python = make_environment(
        folder, Path(sys.executable), constraints=None, groups=("test", "lint", "build")
    )
    frozen = subprocess.run(
        [python, "-m", "pip", "freeze", "--exclude-editable"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    CONSTRAINTS.write_text(HEADING + "".join(constraint_lines(frozen.stdout)), encoding="utf-8")
    return 0


def constraint_lines(frozen: str) -> list[str]:
    """Return the lines of `pip freeze` that are names with a version, sorted."""
    lines = (line.strip() for line in frozen.splitlines())
    kept = (line for line in lines if "==" in line and line.split("==")[0] not in LEFT_OUT)
    return [f"{line}\n" for line in sorted(kept, key=str.lower)]


if __name__ == "__main__":
    sys.exit(main())
