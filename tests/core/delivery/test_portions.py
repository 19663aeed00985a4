"""What is sent next: a target that is away differs from a batch that is bad."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from pollect.delivery.portions import REFUSED_IN_A_ROW, STRIKES, TRIES_TOGETHER, Portions


def run(
    queue: list[int], answer: Callable[[list[int]], str], tries: int
) -> tuple[list[int], list[int]]:
    """Deliver numbers as an outbox does; return what arrived and what was given up on."""
    portions = Portions()
    arrived, lost = [], []
    for _ in range(tries):
        if not queue:
            break
        if portions.other and len(queue) > portions.behind:
            sent = queue[portions.behind : portions.behind + 1]
        else:
            portions.behind = 1 if portions.other else portions.behind
            portions.other = False
            sent = queue[: portions.most]
        verdict = answer(sent)
        if verdict == "arrived":
            portions.arrived()
            arrived += sent
        elif {"refused": portions.refused, "failed": portions.failed}[verdict](len(sent)):
            lost += sent
        else:
            continue
        queue = [number for number in queue if number not in sent]
    return arrived, lost


def test_bad_batch_that_fails_again_and_again_costs_only_itself() -> None:
    for bad in (0, 7, 36):

        def answer(sent: list[int], bad: int = bad) -> str:
            return "failed" if bad in sent else "arrived"

        arrived, lost = run(list(range(40)), answer, 60)
        assert lost == [bad]
        assert sorted(arrived) == [number for number in range(40) if number != bad]


def test_single_bad_batch_is_not_given_up_on_without_a_sign_of_life() -> None:
    assert run([1], lambda sent: "failed", 1000) == ([], [])


def test_target_that_is_away_costs_nothing_however_long() -> None:
    for tries in range(1, 60):
        calls: list[int] = []

        def answer(sent: list[int], calls: list[int] = calls, away: int = tries) -> str:
            calls.append(len(sent))
            return "failed" if len(calls) <= away else "arrived"

        arrived, lost = run(list(range(20)), answer, 1000)
        assert lost == []
        assert sorted(arrived) == list(range(20))
        together = min(tries, TRIES_TOGETHER)
        assert calls[:together] == [20] * together


def test_refused_batches_are_found_by_halving() -> None:
    calls: list[int] = []

    def answer(sent: list[int]) -> str:
        calls.append(len(sent))
        return "refused" if {3, 17} & set(sent) else "arrived"

    arrived, lost = run(list(range(32)), answer, 100)
    assert lost == [3, 17]
    assert arrived == [number for number in range(32) if number not in (3, 17)]
    assert len(calls) < 32


def test_one_refused_batch_of_many_is_found_in_few_calls_wherever_it_stands() -> None:
    for bad in (*range(0, 1000, 97), 999):
        calls: list[int] = []

        def answer(sent: list[int], bad: int = bad, calls: list[int] = calls) -> str:
            calls.append(len(sent))
            return "refused" if bad in sent else "arrived"

        _, lost = run(list(range(1000)), answer, 1000)
        assert lost == [bad]
        assert len(calls) <= 40, f"four times log2 of a thousand, for number {bad}"


def test_target_that_refuses_everything_is_not_asked_batch_by_batch_for_long() -> None:
    calls: list[int] = []

    def answer(sent: list[int]) -> str:
        calls.append(len(sent))
        return "refused"

    assert run(list(range(1000)), answer, 1000) == ([], list(range(1000)))
    assert len(calls) < 4 * REFUSED_IN_A_ROW


@given(
    bad=st.sets(st.integers(0, 15), max_size=4),
    verdicts=st.lists(st.sampled_from(["failed", "refused"]), min_size=31, max_size=31),
)
def test_only_bad_batches_are_lost(bad: set[int], verdicts: list[str]) -> None:
    def answer(sent: list[int]) -> str:
        found = [number for number in sent if number in bad]
        return verdicts[found[0]] if found else "arrived"

    arrived, lost = run(list(range(31)), answer, 2000)
    assert set(lost) <= bad
    assert set(arrived) >= set(range(31)) - bad


def test_bad_batch_is_tried_twice_after_the_sign_of_life_of_another() -> None:
    calls: list[list[int]] = []

    def answer(sent: list[int]) -> str:
        calls.append(sent)
        return "failed" if 0 in sent else "arrived"

    run(list(range(9)), answer, 100)
    first_sign = calls.index([1])
    assert calls[first_sign:].count([0]) == STRIKES


def test_strikes_count_only_while_others_arrive() -> None:
    portions = Portions()
    for _ in range(TRIES_TOGETHER):
        assert not portions.failed(10)
    assert portions.most == 1
    for _ in range(STRIKES + 5):
        assert not portions.failed(1)


def test_others_that_fail_too_clear_the_suspect() -> None:
    portions = Portions()
    for _ in range(TRIES_TOGETHER):
        portions.failed(10)
    portions.failed(1)
    assert portions.other
    portions.arrived()
    assert not portions.failed(1), "one strike"
    portions.other = True
    assert not portions.failed(1), "the target is away now"
    assert not portions.failed(1)
    portions.arrived()
    assert not portions.failed(1), "the first strike again"
