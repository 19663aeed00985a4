"""The real clock."""

import threading
import time


class SystemClock:
    """Time of this machine."""

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        condition.wait(timeout)
