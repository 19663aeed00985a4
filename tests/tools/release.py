"""Make a release: `make release VERSION=2.1.0`. Uploads nothing.

Raises the version of all six distributions and what they ask of each other, moves `changelog.d/`
into CHANGELOG.md, commits, builds every wheel and archive twice and compares them byte for byte,
checks their metadata, installs each wheel in a fresh environment of its own, writes a bill of
materials, and tags. A step that fails leaves the commit to be looked at and no tag.
"""

import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Kinds of fragments in `changelog.d/`, in the order of their headings.
KINDS = {"added": "Added", "changed": "Changed", "fixed": "Fixed", "removed": "Removed"}
_VERSION = re.compile(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?")
_FRAGMENT = re.compile(r"(?P<topic>.+)\.(?P<kind>[a-z]+)\.md")


class ReleaseError(Exception):
    """What stands in the way of a release."""


def projects() -> list[Path]:
    """Return the folders of the distributions."""
    return sorted(file.parent for file in ROOT.glob("pollect-*/pyproject.toml"))


def raise_version(root: Path, version: str) -> None:
    """Write a version wherever it stands, and the bounds that follow from it."""
    if not _VERSION.fullmatch(version):
        raise ReleaseError(f"expected a version such as 2.1.0 or 2.1.0rc1, got {version!r}")
    series = ".".join(version.split(".")[:2])
    for project in sorted(root.glob("pollect-*/pyproject.toml")):
        text = _substitute(project, r'^version = ".*"$', f'version = "{version}"')
        text = re.sub(r"(pollect-core(?:\[[a-z]+\])?~=)[\d.]+", rf"\g<1>{series}", text)
        project.write_text(text, "utf-8")
        for module in (
            *project.parent.glob("src/*/__init__.py"),
            *project.parent.glob("src/*/version.py"),
        ):
            found = module.read_text("utf-8")
            renewed = re.sub(
                r'^__version__ = ".*"$', f'__version__ = "{version}"', found, flags=re.MULTILINE
            )
            module.write_text(renewed, "utf-8")
    chart = root / "deploy" / "chart" / "Chart.yaml"
    text = _substitute(chart, r"^version: .*$", f"version: {version}")
    chart.write_text(re.sub(r"^appVersion: .*$", f'appVersion: "{version}"', text, flags=re.M))


def write_changelog(root: Path, version: str, date: str) -> None:
    """Move the fragments into a section of CHANGELOG.md."""
    folder, file = root / "changelog.d", root / "CHANGELOG.md"
    section = format_section(version, date, read_fragments(folder.glob("*.md")))
    text = file.read_text("utf-8")
    head, separator, rest = text.partition("\n## ")
    file.write_text(f"{head.rstrip()}\n\n{section}{separator}{rest}", "utf-8")
    for fragment in folder.glob("*.md"):
        fragment.unlink()


def read_fragments(files: Iterable[Path]) -> Mapping[str, Sequence[str]]:
    """Return the sentences of the fragments by kind, sorted; raises `ReleaseError`."""
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for file in files:
        name = _FRAGMENT.fullmatch(file.name)
        if name is None or name["kind"] not in KINDS:
            expected = ", ".join(f"<issue>-<topic>.{kind}.md" for kind in KINDS)
            raise ReleaseError(f"changelog.d/{file.name}: expected {expected}")
        text = " ".join(file.read_text("utf-8").split()).removeprefix("- ")
        if not text:
            raise ReleaseError(f"changelog.d/{file.name}: is empty")
        found[name["kind"]].append(text)
    return {kind: sorted(sentences, key=str.lower) for kind, sentences in found.items()}


def format_section(version: str, date: str, fragments: Mapping[str, Sequence[str]]) -> str:
    """Return the section of a version, a heading for each kind that has entries."""
    lines = [f"## {version} ({date})", ""]
    for kind, heading in KINDS.items():
        if fragments.get(kind):
            lines += [f"### {heading}", "", *(f"- {text}" for text in fragments[kind]), ""]
    return "\n".join(lines)


def build(folder: Path, moment: str) -> None:
    """Build every wheel and archive; `moment` (Unix seconds) is the time of what they contain."""
    for project in projects():
        run(
            *(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)),
            str(project),
            environ={"SOURCE_DATE_EPOCH": moment},
        )


def compare(first: Path, second: Path) -> None:
    """Raise `ReleaseError` unless two folders hold the same files, byte for byte."""
    names = sorted(file.name for file in first.iterdir())
    if names != sorted(file.name for file in second.iterdir()):
        raise ReleaseError("the second build made other files than the first")
    _, differing, errors = filecmp.cmpfiles(first, second, names, shallow=False)
    if differing or errors:
        raise ReleaseError(f"built twice, and not the same: {', '.join(differing + errors)}")


def try_wheels(dist: Path) -> None:
    """Install each wheel, with nothing but what it asks for, in a fresh environment."""
    for wheel in sorted(dist.glob("*.whl")):
        name = wheel.name.split("-")[0].replace("_", "-")
        print(f"trying {wheel.name} in an environment of its own", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            python = fresh_environment(Path(folder) / "env")
            run(
                *(str(python), "-m", "pip", "install", "--quiet", "--find-links", str(dist)),
                *("-c", str(ROOT / "constraints.txt"), str(wheel)),
            )
            module = name.replace("-", "_") if name != "pollect-core" else "pollect"
            run(str(python), "-c", f"import {module}")
            listing = run(str(python), "-m", "pollect", "plugins", "list")
            if name not in listing:
                raise ReleaseError(f"{wheel.name}: its types are not in `pollect plugins list`")
            if name == "pollect-core":
                write_bill_of_materials(python, dist)


def write_bill_of_materials(python: Path, dist: Path) -> None:
    """Write what the installed core consists of, in CycloneDX's format."""
    file = dist / "pollect-core.cdx.json"
    run(
        *(sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible"),
        *("--output-file", str(file), str(python)),
    )
    if not json.loads(file.read_text("utf-8")).get("components"):
        raise ReleaseError(f"{file.name} lists no components")


def fresh_environment(folder: Path) -> Path:
    """Make a virtual environment and return its interpreter."""
    run(sys.executable, "-m", "venv", str(folder))
    return folder / "bin" / "python"


def run(*command: str, environ: Mapping[str, str] | None = None) -> str:
    """Run a program and return what it prints; raises `ReleaseError` with what it said."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **(environ or {})},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        said = (done.stderr or done.stdout)[-2000:]
        raise ReleaseError(f"{' '.join(command[:5])} ... failed:\n{said}")
    return done.stdout


def _substitute(file: Path, pattern: str, replacement: str) -> str:
    text, count = re.subn(pattern, replacement, file.read_text("utf-8"), flags=re.MULTILINE)
    if count != 1:
        raise ReleaseError(f"{file}: expected one line like {pattern}, found {count}")
    return text


def main(version: str) -> int:
    """Make the release; return the exit code."""
    dist = ROOT / "dist"
    try:
        if run("git", "status", "--porcelain").strip():
            raise ReleaseError("there are changes that are not committed")
        if run("git", "tag", "--list", f"v{version}").strip():
            raise ReleaseError(f"the tag v{version} is there already")
        raise_version(ROOT, version)
        write_changelog(ROOT, version, datetime.now(UTC).date().isoformat())
        run("git", "commit", "--quiet", "--all", "--message", f"release {version}")
        moment = run("git", "log", "-1", "--format=%ct").strip()
        print("building everything twice", flush=True)
        shutil.rmtree(dist, ignore_errors=True)
        with tempfile.TemporaryDirectory() as again:
            build(dist, moment)
            build(Path(again), moment)
            compare(dist, Path(again))
        run(sys.executable, "-m", "twine", "check", "--strict", *map(str, dist.iterdir()))
        try_wheels(dist)
        run("git", "tag", "--annotate", f"v{version}", "--message", f"pollect {version}")
    except ReleaseError as error:
        print(f"release {version}: {error}", file=sys.stderr)
        return 1
    print(f"dist/ holds {version}, tagged v{version}; nothing was uploaded")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make release VERSION=x.y.z")
    sys.exit(main(sys.argv[1]))
