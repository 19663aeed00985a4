"""An image of pollect, built from a Debian base that is made here, and containers of it.

Needs root, mmdebstrap, buildah, podman and runc (`make services`). What takes long is kept in
`.images/` for as long as nothing it is made of changes.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.simulators.daemons import free_port

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".images"
TOOLS = ("mmdebstrap", "buildah", "podman", "runc")
BASE = "localhost/base:bookworm"
#: Debian's repositories, as this machine's apt knows them.
APT_SOURCES = (
    Path("/etc/apt/sources.list.d/debian.sources"),
    Path("/etc/apt/sources.list"),
)
START_SECONDS = 60.0


def why_not() -> str:
    """Return why no image can be built here; empty if one can."""
    if os.geteuid() != 0:
        return "building an image needs root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"needs {', '.join(missing)} (make services)" if missing else ""


@contextmanager
def held_cache() -> Iterator[None]:
    """Keep other runs of the tests in this checkout from what is being made in the cache."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_base() -> Path:
    """Return the tar file of a small Debian with Python, made unless it is there."""
    base = CACHE / "base.tar"
    if not base.exists():
        sources = next(file for file in APT_SOURCES if file.exists())
        unfinished = base.with_suffix(".part.tar")
        run(
            "mmdebstrap",
            "--variant=minbase",
            "--include=python3,python3-venv,ca-certificates",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/man/*",
            *("bookworm", str(unfinished), str(sources)),
        )
        unfinished.rename(base)
    return base


def make_wheels() -> Path:
    """Return a folder with the wheels of all distributions and of all they can use."""
    digest = hashlib.sha256()
    sources = [*ROOT.glob("pollect-*/src/**/*.py"), *ROOT.glob("pollect-*/pyproject.toml")]
    for file in (*sorted(sources), ROOT / "constraints.txt"):
        digest.update(file.read_bytes())
    folder = CACHE / "context"
    stamp = folder / "digest"
    if not stamp.exists() or stamp.read_text() != digest.hexdigest():
        wheels = folder / "dist"
        wheels.mkdir(parents=True, exist_ok=True)
        for old in wheels.glob("pollect*.whl"):
            old.unlink()
        python = Path(shutil.which("python3") or "python3")
        names = [file.parent.name for file in sorted(ROOT.glob("pollect-*/pyproject.toml"))]
        own = [str(ROOT / name) for name in names]
        pip = [str(python), "-m", "pip", "wheel", "--quiet", "-c", str(ROOT / "constraints.txt")]
        run(*pip, "--no-deps", "--wheel-dir", str(wheels), *own)
        extras = [f"{name}[all]" for name in names if name != "pollect-core"]
        run(*pip, "--find-links", str(wheels), "--wheel-dir", str(wheels), *extras)
        stamp.write_text(digest.hexdigest())
    return folder


class Podman:
    """podman and buildah with a store of their own, which ends with it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        storage = folder / "storage.conf"
        storage.write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/store"\n'
            f'runroot = "{folder}/run"\n'
        )
        containers = folder / "containers.conf"
        # Limits that can be set without CAP_SYS_RESOURCE, and a runtime for cgroups of both kinds.
        containers.write_text(
            '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\n'
        )
        #: With it podman, buildah and podman-compose use this store.
        self.environment = {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(storage),
            "CONTAINERS_CONF": str(containers),
        }

    def close(self) -> None:
        """Let go of the store's folder, which stays mounted on itself."""
        place = str(self._folder / "store" / "overlay")
        subprocess.run(["umount", place], check=False, capture_output=True)

    def import_base(self, tar: Path) -> None:
        self("import", "--quiet", str(tar), BASE)

    def build(self, tag: str, context: Path, **arguments: str) -> None:
        words = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        run(
            "buildah", "bud", "--quiet", "--isolation", "chroot",
            *("--format", "docker", "--pull-never", *words, "--tag", tag),
            *("--file", str(ROOT / "deploy" / "Containerfile"), str(context)),
            environment=self.environment,
        )  # fmt: skip

    def inspect(self, name: str) -> dict[str, object]:
        return dict(json.loads(self("inspect", name))[0])

    def __call__(self, *words: str) -> str:
        return run("podman", *words, environment=self.environment)

    @contextmanager
    def composed(self, file: Path) -> Iterator[str]:
        """Run what a compose file says with podman-compose; yield the name of its container."""
        project = f"pollect-test-{os.getpid()}-{time.monotonic_ns()}"
        tool = [str(Path(sys.executable).with_name("podman-compose")), "--in-pod", "false"]
        compose = [*tool, "--project-name", project, "--file", str(file)]
        try:
            run(*compose, "up", "--detach", environment=self.environment)
            yield f"{project}_pollect_1"
        finally:
            run(*compose, "down", "--volumes", "--timeout", "5", environment=self.environment)

    @contextmanager
    def running(self, tag: str, *options: str, command: Sequence[str] = ()) -> Iterator[str]:
        """Run a container in the background and yield its name."""
        name = f"pollect-test-{os.getpid()}-{time.monotonic_ns()}"
        self("run", "--detach", "--name", name, *options, tag, *command)
        try:
            yield name
        finally:
            self("rm", "--force", "--time", "5", name)


def run(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a program and return what it prints; an error shows what it said."""
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=600, env=environment
    )
    if done.returncode:
        raise AssertionError(f"{' '.join(command[:4])} ...: {done.stderr[-2000:]}")
    return done.stdout


def run_pollect(*words: str) -> str:
    """Run the command of this environment and return what it prints."""
    return run(sys.executable, "-m", "pollect", *words)


def wait_for(port: int, text: str, *, token: str = "") -> str:
    """Return the metrics of a container at a port of this host once there is `text` among them."""
    until = time.monotonic() + START_SECONDS
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    found = ""
    while time.monotonic() < until:
        with suppress(OSError), urllib.request.urlopen(request, timeout=10) as answer:
            found = str(answer.read().decode())
            if text in found:
                return found
        time.sleep(0.1)
    raise AssertionError(f"no {text!r} in the metrics: {found[-2000:]!r}")


def wait_for_metrics(port: int) -> str:
    """Return the metrics of a container in the host's network once it has some."""
    return wait_for(port, "_LoadAvg{")


def new_port() -> int:
    return free_port()
