"""Run the outages: all writers side by side, and print what became of the samples."""

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.bench.table import align
from tests.outages.judge import SERIES, TICK_SECONDS, Verdict
from tests.outages.peers import PEERS, Peer
from tests.outages.run import Result, Run, Times
from tests.outages.tier import play
from tests.outages.transports import TRANSPORTS

COLUMNS: dict[str, Callable[[Result, Verdict], object]] = {
    "writer": lambda result, verdict: result.peer.writer,
    "target": lambda result, verdict: result.peer.program,
    "before": lambda result, verdict: result.before,
    "waiting": lambda result, verdict: result.waiting,
    "on disk": lambda result, verdict: result.stored,
    "after": lambda result, verdict: result.after,
    "at the end": lambda result, verdict: result.rest,
    "lost": lambda result, verdict: result.lost,
    "expected": lambda result, verdict: verdict.expected,
    "found": lambda result, verdict: verdict.found,
    "outdated": lambda result, verdict: verdict.outdated if result.peer.present else None,
    "cut off": lambda result, verdict: None if result.stored is None else verdict.cut_off,
    "missing": lambda result, verdict: verdict.missing,
    "of disk": lambda result, verdict: None if result.stored is None else verdict.stored_missing,
    "twice": lambda result, verdict: verdict.duplicates,
    "back [s]": lambda result, verdict: (
        None if result.back_seconds is None else f"{result.back_seconds:.1f}"
    ),
    "": lambda result, verdict: "; ".join(result.problems) or "as promised",
}

LEGEND = """
before, after: delivered until the target was killed and since it is back, as pollect counts
waiting: the most that waited; at the end: what waited when pollect was asked to stop
lost: what pollect says it gave up; expected: what the source returned; found: what the target has
outdated: Mqtt shows the present, so of what waits only the latest of each source is sent
on disk: in the spool at the kill -9; of disk: missing of that; cut off: of the last probe before
the kill -9 and not on disk yet; missing: neither found nor outdated nor cut off
twice: found again; Mqtt says everything once more to a broker that came back, as it may have
forgotten all, and databases keep one sample for each moment
back: seconds from the target's start to the first delivery, - when that was at the end"""

TITLES = {
    False: "the target is killed for {outage:g} s",
    True: "the same with spool: true, and a kill -9 of pollect meanwhile",
}


def main(arguments: Sequence[str] | None = None, among: Sequence[type[Peer]] = PEERS) -> int:
    """Return 0 when nothing was lost that should not be."""
    options = _parse(arguments)
    peers = [peer for peer in among if not options.only or peer.writer in options.only]
    times = Times(options.before, options.outage, options.after)
    began = time.monotonic()

    def run(peer: type[Peer], *, crash: bool) -> Result | str:
        name = f"{peer.writer} to {peer.program}{', spooled' if crash else ''}"

        def say(news: str) -> None:
            print(f"{time.monotonic() - began:5.0f} s  {name}: {news}", file=sys.stderr, flush=True)

        folder = Path(parent, name.replace(" ", "-"))
        folder.mkdir()
        try:
            return Run(peer(folder), folder, times, say, crash=crash).run()
        except pytest.skip.Exception as reason:
            return f"{name}: not measured, {reason}"
        except Exception:  # noqa: BLE001 - the others are measured all the same
            traceback.print_exc()
            return f"{name}: failed"

    with (
        tempfile.TemporaryDirectory(prefix="pollect-outages-") as parent,
        ThreadPoolExecutor(2 * len(peers)) as pool,
    ):
        futures = {
            crash: [pool.submit(run, peer, crash=crash) for peer in peers] for crash in TITLES
        }
    rates = f"{SERIES} series at a {TICK_SECONDS:g} s tick; figures in samples"
    failed = False
    for crash, title in TITLES.items():
        outcomes = [future.result() for future in futures[crash]]
        results = [outcome for outcome in outcomes if isinstance(outcome, Result)]
        failures = [outcome for outcome in outcomes if isinstance(outcome, str)]
        lines = [
            [*COLUMNS],
            *(_cells(result) for result in results),
        ]
        print("\n" + align(f"{title.format(outage=times.outage)}; {rates}", lines))
        for failure in failures:
            print(failure)
        failed |= any(result.problems for result in results)
        failed |= any(failure.endswith("failed") for failure in failures) or not results
    print(LEGEND)
    return int(failed)


def _cells(result: Result) -> list[str]:
    assert result.verdict is not None
    values = [of(result, result.verdict) for of in COLUMNS.values()]
    return ["-" if value is None else str(value) for value in values]


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make outages", description=__doc__)
    types = sorted({peer.writer for peer in PEERS})
    add = parser.add_argument
    add("--only", action="append", choices=types, help="only this writer; may be repeated")
    add("--before", type=float, default=Times().before, help="seconds before the kill")
    add("--outage", type=float, default=Times().outage, help="seconds the target is away")
    add("--after", type=float, default=Times().after, help="seconds after it")
    return parser.parse_args(arguments)


def run_all(arguments: Sequence[str] | None = None) -> int:
    """Do the same, and then run a tier of daemons over each transport."""
    options = _parse(arguments)
    failed = main(arguments)
    transports = [t for t in TRANSPORTS if not options.only or t.type in options.only]
    if transports:
        times = Times(options.before, options.outage, options.after)
        failed |= play(transports, times, lambda text: print(text, file=sys.stderr, flush=True))
    return failed


if __name__ == "__main__":
    sys.exit(run_all())
