import logging
import threading
import time

import pytest

from pollect.api import TargetUnavailable
from pollect.support.background import Background
from pollect.support.backoff import Backoff
from pollect.testing.waiting import wait_until

LOG = logging.getLogger("test.background")


def test_pauses_double_up_to_the_longest_and_begin_anew_after_success() -> None:
    backoff = Backoff(first=1.0, longest=8.0)
    for expected in (1, 2, 4, 8, 8):
        assert 0.9 * expected <= backoff.pause() <= expected
    backoff.reset()
    assert backoff.pause() <= 1.0


class Line:
    """A connection that ends when told to."""

    def __init__(self) -> None:
        self.attempts = 0
        self.ended = threading.Event()
        self.background = Background(
            self.work,
            interrupt=self.ended.set,
            log=LOG,
            backoff=Backoff(first=0.001, longest=0.002),
        )

    def work(self) -> None:
        self.attempts += 1
        if self.attempts < 4:
            raise TargetUnavailable("no answer")
        self.background.works()
        self.ended.wait(30)


def test_work_that_fails_is_tried_again_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    line = Line()
    line.background.start()
    line.background.start()
    wait_until(lambda: line.attempts == 4)
    wait_until(lambda: "works again" in caplog.messages)
    line.background.stop()
    line.background.stop()
    assert line.background.stopped
    assert caplog.messages == ["no answer; trying again", "works again"]


def test_stopped_work_can_start_again() -> None:
    line = Line()
    for attempts in (4, 5):
        line.ended.clear()
        line.background.start()
        while line.attempts < attempts:
            time.sleep(0.001)
        line.background.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == LOG.name]
