"""Build the packet counter of `K8sNamespaceTraffic`: traffic.bpf.c -> traffic.bpf.o.

The object lies in the tree, so that installing needs no compiler. Beside it stands the digest of
the source and the compiler it was made with: `traffic.bpf.sha256`.
"""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path("pollect-sources-system/src/pollect_sources_system/k8s_namespace_traffic")
SOURCE = FOLDER / "traffic.bpf.c"
OBJECT = FOLDER / "traffic.bpf.o"
RECORD = FOLDER / "traffic.bpf.sha256"

#: Without `-g`: debug information would hold the path of the folder it was built in.
COMMAND = ["clang", "-O2", "-target", "bpfel", "-mcpu=v2", "-Wall", "-Werror", "-c"]


def compiler() -> str:
    """Return `clang` and its major version, which decides on the code it makes."""
    text = subprocess.run(["clang", "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"clang version (\d+)", text)
    return f"clang {match[1]}" if match else text.strip()


def build(target: Path) -> None:
    """Compile the source to `target`."""
    subprocess.run([*COMMAND, str(SOURCE), "-o", str(target)], check=True)


def record() -> str:
    """Return what the record beside the object has to say now."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()
    return f"{digest}  {SOURCE.name}  {compiler()}\n"


if __name__ == "__main__":
    build(OBJECT)
    RECORD.write_text(record())
    print(f"{OBJECT}: {OBJECT.stat().st_size} bytes, {compiler()}")
    sys.exit(0)
