"""A Debian with pollect in it that is booted with systemd as process 1, in systemd-nspawn.

Needs root, mmdebstrap and systemd-nspawn (`make services`). The tree is kept in `.images/` for as
long as nothing it is made of changes.
"""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.deploy.image import APT_SOURCES, CACHE, make_wheels, run

TOOLS = ("mmdebstrap", "systemd-nspawn")
CHECKS = Path(__file__).with_name("booted_checks.py")
PACKAGES = "python3,python3-venv,ca-certificates,systemd,systemd-sysv,dbus,libnss-systemd"
BOOT_SECONDS = 400
#: What root has in the booted system beyond what containers usually get, for units to hand on.
CAPABILITIES = "CAP_SYS_RAWIO,CAP_BPF,CAP_NET_ADMIN,CAP_MKNOD"
UNIT = """\
[Unit]
Description=Checks of pollect's units
After=dbus.service
[Service]
Type=oneshot
ExecStart=/usr/bin/python3 /checks/booted_checks.py
StandardOutput=file:/checks/log
StandardError=inherit
ExecStopPost=/bin/systemctl --no-block poweroff
TimeoutStartSec=360
[Install]
WantedBy=multi-user.target
"""


def why_not() -> str:
    """Return why nothing can be booted here; empty if it can."""
    if os.geteuid() != 0:
        return "booting a system needs root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"needs {', '.join(missing)} (make services)" if missing else ""


def make_tree() -> Path:
    """Return a folder with a Debian that has systemd and pollect in /opt/pollect."""
    wheels = make_wheels()
    tree = CACHE / "booted"
    stamp = tree / "digest"
    # Other packages are another system.
    base = CACHE / f"booted-{hashlib.sha256(PACKAGES.encode()).hexdigest()[:8]}.tar"
    digest = f"{base.name} {(wheels / 'digest').read_text()}"
    if stamp.exists() and stamp.read_text() == digest:
        return tree
    if not base.exists():
        sources = next(file for file in APT_SOURCES if file.exists())
        unfinished = base.with_suffix(".part.tar")
        options = (
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/man/*",
        )
        run(
            "mmdebstrap",
            "--variant=minbase",
            f"--include={PACKAGES}",
            *options,
            *("bookworm", str(unfinished), str(sources)),
        )
        unfinished.rename(base)
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    run("tar", "--extract", "--file", str(base), "--directory", str(tree), "--exclude=./dev/*")
    shutil.copytree(wheels / "dist", tree / "wheels")
    run("chroot", str(tree), "/usr/bin/python3", "-m", "venv", "/opt/pollect")
    families = ("system", "network", "home", "cloud")
    names = [f"pollect-sources-{name}[all]" for name in families]
    run(
        "chroot", str(tree), "/opt/pollect/bin/pip", "install", "--quiet", "--no-index",
        *("--find-links", "/wheels", "pollect-core", "pollect-writers[all]", *names),
    )  # fmt: skip
    shutil.rmtree(tree / "wheels")
    stamp.write_text(digest)
    return tree


def boot(tree: Path, folder: Path) -> dict[str, Any]:
    """Boot a copy of the tree, run the checks in it, and return what they found."""
    root = folder / "root"
    run("cp", "--archive", "--reflink=auto", str(tree), str(root))
    (root / "checks").mkdir()
    shutil.copy(CHECKS, root / "checks")
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (wants / "checks.service").symlink_to("../checks.service")
    (root / "etc/systemd/system/checks.service").write_text(UNIT)
    (root / "etc/machine-id").write_text("")
    with (folder / "console").open("wb") as console:
        subprocess.run(
            [
                "systemd-nspawn", "--quiet", "-D", str(root), "--private-network",
                *("--register=no", "--keep-unit", "--console=pipe", "--boot"),
                *(f"--capability={CAPABILITIES}", "--system-call-filter=bpf"),
            ],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            timeout=BOOT_SECONDS,
        )  # fmt: skip
    results = root / "checks" / "results.json"
    if not results.exists():
        log = root / "checks" / "log"
        file = log if log.exists() else folder / "console"
        output = file.read_text("utf-8", "replace")
        raise AssertionError(f"the checks did not end: {output[-3000:]}")
    found: dict[str, Any] = json.loads(results.read_text())
    return found
