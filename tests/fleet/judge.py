"""What the devices' logs say of a fleet: gaps, double probes, silence at the end."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tests.fleet.devices import Question


class Verdict(NamedTuple):
    """Times in seconds."""

    probes: int
    gap_median: float
    gap_p99: float
    gap_max: float
    #: Probes by two members within half a tick.
    doubles: int
    #: Devices that were not asked in the last ticks, or never.
    silent: int


def judge(
    questions: Iterable[Question], devices: Sequence[str], *, tick: float, start: float, end: float
) -> Verdict:
    """Judge the time from `start` to `end`, in seconds of the monotonic clock."""
    asked: dict[str, list[Question]] = defaultdict(list)
    for question in questions:
        if start <= question.at <= end:
            asked[question.device].append(question)
    gaps: list[float] = []
    doubles = silent = 0
    for device in devices:
        seen = asked.get(device, [])
        if not seen or end - seen[-1].at > 3 * tick:
            silent += 1
        for before, after in itertools.pairwise(seen):
            gap = after.at - before.at
            if before.asker != after.asker and gap < tick / 2:
                doubles += 1
            gaps.append(gap)
    gaps.sort()
    return Verdict(
        probes=sum(map(len, asked.values())),
        gap_median=_quantile(gaps, 0.5),
        gap_p99=_quantile(gaps, 0.99),
        gap_max=gaps[-1] if gaps else float("nan"),
        doubles=doubles,
        silent=silent,
    )


def _quantile(ordered: Sequence[float], share: float) -> float:
    if not ordered:
        return float("nan")
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
