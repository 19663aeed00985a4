"""Build the ESPHome program that the source EspHome is tested against: `make firmware`.

ESPHome makes a program of this host from a description of a device, with g++ and ninja; nothing but
its Python package is fetched. It needs Python 3.12 or newer, which stands in an environment of its
own below `.firmware/`. The TCP port is part of the program and chosen when it is built.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from tests.simulators.daemons import free_port
from tests.tools.environments import ROOT
from tests.tools.pythons import installed_pythons

ESPHOME = "esphome==2026.10.0"
PYTHONS = ("3.12", "3.13")
DEVICE = Path("tests/simulators/esphome/host.yaml")
FOLDER = ROOT / ".firmware"
PROGRAM = FOLDER / "program"
PORT = FOLDER / "port"


def is_current(stamp: str) -> bool:
    """Tell whether the program there is the one that this stamp stands for."""
    file = FOLDER / "stamp"
    return PROGRAM.exists() and file.exists() and file.read_text() == stamp


def build(interpreter: Path) -> None:
    """Install ESPHome for an interpreter and build the program."""
    environment, work = FOLDER / "venv", FOLDER / "work"
    subprocess.run([interpreter, "-m", "venv", environment], check=True)
    subprocess.run([environment / "bin" / "pip", "install", "--quiet", ESPHOME], check=True)
    work.mkdir(exist_ok=True)
    port = str(free_port())
    shutil.copy(ROOT / DEVICE, work)
    command = [str(environment / "bin" / "esphome"), "-s", "port", port, "compile", DEVICE.name]
    with (FOLDER / "build.log").open("wb") as log:
        subprocess.run(command, cwd=work, stdout=log, stderr=log, check=True)
    (built,) = work.glob(".esphome/build/*/.pioenvs/*/program")
    shutil.copy(built, PROGRAM)
    PORT.write_text(port)


def main() -> int:
    stamp = hashlib.sha256((ROOT / DEVICE).read_bytes() + ESPHOME.encode()).hexdigest()
    if is_current(stamp):
        return 0
    pythons = installed_pythons()
    found = (pythons[minor] for minor in PYTHONS if minor in pythons)
    interpreter = Path(sys.executable) if sys.version_info >= (3, 12) else next(found, None)
    if interpreter is None:
        print(f"needs Python {' or '.join(PYTHONS)} of pyenv", file=sys.stderr)
        return 1
    FOLDER.mkdir(exist_ok=True)
    print(f"building an ESPHome device into {FOLDER} ...", flush=True)
    build(interpreter)
    (FOLDER / "stamp").write_text(stamp)
    return 0


if __name__ == "__main__":
    sys.exit(main())
