import logging

import pytest

from pollect.support.troubles import Troubles

LOG = logging.getLogger("test.troubles")


def test_failing_part_is_told_once_and_its_return_once(caplog: pytest.LogCaptureFixture) -> None:
    troubles = Troubles(LOG)
    for _ in range(3):
        troubles.failed("sda", "no answer")
    assert str(troubles) == "sda: no answer"
    for _ in range(3):
        troubles.works("sda")
    assert caplog.messages == ["sda: no answer", "sda: works again"]
    assert str(troubles) == ""


def test_each_new_kind_of_reason_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    troubles = Troubles(LOG)
    for seconds in range(3):
        troubles.failed("host", "refused", ConnectionRefusedError)
        troubles.failed("host", f"no answer within {seconds} s", TimeoutError)
    troubles.works("host")
    troubles.failed("host", "refused again", ConnectionRefusedError)
    assert caplog.messages == [
        "host: refused",
        "host: no answer within 0 s",
        "host: works again",
        "host: refused again",
    ]


def test_part_that_no_longer_exists_is_forgotten_silently(
    caplog: pytest.LogCaptureFixture,
) -> None:
    troubles = Troubles(LOG)
    troubles.failed("sda", "no answer")
    troubles.failed("sdb", "no answer")
    troubles.keep(["sdb"])
    assert str(troubles) == "sdb: no answer"
    troubles.failed("sda", "no answer")
    assert caplog.messages == ["sda: no answer", "sdb: no answer", "sda: no answer"]
