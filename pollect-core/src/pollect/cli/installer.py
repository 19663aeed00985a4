"""How packages get into the environment that pollect runs in.

A tool environment of uv or pipx is theirs: what pip adds to it is gone with the next upgrade, and
one of uv has no pip at all. There their own command is asked, which notes down what was added.
"""

import importlib.util
import shutil
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pollect.discovery.plugins import CORE
from pollect.errors import MissingDependency


def install_command(lines: Sequence[str], prefix: Path = Path(sys.prefix)) -> list[str]:
    """Return the command that installs requirements for this Python.

    `prefix` is the environment. Raises `MissingDependency` if there is nothing to install with.
    """
    receipt = prefix / "uv-receipt.toml"
    if receipt.is_file():
        tool, added = _read_receipt(receipt)
        words = [word for line in [*added, *lines] for word in ("--with", line)]
        return [_require("uv"), "tool", "install", tool, *words]
    if (prefix / "pipx_metadata.json").is_file():
        return [_require("pipx"), "inject", prefix.name, *lines]
    return [*pip(), "install", *lines]


def pip() -> list[str]:
    """Return the words that start pip for this Python; raises `MissingDependency`."""
    if importlib.util.find_spec("pip") is None:
        raise MissingDependency(
            f"pip is not installed for {sys.executable}: {Path(sys.executable).name} -m ensurepip",
            program="pip",
        )
    return [sys.executable, "-m", "pip"]


def _read_receipt(file: Path) -> tuple[str, list[str]]:
    """Return the tool of an environment of uv, and what was installed with it so far."""
    try:
        noted: Any = tomllib.loads(file.read_text("utf-8"))["tool"]["requirements"]
        requirements = [_format_requirement(part) for part in noted]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return CORE, []
    return (requirements[0], requirements[1:]) if requirements else (CORE, [])


def _format_requirement(part: Any) -> str:
    """Return `name[extra]>=1` for what a receipt notes of a requirement."""
    extras = f"[{','.join(part['extras'])}]" if part.get("extras") else ""
    return f"{part['name']}{extras}{part.get('specifier', '')}"


def _require(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise MissingDependency(
            f"pollect was installed with {program}, which is not on the PATH: add it, "
            f"or see `{program} --help` for how to add packages",
            program=program,
        )
    return found
