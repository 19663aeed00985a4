import gc
import json
import random
import stat
import threading
import time
from collections import deque
from pathlib import Path

import pytest

from pollect.api import Sample, SourceContext, SourceId, TargetUnavailable
from pollect.support.quota import (
    Budget,
    Quota,
    describe_budgets,
    retry_after,
    shared_budget,
)
from pollect.testing import FakeClock

DAY = Quota(1450, 86_400)
TEN_MINUTES = Quota(120, 600)


def context_in(folder: Path, clock: FakeClock) -> SourceContext:
    return SourceContext(
        id=SourceId("home", "Acme"),
        interval=10,
        clock=clock,
        config_dir=folder,
        state_dir=folder,
    )


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def context(tmp_path, clock) -> SourceContext:
    return context_in(tmp_path, clock)


def acme(context: SourceContext, *quotas: Quota, account: str = "owner@example.org") -> Budget:
    return shared_budget(context, "Acme", account, *(quotas or (DAY, TEN_MINUTES)))


def remaining(budget: Budget) -> dict[str, float]:
    return {
        sample.label_values[2]: sample.value
        for sample in budget.samples()
        if sample.metric.name == "remaining"
    }


def spends(budget: Budget, calls: int = 1) -> bool:
    try:
        budget.spend(calls)
    except TargetUnavailable:
        return False
    return True


def test_sources_of_one_account_share_one_budget(context, clock) -> None:
    first, second = acme(context), acme(context)
    assert first is second
    first.spend()
    second.spend(2)
    assert remaining(first) == {"86400": 1447, "600": 117}
    assert acme(context, account="other@example.org") is not first


def test_a_budget_knows_how_many_share_it(context) -> None:
    class Sharer:
        pass

    budget, first, second = acme(context), Sharer(), Sharer()
    for sharer in (first, second, second):
        budget.join(sharer)
    assert budget.sharers == 2
    for _ in range(2):
        budget.leave(first)
    assert budget.sharers == 1
    del second, sharer
    gc.collect()
    assert budget.sharers == 0


@pytest.mark.timeout(600)  # some ten seconds of work on a quiet machine
def test_no_call_is_let_through_beyond_any_window_wherever_it_starts(context, clock) -> None:
    """Hungry sources for three days, with restarts: a log of every call is the judge."""
    chance = random.Random(12)
    calls: list[float] = []
    recent: dict[Quota, deque[float]] = {DAY: deque(), TEN_MINUTES: deque()}
    budget = acme(context)
    for _ in range(12_000):
        clock.advance(chance.choice([0.5, 7, 31, 31, 62]))
        if chance.random() < 0.01:
            del budget
            gc.collect()
            budget = acme(context)
        while chance.random() < 0.9 and spends(budget):
            now = clock.time()
            calls.append(now)
            for quota, inside in recent.items():
                inside.append(now)
                while inside[0] <= now - quota.seconds:
                    inside.popleft()
                assert len(inside) <= quota.calls
    days = (calls[-1] - calls[0]) / 86_400
    assert days > 3
    # Careful, and yet not much is given away.
    assert len(calls) > 1450 * (days - 1) * 0.97


def test_the_error_names_the_window_and_when_it_goes_on(context, clock) -> None:
    budget = acme(context, Quota(2, 600))
    budget.spend(2)
    with pytest.raises(TargetUnavailable, match="all 2 calls of the last 10 minutes are used") as e:
        budget.spend()
    due = str(e.value).rpartition(" ")[2]
    while not spends(budget):
        clock.advance(1)
    assert time.strftime("%H:%M", time.localtime(clock.time())) == due[:5]


def test_calls_outlive_the_process_in_a_private_file_that_names_nobody(context, tmp_path) -> None:
    budget = acme(context)
    for _ in range(5):
        budget.spend()
    del budget
    gc.collect()
    assert remaining(acme(context)) == {"86400": 1445, "600": 115}
    (file,) = (tmp_path / "quota").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "owner" not in f"{file} {file.read_text()}"


def test_a_stated_reset_is_obeyed_over_a_restart(context, clock) -> None:
    budget = acme(context)
    budget.spend()
    error = budget.refused(until=clock.time() + 3600, limit=1450)
    moment = time.strftime("%H:%M", time.localtime(clock.time() + 3600))
    assert moment in str(error)
    assert error.retry_in == pytest.approx(3600)
    del budget, error
    gc.collect()
    budget = acme(context)
    assert remaining(budget) == {"86400": 0, "600": 0}
    clock.advance(3599)
    assert not spends(budget)
    clock.advance(2)
    assert spends(budget)
    assert budget.blocked_until is None


def test_refusals_without_a_time_mean_15_minutes_then_30_until_one_is_answered(
    context, clock
) -> None:
    budget = acme(context)
    for seconds in (900, 1800, 1800):
        budget.refused()
        assert budget.blocked_until == clock.time() + seconds
        clock.advance(seconds)
    budget.answered()
    budget.refused()
    assert budget.blocked_until == clock.time() + 900


@pytest.mark.parametrize("wait", [-5.0, 0.0, float("nan"), float("inf")])
def test_a_wait_that_makes_no_sense_counts_as_none(wait, context, clock) -> None:
    budget = acme(context)
    budget.refused(wait_seconds=wait)
    assert budget.blocked_until == clock.time() + 900
    clock.advance(901)
    budget.refused(until=clock.time() - 100)  # a reset that is over
    assert budget.blocked_until == clock.time() + 1800


def test_a_reset_in_the_far_future_blocks_no_longer_than_the_window(context, clock) -> None:
    budget = acme(context)
    budget.refused(until=clock.time() + 1e9)
    assert budget.blocked_until == clock.time() + 86_400


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (3000, {"86400": 3000, "600": 120}),
        (500, {"86400": 500, "600": 120}),
        (100, {"86400": 1450, "600": 100}),
        (0, {"86400": 1450, "600": 120}),
        (-1, {"86400": 1450, "600": 120}),
        (True, {"86400": 1450, "600": 120}),
    ],
)
def test_the_limit_is_what_the_service_says_and_stays_so(limit, expected, context, clock) -> None:
    budget = acme(context)
    budget.refused(wait_seconds=1, limit=limit)
    clock.advance(2)
    assert remaining(budget) == expected
    del budget
    gc.collect()
    assert remaining(acme(context)) == expected


def test_calls_of_other_programs_count_when_the_service_tells_what_is_left(context) -> None:
    budget = acme(context, Quota(60, 3600))
    budget.spend()
    budget.state_limit(60, remaining=20)
    assert remaining(budget) == {"3600": 20}
    budget.state_limit(60, remaining=40)  # an older reply: nothing is given back
    assert remaining(budget) == {"3600": 20}


def test_a_clock_that_jumps_back_gives_no_calls_back(context, clock) -> None:
    budget = acme(context, Quota(10, 3600))
    budget.spend(10)
    clock.step_wall_clock(-1800)
    assert not spends(budget)
    clock.step_wall_clock(1800 - 40 * 365 * 86_400)  # a board that boots in 1986
    spends(budget)
    clock.step_wall_clock(40 * 365 * 86_400)
    assert not spends(budget)


def test_a_block_from_a_clock_that_was_wrong_ends(context, clock) -> None:
    budget = acme(context)
    clock.step_wall_clock(10 * 365 * 86_400)
    budget.refused(wait_seconds=600)
    clock.step_wall_clock(-10 * 365 * 86_400)
    assert spends(budget)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"blocked_until": {}}', '{"windows": 5}'])
def test_a_damaged_file_is_said_and_starts_at_zero(text, context, tmp_path, caplog) -> None:
    acme(context).spend()
    gc.collect()
    (file,) = (tmp_path / "quota").iterdir()
    file.write_text(text)
    budget = acme(context)
    assert spends(budget)
    assert "the calls made so far are unknown, counting starts at 0" in caplog.text
    assert json.loads(file.read_text())["windows"]["600"]["limit"] == 120


def test_without_a_place_to_keep_it_the_budget_counts_in_memory(tmp_path, clock, caplog) -> None:
    (tmp_path / "file").write_text("")
    budget = acme(context_in(tmp_path / "file", clock))
    for _ in range(3):
        budget.spend()
    assert remaining(budget)["600"] == 117
    assert [r.levelname for r in caplog.records if "cannot keep" in r.getMessage()] == ["WARNING"]


def test_threads_together_get_no_more_than_there_is(context) -> None:
    budget = acme(context, Quota(50, 3600))
    granted: list[bool] = []

    def hungry() -> None:
        granted.extend(spends(budget) for _ in range(20))

    threads = [threading.Thread(target=hungry) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert granted.count(True) == 50


def test_self_metrics_show_what_is_left_and_not_who(context) -> None:
    gc.collect()
    first, second = acme(context), acme(context, account="second@example.org")
    first.spend()
    second.refused(wait_seconds=60)
    (batch,) = describe_budgets()
    assert batch.source == SourceId("pollect", "quota")
    shown: list[Sample] = [s for s in batch.samples if s.metric.name == "remaining"]
    assert [(sample.label_values, sample.value) for sample in shown] == [
        (("Acme", "1", "86400"), 1449),
        (("Acme", "1", "600"), 119),
        (("Acme", "2", "86400"), 0),
        (("Acme", "2", "600"), 0),
    ]
    assert "example" not in repr(batch)
    del first, second
    gc.collect()
    assert describe_budgets() == []


def test_self_metrics_do_not_wait_for_a_disk_that_hangs(context, monkeypatch) -> None:
    gc.collect()
    hanging, disk_is_back = threading.Event(), threading.Event()

    def write(*arguments: object, **options: object) -> None:
        hanging.set()
        assert disk_is_back.wait(30)

    monkeypatch.setattr("pollect.support.quota.write_private", write)
    budget = acme(context, Quota(50, 3600))
    assert describe_budgets() == [], "nothing is known before the first call"
    call = threading.Thread(target=budget.spend)
    call.start()
    assert hanging.wait(30)
    (batch,) = describe_budgets()
    assert [sample.value for sample in batch.samples] == [49, 50]
    disk_is_back.set()
    call.join()
    assert describe_budgets() == [batch]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        (" 5 ", 5),
        ("Tue, 14 Nov 2023 22:15:20 GMT", 120),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0),
        ("soon", None),
        ("", None),
        ("²", None),
        ("-5", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text, seconds) -> None:
    assert retry_after({"Retry-After": text}, FakeClock()) == seconds
    assert retry_after({}, FakeClock()) is None
