"""What is missing at a target after an outage, and what of that is as it should be."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

SERIES = 50
TICK_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Crash:
    """The kill of the daemon during an outage."""

    #: How many probes there were until then.
    probes: int
    #: The numbers that were on disk.
    on_disk: Collection[int]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One run; the samples of probe n have the numbers from n * `SERIES` on. Unix times."""

    #: When each probe began.
    probes: Sequence[float]
    #: The numbers at the target.
    found: Sequence[int]
    #: When the target was killed, and when it was back.
    killed_at: float
    back_at: float
    #: Whether the writer shows the present.
    present: bool = False
    crash: Crash | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Counts of samples. What is expected is found, outdated, cut off or missing."""

    expected: int
    found: int
    #: Replaced by later ones while they waited, as a writer that shows the present does.
    outdated: int
    #: Of the probe that the kill of the daemon met: not on disk yet.
    cut_off: int
    missing: int
    #: Missing although they were on disk.
    stored_missing: int
    duplicates: int
    #: Numbers that were never sent.
    strangers: int


def judge(evidence: Evidence) -> Verdict:
    """Compare what the source returned with what the target has."""
    probes, times = evidence.probes, Counter(evidence.found)
    expected = set(range(len(probes) * SERIES))
    absent = expected - times.keys()
    crash = evidence.crash
    on_disk = set(crash.on_disk) if crash else set()
    outdated: set[int] = set()
    if evidence.present:
        # Also what comes between the target's return and the next connection is replaced.
        since = evidence.killed_at - TICK_SECONDS
        until = min(
            (n for n in expected & times.keys() if probes[n // SERIES] > evidence.back_at),
            default=len(expected),
        )
        outdated = {n for n in absent if n < until and probes[n // SERIES] > since}
    cut_off: set[int] = set()
    if crash:
        last = range((crash.probes - 1) * SERIES, crash.probes * SERIES)
        cut_off = absent.intersection(last) - on_disk - outdated
    return Verdict(
        expected=len(expected),
        found=len(expected & times.keys()),
        outdated=len(outdated),
        cut_off=len(cut_off),
        missing=len(absent - outdated - cut_off),
        stored_missing=len(absent & on_disk),
        duplicates=sum(times.values()) - len(times),
        strangers=len(times.keys() - expected),
    )
