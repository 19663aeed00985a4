import pytest

from pollect.api import AuthenticationFailed, NoData, TargetUnavailable
from pollect.support.pacing import Pace
from pollect.testing import FakeClock


class Cloud:
    """Answers with the number of the request, or fails as asked."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.failure: Exception | None = None

    def fetch(self, clock: FakeClock) -> int:
        self.times.append(clock.monotonic())
        if self.failure is not None:
            raise self.failure
        return len(self.times)


def test_probes_in_between_get_the_last_result() -> None:
    clock, cloud = FakeClock(), Cloud()
    pace = Pace[int](90, clock)
    results = []
    for _ in range(19):
        results.append(pace.read(lambda: cloud.fetch(clock)))
        clock.advance(10)
    assert results == [1] * 9 + [2] * 9 + [3]
    assert [moment - cloud.times[0] for moment in cloud.times] == [0, 90, 180]


def test_a_tick_that_comes_a_little_early_is_not_put_off_to_the_next() -> None:
    clock, cloud = FakeClock(), Cloud()
    pace = Pace[int](90, clock)
    assert pace.read(lambda: cloud.fetch(clock)) == 1
    clock.advance(89.5)
    assert pace.read(lambda: cloud.fetch(clock)) == 2


@pytest.mark.parametrize(
    ("failure", "silence"),
    [
        (TargetUnavailable("no answer"), 90),
        (NoData("nothing"), 90),
        (AuthenticationFailed("refused"), 900),
        (RuntimeError("a bug of the source"), 90),
    ],
)
def test_a_failure_is_repeated_and_not_asked_for(failure, silence) -> None:
    clock, cloud = FakeClock(), Cloud()
    pace = Pace[int](90, clock)
    cloud.failure = failure
    while clock.monotonic() < 1000 + silence:
        with pytest.raises(type(failure)):
            pace.read(lambda: cloud.fetch(clock))
        clock.advance(10)
    assert len(cloud.times) == 1
    cloud.failure = None
    assert pace.read(lambda: cloud.fetch(clock)) == 2


def test_a_reload_keeps_the_distance_and_forgets_a_failure() -> None:
    clock, cloud = FakeClock(), Cloud()
    first, second, third = (Pace[int](90, clock) for _ in range(3))
    first.read(lambda: cloud.fetch(clock))
    second.take_over(first)
    assert second.read(lambda: cloud.fetch(clock)) == 1
    clock.advance(90)
    cloud.failure = AuthenticationFailed("refused")
    with pytest.raises(AuthenticationFailed):
        second.read(lambda: cloud.fetch(clock))
    third.take_over(second)
    cloud.failure = None
    assert third.read(lambda: cloud.fetch(clock)) == 3


def test_a_cure_ends_the_repetition_of_a_failure_and_of_nothing_else() -> None:
    clock, cloud = FakeClock(), Cloud()
    pace = Pace[int](90, clock)
    cloud.failure = AuthenticationFailed("not signed in")
    for _ in range(3):
        with pytest.raises(AuthenticationFailed):
            pace.read(lambda: cloud.fetch(clock), key=1)
    cloud.failure = None
    assert pace.read(lambda: cloud.fetch(clock), key=2) == 2
    assert pace.read(lambda: cloud.fetch(clock), key=3) == 2
