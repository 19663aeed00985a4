"""What every test of these sources needs: a time zone, and time for signatures."""

import os
import time
from collections.abc import Callable, Iterator

import pytest

from pollect_sources_cloud import signing


@pytest.fixture(autouse=True)
def patient_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that signs loads a library first, which takes a busy machine its time."""
    monkeypatch.setattr(signing, "LIMIT_SECONDS", 200.0)


@pytest.fixture(autouse=True)
def time_zone() -> Iterator[Callable[[str], None]]:
    """Let the host be in Greenwich; gives a function that moves it."""
    before = os.environ.get("TZ")

    def move(name: str) -> None:
        os.environ["TZ"] = name
        time.tzset()

    move("UTC")
    yield move
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()
