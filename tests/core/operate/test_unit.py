"""The unit of a config: strict, and loosened by exactly what its sources need."""

import json
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pollect.operate.survey import survey
from pollect.operate.unit import notes, write_unit

EXECUTABLE = "/opt/pollect/bin/pollect"
ROOT = Path(__file__).parents[3]


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    """A /dev with one ATA and no NVMe drive."""
    folder = tmp_path / "dev"
    folder.mkdir()
    (folder / "sda").touch()
    return folder


def unit_of(tmp_path: Path, *sources: dict, dev: Path | None = None, **top) -> str:
    """Return the unit of some sources beside a Prometheus endpoint."""
    config = {
        "writer": {"type": "Prometheus", "port": 8000},
        "executors": [{"collection": "box", "sources": list(sources)}],
        **top,
    }
    file = tmp_path / "config.yml"
    file.write_text(json.dumps(config))
    found = survey(file)
    return write_unit(
        found, executable=EXECUTABLE, dev=dev or tmp_path / "none", release="6.1.0", version="2.0.0"
    )


def settings(unit: str) -> dict[str, list[str]]:
    """Return the settings of a unit by name, each with all its values."""
    found: dict[str, list[str]] = {}
    for line in unit.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def test_nothing_is_allowed_that_no_source_needs(tmp_path: Path) -> None:
    found = settings(unit_of(tmp_path, {"type": "LoadAvg"}))
    for name, value in {
        "CapabilityBoundingSet": "",
        "PrivateDevices": "yes",
        "PrivateUsers": "yes",
        "ProtectHome": "yes",
        "ProtectProc": "invisible",
        "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        "RestartPreventExitStatus": "2 3",
        "Type": "notify",
        "WatchdogSec": "60",
    }.items():
        assert found[name] == [value], name
    assert "AmbientCapabilities" not in found
    assert "DeviceAllow" not in found


def test_without_a_network_there_are_no_internet_sockets(tmp_path: Path) -> None:
    unit = unit_of(tmp_path, {"type": "LoadAvg"}, writer={"type": "DryRun"})
    assert settings(unit)["RestrictAddressFamilies"] == ["AF_UNIX"]


def test_each_line_that_allows_something_names_its_source(tmp_path: Path, dev: Path) -> None:
    unit = unit_of(
        tmp_path,
        {"type": "SmartCtl", "name": "attic"},
        {"type": "Ping", "host": "::1"},
        {"type": "K8sNamespaceTraffic"},
        dev=dev,
    )
    found = settings(unit)
    assert found["AmbientCapabilities"] == ["CAP_SYS_RAWIO CAP_NET_RAW CAP_BPF CAP_NET_ADMIN"]
    assert found["CapabilityBoundingSet"] == found["AmbientCapabilities"]
    assert found["PrivateUsers"] == ["no"], "a capability is nothing in a user namespace"
    assert found["DeviceAllow"] == ["block-sd rw"]
    assert found["SupplementaryGroups"] == ["disk"]
    assert found["SystemCallFilter"] == ["@system-service", "~@privileged @resources", "bpf"]
    assert "LimitMEMLOCK" not in found
    for comment in ("# CAP_SYS_RAWIO: SmartCtl attic", "# CAP_NET_RAW: Ping", "# CAP_BPF: K8s"):
        assert comment in unit
    assert "CAP_SYS_ADMIN for NVMe drives, where there is /dev/nvme*" in unit


def test_drives_decide_on_what_smartctl_may_do(tmp_path: Path, dev: Path) -> None:
    (dev / "sda").unlink()
    for name in ("nvme0", "nvme0n1"):
        (dev / name).touch()
    found = settings(unit_of(tmp_path, {"type": "SmartCtl"}, dev=dev))
    assert found["AmbientCapabilities"] == ["CAP_SYS_ADMIN CAP_DAC_READ_SEARCH"]
    assert found["DeviceAllow"] == ["char-nvme r", "block-blkext r"]


def test_an_old_kernel_needs_locked_memory(tmp_path: Path) -> None:
    unit_of(tmp_path, {"type": "K8sNamespaceTraffic"})
    found = survey(tmp_path / "config.yml")
    unit = write_unit(found, executable=EXECUTABLE, release="5.10.0-30", version="2.0.0")
    assert settings(unit)["LimitMEMLOCK"] == ["infinity"]


def test_a_source_that_is_not_enabled_needs_nothing(tmp_path: Path) -> None:
    unit = unit_of(tmp_path, {"type": "Ping", "host": "::1", "enabled": False})
    assert "CAP_NET_RAW" not in unit


def test_secrets_come_as_credentials_and_variables_from_a_file(tmp_path: Path) -> None:
    source = {
        "type": "Plex",
        "url": "http://plex",
        "token": "${file:${CREDENTIALS_DIRECTORY}/plex-token}",
        "name": "${ROOM} ${FLOOR:-first} $${NOT_ONE}",
    }
    found = settings(unit_of(tmp_path, source))
    assert found["LoadCredential"] == ["plex-token:/etc/pollect/credentials/plex-token"]
    assert found["EnvironmentFile"] == ["/etc/pollect/environment"]
    unit = unit_of(tmp_path, source)
    assert "NAME=value, a line each: ROOM\n" in unit


def test_names_from_a_config_never_become_lines_of_the_unit(tmp_path: Path) -> None:
    unit = unit_of(tmp_path, {"type": "Ping", "host": "::1", "name": "a\nUser=root\r[Install]"})
    assert "User" not in settings(unit)
    assert unit.count("\n[Install]\n") == 1


def test_words_of_commands_are_written_as_systemd_reads_them(tmp_path: Path) -> None:
    folder = tmp_path / 'my "100%" $HOME'
    folder.mkdir()
    unit = unit_of(folder, {"type": "LoadAvg"})
    (command,) = settings(unit)["ExecStart"]
    escaped = str(folder).replace("%", "%%").replace("$", "$$").replace('"', '\\"')
    assert command == f'{EXECUTABLE} run -c "{escaped}/config.yml"'


def test_homes_stay_hidden_unless_something_is_in_them(tmp_path: Path) -> None:
    disk = unit_of(tmp_path, {"type": "DiskUsage"})
    assert "# DiskUsage\nProtectHome=read-only" in disk
    writer = {"type": "Sql", "path": "/srv/history/box.sqlite"}
    unit = unit_of(tmp_path, {"type": "LoadAvg"}, writer=writer)
    assert settings(unit)["ProtectHome"] == ["yes"]
    assert settings(unit)["ReadWritePaths"] == ["/srv/history"]


def test_stopping_takes_as_long_as_the_config_says(tmp_path: Path) -> None:
    unit = unit_of(tmp_path, {"type": "LoadAvg"}, shutdownTimeout=45)
    assert settings(unit)["TimeoutStopSec"] == ["65"]


def test_sudo_is_reported_because_it_cannot_work(tmp_path: Path) -> None:
    unit_of(tmp_path, {"type": "SmartCtl", "command": "sudo -n smartctl"})
    (note,) = notes(survey(tmp_path / "config.yml"))
    assert note.startswith("SmartCtl: sudo cannot work in this unit")


def exposure(tmp_path: Path, unit: str) -> float:
    """Return what systemd-analyze calls the exposure of a unit, from 0 to 10."""
    file = tmp_path / "pollect.service"
    file.write_text(unit.replace(EXECUTABLE, "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(file)],
        check=False,
        capture_output=True,
        text=True,
    )
    (figure,) = re.findall(r"exposure level for pollect.service: ([0-9.]+)", done.stdout)
    return float(figure)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize(
    ("types", "most"),
    [
        (None, 1.5),
        (("SmartCtl", "Ping"), 2.6),
        (("SmartCtl", "Ping", "K8sNamespaceTraffic", "Process", "DiskUsage"), 3.0),
    ],
    ids=["quickstart", "SmartCtl and Ping", "everything"],
)
def test_exposure_stays_low(tmp_path: Path, dev: Path, types, most: float) -> None:
    if types is None:
        file = tmp_path / "quickstart.yml"
        file.write_text((ROOT / "examples" / "quickstart.yml").read_text())
        unit = write_unit(
            survey(file), executable=EXECUTABLE, dev=dev, release="6.1.0", version="2.0.0"
        )
    else:
        unit = unit_of(tmp_path, *({"type": name} for name in types), dev=dev)
    # The folder of a test is below /tmp, which a config of an operator is not.
    unit = unit.replace("PrivateTmp=no", "PrivateTmp=yes")
    figure = exposure(tmp_path, unit)
    print(f"exposure {figure}")
    assert figure <= most


def test_a_source_that_asks_the_system_bus_gets_a_user_that_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Since systemd 250 the bus turns away the users of `DynamicUser=`, which end with the unit."""
    unit = unit_of(tmp_path, {"type": "SystemdUnit", "units": "dbus"})
    found = settings(unit)
    assert (found["User"], found["DynamicUser"]) == (["_pollect"], ["yes"])
    assert "useradd --system" in unit

    def user_of_a_running_unit(name: str) -> pwd.struct_passwd:
        return pwd.struct_passwd((name, "x", 61200, 61200, "", "/", "/usr/sbin/nologin"))

    monkeypatch.setattr("pwd.getpwnam", user_of_a_running_unit)
    (note,) = notes(survey(tmp_path / "config.yml"))
    assert note.startswith("SystemdUnit: the system bus turns away users")
    assert note.endswith("useradd --system --no-create-home --shell /usr/sbin/nologin _pollect")


def test_without_such_a_source_the_user_ends_with_the_unit(tmp_path: Path) -> None:
    assert "User" not in settings(unit_of(tmp_path, {"type": "LoadAvg"}))
    assert notes(survey(tmp_path / "config.yml")) == []


def test_two_units_do_not_share_their_state(tmp_path: Path) -> None:
    unit_of(tmp_path, {"type": "LoadAvg"})
    found = survey(tmp_path / "config.yml")
    text = write_unit(found, executable=EXECUTABLE, name="attic", version="2.0.0")
    assert settings(text)["StateDirectory"] == settings(text)["RuntimeDirectory"] == ["attic"]


@pytest.mark.parametrize("name", ["../pollect", "a b", "_pollect", ".service", ""])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    unit_of(tmp_path, {"type": "LoadAvg"})
    command = [sys.executable, "-m", "pollect", "unit", "-c", str(tmp_path / "config.yml")]
    done = subprocess.run(
        [*command, "--name", name], check=False, capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 2
    assert "expected letters, digits" in done.stderr
