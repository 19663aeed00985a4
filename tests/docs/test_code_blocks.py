"""The code of the manual and the README is run.

A block whose first line is a comment with a file name becomes that file; the commands of the
console blocks are run beside them, in the order of the page.
"""

import ast
import importlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.simulators.daemons import free_port

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"# (\S+\.\w+)\n")

#: Commands that would change this environment or never end -> where they are run instead.
ELSEWHERE = {
    "make ": "tests/e2e/test_run.py and the CI",
    "curl ": "tests/e2e/test_run.py",
    "pip install": "tests/e2e/test_new_plugin.py",
    "pytest pollect-tide": "tests/e2e/test_new_plugin.py",
    "pollect plugins show Tide": "tests/e2e/test_new_plugin.py",
}
DAEMON = re.compile(r"pollect run -c \S+$")


@dataclass(frozen=True)
class Block:
    language: str
    text: str

    @property
    def file(self) -> str:
        """The file that the block is meant to be; empty if it is none."""
        named = FILE_NAME.match(self.text)
        return named[1] if named else ""


def blocks_of(page: str) -> list[Block]:
    return [Block(*found) for found in BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))]


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    if DAEMON.match(command):
        command += " --once"  # else it runs until somebody stops it
    binaries = Path(sys.executable).parent
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def write_file(block: Block, folder: Path, port: str) -> None:
    """Write the file that a block is meant to be, with a port that is free."""
    if block.language == "python":
        ast.parse(block.text)
    if not block.file:
        return
    path = folder / block.file
    path.parent.mkdir(parents=True, exist_ok=True)
    text = FILE_NAME.sub("", block.text, count=1) if block.language == "text" else block.text
    path.write_text(text.replace("8000", port), encoding="utf-8")


def commands_of(block: Block) -> list[str]:
    if block.language != "console":
        return []
    lines = block.text.splitlines()
    assert all(line.startswith("$ ") for line in lines), block.text
    return [line.removeprefix("$ ") for line in lines]


@pytest.mark.parametrize("page", ["docs/plugins.md", "README.md"])
@pytest.mark.timeout(300)
def test_what_a_page_says_works(page, tmp_path) -> None:
    port = str(free_port())
    blocks = blocks_of(page)
    for block in blocks:
        write_file(block, tmp_path, port)
    ran = []
    for command in (line for block in blocks for line in commands_of(block)):
        if not command.startswith(tuple(ELSEWHERE)):
            done = run(command, tmp_path)
            assert done.returncode == 0, f"{page}: {command}\n{done.stdout}{done.stderr}"
            ran.append((command, done.stdout))
    assert ran
    if page == "docs/plugins.md":
        outputs = dict(ran)
        dry_run = outputs["pollect run -c config.yml --dry-run --once"]
        assert "harbour.extensions.Tide ['pier']\n\t2.5 ('level_metres', ['north'])" in dry_run
        assert (
            "harbour.extensions.Tide level_metres {'pier': 'north'} 2.5"
            in outputs["grep north lines.txt"]
        )
        assert (
            "example.extensions.SingleRandom" in outputs["pollect run -c old.yml --dry-run --once"]
        )


def test_the_scaffold_has_what_the_manual_shows_of_it() -> None:
    example = ROOT / "examples" / "pollect-tide"
    project = (example / "pyproject.toml").read_text(encoding="utf-8")
    shown = [block.text for block in blocks_of("docs/plugins.md") if block.language == "toml"]
    assert shown[0] in project


def test_the_specs_of_the_manual_are_right() -> None:
    specs = [
        block.text
        for block in blocks_of("docs/plugins.md")
        if block.language == "python" and "Spec(" in block.text and "def " not in block.text
    ]
    assert len(specs) == 2
    for text in specs:
        exec(text, {})


@pytest.mark.parametrize(
    "page", sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))
)
def test_what_the_code_of_a_page_imports_from_pollect_exists(page: str) -> None:
    for block in blocks_of(page):
        if block.language != "python":
            continue
        for node in ast.walk(ast.parse(block.text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pollect."):
                module = importlib.import_module(str(node.module))
                missing = [name.name for name in node.names if not hasattr(module, name.name)]
                assert missing == [], f"{page}: {node.module} has no {missing}"


def test_the_filter_of_the_manual_drops_the_night(tmp_path) -> None:
    (block,) = [b for b in blocks_of("docs/plugins.md") if b.file == "quiet_nights.py"]
    names: dict = {}
    exec(compile(block.text, block.file, "exec"), names)
    from pollect.api import Batch, SourceId

    day = Batch(SourceId("home", "Tide"), [], 1_700_000_000)
    (drop_at_night,) = names["pollect_batch_filters"]()
    kept = [drop_at_night(Batch(day.source, [], day.time + hour * 3600)) for hour in range(24)]
    assert sum(batch is not None for batch in kept) == 16
