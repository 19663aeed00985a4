"""Run the scenarios and print a table: `python -m tests.fleet [words of a scenario's name]`."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.bench.table import align
from tests.fleet.fleet import running_fleet
from tests.fleet.network import may_use_namespaces
from tests.fleet.scenarios import SCENARIOS, Scenario, play, problems, random_faults

HEADER = ("scenario", "probes", "gap p50", "p99", "max", "double", "silent", "")


def main() -> int:
    """Return 0 when every promise held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="only scenarios whose name has one of these")
    parser.add_argument("--ttl", type=float, default=6.0, help="seconds of a lease")
    parser.add_argument("--tick", type=float, default=1.0, help="seconds between two probes")
    parser.add_argument("--targets", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=20, help="runs with random faults")
    options = parser.parse_args()
    seeds = [
        Scenario(f"random faults, seed {seed}", random_faults(seed), None)
        for seed in range(options.seeds)
    ]
    chosen = [
        scenario
        for scenario in (*SCENARIOS, *seeds)
        if not options.words or any(word in scenario.name for word in options.words)
    ]
    rows: list[tuple[str, ...]] = [HEADER]
    failed = 0
    for number, scenario in enumerate(chosen):
        print(f"{number + 1} of {len(chosen)}: {scenario.name}", file=sys.stderr, flush=True)
        if scenario.namespaces and not may_use_namespaces:
            rows.append((scenario.name, *[""] * 6, "skipped: needs root and ip"))
            continue
        with (
            tempfile.TemporaryDirectory() as folder,
            running_fleet(
                Path(folder),
                namespaces=scenario.namespaces,
                targets=options.targets,
                tick=options.tick,
                ttl=options.ttl,
                nodes=scenario.nodes,
                exclusive=scenario.exclusive,
            ) as fleet,
        ):
            verdict = play(fleet, scenario)
        wrong = problems(scenario, verdict, ttl=options.ttl, tick=options.tick)
        failed += bool(wrong)
        gaps = (f"{gap:.2f}" for gap in (verdict.gap_median, verdict.gap_p99, verdict.gap_max))
        counts = (str(verdict.doubles), str(verdict.silent))
        rows.append(
            (scenario.name, str(verdict.probes), *gaps, *counts, "; ".join(wrong) or "as promised")
        )
    print(align("fleet", rows))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
