"""The container image, built and run as a user would."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.deploy.conftest import FULL, SLIM
from tests.deploy.image import Podman, new_port, wait_for_metrics

pytestmark = [pytest.mark.integration, pytest.mark.root, pytest.mark.timeout(900)]

#: As strict as a runtime can be.
STRICT = (
    "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs", "/tmp"
)  # fmt: skip

#: Leaves a child behind at every probe, whose parent is gone: process 1 is to reap it.
ORPHANS = """\
import os
from pollect.api import Source

class Orphans(Source):
    def probe(self):
        child = os.fork()
        if child == 0:
            if os.fork() == 0:
                os._exit(0)
            os._exit(0)
        os.waitpid(child, 0)
        return 1
"""


def write_config(folder: Path, ending: str, port: int, *types: str) -> None:
    config = {
        "tickTime": 0.5,
        "writer": {"type": "Prometheus", "port": port},
        "executors": [
            {"collection": "box", "sources": [{"type": name} for name in ("LoadAvg", *types)]}
        ],
    }
    (folder / f"config.{ending}").write_text(json.dumps(config))  # JSON is YAML


def test_it_collects_without_root_capabilities_or_a_writable_disk(podman: Podman, volume) -> None:
    port = new_port()
    write_config(volume, "yml", port)
    options = (
        "--network=host",
        *STRICT,
        "--env",
        f"POLLECT_HEALTH_URL=http://127.0.0.1:{port}/-/healthy",
    )
    with podman.running(FULL, *options, "-v", f"{volume}:/pollect:ro") as name:
        wait_for_metrics(port)
        status = dict(
            line.split(":", 1)
            for line in podman("exec", name, "cat", "/proc/1/status").splitlines()
        )
        assert status["Uid"].split() == ["10001"] * 4
        assert int(status["CapEff"], 16) == 0
        assert status["Seccomp"].strip() == "2"
        podman("healthcheck", "run", name)
        podman("stop", "--time", "60", name)
        assert podman("inspect", name, "--format", "{{.State.ExitCode}}").strip() == "0"


def test_it_is_unhealthy_when_nothing_answers(podman: Podman, volume) -> None:
    write_config(volume, "yml", new_port())
    with podman.running(FULL, "--network=none", "-v", f"{volume}:/pollect") as name:
        with pytest.raises(AssertionError):
            podman("healthcheck", "run", name)


@pytest.mark.parametrize("ending", ["yml", "yaml", "json"])
def test_the_command_of_1x_finds_a_config_with_any_ending(podman: Podman, volume, ending) -> None:
    """`docker run -v $(pwd):/pollect -p 8000:8000 ...`, with podman in docker's place."""
    write_config(volume, ending, 8000)
    port = new_port()
    with podman.running(FULL, "-v", f"{volume}:/pollect", "-p", f"{port}:8000"):
        assert 'box_LoadAvg{time="short"}' in wait_for_metrics(port)


def test_extensions_beside_the_config_are_found(podman: Podman, volume) -> None:
    port = new_port()
    (volume / "extensions").mkdir()
    (volume / "extensions" / "Tide.py").write_text(
        "from pollect.api import Source\nclass Tide(Source):\n    def probe(self): return 3\n"
    )
    write_config(volume, "yml", port, "extensions.Tide")
    with podman.running(FULL, "--network=host", "-v", f"{volume}:/pollect"):
        assert "box_extensions_Tide 3.0" in wait_for_metrics(port)


def test_process_1_leaves_no_zombies(podman: Podman, volume) -> None:
    port = new_port()
    (volume / "extensions").mkdir()
    (volume / "extensions" / "Orphans.py").write_text(ORPHANS)
    write_config(volume, "yml", port, "extensions.Orphans")
    with podman.running(FULL, "--network=host", "-v", f"{volume}:/pollect") as name:
        wait_for_metrics(port)
        time.sleep(3)  # six of them
        listing = podman(
            "exec", name, "python3", "-c",
            "import pathlib\n"
            "for p in pathlib.Path('/proc').glob('[0-9]*/stat'):\n"
            "    print(p.read_text().rpartition(')')[2].split()[0])",
        )  # fmt: skip
        assert listing.split().count("Z") <= 1, "at most the one that ended just now"


def test_state_outlives_the_container_in_its_volume(podman: Podman, volume) -> None:
    options = ("--network=none", *STRICT, "-v", f"{volume}:/pollect:ro")
    write_config(volume, "yml", 8000)
    with podman.running(FULL, *options) as name:
        assert podman("exec", name, "sh", "-c", "touch $STATE_DIRECTORY/x && echo done") == "done\n"


def test_the_slim_variant_holds_the_chosen_families_only(podman: Podman) -> None:
    (size_full, size_slim) = (
        int(podman("image", "inspect", tag, "--format", "{{.Size}}")) for tag in (FULL, SLIM)
    )
    assert size_slim < size_full
    listing = podman("run", "--rm", "--network=none", SLIM, "plugins", "list")
    assert "LoadAvg" in listing
    assert "Prometheus" in listing
    assert "SnmpGet" not in listing


def test_every_distribution_is_in_the_image(podman: Podman) -> None:
    listing = podman(
        "run", "--rm", "--network=none", "--entrypoint", "python3", FULL, "-c",
        "from importlib.metadata import distributions\n"
        "print(*sorted(d.name for d in distributions(path=['/opt/pollect/lib/python3.11/"
        "site-packages']) if d.name.startswith('pollect')))",
    )  # fmt: skip
    root = Path(__file__).parents[2]
    assert listing.split() == sorted(
        file.parent.name for file in root.glob("pollect-*/pyproject.toml")
    )


def test_the_containerfile_has_no_faults_that_a_linter_knows() -> None:
    file = Path(__file__).parents[2] / "deploy" / "Containerfile"
    # Versions are pinned by constraints.txt and the base; words are split on purpose.
    ignored = [f"--ignore={rule}" for rule in ("DL3008", "DL3013", "SC2046", "SC2086")]
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [str(linter), *ignored, str(file)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
