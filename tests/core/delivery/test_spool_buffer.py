"""The spool: what a buffer on disk keeps, over kills, full disks and broken files."""

import contextlib
import errno
import logging
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pollect.api import Batch, Kind, Metric, Retryable, Sample, SourceId, Writer, WriterConfig
from pollect.delivery.memory import LatestBuffer, MemoryBuffer
from pollect.delivery.outbox import Outbox, build_buffer
from pollect.delivery.spool.buffer import SpoolBuffer
from pollect.delivery.spool.folder import SPOOL_BYTES, SpoolFolder
from pollect.engine.clock import SystemClock
from pollect.testing import FakeClock, build_writer
from pollect.testing.waiting import wait_until

log = logging.getLogger("spool")
NUMBER = Metric("number", help="Counts up.")
SOURCE = SourceId("c", "Test")
UNLIMITED: dict[str, Any] = {"samples": 10**9, "age": 10.0**9}


def numbers(*values: float, of: str = "Test") -> Batch:
    return Batch(SourceId("c", of), [NUMBER.sample(value) for value in values], 5.0)


def values_of(batches: Sequence[Batch]) -> list[float]:
    return [sample.value for batch in batches for sample in batch.samples]


@contextlib.contextmanager
def opened(folder: Path, clock: Any = None, **limits: Any) -> Iterator[SpoolBuffer]:
    """Yield a spool whose thread starts at the end: what is stored when is up to the test."""
    limits = {**UNLIMITED, **limits}
    size = limits.pop("size_bytes", SPOOL_BYTES)
    spool = SpoolBuffer(SpoolFolder(folder, size), clock=clock or FakeClock(), log=log, **limits)
    try:
        yield spool
    finally:
        spool.start()
        spool.close(10)


def kill(folder: Path, copy: Path) -> Path:
    """Return the folder as a kill of the process would leave it now."""
    return Path(shutil.copytree(folder, copy))


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.spool"))


def flip(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "spool" / "Test-1"


STEPS = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 5)),
    st.tuples(st.just("store"), st.none()),
    st.tuples(st.just("forget"), st.none()),
    st.tuples(st.just("peek"), st.integers(1, 12)),
    st.tuples(st.just("look behind"), st.integers(1, 3)),
    st.tuples(st.just("ack"), st.none()),
    st.tuples(st.just("release"), st.none()),
    st.tuples(st.just("wait"), st.integers(1, 60)),
    st.tuples(st.just("reopen"), st.none()),
)


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(STEPS, max_size=40), limit=st.integers(1, 15))
def test_spool_does_what_the_queue_in_memory_does(steps: list[tuple[str, Any]], limit: int) -> None:
    clock = FakeClock()
    limits: dict[str, Any] = {"samples": limit, "age": 100.0}
    memory = MemoryBuffer(clock=clock, **limits)
    dropped: list[float] = []
    expected: list[float] = []
    number = 0
    #: What is delivered ahead of a batch that waits is delivered again after a restart.
    ahead = looked_behind = False
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        folder = Path(place, "a")

        def reopened() -> SpoolBuffer:
            stack.close()
            return stack.enter_context(opened(folder, clock, **limits))

        spool = reopened()
        for step, amount in steps:
            if step == "put":
                batch = numbers(*range(number, number + amount), of=f"S{number % 3}")
                number += amount
                dropped += values_of(spool.put(batch))
                expected += values_of(memory.put(batch))
            elif step == "store":
                assert spool.store()
            elif step == "forget":
                # What a long outage does to keep the memory free.
                for entry in spool._queue:
                    entry.batch = None if entry.packed else entry.batch
            elif step in ("peek", "look behind"):
                for buffer in (spool, memory):
                    (dropped if buffer is spool else expected).extend(values_of(buffer.release()))
                found, same = (
                    buffer.peek(amount) if step == "peek" else buffer.peek(1, most=1, skip=amount)
                    for buffer in (spool, memory)
                )
                assert found == same
                looked_behind = step == "look behind"
            elif step == "ack":
                ahead |= looked_behind
                assert spool.ack()
                assert memory.ack()
            elif step == "release":
                dropped += values_of(spool.release())
                expected += values_of(memory.release())
            elif step == "wait":
                clock.advance(amount)
                dropped += values_of(spool.expire())
                expected += values_of(memory.expire())
            elif not ahead:
                dropped += values_of(spool.release())
                expected += values_of(memory.release())
                clock.advance(0.001)
                spool = reopened()
            assert (len(spool), spool.samples) == (len(memory), memory.samples)
            assert sorted(dropped) == sorted(expected)
        dropped += values_of(spool.release())
        expected += values_of(memory.release())
        assert spool.peek(10**6) == memory.peek(10**6)
        assert spool.unreadable == 0


def test_everything_about_a_batch_comes_back(folder: Path) -> None:
    metric = Metric("ä\n", help="Hé.", unit="°C", kind=Kind.COUNTER, labels=("a", "b"))
    samples = [
        metric.sample(2**63, "1", "ß"),
        metric.sample(-1.5, "2", "", time=1.25),
        Metric(None).sample(0),
        Sample(NUMBER, 1e308, (), 0.0),
    ]
    source = SourceId("c", "T", "näme", 2)
    batch = Batch(source, samples, 1_700_000_000.123, (("site", "hö"), ("x", "")))
    gone = Batch(source, [], 3.0)
    with opened(folder) as spool:
        spool.put(batch, gone)
    with opened(folder) as spool:
        found = spool.peek(100)
    assert found == [batch, gone]
    assert [type(sample.value) for sample in found[0].samples] == [int, float, int, float]


def test_ages_count_over_a_restart(folder: Path) -> None:
    clock = FakeClock()
    with opened(folder, clock, age=100.0) as spool:
        spool.put(numbers(1))
        clock.advance(60)
        spool.put(numbers(2))
    clock.advance(60)
    with opened(folder, clock, age=100.0) as spool:
        assert values_of(spool.expire()) == [1]
        clock.step_wall_clock(1e6)
        assert spool.expire() == [], "a step of the wall clock expires nothing"
        clock.advance(60)
        assert values_of(spool.expire()) == [2]


def test_wall_clock_that_is_set_back_makes_nothing_younger_than_new(folder: Path) -> None:
    clock = FakeClock()
    with opened(folder, clock, age=100.0) as spool:
        spool.put(numbers(1))
        spool.store()
    clock.step_wall_clock(-1e6)
    with opened(folder, clock, age=100.0) as spool:
        clock.advance(99)
        assert spool.expire() == []
        clock.advance(2)
        assert values_of(spool.expire()) == [1]


def test_files_are_only_ours_to_read(folder: Path) -> None:
    with opened(folder) as spool:
        spool.put(numbers(1))
        spool.store()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {"state": 0o600, "0000000000000000.spool": 0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_link_in_the_folder_is_not_followed(folder: Path, tmp_path: Path, caplog) -> None:
    folder.mkdir(parents=True)
    (folder / "state").symlink_to(tmp_path / "elsewhere")
    with opened(folder) as spool:
        spool.put(numbers(1))
        assert values_of(spool.peek(9)) == [1]
    assert not (tmp_path / "elsewhere").exists()
    assert "samples are kept in memory" in caplog.text


def test_link_among_the_segments_is_not_followed(folder: Path, tmp_path: Path, caplog) -> None:
    with opened(folder) as spool:
        spool.put(numbers(1))
        spool.store()
    (segment,) = folder.glob("*.spool")
    elsewhere = tmp_path / "elsewhere"
    segment.rename(elsewhere)
    segment.symlink_to(elsewhere)
    content = elsewhere.read_bytes()
    with opened(folder) as spool:
        spool.put(numbers(2))
        assert values_of(spool.peek(9)) == [2]
    assert elsewhere.read_bytes() == content
    assert "samples are kept in memory" in caplog.text


def test_size_is_bounded_and_the_oldest_go_first(folder: Path) -> None:
    limit = 200_000
    dropped: list[float] = []
    with opened(folder, size_bytes=limit) as spool:
        for start in range(0, 100_000, 50):
            dropped += values_of(spool.put(numbers(*range(start, start + 50))))
            spool.store()
        kept = values_of(spool.peek(10**9))
        assert dropped + kept == list(range(100_000))
        assert len(kept) > 10_000
        assert sum(file.stat().st_size for file in folder.iterdir()) < 1.2 * limit


def test_what_was_delivered_leaves_the_disk(folder: Path) -> None:
    with opened(folder, size_bytes=200_000) as spool:
        for number in range(3000):
            spool.put(numbers(*[number] * 20))
            spool.store()
            spool.peek(10**6)
            spool.ack()
        assert len(segments(folder)) <= 2
    assert [file.name for file in folder.iterdir()] == ["state"]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), sizes=st.lists(st.integers(1, 6), min_size=1, max_size=12))
def test_damage_anywhere_costs_what_it_hits_and_is_counted(data: Any, sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "spool")
        batches, begin = [], 0
        for size in sizes:
            batches.append(numbers(*range(begin, begin + size)))
            begin += size
        with opened(folder) as spool:
            for batch in batches:
                spool.put(batch)
                spool.store()
            folder = kill(folder, Path(place, "copy"))
        (segment,) = segments(folder)
        content = bytearray(segment.read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        damage = data.draw(st.sampled_from(["flip", "zeros", "cut", "missing"]))
        length = data.draw(st.integers(1, 200))
        if damage == "flip":
            content[at] ^= 1 << data.draw(st.integers(0, 7))
        elif damage == "zeros":
            content[at : at + length] = bytes(len(content[at : at + length]))
        elif damage == "cut":
            del content[at:]
        else:
            del content[at : at + length]
        hurt = bytes(content) != segment.read_bytes()
        segment.write_bytes(content)
        with opened(folder) as spool:
            found = spool.peek(10**9)
            assert all(batch in batches for batch in found), "nothing that was never stored"
            values = values_of(found)
            assert values == sorted(values)
            assert len(values) + spool.unreadable == begin
            assert (spool.unreadable > 0) == hurt
            if damage == "flip":
                assert len(found) == len(batches) - 1


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_damaged_state_repeats_rather_than_loses(
    folder: Path, tmp_path: Path, caplog, damage: str
) -> None:
    with opened(folder) as spool:
        spool.put(numbers(1))
        spool.put(numbers(2))
        spool.store()
        spool.peek(1)
        spool.ack()
        spool.store()
        copy = kill(folder, tmp_path / "copy")
    if damage == "truncate":
        (copy / "state").write_bytes(b"")
    elif damage == "flip":
        flip(copy / "state", 3)
    else:
        (copy / "state").unlink()
    with opened(copy) as spool:
        assert values_of(spool.peek(9)) == [1, 2]
        assert spool.unreadable == 0
    assert "may arrive twice" in caplog.text


def test_bit_that_flips_while_the_process_runs_is_never_delivered(folder: Path) -> None:
    with opened(folder) as spool:
        for number in range(12):
            spool.put(numbers(*[number] * 1000))
        spool.store()
        (segment,) = segments(folder)
        flip(segment, segment.stat().st_size // 24)
        assert any(entry.batch is None for entry in spool._queue), "packed by now"
        assert values_of(spool.peek(10**9)) == [n for n in range(12) for _ in range(1000)]
        copy = kill(folder, folder.parent / "copy")
    with opened(copy) as spool:
        assert values_of(spool.peek(10**9)) == [n for n in range(1, 12) for _ in range(1000)]
        assert spool.unreadable == 1000


def test_segments_that_vanish_are_counted(folder: Path, tmp_path: Path, caplog) -> None:
    with opened(folder, size_bytes=16_000) as spool:
        for number in range(40):
            spool.put(numbers(*[number] * 100))
            spool.store()
        assert len(segments(folder)) > 2
        copy = kill(folder, tmp_path / "copy")
    for file in segments(copy):
        file.unlink()
    with opened(copy, size_bytes=16_000) as spool:
        assert len(spool) == 0
        assert spool.unreadable == 4000
        spool.put(numbers(7))
        spool.store()
        assert values_of(spool.peek(9)) == [7]
    assert "4000 samples are lost" in caplog.text


def test_folder_full_of_rubbish_costs_nothing_but_itself(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "state").write_bytes(os.urandom(5000))
    (folder / "0000000000000000.spool").write_bytes(os.urandom(5000))
    (folder / "12x.spool").write_bytes(b"")
    with opened(folder) as spool:
        spool.put(numbers(1))
        assert spool.store()
        copy = kill(folder, folder.parent / "copy")
    with opened(copy) as spool:
        assert values_of(spool.peek(9)) == [1]


def test_folder_of_another_process_is_not_touched(folder: Path, caplog) -> None:
    with opened(folder) as first:
        first.put(numbers(1))
        first.store()
        second = SpoolBuffer(SpoolFolder(folder), clock=FakeClock(), log=log, **UNLIMITED)
        second.start()
        second.put(numbers(2))
        assert values_of(second.close(5)) == [2], "what is only in memory is lost at the end"
        assert values_of(first.peek(9)) == [1]
    assert "another process uses it" in caplog.text


def test_folder_that_cannot_be_made_leaves_the_queue_in_memory(tmp_path: Path, caplog) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    with opened(tmp_path / "state" / "spool" / "a", samples=3) as spool:
        for number in range(5):
            spool.put(numbers(number))
            spool.store()
        assert values_of(spool.peek(9)) == [2, 3, 4]
    assert caplog.text.count("kept in memory") == 1


def test_batch_that_cannot_be_encoded_costs_itself_only(folder: Path, caplog) -> None:
    bad = Batch(SOURCE, [Metric("x", labels=("a",)).sample(1.0, "caf\udce9")], 0.0)
    with opened(folder) as spool:
        spool.put(numbers(1), bad, numbers(2))
        spool.store()
        assert spool.peek(9) == [numbers(1), bad, numbers(2)], "memory has it"
        copy = kill(folder, folder.parent / "copy")
    with opened(copy) as spool:
        assert values_of(spool.peek(9)) == [1, 2]
    assert caplog.text.count("a batch cannot be stored") == 1


@pytest.mark.parametrize("number", [errno.EROFS, errno.EIO, errno.ENOSPC, errno.EMFILE])
def test_disk_that_refuses_for_a_while_costs_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog, number: int
) -> None:
    caplog.set_level(logging.INFO)
    clock = FakeClock()
    with opened(folder, clock) as spool:
        spool.put(numbers(1))
        spool.store()
        with monkeypatch.context() as patch:
            for name in ("write", "pwrite"):
                patch.setattr(os, name, partial(refuse, number))
            for value in range(2, 300):
                clock.advance(1)
                spool.put(numbers(value))
                assert not spool.store()
            assert values_of(spool.peek(1)) == [1]
            assert spool.ack()
        clock.advance(10)
        assert spool.store()
        copy = kill(folder, folder.parent / "copy")
    assert caplog.text.count("the spool takes no samples") == 1
    assert caplog.text.count("takes samples again") == 1
    with opened(copy) as spool:
        assert values_of(spool.peek(10**6)) == list(range(2, 300))


def refuse(number: int, *arguments: Any) -> int:
    raise OSError(number, os.strerror(number))


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_damaged_spool_on_a_disk_that_became_read_only_still_delivers(
    tmp_path: Path, caplog
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with opened(disk / "spool") as spool:
            for number in range(3):
                spool.put(numbers(number))
                spool.store()
        (segment,) = segments(disk / "spool")
        flip(segment, segment.stat().st_size // 2)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with opened(disk / "spool") as spool:
            spool.put(numbers(7))
            spool.store()
            assert values_of(spool.peek(9)) == [7]
            assert spool.ack()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert "cannot use" in caplog.text


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_full_disk_costs_nothing_and_gets_the_rest_later(tmp_path: Path, caplog) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        filler = disk / "filler"
        metric = Metric("wide", labels=("text",))
        generator = random.Random(1)
        clock = FakeClock()
        with opened(disk / "a", clock) as spool:
            filler.write_bytes(bytes(4 << 20))
            for number in range(6000):
                text = generator.randbytes(1000).hex()
                spool.put(Batch(SOURCE, [metric.sample(number, text)], 0.0))
                spool.store()
            assert caplog.text.count("the spool takes no samples") == 1
            assert len(spool) == 6000, "nothing is lost before the buffer is full"
            copy = kill(disk / "a", tmp_path / "copy")
            for _ in range(5000):
                spool.peek(1)
                spool.ack()
            filler.unlink()
            clock.advance(10)
            assert spool.store()
        with opened(disk / "a") as spool:
            assert values_of(spool.peek(10**9)) == list(range(5000, 6000))
        with opened(copy) as spool:
            kept = values_of(spool.peek(10**9))
            assert kept == list(range(len(kept)))
            assert len(kept) > 500
    finally:
        subprocess.run(["umount", str(disk)], check=True)


WRITING_PROCESS = """
import logging, os, sys
from pathlib import Path
from pollect.api import Batch, Metric, SourceId
from pollect.engine.clock import SystemClock
from pollect.delivery.spool.buffer import SpoolBuffer
from pollect.delivery.spool.folder import SpoolFolder

file, first = Path(sys.argv[1]), int(sys.argv[2])
metric = Metric("number", labels=("part",))
spool = SpoolBuffer(
    SpoolFolder(file, 10**7), samples=10**9, age=1e9, clock=SystemClock(), log=logging.getLogger()
)
def say(word, *values):
    os.write(1, (word + "".join(f" {value}" for value in values) + "\\n").encode())
say("ready")
for number in range(first, first + 10**6):
    samples = [metric.sample(number * 5 + part, str((number * 7 + part) % 50)) for part in range(5)]
    dropped = spool.put(Batch(SourceId("c", "T"), samples, float(number)))
    assert not dropped
    assert spool.store()
    say("put", number)
    if number % 3 == 0:
        given = [int(sample.value) for batch in spool.peek(12) for sample in batch.samples]
        say("sent", *given)
        spool.ack()
        assert spool.store()
        say("acked")
"""


def test_kill_at_any_moment_loses_nothing_that_was_put(folder: Path) -> None:
    put: set[int] = set()
    sent: list[int] = []
    acked: set[int] = set()
    generator = random.Random(20)
    first = 0
    for _ in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITING_PROCESS, str(folder), str(first)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        lines = iter(process.stdout)
        assert next(lines) == b"ready\n"
        steps = generator.randint(1, 400)
        for _, line in zip(range(steps), lines, strict=False):
            note(line, put, sent, acked)
        process.send_signal(signal.SIGKILL)
        for line in lines:  # what it said before it died
            note(line, put, sent, acked)
        process.wait()
        process.stdout.close()
        first = max(put) // 5 + 2
    with opened(folder) as spool:
        left = [int(value) for value in values_of(spool.peek(10**9))]
    delivered = set(sent)
    assert put <= delivered | set(left), "nothing that was put is missing"
    assert not acked & set(left), "nothing acknowledged comes again"
    assert left == sorted(set(left)), "in order, once"
    again = [value for value in sent if sent.count(value) > 1]
    assert len(again) <= 12 * 15, "only what a kill left unacknowledged is sent again"


def note(line: bytes, put: set[int], sent: list[int], acked: set[int]) -> None:
    if not line.endswith(b"\n"):
        return
    word, *rest = line.split()
    if word == b"put":
        put.update(range(int(rest[0]) * 5, int(rest[0]) * 5 + 5))
    elif word == b"sent":
        sent.extend(map(int, rest))
        note.last = list(map(int, rest))  # type: ignore[attr-defined]
    elif word == b"acked":
        acked.update(note.last)  # type: ignore[attr-defined]


class FlakyWriter(Writer[WriterConfig]):
    """Delivers into a list when it is up."""

    up = False

    def __init__(self, config: WriterConfig, context: Any) -> None:
        super().__init__(config, context)
        self.arrived: list[float] = []

    def write(self, batches: Sequence[Batch]) -> None:
        if not self.up:
            raise Retryable("away")
        self.arrived += values_of(batches)


class LatestWriter(FlakyWriter):
    latest_only = True


def test_next_process_delivers_what_the_last_one_could_not(tmp_path: Path) -> None:
    def build() -> FlakyWriter:
        writer = build_writer({"spool": True}, FlakyWriter, state_dir=tmp_path)
        assert isinstance(writer, FlakyWriter)
        return writer

    first = build()
    outbox = Outbox(first, clock=SystemClock())
    outbox.start()
    outbox.deliver([numbers(1, 2), numbers(3)])
    wait_until(lambda: outbox.status().reason)
    outbox.stop()
    outbox.join(30)
    assert outbox.status().lost_samples == 0
    second = build()
    second.up = True
    outbox = Outbox(second, clock=SystemClock())
    assert outbox.status().buffered_samples == 3
    outbox.start()
    outbox.deliver([numbers(4)])
    wait_until(lambda: outbox.status().buffered_samples == 0)
    outbox.stop()
    outbox.join(30)
    assert second.arrived == [1, 2, 3, 4]
    assert outbox.status().written_samples == 4


def test_only_who_asks_for_a_spool_has_one(tmp_path: Path) -> None:
    clock = FakeClock()
    for section, kind, expected in [
        ({}, FlakyWriter, MemoryBuffer),
        ({"spool": True}, LatestWriter, LatestBuffer),
        ({"spool": True}, FlakyWriter, SpoolBuffer),
    ]:
        writer = build_writer(section, kind, state_dir=tmp_path)
        buffer = build_buffer(writer, clock)
        assert type(buffer) is expected
        buffer.start()
        buffer.close(5)


def test_disk_that_is_well_again_gets_at_the_end_what_it_refused_a_moment_ago(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(folder) as spool:
        spool.put(numbers(1))
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", partial(refuse, errno.ENOSPC))
            assert not spool.store()
        assert not spool.store(), "the next try is ten seconds away"
    with opened(folder) as spool:
        assert values_of(spool.peek(9)) == [1]


def test_segment_goes_with_the_last_of_its_batches(folder: Path) -> None:
    with opened(folder, size_bytes=64 * 1000) as spool:
        number = 0
        while len(segments(folder)) < 2:
            spool.put(numbers(number))
            spool.store()
            number += 1
        spool.peek(10**9, most=number - 1)
        spool.ack()
        spool.store()
        assert len(segments(folder)) == 1
        assert values_of(spool.peek(9)) == [number - 1]
