"""Unpack the cloud of homematicip: `python -m tests.tools.homematic_cloud DIRECTORY`.

It is part of the source archive on PyPI and of no wheel. The library itself, which wants a newer
Python, is not installed.
"""

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "2.19.1"
PACKAGE = "homematicip_demo"


def unpack(target: Path) -> None:
    """Put the package `homematicip_demo` into `target`."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
                *("--no-binary", "homematicip", "--ignore-requires-python"),
                *("--dest", folder, f"homematicip=={VERSION}"),
            ],
            check=True,
        )
        (archive,) = Path(folder).glob("*.tar.gz")
        with tarfile.open(archive) as opened:
            opened.extractall(folder, filter="data")
        target.mkdir(parents=True, exist_ok=True)
        source = Path(folder, f"homematicip-{VERSION}", PACKAGE)
        for file in source.rglob("*"):
            if file.is_file():
                place = target / PACKAGE / file.relative_to(source)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(file.read_bytes())


if __name__ == "__main__":
    unpack(Path(sys.argv[1]))
