"""What `deps --install` runs, by the kind of environment pollect is in."""

import sys
from pathlib import Path

import pytest

from pollect.cli.installer import install_command
from pollect.errors import MissingDependency

RECEIPT = """\
[tool]
requirements = [
    { name = "pollect-core" },
    { name = "pollect-sources-network", extras = ["snmp"], specifier = ">=2.0" },
]
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with uv and pipx that is the whole PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("uv", "pipx"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_a_virtual_environment_has_pip(tmp_path: Path) -> None:
    command = install_command(["pollect-writers>=2.0"], tmp_path)
    assert command == [sys.executable, "-m", "pip", "install", "pollect-writers>=2.0"]


def test_uv_keeps_what_it_installed_before(tmp_path: Path, programs: Path) -> None:
    (tmp_path / "uv-receipt.toml").write_text(RECEIPT)
    before = ["--with", "pollect-sources-network[snmp]>=2.0"]
    assert install_command(["pollect-writers>=2.0"], tmp_path) == [
        *(str(programs / "uv"), "tool", "install", "pollect-core"),
        *(*before, "--with", "pollect-writers>=2.0"),
    ]


@pytest.mark.parametrize("text", ["", "rubbish", "[tool]\nrequirements = [7]\n"])
def test_a_receipt_that_cannot_be_read_names_the_core(
    tmp_path: Path, programs: Path, text: str
) -> None:
    (tmp_path / "uv-receipt.toml").write_text(text)
    words = install_command(["x"], tmp_path)[1:]
    assert words == ["tool", "install", "pollect-core", "--with", "x"]


def test_pipx_injects(tmp_path: Path, programs: Path) -> None:
    environment = tmp_path / "pollect-core"
    environment.mkdir()
    (environment / "pipx_metadata.json").write_text("{}")
    command = install_command(["pollect-writers>=2.0"], environment)
    assert command == [str(programs / "pipx"), "inject", "pollect-core", "pollect-writers>=2.0"]


def test_a_tool_that_is_gone_is_named(tmp_path: Path, programs: Path) -> None:
    (programs / "uv").unlink()
    (tmp_path / "uv-receipt.toml").write_text(RECEIPT)
    with pytest.raises(MissingDependency, match="installed with uv, which is not on the PATH"):
        install_command(["x"], tmp_path)
