"""Writer JsonLines: whole lines, in files that rotate and in pipes that pause."""

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from pollect.api import Batch, Retryable, SourceId, Writer
from pollect.testing import build_writer
from pollect_writers.json_lines import JsonLinesWriter
from tests.writers.samples import BYTES, NOW, VALUE, numbered

SOURCE = SourceId("pollect", "Test", "one")


def lines_writer(folder: Path, **section: Any) -> Writer[Any]:
    return build_writer({"path": "out.jsonl", **section}, JsonLinesWriter, config_dir=folder)


def values_in(file: Path) -> list[float]:
    return [json.loads(line)["value"] for line in file.read_text().splitlines()]


def test_every_sample_is_one_object(tmp_path: Path) -> None:
    writer = lines_writer(tmp_path)
    samples = [BYTES.sample(7, "eth0", time=NOW - 1), VALUE.sample(1.5)]
    writer.open()
    writer.write([Batch(SOURCE, samples, NOW, (("site", "höme"),))])
    writer.close()
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [
        {
            "time": NOW - 1,
            "metric": "pollect_Test_one_bytes_sent",
            "source": "pollect/Test/one",
            "name": "bytes_sent",
            "labels": {"nic": "eth0", "site": "höme"},
            "value": 7,
            "unit": "bytes",
            "kind": "counter",
        },
        {
            "time": NOW,
            "metric": "pollect_Test_one_value",
            "source": "pollect/Test/one",
            "name": "value",
            "labels": {"site": "höme"},
            "value": 1.5,
        },
    ]


def test_full_file_is_set_aside_and_the_oldest_removed(tmp_path: Path) -> None:
    size = len(json.dumps({"time": 0}))
    writer = lines_writer(tmp_path, maxBytes=40 * size, keep=2)
    for number in range(50):
        writer.write([numbered(SOURCE, number)])
    writer.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["out.jsonl", "out.jsonl.1", "out.jsonl.2"]
    assert all(path.stat().st_size <= 40 * size for path in tmp_path.iterdir())
    kept = [value for name in reversed(files) for value in values_in(tmp_path / name)]
    assert kept == list(range(50 - len(kept), 50))
    assert len(kept) >= 6


def test_without_old_files_a_full_one_begins_anew(tmp_path: Path) -> None:
    writer = lines_writer(tmp_path, maxBytes=1, keep=0)
    for number in range(3):
        writer.write([numbered(SOURCE, number)])
    writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]
    assert values_in(tmp_path / "out.jsonl") == [2]


def test_file_that_logrotate_took_away_is_begun_anew(tmp_path: Path) -> None:
    writer = lines_writer(tmp_path)
    file = tmp_path / "out.jsonl"
    writer.write([numbered(SOURCE, 1)])
    file.rename(tmp_path / "moved")
    writer.write([numbered(SOURCE, 2)])
    file.unlink()
    writer.write([numbered(SOURCE, 3)])
    writer.close()
    assert (values_in(tmp_path / "moved"), values_in(file)) == ([1], [3])


def test_folder_that_is_missing_keeps_the_samples(tmp_path: Path) -> None:
    writer = lines_writer(tmp_path, path="absent/out.jsonl")
    with pytest.raises(Retryable, match=r"absent/out\.jsonl: No such file"):
        writer.write([numbered(SOURCE, 1)])
    (tmp_path / "absent").mkdir()
    writer.write([numbered(SOURCE, 1)])
    writer.close()
    assert values_in(tmp_path / "absent" / "out.jsonl") == [1]


def test_disk_that_fills_up_leaves_no_half_line(tmp_path: Path) -> None:
    import resource
    import signal

    writer = lines_writer(tmp_path)
    writer.write([numbered(SOURCE, 0)])
    file = tmp_path / "out.jsonl"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 20, before[1]))
        with pytest.raises(Retryable, match="File too large"):
            writer.write([numbered(SOURCE, 1)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old)
    assert values_in(file) == [0]
    writer.write([numbered(SOURCE, 1)])
    writer.close()
    assert values_in(file) == [0, 1]


class Pipe:
    """Standard output as a pipe, whose reader decides when to read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reader, writer = os.pipe()
        self.stdout = os.fdopen(writer, "w")
        monkeypatch.setattr(sys, "stdout", self.stdout)

    def read_all(self) -> bytes:
        """Read until the writing end is closed."""
        with os.fdopen(self.reader, "rb") as stream:
            return stream.read()


def test_standard_output_gets_whole_lines_after_a_reader_paused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pipe = Pipe(monkeypatch)
    writer = lines_writer(tmp_path, path="-", timeout=0.05)
    batch = Batch(SOURCE, [VALUE.sample(float(number)) for number in range(2000)], NOW)
    writer.open()
    for _ in range(2):
        with pytest.raises(Retryable, match="standard output has not been read"):
            writer.write([batch])
    received: list[bytes] = []
    thread = threading.Thread(target=lambda: received.append(pipe.read_all()))
    thread.start()
    writer.write([batch])
    writer.close()
    pipe.stdout.close()
    thread.join()
    found = [json.loads(line)["value"] for line in received[0].splitlines()]
    assert found[-2000:] == list(range(2000)), "every attempt begins with a whole line"
    assert found[:-2000] == list(range(len(found) - 2000))


def test_reader_that_left_keeps_the_samples(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pipe = Pipe(monkeypatch)
    os.close(pipe.reader)
    writer = lines_writer(tmp_path, path="-")
    with pytest.raises(Retryable, match="Broken pipe"):
        writer.write([numbered(SOURCE, 1)])
    pipe.stdout.close()
