"""What `pollect compose` prints, run with podman-compose and an image that was built for it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.conftest import FULL
from tests.deploy.image import Podman, new_port, run_pollect, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.root, pytest.mark.timeout(900)]


def compose_file(folder: Path, port: int, *sources: dict[str, Any], **writer: Any) -> Path:
    """Return the compose file of some sources, printed by the command itself."""
    config = {
        "tickTime": 0.5,
        "writer": {"type": "Prometheus", "port": port, **writer},
        "executors": [{"collection": "box", "sources": list(sources)}],
    }
    (folder / "config.yml").write_text(json.dumps(config))
    file = folder / "compose.yaml"
    file.write_text(run_pollect("compose", "-c", str(folder / "config.yml"), "--image", FULL))
    return file


def down(text: str) -> list[str]:
    lines = text.splitlines()
    return [line for line in lines if line.startswith("pollect_source_up{") and line[-4:] != " 1.0"]


def network_cards() -> set[str]:
    return set(os.listdir("/sys/class/net")) - {"bonding_masters"}


def test_sources_of_the_host_show_it_and_not_the_container(podman: Podman, volume: Path) -> None:
    port = new_port()
    types = ("LoadAvg", "MemoryUsage", "DiskUsage", "Interface", "IO", "Cpu", "Uptime", "Swap")
    sources: list[dict[str, Any]] = [{"type": kind} for kind in types]
    sources.append({"type": "Process", "name": "test", "procRegex": "pytest"})
    sources.append({"type": "Interface", "name": "total", "includeTotal": True})
    file = compose_file(volume, port, *sources)
    before = network_cards()
    with podman.composed(file) as name:
        text = wait_for(port, "box_Interface_total_total_bytes_recv{")
        assert down(text) == []
        # Those of other containers come and go.
        for card in before & network_cards():
            assert f'box_Interface_total_total_bytes_recv{{interface="{card}"}}' in text
        running = _value(text, 'box_Process_test_process_count{pidx="all"}')
        assert running >= 1, "this very test runs on the host and not in the container"
        disk = os.statvfs("/")
        total = _value(text, 'box_DiskUsage{disk="_",type="total"}')
        assert total == disk.f_blocks * disk.f_frsize
        facts = podman.inspect(name)
        assert facts["Config"]["User"] == "10001:10001"  # type: ignore[index]
        assert facts["HostConfig"]["ReadonlyRootfs"]  # type: ignore[index]
        assert facts["EffectiveCaps"] in ([], None)


def test_ping_and_a_secret_work_without_root_or_a_capability(podman: Podman, volume: Path) -> None:
    port = new_port()
    folder = volume / "credentials"
    folder.mkdir()
    secret = folder / "page-token"
    secret.write_text("moss-and-fern")
    secret.chmod(0o644)  # compose hands a file over with its mode
    token = "${file:${CREDENTIALS_DIRECTORY}/page-token}"
    sources = ({"type": "LoadAvg"}, {"type": "Ping", "host": "127.0.0.1"})
    file = compose_file(volume, port, *sources, auth={"token": token})
    with podman.composed(file) as name:
        text = wait_for(port, "box_Ping_rtt_seconds", token="moss-and-fern")
        assert down(text) == []
        status = podman("exec", name, "cat", "/proc/1/status")
        assert "CapEff:\t0000000000000000" in status
        assert "Uid:\t10001\t10001" in status
        assert "NoNewPrivs:\t1" in status


def test_multicast_is_heard_in_the_network_of_the_host(podman: Podman, volume: Path) -> None:
    port = new_port()
    file = compose_file(volume, port, {"type": "LoadAvg"}, {"type": "SmaEnergyMeter"})
    with podman.composed(file) as name:
        wait_for(port, "box_LoadAvg{")
        listening = podman("exec", name, "cat", "/proc/net/udp")
        assert ":2532 " in listening, "port 9522, in hexadecimal"


def test_a_capability_comes_with_root_and_alone(podman: Podman, volume: Path) -> None:
    """K8sNamespaceTraffic counts packets of the host; its state folder is another user's."""
    port = new_port()
    extra = {"type": "Viessmann", "user": "u", "password": "p", "clientId": "c", "enabled": False}
    source = {"type": "K8sNamespaceTraffic", "networks": [{"name": "Any", "cidrs": ["0.0.0.0/0"]}]}
    file = compose_file(volume, port, {"type": "LoadAvg"}, source, extra)
    with podman.composed(file) as name:
        text = wait_for(port, "box_K8sNamespaceTraffic")
        assert down(text) == []
        status = dict(
            line.split(":\t", 1)
            for line in podman("exec", name, "cat", "/proc/1/status").splitlines()
        )
        # DAC_OVERRIDE, NET_ADMIN and BPF (linux/capability.h).
        assert int(status["CapEff"], 16) == 1 << 1 | 1 << 12 | 1 << 39
        podman("exec", name, "sh", "-c", "touch $STATE_DIRECTORY/kept")


def _value(text: str, series: str) -> float:
    (line,) = (line for line in text.splitlines() if line.startswith(series + " "))
    return float(line.rpartition(" ")[2])
