"""The host around a container, through the command as an operator runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

#: A host of three CPUs, one card, a disk mounted at /data, a sensor and one process.
HOST = {
    "proc/stat": "cpu  300 0 0 3000\ncpu0 100 0 0 1000\ncpu2 200 0 0 2000\nbtime 1\n",
    "proc/1/net/dev": "-\n-\neth7: 7 1 0 0 0 0 0 0 8 1 0 0 0 0 0 0\n",
    "proc/1/mountinfo": "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
    "2 1 8:17 / /data rw - ext4 /dev/sdb1 rw\n",
    "proc/filesystems": "\text4\n",
    "proc/diskstats": "8 0 sdz 1 0 8 1 1 0 8 1 0 1 1\n",
    "proc/4711/cmdline": "beehive\0--warm\0",
    "proc/4711/stat": "4711 (beehive) S 1 4711 4711 0 -1 0 0 0 0 0 5 5 0 0 20 0 1 0 9 4096 2 0\n",
    "sys/class/hwmon/hwmon0/name": "board",
    "sys/class/hwmon/hwmon0/temp1_input": "21000",
    "data/file": "",
}


def make_host(folder: Path) -> None:
    """Write the files of that host below a folder."""
    for name, text in HOST.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.fixture
def host(tmp_path: Path) -> Path:
    make_host(tmp_path / "host")
    return tmp_path / "host"


SOURCES = """
    - {type: Cpu, perCore: true}
    - {type: Interface, includeTotal: true}
    - {type: DiskUsage}
    - {type: IO, includeTotal: true}
    - {type: Sensors}
    - {type: Process, procRegex: beehive, metrics: {include: [process_count]}}
"""


@pytest.mark.parametrize("way", ["config", "environment"])
def test_config_or_environment_shows_the_host(host: Path, way: str) -> None:
    config = host.parent / "config.yml"
    roots = f"roots: {{proc: {host}/proc, sys: {host}/sys, rootfs: {host}}}\n"
    config.write_text(
        f"{roots if way == 'config' else ''}"
        f"writer: {{type: DryRun}}\nexecutors:\n- collection: c\n  sources:{SOURCES}"
    )
    environment = {**os.environ} | ({"POLLECT_ROOT": str(host)} if way == "environment" else {})
    done = subprocess.run(
        [sys.executable, "-m", "pollect", "probe", "--json", "-c", str(config)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    results = {result["type"]: result for result in json.loads(done.stdout)}
    labels = {
        kind: {next(iter(sample["labels"].values())) for sample in result["samples"]}
        for kind, result in results.items()
    }
    assert labels == {
        "Cpu": {"all", "0", "2"},
        "Interface": {"eth7"},
        "DiskUsage": {"_", "_data"},
        "IO": {"sdz"},
        "Sensors": {"board-virtual-0"},
        "Process": {"all"},
    }, done.stderr
    assert done.returncode == 0
