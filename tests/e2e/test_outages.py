"""The demonstration of `make outages`: it counts at the target, and it notices a loss."""

import pytest

from tests.outages.__main__ import main
from tests.outages.judge import SERIES, Crash, Evidence, judge
from tests.outages.peers import OtlpPeer

QUICK = ["--before", "0.5", "--outage", "2", "--after", "0.5"]

PROBES = range(100, 110)
EVERYTHING = range(len(PROBES) * SERIES)


class ForgetfulPeer(OtlpPeer):
    program = "receiver that forgets"

    def found(self) -> list[int]:
        return super().found()[3:]


def evidence(found, *, present: bool = False, crash: Crash | None = None) -> Evidence:
    """Ten probes a second apart, the target away from the third to the sixth."""
    return Evidence(
        probes=PROBES, found=found, killed_at=102.5, back_at=105.5, present=present, crash=crash
    )


def without(*probes: int) -> list[int]:
    return [number for number in EVERYTHING if number // SERIES not in probes]


def test_outage_is_shown_in_numbers_and_a_loss_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Real daemons and receivers, both kinds of outage side by side."""
    assert main(QUICK, [OtlpPeer, ForgetfulPeer]) == 1
    output, progress = capsys.readouterr()
    verdicts = {
        line.partition("receiver")[2]: line
        for line in output.splitlines()
        if line.startswith("Otel")
    }
    assert len(verdicts) == 4, output
    for line in verdicts.values():
        forgetful = "that forgets" in line
        assert ("3 samples are missing" in line) == forgetful, output
        assert line.endswith("as promised") != forgetful, output
    assert progress.count("kill -9 of the daemon: ") == 2


def test_everything_found_is_as_expected() -> None:
    verdict = judge(evidence([*EVERYTHING, 7]))
    assert (verdict.expected, verdict.found) == (500, 500)
    assert (verdict.missing, verdict.duplicates, verdict.strangers) == (0, 1, 0)


def test_what_nobody_sent_is_told() -> None:
    assert judge(evidence([*EVERYTHING, 500])).strangers == 1


def test_present_may_skip_what_it_replaced_during_the_outage_and_nothing_else() -> None:
    verdict = judge(evidence(without(3, 4, 8), present=True))
    assert (verdict.outdated, verdict.missing) == (2 * SERIES, SERIES)
    reconnected_late = judge(evidence(without(3, 4, 5, 6), present=True))
    assert (reconnected_late.outdated, reconnected_late.missing) == (4 * SERIES, 0)
    assert judge(evidence(without(3))).missing == SERIES, "history skips nothing"


def test_kill_may_cost_the_last_probe_unless_it_was_on_disk() -> None:
    on_disk = set(range(3 * SERIES, 5 * SERIES))
    crash = Crash(probes=6, on_disk=on_disk)
    verdict = judge(evidence(without(5), crash=crash))
    assert (verdict.cut_off, verdict.missing, verdict.stored_missing) == (SERIES, 0, 0)
    verdict = judge(evidence(without(4, 5), crash=crash))
    assert (verdict.cut_off, verdict.missing, verdict.stored_missing) == (SERIES, SERIES, SERIES)
    verdict = judge(evidence(without(5), crash=Crash(probes=6, on_disk={*on_disk, 5 * SERIES})))
    assert (verdict.cut_off, verdict.missing, verdict.stored_missing) == (SERIES - 1, 1, 1)
