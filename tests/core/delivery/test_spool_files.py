"""What a spool is called, and spools that no writer empties any more."""

import contextlib
import logging
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pollect.api import Batch, Kind, Metric, SourceId, Writer, WriterConfig
from pollect.delivery.old_spool import old_spools, read_old
from pollect.delivery.outbox import Outbox
from pollect.delivery.spool.buffer import SpoolBuffer
from pollect.delivery.spool.files import describe_contents, left_over, spool_folder
from pollect.engine.clock import SystemClock
from pollect.testing import build_writer
from pollect_writers.influx_db import InfluxDbWriter
from tests.core.engine.rig import wait_until

NUMBER = Metric("number", help="Counts up.")


def writer_to(bucket: str, state_dir: Path, *, spool: bool = True, **more: Any) -> Writer[Any]:
    section = {"bucket": bucket, "spool": spool, **more}
    return build_writer(section, InfluxDbWriter, state_dir=state_dir)


def opened(folder: Path) -> SpoolBuffer:
    buffer = SpoolBuffer(
        folder,
        samples=10**6,
        age=1e9,
        clock=SystemClock(),
        log=logging.getLogger("spool"),
        settled=lambda lost, why: None,
    )
    buffer.start()
    return buffer


def fill(folder: Path, samples: int) -> None:
    buffer = opened(folder)
    batch = Batch(SourceId("c", "T"), [NUMBER.sample(n) for n in range(samples)], 0.0)
    buffer.put(batch, batch)
    buffer.close(5)


def test_spool_belongs_to_the_target_and_hides_secrets(tmp_path: Path) -> None:
    same = spool_folder(writer_to("b", tmp_path, token="secret"))
    assert same.parent == tmp_path / "spool"
    same_target: list[dict[str, Any]] = [
        {"timeout": 3, "buffer": {"samples": 9}, "token": "other"},
        {"headers": {"X-Key": "a"}, "tls": {"insecure": True}},
        {"selfMetrics": False},
    ]
    for more in same_target:
        assert spool_folder(writer_to("b", tmp_path, **more)) == same
    assert spool_folder(writer_to("c", tmp_path)) != same
    assert spool_folder(writer_to("b", tmp_path, url="http://elsewhere:8086")) != same
    assert spool_folder(writer_to("b", tmp_path, org="home")) != same


class FirstConfig(WriterConfig, frozen=True, kw_only=True):
    host: str = "localhost"
    site: str = ""


class LaterConfig(FirstConfig, frozen=True, kw_only=True):
    level: int = 6
    names: list[str] = msgspec.field(default_factory=list)


class FirstWriter(Writer[FirstConfig]):
    config_type = FirstConfig


class LaterWriter(Writer[LaterConfig]):
    config_type = LaterConfig


def test_option_that_a_writer_gains_leaves_its_spool_where_it_is(tmp_path: Path) -> None:
    def place(kind: type[Writer[Any]], **section: Any) -> Path:
        return spool_folder(build_writer({"type": "X", **section}, kind, state_dir=tmp_path))

    assert place(FirstWriter, host="a") == place(LaterWriter, host="a")
    assert place(FirstWriter, host="a") != place(LaterWriter, host="b")
    assert place(LaterWriter, host="a", level=7) != place(LaterWriter, host="a")


def test_file_is_left_over_when_no_writer_with_a_spool_uses_it(tmp_path: Path) -> None:
    assert left_over(tmp_path, []) == []
    kept, changed, switched_off = (spool_folder(writer_to(name, tmp_path)) for name in "abc")
    for folder in (kept, changed, switched_off):
        fill(folder, 1)
    writers = [writer_to("a", tmp_path), writer_to("c", tmp_path, spool=False)]
    assert left_over(tmp_path, writers) == sorted([changed, switched_off])


def test_contents_of_a_spool_that_is_left_over_stay_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    fill(folder, 20)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert describe_contents(folder) == "40 samples"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_nothing_is_said_of_spools_without_samples_or_of_another_daemon(tmp_path: Path) -> None:
    empty, gone, running = (tmp_path / name for name in ("empty", "gone", "running"))
    opened(empty).close(5)
    assert describe_contents(empty) == ""
    assert describe_contents(gone / "file.sqlite") == ""
    fill(running, 5)
    buffer = opened(running)
    assert describe_contents(running) == ""
    buffer.close(5)


def old_file(file: Path, values: list[float]) -> None:
    """Write a spool as pollect 2.0 did."""
    encode = msgspec.msgpack.encode
    file.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE dictionary (id INTEGER PRIMARY KEY, entry BLOB NOT NULL)")
        database.execute(
            "CREATE TABLE batch (id INTEGER PRIMARY KEY, stored REAL NOT NULL, "
            "samples INTEGER NOT NULL, source INTEGER NOT NULL, time REAL NOT NULL, "
            "content BLOB NOT NULL)"
        )
        source = encode([0, ["c", "T", None, 0], [["site", "hö"]]])
        series = encode([1, "number", "Counts up.", "bytes", "counter", ["part"], ["a"]])
        database.executemany("INSERT INTO dictionary VALUES (?, ?)", [(1, source), (2, series)])
        for value in values:
            content = encode([[2, 2], [value, 0.5], {1: 7.25}])
            row = (1.0, 2, 1, 5.0, content)
            database.execute(
                "INSERT INTO batch (stored, samples, source, time, content) VALUES (?, ?, ?, ?, ?)",
                row,
            )


def old_batch(value: float) -> Batch:
    metric = Metric("number", help="Counts up.", unit="bytes", kind=Kind.COUNTER, labels=("part",))
    samples = [metric.sample(value, "a"), metric.sample(0.5, "a", time=7.25)]
    return Batch(SourceId("c", "T"), samples, 5.0, (("site", "hö"),))


def old_name(writer: Writer[Any], without: tuple[str, ...] = ()) -> Path:
    """Return what pollect 2.0 called the spool of a writer, before it gained some options."""
    import hashlib

    out = {"buffer", "spool", "self_metrics", "timeout", *without}
    config = writer.config
    names = [name for name in config.__struct_fields__ if name not in out]
    text = repr([(name, repr(getattr(config, name))) for name in names])
    digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    return writer.context.state_dir / "spool" / f"{config.type}-{digest}.sqlite"


@pytest.mark.parametrize("without", [(), ("names",), ("level", "names")])
def test_spool_of_the_old_name_and_format_is_delivered_and_removed(
    tmp_path: Path, without: tuple[str, ...]
) -> None:
    class Listing(LaterWriter):
        def write(self, batches: Any) -> None:
            arrived.extend(batches)

    arrived: list[Batch] = []
    section = {"type": "X", "host": "a", "spool": True}
    writer = build_writer(section, Listing, state_dir=tmp_path)
    file = old_name(writer, without)
    old_file(file, [1.0, 2.0, 3.0])
    file.with_suffix(".reserve").write_bytes(b"0")
    other = old_name(build_writer({**section, "host": "b"}, Listing, state_dir=tmp_path))
    shutil.copy(file, other)
    assert old_spools(writer) == [file]
    outbox = Outbox(writer, clock=SystemClock())
    assert outbox.status().buffered_samples == 6
    outbox.start()
    outbox.deliver([old_batch(4.0)])
    wait_until(lambda: len(arrived) == 4)
    outbox.stop()
    outbox.join(30)
    assert arrived == [old_batch(value) for value in (1.0, 2.0, 3.0, 4.0)]
    assert left_over(tmp_path, [writer]) == [other]
    assert not file.with_suffix(".reserve").exists()
    assert describe_contents(other) == "0.0 MB"


def test_old_spool_that_is_damaged_stays_and_is_reported(tmp_path: Path, caplog) -> None:
    section = {"type": "X", "host": "a", "spool": True}
    writer = build_writer(section, LaterWriter, state_dir=tmp_path)
    file = old_name(writer)
    old_file(file, [1.0])
    file.write_bytes(file.read_bytes()[:4096] + b"rubbish")
    outbox = Outbox(writer, clock=SystemClock())
    outbox.start()
    outbox.stop()
    outbox.join(30)
    assert file.exists()
    assert "cannot read the old spool" in caplog.text


def test_old_file_comes_back_as_it_was(tmp_path: Path) -> None:
    old_file(tmp_path / "a.sqlite", [1, 2.5])
    assert read_old(tmp_path / "a.sqlite") == [old_batch(1), old_batch(2.5)]


def test_old_name_of_a_writer_over_http_is_found(tmp_path: Path) -> None:
    """The digest is that of pollect 2.0 for `{type: InfluxDb, bucket: home, spool: true}`."""
    writer = writer_to("home", tmp_path)
    file = tmp_path / "spool" / "InfluxDb-7ca9864a.sqlite"
    old_file(file, [1.0])
    assert old_spools(writer) == [file]
