import gc
import logging
import threading
import time
import weakref

import pytest

from pollect.api import AuthenticationFailed, Metric, SourceConfig, TargetUnavailable
from pollect.support.background import Background, BackgroundSource
from pollect.support.backoff import Backoff
from pollect.testing import FakeClock, Running, build_source, no_leaks
from pollect.testing.clock import GLANCE_SECONDS
from pollect.testing.waiting import wait_until

LOG = logging.getLogger("test.background")


def test_pauses_double_up_to_the_longest_and_start_small_after_success() -> None:
    backoff = Backoff(first=1.0, longest=8.0)
    for expected in (1, 2, 4, 8, 8):
        assert 0.9 * expected <= backoff.pause() <= expected
    backoff.reset()
    assert backoff.pause() <= 1.0
    backoff.exhaust()
    assert backoff.pause() >= 0.9 * 8


class Line:
    """A connection whose attempts each do the next thing of a list: fail, work, hang up."""

    def __init__(
        self, *script: BaseException | str, silence: float | None = None, quiet: bool = False
    ) -> None:
        self.script = list(script)
        self.attempts = 0
        self.ended = threading.Event()
        self.clock = FakeClock()
        self.pauses = pauses = list[float]()

        class Watched(Backoff):
            def pause(self) -> float:
                pauses.append(super().pause())
                return pauses[-1]

        self.background = Background(
            self.work,
            interrupt=self.ended.set,
            log=LOG,
            clock=self.clock,
            backoff=Watched(),
            silence_seconds=silence,
            log_failures=not quiet,
        )

    def work(self) -> None:
        step = self.script.pop(0) if self.script else "listen"
        self.attempts += 1
        self.ended.clear()
        match step:
            case BaseException():
                raise step
            case "listen":
                self.background.works()
                self.ended.wait(30)
            case "hang up":
                self.background.works()
            case "asleep":
                self.background.slow_down()
                raise TargetUnavailable("asleep")
            case "hang":
                self.ended.wait(30)

    def __enter__(self) -> "Line":
        self.background.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.background.stop()

    def wait_for(self, attempts: int) -> None:
        """Let time pass until the attempt of this number runs or is over."""

        def reached() -> bool:
            self.clock.advance(1.0)
            return self.attempts >= attempts

        wait_until(reached)

    def is_up(self) -> bool:
        try:
            self.background.check()
        except TargetUnavailable:
            return False
        return True


def test_work_that_fails_is_tried_again_and_reported_once(caplog) -> None:
    caplog.set_level(logging.INFO)
    away = TargetUnavailable("no answer")
    with Line(away, away, OSError(111, "Connection refused")) as line, no_leaks():
        line.background.start()
        line.wait_for(4)
        wait_until(line.is_up)
        line.background.stop()
        line.background.stop()
        assert line.background.stopped
    assert caplog.messages == ["no answer; trying again", "works again"]


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(3), RecursionError(), GeneratorExit()])
def test_whatever_the_work_raises_it_goes_on_and_the_error_is_reported(
    error: BaseException, caplog
) -> None:
    with Line(error, error, quiet=True) as line:
        with pytest.raises(TargetUnavailable, match=type(error).__name__):
            line.background.check(patience_seconds=30)
        line.wait_for(3)
        wait_until(line.is_up)
    assert [(record.levelname, bool(record.exc_info)) for record in caplog.records] == [
        ("ERROR", True)
    ]


def test_an_error_whose_text_cannot_be_shown_ends_nothing() -> None:
    class Rude(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    with Line(Rude()) as line:
        with pytest.raises(TargetUnavailable, match="Rude"):
            line.background.check(patience_seconds=30)
        line.wait_for(2)


def test_the_reason_stays_until_the_device_answers_again() -> None:
    with Line("hang up", AuthenticationFailed("wrong key")) as line:
        wait_until(lambda: not line.is_up())
        with pytest.raises(TargetUnavailable, match="the device closed the connection"):
            line.background.check()
        line.clock.advance(1.0)
        wait_until(lambda: line.attempts == 2)
        with pytest.raises(AuthenticationFailed, match="wrong key"):
            wait_until(line.is_up)


def test_a_peer_that_accepts_and_hangs_up_gets_growing_pauses() -> None:
    with Line(*["hang up"] * 7) as line:
        line.wait_for(8)
    assert line.pauses[0] <= 1
    assert line.pauses == sorted(line.pauses)
    assert 50 <= line.pauses[-1] <= 60, "a minute is the longest"


def test_pauses_start_small_again_after_a_minute_that_worked() -> None:
    with Line(*["hang up"] * 6) as line:
        line.wait_for(7)
        wait_until(line.is_up)
        line.clock.advance(61)
        line.ended.set()
        line.wait_for(8)
    assert line.pauses[6] <= 1


def test_refused_credentials_wait_for_the_longest_pause_at_once() -> None:
    with Line(AuthenticationFailed("wrong key")) as line:
        line.wait_for(2)
    assert line.pauses[0] >= 50


def test_work_may_ask_for_the_longest_pause_and_a_good_minute_ends_that() -> None:
    with Line("asleep") as line:
        line.wait_for(2)
        wait_until(line.is_up)
        line.clock.advance(61)
        line.ended.set()
        line.wait_for(3)
    assert line.pauses[0] >= 50
    assert line.pauses[1] <= 1


def test_a_silent_peer_is_noticed_and_connected_to_again() -> None:
    with Line(silence=60) as line:
        wait_until(line.is_up)
        line.clock.advance(59)
        line.background.works()
        line.clock.advance(59)
        assert line.is_up()
        line.clock.advance(2)
        wait_until(lambda: not line.is_up())
        with pytest.raises(TargetUnavailable, match="silent for 60 s"):
            line.background.check()
        line.wait_for(2)
        wait_until(line.is_up)


def test_an_attempt_that_hangs_in_connecting_is_interrupted() -> None:
    with Line("hang", silence=60) as line:
        wait_until(lambda: line.attempts == 1)
        with pytest.raises(TargetUnavailable, match="connecting"):
            line.background.check()
        line.clock.advance(61)
        line.wait_for(2)
        wait_until(line.is_up)


def test_a_pause_is_not_taken_for_silence() -> None:
    with Line(AuthenticationFailed("wrong key"), silence=5) as line:
        with pytest.raises(AuthenticationFailed):
            line.background.check(patience_seconds=30)
        for _ in range(3):
            line.clock.advance(10)
            time.sleep(2 * GLANCE_SECONDS)  # the watch looks at the time in the meantime
        with pytest.raises(AuthenticationFailed):
            line.background.check()


def test_a_failure_keeps_nothing_alive_that_the_work_held() -> None:
    class Held:
        pass

    held = Held()
    gone = weakref.ref(held)

    def work() -> None:
        nonlocal held
        kept, held = held, Held()
        raise TargetUnavailable(f"away, while {type(kept).__name__} was open")

    background = Background(work, interrupt=lambda: None, log=LOG, clock=FakeClock())
    background.start()
    with pytest.raises(TargetUnavailable, match="away"):
        background.check(patience_seconds=30)
    gc.collect()
    assert gone() is None
    background.stop()


@pytest.mark.parametrize("step", ["hang", "listen", TargetUnavailable("away")])
def test_stop_returns_at_once(step: BaseException | str) -> None:
    with no_leaks(limit_seconds=20.0):
        with Line(step, silence=60) as line:
            wait_until(lambda: line.attempts == 1)
            line.background.stop()


def test_an_interrupt_that_raises_does_not_keep_the_work_from_stopping(caplog) -> None:
    ended = threading.Event()

    def work() -> None:
        ended.wait(30)

    def interrupt() -> None:
        ended.set()
        raise RuntimeError("not now")

    background = Background(work, interrupt=interrupt, log=LOG, clock=FakeClock())
    with no_leaks():
        background.start()
        background.stop()
    assert caplog.messages == ["cannot be interrupted: RuntimeError: not now"]


def test_work_that_was_left_behind_ends_and_does_not_speak_for_the_next(
    monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    monkeypatch.setattr("pollect.support.background.STOP_SECONDS", 0.05)
    busy, ends = [threading.Event(), threading.Event()], [False, False]
    attempts: list[int] = []

    def work() -> None:
        number = len(attempts)
        attempts.append(number)
        busy[number].wait(30)
        ends[number] = background.stopped
        background.works()

    background = Background(work, interrupt=lambda: None, log=LOG, clock=FakeClock())
    with no_leaks():
        background.start()
        wait_until(lambda: attempts == [0])
        background.stop()
        assert "is left behind" in caplog.text
        background.start()
        wait_until(lambda: attempts == [0, 1])
        busy[0].set()
        wait_until(lambda: ends[0])
        with pytest.raises(TargetUnavailable, match="connecting"):
            background.check()
        background.stop()
        busy[1].set()


def test_stopped_work_can_start_again() -> None:
    line = Line()
    with line:
        wait_until(lambda: line.attempts == 1)
    with line:
        wait_until(lambda: line.attempts == 2)
    assert not [thread for thread in threading.enumerate() if thread.name == LOG.name]


LEVEL = Metric("level", help="Level.")


class BellSource(BackgroundSource[SourceConfig]):
    """A device that says its level once, and then hangs up when the test wants it to."""

    config_type = SourceConfig
    metrics = (LEVEL,)
    refused = False

    def open(self) -> None:
        self.ended = threading.Event()
        super().open()

    def receive(self) -> None:
        if self.refused:
            raise TargetUnavailable("it is away")
        self.background.works()
        self.ended.wait(30)

    def interrupt(self) -> None:
        self.ended.set()

    def latest(self) -> dict[str, float]:
        return {"level": 1.0}


def test_a_background_source_reports_its_values_and_then_why_there_are_none() -> None:
    source = bell()
    with no_leaks(), Running(source) as running:
        assert running.probe() == [LEVEL.sample(1.0)]
        source.ended.set()
        wait_until(lambda: "closed" in reason_of(running))
        with pytest.raises(TargetUnavailable, match="the device closed the connection"):
            running.probe()


def bell() -> BellSource:
    source = build_source({}, BellSource)
    assert isinstance(source, BellSource)
    return source


def reason_of(running: Running) -> str:
    try:
        running.probe()
    except TargetUnavailable as error:
        return str(error)
    return ""


def test_the_first_probe_of_an_absent_device_does_not_wait() -> None:
    source = bell()
    source.refused = True
    with Running(source) as running:
        with pytest.raises(TargetUnavailable, match="it is away"):
            running.probe()
