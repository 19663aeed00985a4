import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pollect.api import ConfigError, MetricFilter, Roots, TargetUnavailable
from pollect.engine.samples import Normalizer
from pollect.errors import InvalidConfig
from pollect.testing import build_source, wait_until
from pollect_sources_system.disk_usage import (
    DiskUsageSource,
    Space,
    SpaceReader,
    format_label,
    read_space,
)
from tests.simulators.tcp import IN_TIME_SECONDS
from tests.sources_system.node_exporter import NodeExporter
from tests.sources_system.readings import Readings, agree_soon, read

#: Other programs write while we look.
DRIFT_BYTES = 256 * 2**20


def open_source(**section: object) -> DiskUsageSource:
    source = build_source(section, DiskUsageSource)
    source.open()
    return source  # type: ignore[return-value]


def probe(**section: object) -> Readings:
    return read(open_source(**section))


def test_root_is_what_statvfs_says() -> None:
    def look() -> dict[str, tuple[float, float]]:
        found, stat = probe(disks=["/"]), os.statvfs("/")
        assert len(found) == 3
        expected = {
            "total": stat.f_blocks,
            "free": stat.f_bavail,
            "used": stat.f_blocks - stat.f_bfree,
        }
        return {
            kind: (found[None, "_", kind], blocks * stat.f_frsize)
            for kind, blocks in expected.items()
        }

    assert len({*look()["total"]}) == 1
    agree_soon(look, DRIFT_BYTES)


@pytest.mark.integration
def test_root_agrees_with_node_exporter(node_exporter: NodeExporter) -> None:
    def theirs(field: str) -> float:
        return node_exporter.value(f"node_filesystem_{field}", mountpoint="/")

    def bytes_of_both() -> dict[str, tuple[float, float]]:
        found = probe(disks=["/"])
        return {
            "used": (found[None, "_", "used"], theirs("size_bytes") - theirs("free_bytes")),
            "free": (found[None, "_", "free"], theirs("avail_bytes")),
        }

    def inodes_of_both() -> dict[str, tuple[float, float]]:
        found = probe(disks=["/"], inodes=True)
        return {"free": (found["inodes", "_", "free"], theirs("files_free"))}

    found = probe(disks=["/"], inodes=True, readonly=True)
    assert found[None, "_", "total"] == theirs("size_bytes")
    assert found["inodes", "_", "total"] == theirs("files")
    assert found["readonly", "_"] == theirs("readonly")
    agree_soon(bytes_of_both, DRIFT_BYTES)
    agree_soon(inodes_of_both, 20_000)


def test_without_disks_every_mounted_device_is_reported_once() -> None:
    found = probe()
    assert {kind for _, _, kind in found} == {"total", "used", "free"}
    assert all(value >= 0 for value in found.values())


def test_without_disks_mount_points_can_be_left_out() -> None:
    assert set(probe(exclude=["*"])) == set(probe(disks=["/"])), "the root is always there"


@pytest.mark.parametrize(
    ("disk", "label"),
    [("/", "_"), ("/mnt/data", "_mnt_data"), ("C:\\", "C"), ("D:\\a\\b", "Dab")],
)
def test_label_of_a_path(disk: str, label: str) -> None:
    assert format_label(disk) == label


def test_single_path_is_a_list_of_one() -> None:
    assert set(probe(disks="/")) == set(probe(disks=["/"]))


def test_path_that_fails_leaves_the_others_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    absent = tmp_path / "absent"
    source = open_source(disks=["/", str(absent)])
    for _ in range(2):
        assert len(read(source)) == 3
    absent.mkdir()
    assert len(read(source)) == 6
    assert caplog.messages == [
        f"{absent}: No such file or directory",
        f"{absent}: works again",
    ]


def test_nothing_but_failing_paths_is_a_failure(tmp_path: Path) -> None:
    source = open_source(disks=[str(tmp_path / "absent")])
    with pytest.raises(TargetUnavailable, match="No such file or directory"):
        read(source)


def test_two_paths_that_would_share_a_label_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a_b").mkdir()
    disks = [str(tmp_path / "a" / "b"), str(tmp_path / "a_b")]
    found = probe(disks=disks)
    labels = {disk for _, disk, _ in found}
    assert len(labels) == 2
    assert labels & {format_label(disks[0]), format_label(disks[1])}
    assert labels & set(disks)


FILE_SYSTEMS = "nodev\tsysfs\nnodev\ttmpfs\n\text4\n\tbtrfs\n\tsquashfs\nnodev\toverlay\n"


class FakeMounts:
    """A host's root and what its kernel says is mounted there."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "host"
        self.proc = folder / "host" / "proc"
        self.mounts = self.proc / "1"
        self.mounts.mkdir(parents=True)
        (self.proc / "filesystems").write_text(FILE_SYSTEMS)
        self._lines: list[str] = []

    def mount(
        self, point: str, device: str, fs_type: str = "ext4", *, root: str = "/", file: bool = False
    ) -> None:
        place = self.root / point.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if file:
            place.touch()
        else:
            place.mkdir(exist_ok=True)
        escaped = point.replace(" ", "\\040")
        self.add(f"36 35 {device} {root} {escaped} rw,noatime master:1 - {fs_type} /dev/x rw")

    def add(self, line: str) -> None:
        self._lines.append(line)
        text = "\n".join(self._lines) + "\n"
        (self.mounts / "mountinfo").write_bytes(os.fsencode(text))

    def open(self, **section: object) -> DiskUsageSource:
        roots = Roots(proc=self.proc, rootfs=self.root)
        source = build_source(section, DiskUsageSource, roots=roots)
        source.open()
        return source  # type: ignore[return-value]

    def probe(self, **section: object) -> set[str]:
        return {label for _, label, _ in read(self.open(**section))}


@pytest.fixture
def mounts(tmp_path: Path) -> FakeMounts:
    return FakeMounts(tmp_path)


def test_files_that_are_mounted_are_no_disks(mounts: FakeMounts) -> None:
    mounts.mount("/", "0:52", "overlay")
    mounts.mount("/etc/resolv.conf", "8:1", root="/docker/resolv.conf", file=True)
    mounts.mount("/etc/hosts", "8:1", root="/docker/hosts", file=True)
    assert mounts.probe() == {"_"}


def test_mount_points_that_are_not_utf_8_stay_two_disks(mounts: FakeMounts) -> None:
    mounts.mount("/", "0:52", "overlay")
    mounts.mount("/caf\udce9", "8:1")
    mounts.mount("/caf\udce8", "8:2")
    source = mounts.open()
    normalizer = Normalizer(source.metrics, MetricFilter(), source.log)
    clean = normalizer.clean(source.probe())
    assert {sample.label_values[0] for sample in clean} == {"_", "_caf\ufffd", "_caf\ufffd_e8"}


def test_volume_of_a_container_is_reported_beside_its_root(mounts: FakeMounts) -> None:
    mounts.mount("/etc/hosts", "8:1", root="/docker/hosts", file=True)
    mounts.mount("/", "0:52", "overlay")
    mounts.mount("/data", "8:1", root="/srv/data")
    assert mounts.probe() == {"_", "_data"}
    assert mounts.probe(excludeFsTypes="overlay") == {"_data"}
    assert mounts.probe(exclude="/") == {"_data"}


def test_shortest_mount_point_stands_for_its_device(mounts: FakeMounts) -> None:
    mounts.mount("/srv/backup/deep", "8:17", root="/a")
    mounts.mount("/srv", "8:17")
    mounts.mount("/", "8:1")
    mounts.mount("/home", "8:1", root="/home")
    mounts.mount("/run", "0:20", "tmpfs")
    mounts.mount("/snap/core", "7:0", "squashfs")
    assert mounts.probe() == {"_", "_srv"}


def test_place_with_a_blank_is_found(mounts: FakeMounts) -> None:
    mounts.mount("/", "8:1")
    mounts.mount("/mnt/my disk\u00a02", "8:33")
    assert mounts.probe() == {"_", "_mnt_my disk\u00a02"}


def test_line_that_makes_no_sense_costs_no_other_mount(mounts: FakeMounts) -> None:
    mounts.add("36 35 8:99 /")
    mounts.mount("/", "8:1")
    source = mounts.open()
    assert {label for _, label, _ in read(source)} == {"_"}
    assert source.troubles.texts() == ("mounts: cannot make sense of the line '36 35 8:99 /'",)


def test_old_table_of_mounts_will_do(mounts: FakeMounts) -> None:
    (mounts.root / "data").mkdir()
    (mounts.root / "note").touch()
    (mounts.mounts / "mounts").write_text(
        "/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 /data ext4 rw 0 0\n/dev/sdc1 /note ext4 rw 0 0\n"
    )
    assert mounts.probe() == {"_", "_data"}


def test_disks_of_the_config_are_those_of_the_host(mounts: FakeMounts) -> None:
    (mounts.root / "only-there").mkdir()
    assert mounts.probe(disks=["/only-there"]) == {"_only-there"}


MOUNTED_FILE = """
import sys
from pollect.testing import build_source
from pollect_sources_system.disk_usage import DiskUsageSource
from tests.sources_system.readings import read

source = build_source({}, DiskUsageSource)
source.open()
print(*sorted({label for _, label, _ in read(source)}))
"""


@pytest.mark.root
def test_real_file_that_is_mounted_is_no_disk(tmp_path: Path) -> None:
    """In a mount namespace of its own, with a disk that is a loop device."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    image, disk, file = tmp_path / "image", tmp_path / "disk", tmp_path / "resolv.conf"
    disk.mkdir()
    file.touch()
    script = (
        f"truncate -s 8m {image} && mkfs.ext4 -q {image} && mount -o loop {image} {disk} && "
        f"touch {disk}/f && mount --bind {disk}/f {file} && "
        f"exec {sys.executable} -c '{MOUNTED_FILE}'"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(done.stderr.strip()[-200:])
    labels = done.stdout.split()
    assert format_label(str(disk)) in labels
    assert format_label(str(file)) not in labels


def test_file_system_without_a_size_is_left_out() -> None:
    assert probe(disks=["/", "/proc"]).keys() == probe(disks=["/"]).keys()


def test_hanging_path_is_asked_once_and_does_not_hold_up_the_others() -> None:
    release, calls = threading.Event(), []

    def ask(path: str) -> Space:
        calls.append(path)
        if path == "/stuck":
            release.wait(50)
        return Space(100, 60, 40)

    reader = SpaceReader(1.0, ask)
    started = time.monotonic()
    for _ in range(3):
        assert set(reader.read(["/stuck", "/a", "/b"])) == {"/a", "/b"}
    assert time.monotonic() - started < IN_TIME_SECONDS
    assert calls.count("/stuck") == 1
    release.set()
    wait_until(lambda: "/stuck" in reader.read(["/stuck"]))
    assert calls.count("/stuck") == 2


def test_probes_share_one_thread_until_the_source_is_closed() -> None:
    askers: set[threading.Thread] = set()

    def ask(path: str) -> Space:
        askers.add(threading.current_thread())
        return Space(100, 60, 40)

    reader = SpaceReader(ask=ask, linger_seconds=IN_TIME_SECONDS)
    for _ in range(20):
        assert set(reader.read(["/a", "/b"])) == {"/a", "/b"}
        wait_until(lambda: reader._idle)
    (asker,) = askers
    reader.close()
    asker.join(IN_TIME_SECONDS)
    assert not asker.is_alive()
    reader.open()
    assert set(reader.read(["/a"])) == {"/a"}
    reader.close()
    for asker in askers:
        asker.join(IN_TIME_SECONDS)
        assert not asker.is_alive()


def test_a_thread_that_is_not_needed_ends_by_itself() -> None:
    askers: set[threading.Thread] = set()

    def ask(path: str) -> Space:
        askers.add(threading.current_thread())
        return Space(100, 60, 40)

    reader = SpaceReader(ask=ask, linger_seconds=0.01)
    for _ in range(50):
        assert set(reader.read(["/a"])) == {"/a"}
        time.sleep(0.01)  # about when the thread gives up waiting
    for asker in askers:
        asker.join(IN_TIME_SECONDS)
        assert not asker.is_alive()


def test_paths_are_not_stuck_because_there_was_no_thread_to_ask_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = SpaceReader(ask=lambda path: Space(100, 60, 40))

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            reader.read(["/a"])
    assert set(reader.read(["/a"])) == {"/a"}
    reader.close()


STUCK_MOUNT = """
import ctypes, os, sys, tempfile
from pollect.testing import build_source
from pollect_sources_system.disk_usage import DiskUsageSource
from tests.sources_system.readings import read

libc = ctypes.CDLL(None, use_errno=True)
folder = tempfile.mkdtemp()
server = os.open("/dev/fuse", os.O_RDWR)  # a server that never answers
options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
if libc.mount(b"stuck", folder.encode(), b"fuse", 0, options):
    sys.exit(f"cannot mount: {os.strerror(ctypes.get_errno())}")
source = build_source({"disks": ["/", folder], "timeout": 2}, DiskUsageSource)
first, second = read(source), read(source)
print(len(first), len(second), source._reader._pending == {folder})
os.close(server)  # the kernel now fails what waits for it
while source._reader._pending:
    pass
print(len(read(source)))
libc.umount2(folder.encode(), 2)
os.rmdir(folder)
"""


@pytest.mark.root
def test_mount_whose_server_hangs_does_not_hold_up_the_root() -> None:
    """A real FUSE mount without an answering server, in a mount namespace of its own."""
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("needs root and /dev/fuse")
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", STUCK_MOUNT],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    if "cannot mount" in done.stderr or "unshare:" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.stdout.splitlines() == ["3 3 True", "3"], done.stderr


@pytest.mark.root
def test_file_system_of_a_known_size_is_reported_exactly(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    script = (
        f"mount -t tmpfs -o size=8m,ro none {tmp_path} && exec {sys.executable} -c '"
        "from pollect_sources_system.disk_usage import read_space as r; "
        f'print(*r("{tmp_path}")[:3], r("{tmp_path}").readonly)\''
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(done.stderr.strip())
    assert done.stdout.split() == ["8388608", "0", "8388608", "True"]


def test_path_that_is_gone_raises_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_space(str(tmp_path / "absent"))


@pytest.mark.parametrize(
    ("disks", "key"),
    [("5", "disks"), (5, "disks"), (["/", 1.5], "disks[1]"), (["yes", True], "disks[1]")],
)
def test_a_number_where_a_path_belongs_is_refused(disks: object, key: str) -> None:
    with pytest.raises(ConfigError, match="expected a path") as caught:
        build_source({"type": "DiskUsage", "disks": disks})
    error = caught.value
    (problem,) = error.problems if isinstance(error, InvalidConfig) else (error,)
    assert problem.key == key
