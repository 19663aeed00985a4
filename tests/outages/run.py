"""One daemon, one writer, one peer that dies: what was sent, what waited, what arrived."""

import contextlib
import json
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from pollect.delivery.spool.folder import SpoolFolder
from pollect.delivery.spool.records import decode_batch
from pollect.testing.waiting import wait_until
from tests.e2e.command import Daemon, scrape, start
from tests.outages.judge import SERIES, TICK_SECONDS, Crash, Evidence, Verdict, judge
from tests.outages.peers import COLLECTION, Peer
from tests.simulators.daemons import free_port

#: Between two looks at the daemon's own metrics.
GLANCE_SECONDS = 0.2
START_SECONDS = 90.0

#: Gives every sample a number of its own and notes each probe with its time; counts on when the
#: daemon is started again.
SOURCE = """
import time
from typing import Annotated

from msgspec import Meta
from pollect.api import Metric, Source, SourceConfig

NUMBER = Metric(help="Number of the sample.", labels=("series",))


class CountingConfig(SourceConfig, frozen=True, kw_only=True):
    series: Annotated[int, Meta(description="How many.")]


class CountingSource(Source[CountingConfig]):
    config_type = CountingConfig
    metrics = (NUMBER,)

    def probe(self):
        file = self.context.config_dir / "probes"
        done = len(file.read_text().splitlines()) if file.exists() else 0
        with file.open("a") as notes:
            notes.write(f"{time.time()}\\n")
        series = self.config.series
        return [NUMBER.sample(done * series + one, f"s{one:02}") for one in range(series)]
"""


class Times(NamedTuple):
    """How long everything takes, in seconds."""

    before: float = 15.0
    outage: float = 30.0
    after: float = 20.0


class Status(NamedTuple):
    """What the daemon says of its writer, in samples."""

    written: int = 0
    buffered: int = 0
    lost: int = 0


@dataclass
class Result:
    """What became of the samples of one run."""

    peer: Peer
    #: Delivered when the peer was killed, as the daemon says.
    before: int = 0
    #: What waited at most while it was away.
    waiting: int = 0
    #: Delivered from then on until the daemon was asked to stop.
    after: int = 0
    #: What waited at that moment.
    rest: int = 0
    #: Seconds from the peer's start to the first delivery; None if that was at the stop.
    back_seconds: float | None = None
    #: Lost, as the daemon says.
    lost: int = 0
    #: On disk when the daemon was killed, None without such a kill.
    stored: int | None = None
    verdict: Verdict | None = None
    exit_code: int = 0

    @property
    def problems(self) -> list[str]:
        """What should not be, in words."""
        assert self.verdict is not None
        counts = {
            "are missing": self.verdict.missing,
            "are missing that were on disk": self.verdict.stored_missing,
            "were given up": self.lost,
            "were never sent": self.verdict.strangers,
        }
        problems = [f"{count} samples {what}" for what, count in counts.items() if count]
        if self.exit_code:
            problems.append(f"pollect ended with {self.exit_code}")
        return problems


class Run:
    """One run in a folder of its own; `say` gets the news for a person."""

    def __init__(
        self, peer: Peer, folder: Path, times: Times, say: Callable[[str], None], *, crash: bool
    ) -> None:
        self._peer = peer
        self._folder = folder
        self._times = times
        self._say = say
        self._crash = crash
        self._port = free_port()
        self._config = folder / "config.json"
        self._result = Result(peer)
        #: The daemon's word when it was last asked.
        self._status = Status()
        self._killed_at = 0.0
        self._back_at = 0.0
        self._died: Crash | None = None

    def run(self) -> Result:
        """Do it all; takes the sum of the times and a little more."""
        self._write_config()
        try:
            self._peer.start()
            with self._daemon() as daemon:
                self._wait("a delivery", lambda: self._glance().written)
                self._say(f"delivers, for {self._times.before:g} s")
                self._watch(self._times.before)
                self._killed_at = time.time()
                self._peer.kill()
                self._say(f"killed {self._peer.program}, for {self._times.outage:g} s")
                if self._crash:
                    self._watch(self._times.outage / 2)
                    self._kill(daemon)
                else:
                    self._watch(self._times.outage)
                    self._finish(daemon)
            if self._crash:
                with self._daemon() as daemon:
                    self._wait("samples that wait", lambda: self._glance().buffered)
                    self._watch(self._killed_at + self._times.outage - time.time())
                    self._finish(daemon)
            evidence = Evidence(
                probes=self._probes(),
                found=self._peer.found(),
                killed_at=self._killed_at,
                back_at=self._back_at,
                present=self._peer.present,
                crash=self._died,
            )
            self._result.verdict = judge(evidence)
        finally:
            self._peer.close()
        return self._result

    def _finish(self, daemon: Daemon) -> None:
        """Bring the peer back, watch what happens, and end the daemon."""
        result = self._result
        written = self._status.written
        result.before += written
        self._peer.start()
        self._back_at = time.time()
        self._say(f"{self._peer.program} is back, for {self._times.after:g} s")
        self._watch(self._times.after, written)
        result.after = self._status.written - written
        result.rest = self._status.buffered
        result.lost += self._status.lost
        self._say(f"ends: {result.rest} samples wait")
        result.exit_code = daemon.stop()
        left = re.search(r"(\d+) samples lost: not delivered before the end", daemon.output)
        if left:
            result.lost += int(left[1])

    def _kill(self, daemon: Daemon) -> None:
        self._say(f"kill -9 of the daemon: {self._status.buffered} samples wait")
        daemon.send(signal.SIGKILL)
        daemon.process.wait()
        (self._folder / "output.txt").rename(self._folder / "output-before-the-kill.txt")
        self._died = Crash(probes=len(self._probes()), on_disk=self._read_spool())
        self._result.stored = len(self._died.on_disk)
        self._result.before = self._status.written
        self._result.lost = self._status.lost

    def _write_config(self) -> None:
        (self._folder / "extensions").mkdir()
        (self._folder / "extensions" / "Counting.py").write_text(SOURCE)
        writer = {
            "type": self._peer.writer,
            **self._peer.section,
            "selfMetrics": False,
            "spool": self._crash,
        }
        scraped = {"type": "Prometheus", "bind": "127.0.0.1", "port": self._port}
        source = {"type": "extensions.Counting", "series": SERIES}
        config = {
            "tickTime": TICK_SECONDS,
            "stateDir": "state",
            "writers": [writer, scraped],
            "executors": [{"collection": COLLECTION, "sources": [source]}],
        }
        self._config.write_text(json.dumps(config, indent=2))

    @contextlib.contextmanager
    def _daemon(self) -> Iterator[Daemon]:
        self._status = Status()
        with start("run", "-c", self._config, folder=self._folder) as daemon:
            yield daemon

    def _wait(self, what: str, condition: Callable[[], object]) -> None:
        wait_until(condition, what, limit_seconds=START_SECONDS)

    def _watch(self, seconds: float, written: int | None = None) -> None:
        """Keep an eye on the daemon; given what was `written`, note when there is more."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, GLANCE_SECONDS))
            status = self._glance()
            if self._killed_at:
                self._result.waiting = max(self._result.waiting, status.buffered)
            if written is not None and status.written > written:
                self._result.back_seconds = time.time() - self._back_at
                written = None

    def _glance(self) -> Status:
        """Ask the daemon once; before it listens there is nothing to know."""
        with contextlib.suppress(OSError):
            values = {
                sample.name: int(sample.value)
                for family in text_string_to_metric_families(scrape(self._port))
                for sample in family.samples
                if sample.labels.get("writer") == self._peer.writer
            }
            self._status = Status(
                written=values.get("pollect_writer_written_samples_total", 0),
                buffered=values.get("pollect_writer_buffered_samples", 0),
                lost=values.get("pollect_writer_lost_samples_total", 0),
            )
        return self._status

    def _probes(self) -> list[float]:
        """Return when each probe began, in Unix time."""
        return [float(line) for line in (self._folder / "probes").read_text().splitlines()]

    def _read_spool(self) -> set[int]:
        """Return the numbers on disk; looks at a copy, as the daemon will use the file again."""
        copy = self._folder / "spool-at-the-kill"
        spool = self._folder / "state" / "spool"
        if not spool.exists():
            return set()
        shutil.copytree(spool, copy)
        (place,) = copy.iterdir()
        folder = SpoolFolder(place)
        batches = [decode_batch(entry.packed) for entry in folder.open()[0]]
        folder.close()
        return {int(sample.value) for batch in batches if batch for sample in batch.samples}
