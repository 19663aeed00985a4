"""Kills of the daemon, also on a full disk: what its spool has on disk arrives."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pollect.delivery.spool.folder import SpoolFolder
from pollect.delivery.spool.records import decode_batch
from pollect.testing.waiting import wait_until
from tests.e2e.command import start
from tests.writers.backends import Backend, InfluxBackend

#: Counts on over restarts; what a probe returned last may die on its way to the disk.
COUNTING_SOURCE = """
from pathlib import Path
from pollect.api import Metric, Source, SourceConfig

NUMBER = Metric("number", help="Number of the probe.")

class CountingSource(Source[SourceConfig]):
    metrics = (NUMBER,)

    def probe(self):
        file = self.context.config_dir / "counter"
        number = int(file.read_text()) + 1 if file.exists() else 0
        file.with_suffix(".new").write_text(str(number))
        file.with_suffix(".new").replace(file)
        return [NUMBER.sample(number)]
"""

#: The label costs the disk a kilobyte for each sample.
WIDE_SOURCE = (
    COUNTING_SOURCE.replace('probe.")', 'probe.", labels=("wide",))')
    .replace("sample(number)", "sample(number, random.Random(number).randbytes(1000).hex())")
    .replace("from pathlib", "import random\nfrom pathlib", 1)
)

TICK_SECONDS = 0.02
#: Until a batch is on disk; milliseconds, unless the machine is busy.
STORE_SECONDS = 0.1
RUNS = 6
SEED = 7
DISK = "8m"
#: What the filler leaves of it: a few dozen samples.
LEFT_BYTES = 64 << 10


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def write_config(
    folder: Path, backend: Backend, source: str, *writers: Mapping[str, Any], state: Path
) -> Path:
    """Write a config with one counting source, whose code is `source`, and a spool in `state`."""
    (folder / "extensions").mkdir()
    (folder / "extensions" / "Counting.py").write_text(source)
    spooled = {"type": backend.writer, "spool": True, "selfMetrics": False, **backend.section}
    spooled["timeout"] = 60  # what is confirmed too late, as on a busy machine, is sent twice
    sources = [{"type": "extensions.Counting"}]
    config = {
        "tickTime": TICK_SECONDS,
        "stateDir": str(state),
        "writers": [spooled, *writers],
        "executors": [{"collection": "crash", "sources": sources}],
    }
    file = folder / "config.json"
    file.write_text(json.dumps(config))
    return file


def test_daemon_that_is_killed_again_and_again_delivers_what_was_on_disk(tmp_path: Path) -> None:
    backend = InfluxBackend(tmp_path)
    config = write_config(tmp_path, backend, COUNTING_SOURCE, state=tmp_path / "state")
    counter = tmp_path / "counter"
    generator = random.Random(SEED)
    acknowledged: set[int] = set()
    may_be_missing: set[int] = set()
    for run in range(RUNS):
        if run in (2, 5):
            backend.come_up()
        elif run == 4:
            backend.go_down()
        before = int(counter.read_text()) if counter.exists() else -1
        with start("run", "-c", config, folder=tmp_path) as daemon:
            until = before + generator.randint(5, 40)
            while not counter.exists() or int(counter.read_text()) < until:
                assert daemon.process.poll() is None, daemon.output
                time.sleep(0.005)
            if run < RUNS - 1:
                daemon.send(signal.SIGKILL)
                daemon.process.wait()
                may_be_missing |= last_before(int(counter.read_text()))
                acknowledged.update(on_disk(tmp_path / "state" / "spool", tmp_path / f"kill{run}"))
            else:
                assert daemon.stop() == 0
    backend.close()
    arrived = Counter(backend.arrived())
    missing = set(range(int(counter.read_text()) + 1)) - set(arrived)
    assert len(acknowledged) > RUNS, "kills during an outage find something on disk"
    assert not missing & acknowledged, "what was on disk at a kill is delivered"
    assert missing <= may_be_missing, "only what was not on disk yet may be missing"
    repeated = [number for number, times in arrived.items() if times > 1]
    assert len(repeated) <= RUNS * 5, "only what was on its way at a kill comes twice"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_daemon_killed_on_a_full_disk_delivers_what_is_there_and_goes_on(
    tmp_path: Path, disk: Path
) -> None:
    backend = InfluxBackend(tmp_path)
    config = write_config(tmp_path, backend, WIDE_SOURCE, state=disk)
    filler, counter = disk / "filler", tmp_path / "counter"
    with filler.open("wb") as file:
        file.write(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize - LEFT_BYTES))

    def probes() -> int:
        return int(counter.read_text()) + 1 if counter.exists() else 0

    with start("run", "-c", config, folder=tmp_path) as daemon:
        daemon.wait_for("the spool takes no samples, they are kept in memory")
        until = probes() + 50
        wait_until(lambda: probes() > until, "probes go on")
        daemon.send(signal.SIGKILL)
        daemon.process.wait()
        assert daemon.output.count("takes no samples") == 1
    stored = on_disk(disk / "spool", tmp_path / "copy")
    assert stored == list(range(len(stored)))
    last = probes() - 1
    assert len(stored) > 30, "the disk kept what fits on it"
    backend.come_up()
    with start("run", "-c", config, folder=tmp_path) as daemon:
        wait_until(lambda: max(backend.arrived(), default=0) > last, "news")
        filler.unlink()
        until = probes() + 20
        wait_until(lambda: probes() > until, "more probes")
        assert daemon.stop() == 0
    backend.close()
    arrived = backend.arrived()
    assert arrived == sorted(set(arrived)), "in order, each once"
    assert set(arrived) >= {*stored, *range(last + 1, probes())}


def last_before(number: int) -> set[int]:
    """Return the numbers that may not have been on disk yet when a kill came at this one."""
    return {*range(number, number - round(STORE_SECONDS / TICK_SECONDS), -1)}


def on_disk(spool: Path, place: Path) -> list[int]:
    """Return the numbers a spool holds, read from a copy so that it stays as the kill left it."""
    shutil.copytree(spool, place)
    (folder,) = place.iterdir()
    copy = SpoolFolder(folder)
    batches = [decode_batch(entry.packed) for entry in copy.open()[0]]
    copy.close()
    return [int(sample.value) for batch in batches if batch for sample in batch.samples]
