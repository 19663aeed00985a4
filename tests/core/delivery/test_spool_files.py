"""What a spool is called, and spools that no writer empties any more."""

import logging
from pathlib import Path
from typing import Any

import msgspec

from pollect.api import Batch, Metric, SourceId, Writer, WriterConfig
from pollect.delivery.spool.buffer import SpoolBuffer
from pollect.delivery.spool.files import left_over, spool_folder
from pollect.delivery.spool.folder import SpoolFolder
from pollect.engine.clock import SystemClock
from pollect.testing import build_writer
from pollect_writers.influx_db import InfluxDbWriter

NUMBER = Metric("number", help="Counts up.")


def writer_to(bucket: str, state_dir: Path, *, spool: bool = True, **more: Any) -> Writer[Any]:
    section = {"bucket": bucket, "spool": spool, **more}
    return build_writer(section, InfluxDbWriter, state_dir=state_dir)


def opened(folder: Path) -> SpoolBuffer:
    buffer = SpoolBuffer(
        SpoolFolder(folder),
        samples=10**6,
        age=1e9,
        clock=SystemClock(),
        log=logging.getLogger("spool"),
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


def test_spool_is_left_over_when_no_writer_with_a_spool_uses_it(tmp_path: Path) -> None:
    assert list(left_over(tmp_path, [])) == []
    kept, changed, switched_off = (spool_folder(writer_to(name, tmp_path)) for name in "abc")
    for folder in (kept, changed, switched_off):
        fill(folder, 1)
    writers = [writer_to("a", tmp_path), writer_to("c", tmp_path, spool=False)]
    assert list(left_over(tmp_path, writers)) == sorted([(changed, 2), (switched_off, 2)])


def test_contents_of_a_spool_that_is_left_over_stay_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "spool" / "a"
    fill(folder, 20)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert list(left_over(tmp_path, [])) == [(folder, 40)]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_spools_without_samples_or_of_another_daemon_are_not_left_over(tmp_path: Path) -> None:
    empty, running = (tmp_path / "spool" / name for name in ("empty", "running"))
    opened(empty).close(5)
    fill(running, 5)
    buffer = opened(running)
    assert list(left_over(tmp_path, [])) == []
    buffer.close(5)
    assert list(left_over(tmp_path, [])) == [(running, 10)]
