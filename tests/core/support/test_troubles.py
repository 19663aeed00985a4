import logging

import pytest

from pollect.api import TargetUnavailable
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


def test_reading_a_part_catches_what_a_device_does_and_no_mistake_of_ours() -> None:
    troubles = Troubles(LOG)
    for error in (TargetUnavailable("away"), OSError(5, "input/output error"), KeyError("serial")):
        with troubles.part(type(error).__name__, KeyError):
            raise error
    assert troubles.texts() == (
        "TargetUnavailable: away",
        "OSError: OSError: [Errno 5] input/output error",
        "KeyError: KeyError: 'serial'",
    )
    with troubles.part("KeyError"):
        pass
    assert "KeyError" not in troubles
    with pytest.raises(ZeroDivisionError), troubles.part("KeyError"):
        _ = 1 / 0


def test_parts_that_look_alike_are_told_apart_by_their_key() -> None:
    troubles = Troubles(LOG)
    troubles.failed("http://me:one@host/", "refused", shown="http://***@host/")
    troubles.failed("http://me:two@host/", "refused", shown="http://***@host/")
    troubles.works("http://me:one@host/")
    assert troubles.texts() == ("http://***@host/: refused",)
