"""The spool: what a buffer on disk keeps, over kills, full disks and broken files."""

import contextlib
import logging
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pollect.api import Batch, Kind, Metric, Retryable, Sample, SourceId, Writer, WriterConfig
from pollect.delivery.memory import MemoryBuffer
from pollect.delivery.outbox import Outbox, build_buffer
from pollect.delivery.spool.files import spool_file
from pollect.delivery.spool.store import SpoolBuffer
from pollect.delivery.spool.write_behind import WriteBehindBuffer
from pollect.engine.clock import SystemClock
from pollect.testing import FakeClock, build_writer
from tests.core.engine.rig import wait_until

log = logging.getLogger("spool")
NUMBER = Metric("number", help="Counts up.")
SOURCE = SourceId("c", "Test")
UNLIMITED = {"samples": 10**9, "age": 10.0**9}


def numbers(*values: float, of: str = "Test") -> Batch:
    return Batch(SourceId("c", of), [NUMBER.sample(value) for value in values], 5.0)


def values_of(batches: Sequence[Batch]) -> list[float]:
    return [sample.value for batch in batches for sample in batch.samples]


@contextlib.contextmanager
def opened(file: Path, clock: Any = None, **limits: Any) -> Iterator[SpoolBuffer]:
    limits = {**UNLIMITED, **limits}
    spool = SpoolBuffer(file, clock=clock or FakeClock(), log=log, **limits)
    try:
        yield spool
    finally:
        spool.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "spool" / "Test.sqlite"


def check_same(spool: SpoolBuffer, memory: MemoryBuffer) -> None:
    assert (len(spool), spool.samples) == (len(memory), memory.samples)


STEPS = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 5)),
    st.tuples(st.just("peek"), st.integers(1, 12)),
    st.tuples(st.just("ack"), st.none()),
    st.tuples(st.just("release"), st.none()),
    st.tuples(st.just("wait"), st.integers(1, 60)),
    st.tuples(st.just("reopen"), st.none()),
)


@settings(max_examples=60)
@example(steps=[("put", 4), ("put", 4), ("peek", 4), ("put", 4), ("reopen", None)], limit=6)
@given(steps=st.lists(STEPS, max_size=40), limit=st.integers(1, 15))
def test_spool_does_what_the_queue_in_memory_does(steps: list[tuple[str, Any]], limit: int) -> None:
    clock = FakeClock()
    limits: dict[str, Any] = {"samples": limit, "age": 100.0}
    memory = MemoryBuffer(clock=clock, **limits)
    number = 0
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        file = Path(folder, "a.sqlite")
        spool = stack.enter_context(opened(file, clock, **limits))
        for step, amount in steps:
            if step == "put":
                batch = numbers(*range(number, number + amount), of=f"S{number % 3}")
                number += amount
                assert spool.put(batch) == memory.put(batch)
            elif step == "peek":
                assert spool.peek(amount) == memory.peek(amount)
            elif step == "ack":
                spool.ack()
                memory.ack()
            elif step == "release":
                assert spool.release() == memory.release()
            elif step == "wait":
                clock.advance(amount)
                assert spool.expire() == memory.expire()
            else:
                # What was being sent came on top of the limit; else the next put drops it.
                assert spool.release() == memory.release()
                spool.clear()
                stack.close()
                spool = stack.enter_context(opened(file, clock, **limits))
            check_same(spool, memory)
        assert spool.peek(10**6) == memory.peek(10**6)
        assert spool.unreadable == 0


def test_everything_about_a_batch_comes_back(file: Path) -> None:
    metric = Metric("ä\n", help="Hé.", unit="°C", kind=Kind.COUNTER, labels=("a", "b"))
    samples = [
        metric.sample(2**63, "1", "ß"),
        metric.sample(-1.5, "2", "", time=1.25),
        Metric(None).sample(0),
        Sample(NUMBER, 1e308, (), 0.0),
    ]
    source = SourceId("c", "T", "näme", 2)
    batch = Batch(source, samples, 1_700_000_000.123, (("site", "hö"), ("x", "")))
    huge = numbers(2**70)
    with opened(file) as spool:
        spool.put(batch)
        spool.put(huge)
    with opened(file) as spool:
        found = spool.peek(100)
    assert found == [batch, numbers(float(2**70))]
    assert [type(sample.value) for sample in found[0].samples] == [int, float, int, float]


def test_ages_count_over_a_restart(file: Path) -> None:
    clock = FakeClock()
    with opened(file, clock, age=100.0) as spool:
        spool.put(numbers(1))
        clock.advance(60)
        spool.put(numbers(2))
    clock.advance(60)
    with opened(file, clock, age=100.0) as spool:
        assert values_of(spool.expire()) == [1]
        clock.step_wall_clock(1e6)
        assert spool.expire() == [], "a step of the wall clock expires nothing"
        clock.advance(60)
        assert values_of(spool.expire()) == [2]


def test_file_is_only_ours_to_read(file: Path) -> None:
    with opened(file) as spool:
        spool.put(numbers(1))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_size_is_bounded_and_the_oldest_go_first(file: Path) -> None:
    limit = 200_000
    with opened(file, size_bytes=limit) as spool:
        dropped = [
            value
            for start in range(0, 100_000, 50)
            for value in values_of(spool.put(numbers(*range(start, start + 50))))
        ]
        kept = values_of(spool.peek(10**9))
        assert dropped + kept == list(range(100_000))
        assert len(kept) > 10_000
    assert file.stat().st_size < 2 * limit


def test_series_that_come_and_go_do_not_fill_the_disk(file: Path) -> None:
    limit = 200_000
    metric = Metric("load", labels=("pid",))
    with opened(file, size_bytes=limit) as spool:
        for pid in range(10_000):
            batch = Batch(SOURCE, [metric.sample(1.0, str(pid)), NUMBER.sample(pid)], 0.0)
            assert spool.put(batch) == []
            assert spool.peek(10) == [batch]
            spool.ack()
    assert file.stat().st_size < 2 * limit


def test_broken_file_is_set_aside_at_the_start(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.parent.mkdir(parents=True)
    file.write_bytes(b"this is no database" * 1000)
    with opened(file) as spool:
        assert len(spool) == 0
        spool.put(numbers(1))
    with opened(file) as spool:
        assert values_of(spool.peek(9)) == [1]
    assert file.with_suffix(".broken").read_bytes().startswith(b"this is no database")
    assert sum("set aside" in record.message for record in caplog.records) == 1


def test_file_that_breaks_on_the_way_costs_what_was_in_it(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(file) as spool:
        for number in range(1000):
            spool.put(numbers(*[number] * 1000))
    with opened(file) as spool:
        with file.open("r+b") as stream:
            # SQLite remembers some two megabytes; what lies behind has to be read again.
            stream.seek(8192)
            stream.write(os.urandom(file.stat().st_size - 12_288))
        assert spool.peek(1_000_000) == []
        assert spool.unreadable == 1_000_000
        assert spool.put(numbers(1)) == []
        assert values_of(spool.peek(9)) == [1]
        spool.ack()
        assert len(spool) == 0
    assert "1000000 samples lost" in caplog.text


def test_dictionary_with_a_word_that_nobody_knows_is_a_broken_file(file: Path) -> None:
    with opened(file) as spool:
        spool.put(numbers(1))
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        (words,) = database.execute("SELECT max(entry) FROM dictionary").fetchone()
        assert b"gauge" in words
        damaged = words.replace(b"gauge", b"gouge")
        database.execute("UPDATE dictionary SET entry = ? WHERE entry = ?", (damaged, words))
    with opened(file) as spool:
        assert len(spool) == 0
        spool.put(numbers(2))
        assert values_of(spool.peek(9)) == [2]
    assert file.with_suffix(".broken").exists()


def test_newer_format_is_left_alone(file: Path) -> None:
    with opened(file) as spool:
        spool.put(numbers(1))
    database = sqlite3.connect(file)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with opened(file) as spool:
        assert len(spool) == 0
    database = sqlite3.connect(file.with_suffix(".broken"))
    assert database.execute("SELECT count(*) FROM batch").fetchone() == (1,)
    database.close()


def test_file_of_another_process_is_not_touched(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(file) as first:
        first.put(numbers(1))
        with opened(file) as second:
            second.put(numbers(2))
            assert values_of(second.clear()) == [2], "what is only in memory is lost at the end"
        assert values_of(first.peek(9)) == [1]
    assert "kept in memory" in caplog.text


def test_folder_that_cannot_be_made_leaves_the_queue_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    with opened(tmp_path / "state" / "spool" / "a.sqlite") as spool:
        spool.put(numbers(1))
        assert values_of(spool.peek(9)) == [1]
    assert "kept in memory" in caplog.text


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_full_disk_drops_the_oldest_and_recovers(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        filler = disk / "filler"
        with opened(disk / "a.sqlite") as spool:
            filler.write_bytes(bytes(4 << 20))
            metric = Metric("wide", labels=("text",))
            dropped: list[float] = []
            for number in range(6000):
                batch = Batch(SOURCE, [metric.sample(number, f"{number}" + "x" * 2000)], 0.0)
                dropped += values_of(spool.put(batch))
            kept = values_of(spool.peek(10**9))
            assert dropped + kept == list(range(6000)), "each one kept or reported, in order"
            assert len(kept) > 100
            assert spool.unreadable == 0
            spool.ack()
            filler.unlink()
            for number in range(1000):
                assert spool.put(numbers(number)) == []
                spool.peek(10)
                spool.ack()
            spool.put(numbers(7))
        with opened(disk / "a.sqlite") as spool:
            assert values_of(spool.peek(10)) == [7]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


WRITING_PROCESS = """
import logging, os, sys
from pathlib import Path
from pollect.api import Batch, Metric, SourceId
from pollect.engine.clock import SystemClock
from pollect.delivery.spool.store import SpoolBuffer

file, first = Path(sys.argv[1]), int(sys.argv[2])
metric = Metric("number", labels=("part",))
spool = SpoolBuffer(
    file, samples=10**9, age=1e9, clock=SystemClock(), log=logging.getLogger(), size_bytes=10**7
)
def say(word, *values):
    os.write(1, (word + "".join(f" {value}" for value in values) + "\\n").encode())
say("ready")
for number in range(first, first + 10**6):
    samples = [metric.sample(number * 5 + part, str((number * 7 + part) % 50)) for part in range(5)]
    dropped = spool.put(Batch(SourceId("c", "T"), samples, float(number)))
    assert not dropped
    say("put", number)
    if number % 3 == 0:
        given = [int(sample.value) for batch in spool.peek(12) for sample in batch.samples]
        say("sent", *given)
        spool.ack()
        say("acked")
"""


def test_kill_at_any_moment_loses_nothing_that_was_put(file: Path) -> None:
    put: set[int] = set()
    sent: list[int] = []
    acked: set[int] = set()
    generator = random.Random(20)
    first = 0
    for _ in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITING_PROCESS, str(file), str(first)], stdout=subprocess.PIPE
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
    with opened(file) as spool:
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
    outbox.join(5)
    assert outbox.status().lost_samples == 0
    second = build()
    second.up = True
    outbox = Outbox(second, clock=SystemClock())
    assert outbox.status().buffered_samples == 3
    outbox.start()
    outbox.deliver([numbers(4)])
    wait_until(lambda: outbox.status().buffered_samples == 0)
    outbox.stop()
    outbox.join(5)
    assert second.arrived == [1, 2, 3, 4]
    assert outbox.status().written_samples == 4


def test_only_who_asks_for_a_spool_has_one(tmp_path: Path) -> None:
    clock = FakeClock()
    for section, kind, expected in [
        ({}, FlakyWriter, MemoryBuffer),
        ({"spool": True}, LatestWriter, MemoryBuffer),
        ({"spool": True}, FlakyWriter, WriteBehindBuffer),
    ]:
        writer = build_writer(section, kind, state_dir=tmp_path)
        buffer = build_buffer(writer, clock, settled=lambda dropped, reason: None)
        assert isinstance(buffer, expected)
        buffer.close(5)


def test_spool_belongs_to_the_target_and_hides_secrets(tmp_path: Path) -> None:
    from pollect_writers.influx_db import InfluxDbWriter

    def file_for(**section: Any) -> Path:
        section = {"bucket": "b", "token": "secret", **section}
        return spool_file(build_writer(section, InfluxDbWriter, state_dir=tmp_path))

    same = file_for()
    assert same.parent == tmp_path / "spool"
    assert file_for(timeout=3, buffer={"samples": 9}, token="other") == same
    assert file_for(bucket="c") != same
