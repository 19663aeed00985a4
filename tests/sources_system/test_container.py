import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pollect.api import NoData, Roots, TargetUnavailable
from pollect.testing import FakeClock, build_source
from pollect.testing.waiting import wait_until
from pollect_sources_system.container.cgroups import BlockDevices, parse_blkio, parse_io_stat
from pollect_sources_system.container.source import ContainerSource
from tests.sources_system.readings import Readings, read

WEB, DATABASE, POD = "a1" * 32, "b2" * 32, "c3" * 32
KIB, MIB = 2**10, 2**20


class FakeHost:
    """Cgroups and the files of the runtimes, in folders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cgroups = folder / "sys" / "fs" / "cgroup"
        self.cgroups.mkdir(parents=True)
        self.clock = FakeClock()

    def write(self, path: str, text: "str | dict | list") -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text if isinstance(text, str) else json.dumps(text))

    def show(self, path: str, **files: str) -> None:
        """Let the kernel show a cgroup; the files' dots are double underscores here."""
        for name, text in files.items():
            self.write(f"sys/fs/cgroup/{path}/{name.replace('__', '.')}", text)

    def open(self, **section: object) -> ContainerSource:
        folders = {
            "dockerDir": str(self.folder / "docker"),
            "podmanDir": str(self.folder / "podman"),
            "containerdDir": str(self.folder / "containerd"),
        }
        source = build_source(
            {**folders, **section},
            ContainerSource,
            roots=Roots(sys=self.folder / "sys"),
            clock=self.clock,
        )
        return source  # type: ignore[return-value]


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path)


@pytest.fixture
def host_2(host: FakeHost) -> FakeHost:
    """A host with cgroups of version 2 and one container of Docker."""
    host.write("sys/fs/cgroup/cgroup.controllers", "cpu io memory pids\n")
    host.show(
        f"system.slice/docker-{WEB}.scope",
        cpu__stat="usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\n",
        memory__current=f"{100 * MIB}\n",
        memory__max="max\n",
        memory__stat=f"anon {60 * MIB}\ninactive_file {30 * MIB}\n",
        io__stat="8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n"
        "8:16 rbytes=1024 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n",
        pids__current="7\n",
    )
    host.write(f"docker/containers/{WEB}/config.v2.json", {"Name": "/web", "ID": WEB})
    return host


def test_version_2_is_read(host_2: FakeHost) -> None:
    labels = ("web", "docker")
    assert read(host_2.open()) == {
        ("cpu_seconds_total", *labels): 2.5,
        ("memory_bytes", *labels): 100 * MIB,
        ("memory_working_set_bytes", *labels): 70 * MIB,
        ("read_bytes_total", *labels): 5120,
        ("written_bytes_total", *labels): 8192,
        ("reads_total", *labels): 2,
        ("writes_total", *labels): 2,
        ("tasks", *labels): 7,
    }


def test_rates_appear_from_the_second_probe_on(host_2: FakeHost) -> None:
    source = host_2.open()
    read(source)
    host_2.clock.advance(2)
    host_2.show(
        f"system.slice/docker-{WEB}.scope",
        cpu__stat="usage_usec 5500000\n",
        memory__max=f"{512 * MIB}\n",
        io__stat="8:0 rbytes=4096 wbytes=8192\n8:16 rbytes=3072 wbytes=0\n",
    )
    found = read(source)
    assert found["cpu_ratio", "web", "docker"] == 1.5
    assert found["read_bytes_per_second", "web", "docker"] == 1024
    assert found["written_bytes_per_second", "web", "docker"] == 0
    assert found["memory_limit_bytes", "web", "docker"] == 512 * MIB


def test_controllers_that_are_off_leave_their_figures_out(host_2: FakeHost) -> None:
    host_2.show(f"machine.slice/libpod-{DATABASE}.scope/container", cpu__stat="usage_usec 1\n")
    host_2.show(f"machine.slice/libpod-{DATABASE}.scope", cpu__stat="usage_usec 1000000\n")
    found = read(host_2.open(include="b2*"))
    assert found == {("cpu_seconds_total", "b2b2b2b2b2b2", "podman"): 1.0}


def test_version_1_is_read(host: FakeHost) -> None:
    host.show(f"cpuacct/docker/{WEB}", cpuacct__usage="2500000000\n")
    host.show(
        f"memory/docker/{WEB}",
        memory__usage_in_bytes=f"{100 * MIB}\n",
        memory__limit_in_bytes="9223372036854771712\n",
        memory__stat=f"inactive_file 1\ntotal_inactive_file {30 * MIB}\n",
    )
    host.show(
        f"blkio/docker/{WEB}",
        blkio__throttle__io_service_bytes="8:0 Read 4096\n8:0 Write 8192\n8:0 Total 12288\n"
        "Total 12288\n",
        blkio__throttle__io_serviced="8:0 Read 1\n8:0 Write 2\nTotal 3\n",
    )
    host.show(f"pids/docker/{WEB}", pids__current="7\n")
    labels = ("a1a1a1a1a1a1", "docker")
    assert read(host.open()) == {
        ("cpu_seconds_total", *labels): 2.5,
        ("memory_bytes", *labels): 100 * MIB,
        ("memory_working_set_bytes", *labels): 70 * MIB,
        ("read_bytes_total", *labels): 4096,
        ("written_bytes_total", *labels): 8192,
        ("reads_total", *labels): 1,
        ("writes_total", *labels): 2,
        ("tasks", *labels): 7,
    }


POD_PATH = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice"


@pytest.mark.parametrize(
    ("path", "runtime"),
    [
        (f"system.slice/docker-{WEB}.scope", "docker"),
        (f"docker/{WEB}", "docker"),
        (f"machine.slice/libpod-{WEB}.scope", "podman"),
        (f"user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{WEB}.scope", "podman"),
        (f"libpod_parent/libpod-{WEB}", "podman"),
        (f"user.slice/app.slice/other.slice/libpod-payload-{WEB}", "podman"),
        (f"system.slice/k3s.service/kubepods-pod1.slice:cri-containerd:{WEB}", "containerd"),
        (f"{POD_PATH}/cri-containerd-{WEB}.scope", "containerd"),
        (f"kubepods/besteffort/pod1/{WEB}", "containerd"),
        (f"{POD_PATH}/crio-{WEB}.scope", "crio"),
        (f"system.slice/nerdctl-{WEB}.scope", "containerd"),
        (f"default/{WEB}", "containerd"),
    ],
)
def test_cgroups_of_every_runtime_are_known(host: FakeHost, path: str, runtime: str) -> None:
    host.write("sys/fs/cgroup/cgroup.controllers", "cpu\n")
    host.show(path, pids__current="1\n")
    host.show(f"machine.slice/libpod-conmon-{DATABASE}.scope", pids__current="1\n")
    host.show("system.slice/cron.service", pids__current="1\n")
    assert read(host.open()) == {("tasks", WEB[:12], runtime): 1}


def test_names_come_from_the_files_of_the_runtimes(host_2: FakeHost) -> None:
    host_2.show(f"machine.slice/libpod-{DATABASE}.scope", pids__current="1\n")
    host_2.show(f"{POD_PATH}/cri-containerd-{POD}.scope", pids__current="1\n")
    host_2.write(
        "podman/overlay-containers/containers.json",
        [{"id": DATABASE, "names": ["database"]}, {"id": "d4" * 32}],
    )
    annotations = {
        "io.kubernetes.cri.sandbox-namespace": "shop",
        "io.kubernetes.cri.sandbox-name": "cart-0",
        "io.kubernetes.cri.container-name": "redis",
    }
    host_2.write(f"containerd/k8s.io/{POD}/config.json", {"annotations": annotations})
    assert names_of(read(host_2.open())) == {"web", "database", "shop/cart-0/redis"}


QUADLET = f"system.slice/web.service/libpod-payload-{DATABASE}"


def test_container_of_a_quadlet_goes_by_its_service(host: FakeHost) -> None:
    host.write("sys/fs/cgroup/cgroup.controllers", "cpu\n")
    host.show(QUADLET, pids__current="3\n")
    host.show("system.slice/web.service/runtime", pids__current="1\n")
    source = host.open()
    assert read(source) == {("tasks", "web", "podman"): 3}
    host.write("podman/overlay-containers/containers.json", [{"id": DATABASE, "names": ["shop"]}])
    assert read(source) == {("tasks", "shop", "podman"): 3}


@pytest.mark.parametrize("parent", ["mine", "kubepods/besteffort/pod1", "mine.slice/x.service"])
@pytest.mark.parametrize("runtime", ["docker", "podman", "containerd", "nameless docker"])
def test_bare_id_is_looked_up_at_every_runtime(host: FakeHost, parent: str, runtime: str) -> None:
    host.write("sys/fs/cgroup/cgroup.controllers", "cpu\n")
    host.show(f"{parent}/{WEB}", pids__current="1\n")
    if runtime == "docker":
        host.write(f"docker/containers/{WEB}/config.v2.json", {"Name": "/web"})
    elif runtime == "podman":
        host.write("podman/overlay-containers/containers.json", [{"id": WEB, "names": ["web"]}])
    elif runtime == "containerd":
        annotations = {"nerdctl/name": "web"}
        host.write(f"containerd/default/{WEB}/config.json", {"annotations": annotations})
    else:
        host.write(f"docker/containers/{WEB}/config.v2.json", "damaged")
        assert [key[2] for key in read(host.open())] == ["docker"]
        return
    assert read(host.open()) == {("tasks", "web", runtime): 1}


def test_name_that_is_written_late_is_found_then(host_2: FakeHost) -> None:
    file = host_2.folder / f"docker/containers/{WEB}/config.v2.json"
    text = file.read_text()
    file.unlink()
    source = host_2.open()
    assert names_of(read(source)) == {WEB[:12]}
    file.write_text(text)
    assert names_of(read(source)) == {"web"}


def test_container_keeps_its_name_when_another_of_that_name_comes(host_2: FakeHost) -> None:
    source = host_2.open()
    assert names_of(read(source)) == {"web"}
    earlier = "00" * 32  # sorts before the one that has the name
    host_2.show(f"docker/{earlier}", pids__current="99\n")
    host_2.write(f"docker/containers/{earlier}/config.v2.json", {"Name": "/web"})
    found = read(source)
    assert found["tasks", "web", "docker"] == 7
    assert found["tasks", f"web-{earlier[:12]}", "docker"] == 99


@pytest.mark.parametrize("rubbish_names", [None, "web", [], [None], {"a": 1}])
def test_rubbish_among_the_names_costs_only_itself(host: FakeHost, rubbish_names: object) -> None:
    host.write("sys/fs/cgroup/cgroup.controllers", "cpu\n")
    host.show(f"machine.slice/libpod-{WEB}.scope", pids__current="1\n")
    host.show(f"machine.slice/libpod-{DATABASE}.scope", pids__current="2\n")
    entries = [None, {"id": DATABASE, "names": rubbish_names}, {"id": WEB, "names": ["web"]}]
    host.write("podman/overlay-containers/containers.json", entries)
    assert names_of(read(host.open())) == {"web", DATABASE[:12]}


def add_block_device(host: FakeHost, name: str, number: str, *below: str) -> None:
    """Let the kernel show a disk, or a device made of others, as in /sys/dev/block."""
    folder = host.folder / "sys" / "devices" / name
    (folder / "slaves").mkdir(parents=True)
    (folder / "dev").write_text(f"{number}\n")
    for other in below:
        (folder / "slaves" / other.rpartition("/")[2]).symlink_to(
            host.folder / "sys" / "devices" / other
        )
    links = host.folder / "sys" / "dev" / "block"
    links.mkdir(parents=True, exist_ok=True)
    (links / number).symlink_to(folder)


def show_io(host: FakeHost, *devices: str) -> dict[str, float]:
    lines = "".join(f"{device} rbytes=4096 wbytes=0 rios=1 wios=0\n" for device in devices)
    host.show(f"system.slice/docker-{WEB}.scope", io__stat=lines)
    found = read(host.open())
    return {key[0]: value for key, value in found.items() if key[0].startswith("read")}


def test_stacked_device_is_not_counted_beside_the_disk_below_it(host_2: FakeHost) -> None:
    add_block_device(host_2, "sda", "8:0")
    partition = host_2.folder / "sys/devices/sda/sda3"
    partition.mkdir()
    (partition / "partition").write_text("3\n")
    (partition / "dev").write_text("8:3\n")
    add_block_device(host_2, "sdb", "8:16")
    add_block_device(host_2, "dm-0", "253:0", "sda/sda3")
    add_block_device(host_2, "dm-1", "253:1", "dm-0")
    add_block_device(host_2, "md0", "9:0", "sda", "sdb")
    add_block_device(host_2, "loop0", "7:0")
    host_2.write("sys/devices/loop0/loop/backing_file", "/images/a\n")
    one_disk = {"read_bytes_total": 4096, "reads_total": 1}
    assert show_io(host_2, "253:0", "8:0") == one_disk
    assert show_io(host_2, "253:1", "8:0") == one_disk
    assert show_io(host_2, "7:0", "253:1", "253:0", "8:0") == one_disk
    assert show_io(host_2, "9:0", "8:0", "8:16") == {"read_bytes_total": 8192, "reads_total": 2}
    # Alone it is all there is to count.
    assert show_io(host_2, "253:0") == one_disk
    assert show_io(host_2, "7:0") == one_disk


def test_stacked_device_is_not_counted_twice_in_version_1_either(host: FakeHost) -> None:
    add_block_device(host, "sda", "8:0")
    add_block_device(host, "dm-0", "253:0", "sda")
    text = "253:0 Read 4096\n253:0 Write 0\n8:0 Read 4096\n8:0 Write 0\nTotal 8192\n"
    host.show(f"blkio/docker/{WEB}", blkio__throttle__io_service_bytes=text)
    found = read(host.open())
    assert found["read_bytes_total", WEB[:12], "docker"] == 4096


@pytest.mark.parametrize("rubbish", ["", "[]", "{}", '{"Name": null}'])
def test_container_without_a_readable_name_goes_by_its_id(host_2: FakeHost, rubbish: str) -> None:
    host_2.write(f"docker/containers/{WEB}/config.v2.json", rubbish)
    assert names_of(read(host_2.open())) == {WEB[:12]}


def test_two_containers_of_one_name_are_told_apart(host_2: FakeHost) -> None:
    host_2.show(f"docker/{DATABASE}", pids__current="1\n")
    host_2.write(f"docker/containers/{DATABASE}/config.v2.json", {"Name": "/web"})
    assert names_of(read(host_2.open())) == {"web", f"web-{DATABASE[:12]}"}


def test_only_wanted_containers_are_reported(host_2: FakeHost) -> None:
    host_2.show(f"docker/{DATABASE}", pids__current="1\n")
    assert names_of(read(host_2.open(include=["w*"]))) == {"web"}
    assert names_of(read(host_2.open(exclude="web"))) == {DATABASE[:12]}


def test_containers_come_and_go(host_2: FakeHost) -> None:
    source = host_2.open()
    assert names_of(read(source)) == {"web"}
    scope = host_2.cgroups / "system.slice" / f"docker-{WEB}.scope"
    for file in scope.iterdir():
        file.unlink()
    scope.rmdir()
    with pytest.raises(NoData, match="no container runs") as caught:
        read(source)
    assert caught.value.withdraw


def test_host_without_cgroups_is_unavailable_or_empty(host: FakeHost) -> None:
    with pytest.raises((NoData, TargetUnavailable)):
        read(host.open())


def test_rubbish_in_the_figures_is_left_out_and_named() -> None:
    devices = BlockDevices(Path("/nonexistent"))
    problems: list[str] = []
    text = "8:0 rbytes=x wbytes=1 nonsense\nhello\n"
    assert parse_io_stat(text, devices, problems) == {"wbytes": 1}
    assert problems == [
        "expected a number of 'rbytes', got 'x'",
        "expected a number of 'nonsense', got ''",
    ]
    assert parse_io_stat("8:16 8:0 rbytes=1\n", devices, []) == {"rbytes": 1}
    assert parse_blkio("8:0 Read\nhello\n8:0 Write 5\n", devices, []) == {"Write": 5}


def test_figure_that_cannot_be_read_is_a_trouble_of_its_container(host_2: FakeHost) -> None:
    group = f"system.slice/docker-{WEB}.scope"
    host_2.show(f"system.slice/docker-{DATABASE}.scope", memory__current="5\n")
    host_2.show(group, memory__current="much\n", cpu__stat="usage_usec 2500000\nuser_usec\n")
    source = host_2.open()
    found = read(source)
    assert found["cpu_seconds_total", "web", "docker"] == 2.5
    assert ("memory_bytes", "web", "docker") not in found
    assert found["memory_bytes", DATABASE[:12], "docker"] == 5
    assert source.troubles.texts() == (
        "web: cpu.stat: expected a name and a number, got 'user_usec'; "
        "memory.current: expected a number, got 'much'",
    )
    host_2.show(group, memory__current="7\n", cpu__stat="usage_usec 2500000\n")
    assert read(source)["memory_bytes", "web", "docker"] == 7
    assert not source.troubles


def names_of(found: Readings) -> set[str]:
    return {name for _, name, _ in found}


CGROUPS = Path("/sys/fs/cgroup")


@pytest.fixture
def real_cgroup() -> Iterator[list[Path]]:
    """A cgroup as Docker makes it, in every hierarchy of this host that will have it."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    id = f"{os.getpid():064x}"
    if (CGROUPS / "cgroup.controllers").exists():
        roots = [CGROUPS]
    else:
        roots = [CGROUPS / name for name in ("cpuacct", "memory", "pids")]
    made: list[Path] = []
    try:
        for root in roots:
            for part in ("", "docker", f"docker/{id}"):
                folder = root / f"pollect-{os.getpid()}" / part
                try:
                    folder.mkdir()
                except OSError as error:
                    pytest.skip(f"cannot make a cgroup: {error}")
                made.append(folder)
        yield [folder for folder in made if folder.name == id]
    finally:
        for folder in reversed(made):
            remove_cgroup(folder)


def remove_cgroup(folder: Path) -> None:
    """Remove a cgroup as soon as its last process is gone."""

    def is_empty() -> bool:
        return not (folder / "cgroup.procs").read_text()

    wait_until(is_empty)
    folder.rmdir()


@pytest.mark.root
def test_real_cgroup_accounts_for_its_processes(real_cgroup: list[Path]) -> None:
    code = "x = bytearray(50 * 2**20); print(flush=True); [0 for _ in iter(int, 1)]"
    source = build_source({}, ContainerSource, clock=FakeClock())
    name = real_cgroup[0].name[:12]
    child = subprocess.Popen(
        [sys.executable, "-c", f"input(); {code}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        for folder in real_cgroup:
            (folder / "cgroup.procs").write_text(str(child.pid))
        child.stdin.write(b"\n")  # type: ignore[union-attr]
        child.stdin.flush()  # type: ignore[union-attr]
        child.stdout.readline()  # type: ignore[union-attr]
        ticks = os.sysconf("SC_CLK_TCK")

        def used_seconds() -> float:
            fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / ticks

        wait_until(lambda: used_seconds() > 0.3)
        child.send_signal(signal.SIGSTOP)
        wait_until(lambda: ") T " in Path(f"/proc/{child.pid}/stat").read_text())
        found = read(source)
        assert found["tasks", name, "docker"] == 1
        if ("memory_bytes", name, "docker") in found:
            assert found["memory_bytes", name, "docker"] >= 50 * MIB
        # What it used before it was moved counts elsewhere.
        assert (
            used_seconds() - 0.2 < found["cpu_seconds_total", name, "docker"] < used_seconds() + 0.1
        )
    finally:
        child.kill()
        child.communicate()
