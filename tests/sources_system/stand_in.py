"""Programs that stand in for those of a host we do not have."""

import os
import sys
from pathlib import Path


def write_program(folder: Path, name: str, code: str) -> Path:
    """Make an executable Python script; `code` may use `arguments`, its words."""
    program = folder / name
    program.write_text(f"#!{sys.executable}\nimport sys\narguments = sys.argv[1:]\n{code}")
    program.chmod(0o755)
    return program


def put_first_in_path(folder: Path) -> str:
    """Return a PATH in which the programs of `folder` are found first."""
    return f"{folder}{os.pathsep}{os.environ['PATH']}"
