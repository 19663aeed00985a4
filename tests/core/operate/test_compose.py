"""The compose file of a config: nothing but what its sources need."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pollect.operate.compose import write_compose
from pollect.operate.survey import survey


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    folder = tmp_path / "dev"
    folder.mkdir()
    (folder / "sda").touch()
    return folder


def compose(tmp_path: Path, dev: Path, *sources: dict[str, Any], **writer: Any) -> dict[str, Any]:
    """Return the service of some sources beside a Prometheus endpoint."""
    service: dict[str, Any] = document(tmp_path, dev, *sources, **writer)["services"]["pollect"]
    return service


def document(tmp_path: Path, dev: Path, *sources: dict[str, Any], **writer: Any) -> dict[str, Any]:
    folder = tmp_path / "etc"
    folder.mkdir(exist_ok=True)
    config = {
        "writer": writer or {"type": "Prometheus", "port": 8000},
        "executors": [{"collection": "box", "sources": list(sources)}],
    }
    (folder / "config.yml").write_text(json.dumps(config))
    text, _ = write_compose(
        survey(folder / "config.yml"), image="localhost/pollect", version="2.0.0", dev=dev
    )
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_a_container_gets_nothing_that_no_source_needs(tmp_path: Path, dev: Path) -> None:
    service = compose(tmp_path, dev, {"type": "Http", "url": "http://example.org/"})
    assert service == {
        "image": "localhost/pollect",
        "restart": "unless-stopped",
        "read_only": True,
        "tmpfs": ["/tmp"],
        "security_opt": ["no-new-privileges:true"],
        "cap_drop": ["ALL"],
        "ports": ["8000:8000"],
        "volumes": [f"{tmp_path}/etc:/pollect:ro", "pollect-state:/var/lib/pollect"],
        "command": ["run", "-c", "/pollect/config.yml"],
    }


def test_sources_of_the_host_see_it_below_host(tmp_path: Path, dev: Path) -> None:
    service = compose(tmp_path, dev, {"type": "DiskUsage"})
    assert "/:/host:ro,rslave" in service["volumes"]
    assert service["environment"] == {"POLLECT_ROOT": "/host"}
    assert "user" not in service


def test_drives_come_with_their_capability_and_root(tmp_path: Path, dev: Path) -> None:
    service = compose(tmp_path, dev, {"type": "SmartCtl"})
    assert service["devices"] == ["/dev/sda:/dev/sda:rw"]
    assert service["cap_add"] == ["SYS_RAWIO", "DAC_OVERRIDE"]
    assert service["user"] == "0:0"


def test_the_system_bus_is_asked_as_root_which_it_knows(tmp_path: Path, dev: Path) -> None:
    service = compose(tmp_path, dev, {"type": "SystemdUnit", "units": "dbus"})
    assert service["user"] == "0:0"
    assert service["cap_add"] == ["DAC_OVERRIDE"], "for the state folder, and no other"


def test_a_call_that_older_runtimes_filter_is_let_through(tmp_path: Path, dev: Path) -> None:
    service = compose(tmp_path, dev, {"type": "K8sNamespaceTraffic"})
    assert service["security_opt"] == ["no-new-privileges:true", "seccomp=unconfined"]
    assert service["cap_add"] == ["BPF", "NET_ADMIN", "DAC_OVERRIDE"]


def test_ping_needs_a_setting_of_the_containers_network_and_no_capability(
    tmp_path: Path, dev: Path
) -> None:
    service = compose(tmp_path, dev, {"type": "Ping", "host": "::1"})
    assert service["sysctls"] == {"net.ipv4.ping_group_range": "0 2147483647"}
    assert "cap_add" not in service


def test_multicast_needs_the_network_of_the_host(tmp_path: Path, dev: Path) -> None:
    service = compose(tmp_path, dev, {"type": "SmaEnergyMeter"}, type="Prometheus", port=8000)
    assert service["network_mode"] == "host"
    assert "ports" not in service
    both = compose(tmp_path, dev, {"type": "SmaEnergyMeter"}, {"type": "Ping", "host": "::1"})
    assert "sysctls" not in both, "they belong to the host's network"
    assert "NET_RAW" in both["cap_add"]


def test_secrets_and_variables_are_handed_over(tmp_path: Path, dev: Path) -> None:
    source = {
        "type": "Plex",
        "url": "http://${PLEX_HOST}",
        "token": "${file:${CREDENTIALS_DIRECTORY}/plex}",
    }
    found = document(tmp_path, dev, source)
    service = found["services"]["pollect"]
    assert service["secrets"] == ["plex"]
    assert service["environment"] == {
        "CREDENTIALS_DIRECTORY": "/run/secrets",
        "PLEX_HOST": "${PLEX_HOST:?set it in .env}",
    }
    assert found["secrets"] == {"plex": {"file": f"{tmp_path}/etc/credentials/plex"}}


def test_files_elsewhere_are_mounted_where_they_are(tmp_path: Path, dev: Path) -> None:
    authority = tmp_path / "authority $HOME.pem"
    authority.touch()
    source = {"type": "Http", "url": "https://example.org/", "caFile": str(authority)}
    service = compose(tmp_path, dev, source)
    escaped = str(authority).replace("$", "$$")
    assert f"{escaped}:{escaped}:ro" in service["volumes"]


def test_names_from_a_config_never_become_lines_of_their_own(tmp_path: Path, dev: Path) -> None:
    name = "a\n    privileged: true\n#"
    service = compose(tmp_path, dev, {"type": "Ping", "host": "::1", "name": name})
    assert "privileged" not in service


def test_a_port_that_only_the_container_could_reach_is_reported(tmp_path: Path, dev: Path) -> None:
    compose(tmp_path, dev, {"type": "Dummy"}, type="Prometheus", port=8000, bind="127.0.0.1")
    found = survey(tmp_path / "etc" / "config.yml")
    _, (note,) = write_compose(found, image="x", version="2.0.0", dev=dev)
    assert note.startswith("Prometheus: listens on 127.0.0.1 only")
