"""The spool behind an outbox: a slow disk delays no probe, and gets all it can take."""

import contextlib
import logging
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pollect.api import Batch, Metric, Rejected, Retryable, SourceId, Writer, WriterConfig
from pollect.delivery import outbox as outbox_module
from pollect.delivery.outbox import Outbox
from pollect.delivery.spool import folder as folder_module
from pollect.delivery.spool.buffer import SpoolBuffer
from pollect.delivery.spool.files import spool_folder
from pollect.delivery.spool.folder import SpoolFolder
from pollect.engine.clock import SystemClock
from pollect.testing import FakeClock, build_writer
from pollect.testing.waiting import wait_until
from tests.core.engine.rig import Gate

log = logging.getLogger("spool")
NUMBER = Metric("number", help="Counts up.")
#: Longer than anything takes that does not wait for the disk, shorter than the disk hangs.
AT_ONCE_SECONDS = 30.0


def numbers(*values: float) -> Batch:
    return Batch(SourceId("c", "Test"), [NUMBER.sample(value) for value in values], 5.0)


def values_of(batches: Sequence[Batch]) -> list[float]:
    return [sample.value for batch in batches for sample in batch.samples]


class ListWriter(Writer[WriterConfig]):
    """Delivers into a list, unless `gate` or its script says otherwise."""

    def __init__(self, config: WriterConfig, context: Any) -> None:
        super().__init__(config, context)
        self.arrived: list[float] = []
        self.steps: list[str] = []
        self.away = False
        self.writing = threading.Event()
        self.gate: Callable[[], object] = lambda: None

    def write(self, batches: Sequence[Batch]) -> None:
        self.writing.set()
        self.gate()
        step = self.steps.pop(0) if self.steps else ""
        if self.away or step == "away":
            raise Retryable("away")
        if step == "refuse":
            raise Rejected("bad request")
        self.arrived += values_of(batches)


class Disk:
    """The system calls that write a spool; they hang on request, and are counted."""

    def __init__(self) -> None:
        self._works = threading.Event()
        self._works.set()
        self.held_up = threading.Event()
        self.stored = 0

    def hang(self) -> None:
        self._works.clear()

    def recover(self) -> None:
        self._works.set()

    def write(self, file: int, data: bytes) -> int:
        self._wait()
        self.stored += 1
        return os.write(file, data)

    def pwrite(self, file: int, data: bytes, offset: int) -> int:
        self._wait()
        return os.pwrite(file, data, offset)

    def _wait(self) -> None:
        if not self._works.is_set():
            self.held_up.set()
            self._works.wait()

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    found = Disk()
    others = set(threading.enumerate())
    monkeypatch.setattr(folder_module, "os", found)
    yield found
    found.recover()
    wait_until(
        lambda: not any(t.name == "pollect-spool" for t in {*threading.enumerate()} - others)
    )


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(outbox_module, "LONGEST_PAUSE", 0.002)


class Spooled:
    """An outbox with a spool, and what it reported as lost."""

    def __init__(self, folder: Path, *, clock: Any = None, **buffer: Any) -> None:
        section = {"spool": True, "buffer": buffer}
        writer = build_writer(section, ListWriter, state_dir=folder)
        assert isinstance(writer, ListWriter)
        self.writer = writer
        self.clock = clock or SystemClock()
        self.folder = spool_folder(writer)
        self.reported: list[float] = []
        self.delivered = 0

    def start(self) -> "Spooled":
        self.outbox = Outbox(
            self.writer,
            clock=self.clock,
            lost=lambda name, batch, error: self.reported.extend(values_of([batch])),
        )
        self.outbox.start()
        return self

    def deliver(self, batches: int, size: int = 1) -> None:
        """Hand over batches of numbers that go on counting."""
        for _ in range(batches):
            self.outbox.deliver([numbers(*range(self.delivered, self.delivered + size))])
            self.delivered += size

    def stop(self, seconds: float = 30.0) -> None:
        self.outbox.stop()
        self.outbox.join(seconds)

    def on_disk(self) -> list[float]:
        """Return what a process would find there that began now."""
        with tempfile.TemporaryDirectory() as place:
            return stored_in(Path(shutil.copytree(self.folder, Path(place, "copy"))))


def stored_in(folder: Path) -> list[float]:
    buffer = SpoolBuffer(SpoolFolder(folder), samples=10**9, age=1e9, clock=SystemClock(), log=log)
    try:
        return values_of(buffer.peek(10**9))
    finally:
        buffer.release()
        buffer.start()
        buffer.close(5)


def test_disk_that_hangs_delays_neither_probes_nor_status(tmp_path: Path, disk: Disk) -> None:
    spooled = Spooled(tmp_path)
    spooled.writer.away = True
    spooled.start()
    disk.hang()
    spooled.deliver(1)
    assert disk.held_up.wait(30)
    began = time.monotonic()
    for _ in range(100):
        spooled.deliver(1)
        assert spooled.outbox.status().buffered_samples == spooled.delivered
    assert time.monotonic() - began < AT_ONCE_SECONDS
    spooled.writer.away = False
    disk.recover()
    wait_until(lambda: spooled.outbox.status().written_samples == 101)
    spooled.stop()
    assert spooled.writer.arrived == list(range(101))


def test_disk_that_hangs_delays_no_delivery_and_keeps_nothing_in_memory(
    tmp_path: Path, disk: Disk
) -> None:
    spooled = Spooled(tmp_path).start()
    disk.hang()
    spooled.deliver(1)
    assert disk.held_up.wait(30)
    for number in range(1, 1000):
        spooled.deliver(1)
        wait_until(lambda: spooled.outbox.status().written_samples > number)  # noqa: B023
    assert spooled.writer.arrived == list(range(1000))
    assert len(spooled.outbox._buffer._fresh) < 100  # type: ignore[attr-defined]
    disk.recover()
    spooled.stop()
    assert spooled.on_disk() == []


def test_batches_reach_the_disk_while_the_target_hangs(tmp_path: Path, gate: Gate) -> None:
    spooled = Spooled(tmp_path)
    spooled.writer.gate = gate
    spooled.start()
    spooled.deliver(1)
    assert spooled.writer.writing.wait(30)
    spooled.deliver(20, size=2)
    wait_until(lambda: len(spooled.on_disk()) == 41)
    assert spooled.on_disk() == list(range(41))
    gate.open()
    spooled.stop()
    assert spooled.writer.arrived == list(range(41))


def test_all_that_waits_for_the_disk_is_stored_at_once_and_in_order(
    tmp_path: Path, disk: Disk
) -> None:
    spooled = Spooled(tmp_path)
    spooled.writer.away = True
    spooled.start()
    disk.hang()
    spooled.deliver(1)
    assert disk.held_up.wait(30)
    spooled.deliver(200, size=3)
    disk.recover()
    wait_until(lambda: len(spooled.on_disk()) == 601)
    assert disk.stored == 2, "one for the batch under way, one for all that came then"
    assert spooled.on_disk() == list(range(601))
    spooled.stop()


def test_hand_over_to_a_disk_that_hangs_is_bounded_and_the_oldest_go_first(
    tmp_path: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    spooled = Spooled(tmp_path, samples=10)
    spooled.writer.away = True
    spooled.start()
    disk.hang()
    spooled.deliver(1)
    assert disk.held_up.wait(30)
    assert spooled.writer.writing.wait(30), "what is given out to be sent does not count"
    spooled.deliver(100)
    status = spooled.outbox.status()
    assert status.buffered_samples <= 10 + 1, "one more while it is being sent"
    assert status.buffered_samples + status.lost_samples == 101
    spooled.writer.away = False
    disk.recover()
    wait_until(lambda: spooled.outbox.status().buffered_samples == 0)
    spooled.stop()
    assert sorted(spooled.reported + spooled.writer.arrived) == list(range(101))
    assert spooled.writer.arrived[-10:] == list(range(91, 101))
    assert caplog.text.count("the buffer is full: the oldest samples are being dropped") == 1


def test_samples_that_wait_too_long_are_dropped_while_the_disk_hangs(
    tmp_path: Path, disk: Disk, gate: Gate
) -> None:
    clock = FakeClock()
    spooled = Spooled(tmp_path, clock=clock, age=60)
    spooled.writer.gate = gate
    spooled.start()
    disk.hang()
    spooled.deliver(1)
    assert disk.held_up.wait(30)
    assert spooled.writer.writing.wait(30)
    spooled.deliver(1)
    clock.advance(61)
    spooled.deliver(1)
    gate.open()
    wait_until(lambda: spooled.outbox.status().buffered_samples == 0)
    disk.recover()
    spooled.stop()
    assert spooled.reported == [1]
    assert spooled.writer.arrived == [0, 2]


def test_stop_puts_on_disk_what_was_handed_over_just_before(tmp_path: Path) -> None:
    spooled = Spooled(tmp_path)
    spooled.writer.away = True
    spooled.start()
    spooled.deliver(500, size=2)
    spooled.stop(0.0)
    assert stored_in(spooled.folder) == list(range(1000))
    status = spooled.outbox.status()
    assert (status.buffered_samples, status.lost_samples, spooled.reported) == (0, 0, [])


def test_stop_beside_a_target_that_hangs_leaves_everything_on_disk(
    tmp_path: Path, gate: Gate
) -> None:
    spooled = Spooled(tmp_path)
    spooled.writer.gate = gate
    spooled.start()
    spooled.deliver(1)
    assert spooled.writer.writing.wait(30)
    spooled.deliver(9)
    spooled.stop(0.05)
    status = spooled.outbox.status()
    assert stored_in(spooled.folder) == list(range(10))
    assert (status.written_samples, status.lost_samples) == (0, 0)
    gate.open()
    wait_until(lambda: spooled.writer.arrived)
    assert spooled.outbox.status() == status, "what returns after the end changes no count"


def test_stop_gives_up_on_a_disk_that_hangs_and_counts_what_it_did_not_take(
    tmp_path: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    spooled = Spooled(tmp_path)
    spooled.writer.away = True
    spooled.start()
    spooled.deliver(4)
    wait_until(lambda: len(spooled.on_disk()) == 4)
    disk.hang()
    spooled.deliver(6)
    assert disk.held_up.wait(30)
    began = time.monotonic()
    spooled.stop(0.2)
    assert time.monotonic() - began < 0.2 + outbox_module.STORE_SECONDS + AT_ONCE_SECONDS
    status = spooled.outbox.status()
    assert (status.buffered_samples, status.lost_samples) == (0, 6)
    assert spooled.reported == list(range(4, 10))
    assert "the disk of the spool does not answer" in caplog.text
    assert "6 samples lost: not delivered before the end" in caplog.text
    spooled.deliver(1)
    assert spooled.outbox.status().lost_samples == 7, "nothing is taken over any more"


STEPS = st.lists(st.sampled_from(["", "away", "refuse"]), max_size=30)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 7), max_size=30),
    steps=STEPS,
    limit=st.integers(1, 20),
    ends_away=st.booleans(),
)
def test_every_sample_is_delivered_once_in_order_or_lost_or_on_disk(
    sizes: list[int], steps: list[str], limit: int, ends_away: bool
) -> None:
    outbox_module.FIRST_PAUSE, outbox_module.LONGEST_PAUSE = 0.0005, 0.001
    with tempfile.TemporaryDirectory() as folder:
        spooled = Spooled(Path(folder), samples=limit)
        spooled.writer.steps, spooled.writer.away = list(steps), ends_away
        spooled.writer.batch_size = 5  # type: ignore[misc]
        spooled.start()
        for size in sizes:
            spooled.deliver(1, size)
            status = spooled.outbox.status()
            counted = status.buffered_samples + status.written_samples + status.lost_samples
            assert counted == spooled.delivered, "at any moment"
        spooled.stop()
        left = stored_in(spooled.folder)
    status = spooled.outbox.status()
    arrived = spooled.writer.arrived
    assert status.written_samples == len(arrived)
    assert status.lost_samples == len(spooled.reported)
    assert arrived + left == sorted(arrived + left)
    assert Counter(arrived + left + spooled.reported) == Counter(range(spooled.delivered))


@pytest.mark.root
@pytest.mark.integration
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.skipif(
    not (shutil.which("mkfs.ext4") and shutil.which("fsfreeze")), reason="needs ext4 and fsfreeze"
)
def test_frozen_file_system_delays_nobody(tmp_path: Path) -> None:
    with frozen_disk(tmp_path) as (folder, freeze, thaw):
        spooled = Spooled(folder)
        spooled.writer.away = True
        spooled.start()
        spooled.deliver(1)
        wait_until(lambda: spooled.on_disk() == [0])
        freeze()
        began = time.monotonic()
        for _ in range(50):
            spooled.deliver(1)
            assert spooled.outbox.status().buffered_samples == spooled.delivered
        assert time.monotonic() - began < AT_ONCE_SECONDS
        assert spooled.on_disk() == [0], "the disk does hang"
        thaw()
        wait_until(lambda: spooled.on_disk() == list(range(51)))
        spooled.stop()


@contextlib.contextmanager
def frozen_disk(
    place: Path,
) -> Iterator[tuple[Path, Callable[[], object], Callable[[], object]]]:
    """Yield a folder on a disk of its own, and how to freeze and thaw it."""
    image, folder = place / "image", place / "disk"
    folder.mkdir()
    with image.open("wb") as stream:
        stream.truncate(32 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    mount = ["mount", "-o", "loop", str(image), str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    frozen = [False]

    def switch(option: str) -> None:
        subprocess.run(["fsfreeze", option, folder], check=True)
        frozen[0] = option == "-f"

    try:
        yield folder, partial(switch, "-f"), partial(switch, "-u")
    finally:
        if frozen[0]:
            switch("-u")
        subprocess.run(["umount", folder], check=True)


def test_samples_that_a_damaged_spool_lost_are_counted_and_the_rest_arrives(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spooled = Spooled(tmp_path)
    spooled.writer.away = True
    spooled.start()
    spooled.deliver(3, size=4)
    wait_until(lambda: len(spooled.on_disk()) == 12)
    spooled.stop()
    (segment,) = spooled.folder.glob("*.spool")
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    again = Spooled(tmp_path).start()
    status = again.outbox.status()
    assert (status.buffered_samples, status.lost_samples) in ((8, 4), (0, 4))
    wait_until(lambda: again.outbox.status().buffered_samples == 0)
    again.stop()
    status = again.outbox.status()
    assert (status.written_samples, status.lost_samples) == (8, 4)
    assert again.writer.arrived == [0, 1, 2, 3, 8, 9, 10, 11]
    assert "4 samples are lost" in caplog.text
