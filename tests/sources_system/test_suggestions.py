from pathlib import Path
from typing import Any

import pytest

from pollect.api import Roots
from pollect.discovery.registry import Registry
from pollect.testing import build_source
from pollect_sources_system.suggestions import suggest

BASICS = ["LoadAvg", "Cpu", "MemoryUsage", "DiskUsage", "Interface", "Process", "Uptime"]


def write(root: Path, path: str, text: str = "") -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def roots(root: Path) -> Roots:
    return Roots(proc=root / "proc", sys=root / "sys", dev=root / "dev")


def sections(root: Path) -> dict[str, dict[str, Any]]:
    return {item.section["type"]: dict(item.section) for item in suggest(roots(root))}


@pytest.fixture
def full_host(tmp_path: Path) -> Path:
    write(tmp_path, "proc/meminfo", "MemTotal: 1 kB\nSwapTotal:       2097148 kB\n")
    write(tmp_path, "proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n")
    write(tmp_path, "proc/mdstat", "md0 : active raid1 sda1[0]\n  5 blocks [2/1] [U_]\n")
    write(tmp_path, "proc/spl/kstat/zfs/tank/state", "ONLINE\n")
    write(tmp_path, "sys/block/sda/size")
    write(tmp_path, "sys/block/loop0/size")
    write(tmp_path, "sys/class/hwmon/hwmon0/name", "coretemp\n")
    write(tmp_path, "sys/fs/cgroup/cgroup.controllers", "cpu\n")
    for unit in ("nginx.service", "systemd-journald.service", "user.slice"):
        write(tmp_path, f"sys/fs/cgroup/system.slice/{unit}/pids.current", "1\n")
    write(tmp_path, f"sys/fs/cgroup/system.slice/docker-{'a1' * 32}.scope/pids.current", "1\n")
    for name in ("sda", "sda1", "nvme0", "null"):
        write(tmp_path, f"dev/{name}")
    return tmp_path


def test_bare_host_gets_the_basic_sources(tmp_path: Path) -> None:
    assert list(sections(tmp_path)) == BASICS


def test_everything_a_host_has_is_suggested(full_host: Path) -> None:
    found = sections(full_host)
    hardware = {"Swap", "IO", "Pressure", "Sensors", "SmartCtl", "MdRaid", "Zfs"}
    assert set(found) == {*BASICS, *hardware, "Container", "SystemdUnit"}
    assert found["IO"]["exclude"] == ["loop*"]
    assert found["SystemdUnit"]["units"] == ["nginx.service"]


def test_every_suggestion_is_a_valid_section_with_a_comment(full_host: Path) -> None:
    registry = Registry()
    for item in suggest(roots(full_host)):
        build_source(item.section, registry.source_type(item.section["type"]))
        assert item.comment.endswith(".")


def test_host_with_partitions_only_has_no_drives(tmp_path: Path) -> None:
    write(tmp_path, "dev/vda")
    write(tmp_path, "dev/sda1")
    assert "SmartCtl" not in sections(tmp_path)
