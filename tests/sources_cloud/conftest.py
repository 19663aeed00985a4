"""Time zones: the values of some sources depend on where the host is."""

import os
import time
from collections.abc import Callable, Iterator

import pytest


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
