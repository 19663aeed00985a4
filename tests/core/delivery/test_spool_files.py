"""Spools that no writer empties any more."""

import logging
from pathlib import Path
from typing import Any

from pollect.api import Batch, Metric, SourceId, Writer
from pollect.delivery.spool.files import describe_contents, left_over, spool_file
from pollect.delivery.spool.store import SpoolBuffer
from pollect.engine.clock import SystemClock
from pollect.testing import build_writer
from pollect_writers.influx_db import InfluxDbWriter

NUMBER = Metric("number", help="Counts up.")


def writer_to(bucket: str, state_dir: Path, *, spool: bool = True) -> Writer[Any]:
    section = {"bucket": bucket, "spool": spool}
    return build_writer(section, InfluxDbWriter, state_dir=state_dir)


def opened(file: Path) -> SpoolBuffer:
    log = logging.getLogger("spool")
    return SpoolBuffer(file, samples=10**6, age=1e9, clock=SystemClock(), log=log)


def fill(file: Path, samples: int) -> None:
    buffer = opened(file)
    batch = Batch(SourceId("c", "T"), [NUMBER.sample(n) for n in range(samples)], 0.0)
    buffer.put(batch, batch)
    buffer.close()


def test_file_is_left_over_when_no_writer_with_a_spool_uses_it(tmp_path: Path) -> None:
    assert left_over(tmp_path, []) == []
    kept, changed, switched_off = (spool_file(writer_to(name, tmp_path)) for name in "abc")
    for file in (kept, changed, switched_off):
        fill(file, 1)
    writers = [writer_to("a", tmp_path), writer_to("c", tmp_path, spool=False)]
    assert left_over(tmp_path, writers) == sorted([changed, switched_off])


def test_contents_of_a_file_that_is_left_over_stay_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "a.sqlite"
    fill(file, 20)
    assert describe_contents(file) == "40 samples"
    assert {path.name for path in tmp_path.iterdir()} == {"a.sqlite", "a.reserve"}
    buffer = opened(file)
    assert buffer.samples == 40
    buffer.close()


def test_nothing_is_said_of_files_without_samples_or_of_another_daemon(tmp_path: Path) -> None:
    empty, gone, running = (tmp_path / f"{name}.sqlite" for name in ("empty", "gone", "running"))
    opened(empty).close()
    assert describe_contents(empty) == ""
    assert describe_contents(gone) == ""
    assert not gone.exists()
    fill(running, 5)
    buffer = opened(running)
    assert describe_contents(running) == ""
    buffer.close()


def test_file_that_cannot_be_counted_is_told_by_its_size(tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish.sqlite"
    rubbish.write_bytes(b"no database" * 1_000_000)
    assert describe_contents(rubbish) == "11.0 MB"
    large = tmp_path / "large.sqlite"
    fill(large, 5)
    with large.open("r+b") as stream:
        stream.truncate(20_000_000)
    assert describe_contents(large) == "20.0 MB"
