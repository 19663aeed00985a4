"""The host from inside a running container: a host of files, and the real one."""

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pollect_sources_system.k8s_namespace_traffic.source import find_cgroup_mount
from tests.deploy.conftest import FULL
from tests.deploy.image import Podman, new_port, wait_for
from tests.sources_system.test_roots import make_host

pytestmark = [pytest.mark.integration, pytest.mark.root, pytest.mark.timeout(900)]

DATAGRAM_BYTES = 3000
#: Joins a cgroup and sends a datagram to itself.
POD = f"""
import pathlib, socket, sys
pathlib.Path(sys.argv[1], "cgroup.procs").write_text("0")
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
    datagrams.bind(("127.0.0.1", 0))
    datagrams.sendto(b"x" * {DATAGRAM_BYTES}, datagrams.getsockname())
    datagrams.recv(65536)
"""


def write_config(folder: Path, port: int, *sources: dict[str, Any]) -> None:
    config = {
        "tickTime": 0.5,
        "writer": {"type": "Prometheus", "port": port},
        "executors": [{"collection": "box", "sources": [{"type": "LoadAvg"}, *sources]}],
    }
    (folder / "config.yml").write_text(json.dumps(config))


@pytest.fixture
def pod(volume: Path) -> Iterator[tuple[Path, Path]]:
    """Cgroup and log folder of a pod in the namespace `garden`, as a kubelet makes them."""
    mount = find_cgroup_mount(Path("/proc/self/mountinfo").read_text())
    if mount is None:
        pytest.skip("no cgroup v2 hierarchy is mounted")
    uid = uuid.uuid4()
    logs = volume / "logs"
    (logs / f"garden_beehive-0_{uid}").mkdir(parents=True)
    made = [Path(mount, f"pollect-test-{uid}")]
    made += [made[0] / f"pod{uid}", made[0] / f"pod{uid}" / uuid.uuid4().hex]
    for folder in made:
        folder.mkdir()
    try:
        yield made[-1], logs
    finally:
        for folder in reversed(made):
            folder.rmdir()


def test_a_host_of_files_is_shown_and_nothing_of_the_container(
    podman: Podman, volume: Path
) -> None:
    make_host(volume / "host")
    port = new_port()
    kinds: list[dict[str, Any]] = [
        {"type": "Interface", "includeTotal": True},
        {"type": "Cpu", "perCore": True},
        *({"type": kind} for kind in ("IO", "Sensors", "DiskUsage")),
    ]
    process = {"type": "Process", "procRegex": "beehive"}
    write_config(
        volume, port, *kinds, process, {"type": "Process", "name": "own", "procRegex": "pollect"}
    )
    options = ("--network=host", "--read-only", "--cap-drop=ALL", "--env", "POLLECT_ROOT=/host")
    volumes = ("-v", f"{volume}:/pollect:ro", "-v", f"{volume}/host:/host:ro")
    with podman.running(FULL, *options, *volumes):
        text = wait_for(port, "box_Process_own_process_count")
    shown = {line.partition(" ")[0] for line in text.splitlines() if line.startswith("box_")}
    assert 'box_Interface_total_bytes_recv{interface="eth7"}' in shown
    assert {name for name in shown if "box_Interface" in name and "eth7" not in name} == set()
    assert 'box_DiskUsage{disk="_data",type="free"}' in shown
    assert {name for name in shown if name.startswith("box_IO") and "sdz" not in name} == set()
    assert any(name.startswith("box_Sensors") and "board-virtual-0" in name for name in shown)
    assert 'box_Process_process_count{pidx="all"} 1.0' in text
    assert 'box_Process_own_process_count{pidx="all"} 0.0' in text


def test_traffic_of_pods_is_counted_from_inside_a_container(
    podman: Podman, volume: Path, pod: tuple[Path, Path]
) -> None:
    cgroup, logs = pod
    port = new_port()
    networks = [{"name": "lan", "cidrs": ["127.0.0.0/8"]}]
    options = {"networks": networks, "hideLocalhostTraffic": False}
    write_config(volume, port, {"type": "K8sNamespaceTraffic", **options})
    privileges = ("--user=0:0", "--cap-drop=ALL", "--cap-add=BPF", "--cap-add=NET_ADMIN")
    filters = ("--security-opt=no-new-privileges", "--security-opt=seccomp=unconfined")
    mounts = ("/proc:/host/proc:ro", "/sys:/host/sys:ro,rslave", f"{logs}:/host/var/log/pods:ro")
    volumes = [word for mount in mounts for word in ("-v", mount)]
    with podman.running(
        FULL, "--network=host", "--read-only", *privileges, *filters, *volumes,
        *("-v", f"{volume}:/pollect:ro", "--env", "POLLECT_ROOT=/host"),
    ):  # fmt: skip
        text = wait_for(port, 'type="K8sNamespaceTraffic"} 1.0')
        subprocess.run([sys.executable, "-c", POD, str(cgroup)], check=True, timeout=30)
        text = wait_for(port, 'namespace="garden"')
    (line,) = (
        line
        for line in text.splitlines()
        if line.startswith("box_K8sNamespaceTraffic{") and "garden" in line and "sent" in line
    )
    assert float(line.rpartition(" ")[2]) == DATAGRAM_BYTES
