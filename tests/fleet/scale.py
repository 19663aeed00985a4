"""Ten thousand targets on three daemons and three engine nodes, and how the cost grows.

`python -m tests.fleet.scale`: prints two tables. Takes eight minutes; nothing else should run.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from tests.bench.table import align
from tests.fleet.fleet import Fleet, running_fleet
from tests.fleet.judge import Verdict
from tests.fleet.processes import Process
from tests.fleet.scenarios import Scenario, play

TICK, TTL = 10.0, 10.0
TARGETS = 10_000
#: Targets and daemons of the steps in which a fleet grows.
GROWTH = ((1_000, 1), (3_000, 2), (10_000, 3))
#: Seconds over which CPU time is taken.
MEASURE_SECONDS = 40.0

GAPS = ("what happens", "probes", "gap p50", "p99", "max", "double", "silent")
COSTS = (
    "targets", "daemons", "CPU of a daemon [%]", "us per probe", "memory [MB]",
    "of an engine node [%]",
)  # fmt: skip


def main() -> int:
    """Return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="part of the targets, to try it")
    share = parser.parse_args().share
    print(align("disturbed", [GAPS, *disturbed(int(share * TARGETS))]), flush=True)
    rows = [costs(int(share * targets), members, nodes=3) for targets, members in GROWTH]
    print(align("growth", [COSTS, *rows, costs(int(share * TARGETS), 1, nodes=0)]))
    return 0


def disturbed(targets: int) -> list[tuple[str, ...]]:
    """Return what the devices saw while one daemon, or the engine's leader, died."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, fleet_of(folder, targets, 3, 3) as fleet:
        for name, disturb in (
            ("steady", lambda fleet: None),
            ("kill -9 of one", lambda fleet: fleet.members[0].kill()),
            ("it comes back", lambda fleet: fleet.members[0].start()),
            ("leader of the engine killed", kill_leader),
        ):
            progress(name)
            rows.append(describe(name, play(fleet, Scenario(name, watched(disturb), None))))
            fleet.wait_covered()
    return rows


def watched(disturb: Callable[[Fleet], None]) -> Callable[[Fleet], None]:
    def run(fleet: Fleet) -> None:
        disturb(fleet)
        time.sleep(4 * TICK)

    return run


def kill_leader(fleet: Fleet) -> None:
    fleet.engine.nodes[fleet.engine.leader()].kill()


def describe(name: str, verdict: Verdict) -> tuple[str, ...]:
    gaps = (f"{gap:.2f}" for gap in (verdict.gap_median, verdict.gap_p99, verdict.gap_max))
    return (name, str(verdict.probes), *gaps, str(verdict.doubles), str(verdict.silent))


def costs(targets: int, members: int, nodes: int) -> tuple[str, ...]:
    """Return the cost of a steady fleet; without nodes, of a daemon without `fleet:`."""
    progress(f"{targets} targets on {members} daemons{'' if nodes else ' without fleet:'}")
    with (
        tempfile.TemporaryDirectory() as folder,
        fleet_of(folder, targets, members, nodes) as fleet,
    ):
        fleet.settle()
        engine, start = fleet.engine.nodes, time.monotonic()
        before = [cpu(fleet.members), cpu(engine)]
        time.sleep(MEASURE_SECONDS)
        seconds = time.monotonic() - start
        used = [cpu(fleet.members) - before[0], cpu(engine) - before[1]]
        probes = targets * seconds / TICK
        memory = max(member.resident_megabytes() for member in fleet.members)
        return (
            str(targets),
            str(members) if nodes else f"{members}, without fleet:",
            f"{100 * used[0] / seconds / members:.1f}",
            f"{1e6 * used[0] / probes:.0f}",
            f"{memory:.1f}",
            f"{100 * used[1] / seconds / nodes:.2f}" if nodes else "",
        )


def fleet_of(folder: str, targets: int, members: int, nodes: int) -> AbstractContextManager[Fleet]:
    return running_fleet(
        Path(folder), members=members, targets=targets, tick=TICK, ttl=TTL, nodes=nodes
    )


def cpu(processes: Sequence[Process]) -> float:
    """CPU time of all of them, in seconds."""
    return sum(process.cpu_seconds() for process in processes)


def progress(text: str) -> None:
    print(f"{text} ...", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
