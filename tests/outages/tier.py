"""A collector tier: a daemon that writes to a broker, two that share what is there.

The broker is killed and comes back; then one of the two is killed with `kill -9` in the middle of
catching up, and comes back as well. Each of the two writes a file, so that what was seen twice
shows. `make outages` runs it after all else, `python -m tests.outages.tier` alone.
"""

import argparse
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pollect.testing.waiting import wait_until
from tests.bench.table import align
from tests.e2e.command import Daemon, scrape, start
from tests.outages.judge import SERIES, TICK_SECONDS
from tests.outages.peers import COLLECTION
from tests.outages.run import SOURCE, Times
from tests.outages.transports import TRANSPORTS, Transport
from tests.simulators.daemons import free_port

#: How long everything may take to arrive at the end.
DRAIN_SECONDS = 120.0
#: Between the kill of a collector and its new start.
PAUSE_SECONDS = 3.0


@dataclass
class Result:
    """What became of the samples of one run, in samples unless said otherwise."""

    transport: Transport
    #: Returned by the source, and found in the files of the collectors.
    expected: int = 0
    found: int = 0
    twice: int = 0
    strangers: int = 0
    #: What waited in the daemon that writes, at most.
    waiting: int = 0
    #: Messages: delivered again as the broker says, and left out by the collectors.
    redelivered: int = 0
    repeated: int = 0
    #: Seconds from the broker's return to the first sample that was probed after it.
    back_seconds: float | None = None
    #: What the daemons say they gave up.
    lost: int = 0

    @property
    def missing(self) -> int:
        return self.expected - self.found

    @property
    def problems(self) -> list[str]:
        """What should not be, in words."""
        counts = {
            "are missing": self.missing,
            "were given up": self.lost,
            "were sent by nobody": self.strangers,
        }
        return [f"{count} samples {what}" for what, count in counts.items() if count]


class Tier:
    """The daemons of one run, each in a folder of its own; `say` gets the news for a person."""

    def __init__(
        self, transport: Transport, folder: Path, times: Times, say: Callable[[str], None]
    ) -> None:
        self._transport = transport
        self._folder = folder
        self._times = times
        self._say = say
        self._ports: dict[str, int] = {}
        self._result = Result(transport)
        #: Of each daemon and life, the last value of each of its own metrics.
        self._said: dict[tuple[str, int], dict[str, float]] = {}
        self._lives: Counter[str] = Counter()

    def run(self) -> Result:
        """Do it all; takes the sum of the times and what the rest needs to arrive."""
        result, times = self._result, self._times
        with self._transport, ExitStack() as daemons:
            edge = daemons.enter_context(self._daemon("edge"))
            # It makes the stream or topic, which the others would wait for with growing pauses.
            wait_until(lambda: self._ask("edge").get("written"), "a delivery", limit_seconds=60.0)
            daemons.enter_context(self._daemon("second"))
            with self._daemon("first") as first:
                wait_until(lambda: self._numbers(), "an arrival", limit_seconds=60.0)
                self._say(f"delivers, for {times.before:g} s")
                self._watch(times.before)
                self._say(f"killed {self._transport.program}, for {times.outage:g} s")
                self._transport.broker.kill()
                self._watch(times.outage)
                self._transport.broker.start()
                back_at = time.monotonic()
                probed = len(self._probes()) * SERIES
                self._say("is back: catching up")
                wait_until(
                    lambda: max(self._numbers()) >= probed, "news", limit_seconds=DRAIN_SECONDS
                )
                result.back_seconds = time.monotonic() - back_at
                self._glance()
                first.send(signal.SIGKILL)
                first.wait()
                self._say(f"kill -9 of a collector, for {PAUSE_SECONDS:g} s")
            self._watch(min(PAUSE_SECONDS, times.after))
            daemons.enter_context(self._daemon("first"))
            self._watch(times.after)
            self._glance()
            edge.stop()
            result.expected = len(self._probes()) * SERIES
            self._say("the writer ended: waiting for the rest")
            with contextlib.suppress(AssertionError):
                wait_until(
                    lambda: len(set(self._numbers())) >= result.expected,
                    "the rest",
                    limit_seconds=DRAIN_SECONDS,
                )
            self._glance()
        self._judge()
        return result

    def _judge(self) -> None:
        result, times = self._result, Counter(self._numbers())
        expected = set(range(result.expected))
        result.found = len(expected & times.keys())
        result.twice = sum(times.values()) - len(times)
        result.strangers = len(times.keys() - expected)
        for said in self._said.values():
            result.redelivered += int(said.get("redelivered", 0))
            result.repeated += int(said.get("repeated", 0))
            result.lost += int(said.get("lost", 0))

    @contextlib.contextmanager
    def _daemon(self, name: str) -> Iterator[Daemon]:
        folder = self._folder / name
        if not folder.exists():
            self._prepare(name, folder)
        self._lives[name] += 1
        with start("run", "-c", folder / "config.json", folder=folder) as daemon:
            yield daemon

    def _prepare(self, name: str, folder: Path) -> None:
        (folder / "extensions").mkdir(parents=True)
        (folder / "extensions" / "Counting.py").write_text(SOURCE)
        self._ports[name] = free_port()
        transport = self._transport
        options = {"type": transport.type, **transport.options}
        if name == "edge":
            writer = {**options, "spool": True, "selfMetrics": False}
            source = {"type": "extensions.Counting", "series": SERIES}
        else:
            writer = {"type": "JsonLines", "path": "arrived", "selfMetrics": False}
            source = {**options, **transport.source}
        scraped = {"type": "Prometheus", "bind": "127.0.0.1", "port": self._ports[name]}
        config = {
            "tickTime": TICK_SECONDS,
            "stateDir": "state",
            "writers": [writer, scraped],
            "executors": [
                {"collection": COLLECTION if name == "edge" else "tier", "sources": [source]}
            ],
        }
        (folder / "config.json").write_text(json.dumps(config, indent=2))

    def _watch(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.5))
            self._glance()

    def _glance(self) -> None:
        """Note what each daemon says of itself."""
        for name in self._ports:
            said = self._ask(name)
            if said:
                self._said[name, self._lives[name]] = said
                self._result.waiting = max(
                    self._result.waiting, int(said.get("buffered", 0)) if name == "edge" else 0
                )

    def _ask(self, name: str) -> dict[str, float]:
        said: dict[str, float] = {}
        with contextlib.suppress(OSError):
            for family in text_string_to_metric_families(scrape(self._ports[name])):
                for sample in family.samples:
                    word = _WORDS.get(sample.name.removeprefix(f"tier_{self._transport.type}_"))
                    if word and sample.labels.get("writer") != "Prometheus":
                        said[word] = said.get(word, 0.0) + sample.value
        return said

    def _numbers(self) -> list[int]:
        """Return the numbers that arrived, as often as they did."""
        numbers = []
        for file in self._folder.glob("*/arrived"):
            for line in file.read_text().splitlines():
                with contextlib.suppress(ValueError):  # the line that is being written
                    sample = json.loads(line)
                    if sample["source"].startswith(f"{COLLECTION}/"):
                        numbers.append(int(sample["value"]))
        return numbers

    def _probes(self) -> list[str]:
        return (self._folder / "edge" / "probes").read_text().splitlines()


#: Of the metrics that daemons have of themselves.
_WORDS = {
    "redelivered": "redelivered",
    "redelivered_total": "redelivered",
    "repeated": "repeated",
    "repeated_total": "repeated",
    "pollect_writer_buffered_samples": "buffered",
    "pollect_writer_written_samples_total": "written",
    "pollect_writer_lost_samples_total": "lost",
}

COLUMNS: Mapping[str, Callable[[Result], object]] = {
    "transport": lambda result: result.transport.type,
    "broker": lambda result: result.transport.program,
    "waiting": lambda result: result.waiting,
    "expected": lambda result: result.expected,
    "found": lambda result: result.found,
    "missing": lambda result: result.missing,
    "twice": lambda result: result.twice,
    "redelivered": lambda result: result.redelivered,
    "repeated": lambda result: result.repeated,
    "back [s]": lambda result: "-" if result.back_seconds is None else f"{result.back_seconds:.1f}",
    "": lambda result: "; ".join(result.problems) or "as promised",
}

LEGEND = """
waiting: the most that waited in the daemon that writes; twice: samples in the files of the two
collectors more than once; redelivered, repeated: messages that the broker delivered again as it
says (Kafka does not), and those that a collector left out for that"""


def play(
    transports: Sequence[type[Transport]], times: Times, say: Callable[[str], None] = print
) -> int:
    """Run a tier over each transport, print what became of the samples; return 0 if all is well."""
    began = time.monotonic()
    rows = [[*COLUMNS]]
    failed = 0
    for kind in transports:

        def news(text: str, name: str = kind.type) -> None:
            say(f"{time.monotonic() - began:5.0f} s  {name}: {text}")

        with tempfile.TemporaryDirectory(prefix="pollect-tier-") as name:
            folder = Path(name)
            try:
                result = Tier(kind(folder), folder, times, news).run()
            except pytest.skip.Exception as reason:
                say(f"{kind.type}: not measured, {reason}")
                continue
        failed += bool(result.problems)
        rows.append([str(of(result)) for of in COLUMNS.values()])
    title = (
        f"collector tier, {SERIES} series at a {TICK_SECONDS:g} s tick: broker killed for "
        f"{times.outage:g} s, then kill -9 of one of two collectors; figures in samples"
    )
    print("\n" + align(title, rows))
    print(LEGEND)
    return int(failed > 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 when nothing was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.outages.tier", description=__doc__)
    add = parser.add_argument
    types = [kind.type for kind in TRANSPORTS]
    add("--only", action="append", choices=types, help="only this transport; may be repeated")
    add("--before", type=float, default=Times().before, help="seconds before the kill")
    add("--outage", type=float, default=Times().outage, help="seconds the broker is away")
    add("--after", type=float, default=Times().after, help="seconds after it")
    options = parser.parse_args(arguments)
    chosen = [kind for kind in TRANSPORTS if not options.only or kind.type in options.only]
    times = Times(options.before, options.outage, options.after)
    return play(chosen, times, lambda text: print(text, file=sys.stderr, flush=True))


if __name__ == "__main__":
    sys.exit(main())
