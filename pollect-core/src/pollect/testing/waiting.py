"""Wait for a condition instead of sleeping for luck."""

import time
from collections.abc import Callable
from typing import TypeVar

ResultT = TypeVar("ResultT")

PAUSE_SECONDS = 0.002


def wait_until(
    condition: Callable[[], ResultT], what: str = "", *, limit_seconds: float = 60.0
) -> ResultT:
    """Call `condition` until it returns something true, and return that.

    Raises `AssertionError` naming `what` after `limit_seconds` of real time.
    """
    end = time.monotonic() + limit_seconds
    while not (result := condition()):
        if time.monotonic() >= end:
            raise AssertionError(f"waited {limit_seconds:g} s in vain for {what or condition}")
        time.sleep(PAUSE_SECONDS)
    return result
