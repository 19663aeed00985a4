"""Change per second of an agent's counters: wraps, reboots and gaps told apart.

The library hands out plain integers, so whether a counter that went back wrapped is decided from
the values: below 2^32 it was 32 bits wide. Whether the device restarted is decided from its
sysUpTime.
"""

from typing import Literal, TypeAlias

CounterBits: TypeAlias = Literal["auto", "none", 32, 64]

WRAP_32 = 1 << 32
TICKS_PER_SECOND = 100
#: sysUpTime itself wraps after 497 days; clocks of devices drift by less than this.
_UPTIME_TOLERANCE_TICKS = 60 * TICKS_PER_SECOND


class Rates:
    """The last values of one agent."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, float]] = {}
        self._uptime: tuple[float, float] | None = None

    def note_uptime(self, ticks: float, now: float) -> bool:
        """Take note of sysUpTime in hundredths of a second at monotonic time `now`.

        Returns True, and forgets all values, when the device was restarted since the last time.
        """
        before, self._uptime = self._uptime, (ticks, now)
        if before is None or not has_restarted(before[0], ticks, now - before[1]):
            return False
        self._last.clear()
        return True

    def forget(self) -> None:
        """Forget all values."""
        self._last.clear()
        self._uptime = None

    def per_second(self, key: str, value: float, now: float, bits: CounterBits) -> float | None:
        """Return the change per second since the last value of `key`; None if there is none."""
        last = self._last.get(key)
        if last is None:
            self._last[key] = (value, now)
            return None
        elapsed = now - last[1]
        if elapsed <= 0:
            return None
        self._last[key] = (value, now)
        change = counter_change(last[0], value, bits)
        return None if change is None else change / elapsed


def counter_change(before: float, now: float, bits: CounterBits) -> float | None:
    """Return how far a counter went; None when it went back by other means than a wrap."""
    change = now - before
    if change >= 0 or bits == "none":
        return change
    if bits == 64 or before >= WRAP_32 or now < 0:
        return None
    return change + WRAP_32


def has_restarted(before: float, now: float, elapsed: float) -> bool:
    """Whether a device restarted between two values of sysUpTime `elapsed` seconds apart."""
    expected = before + elapsed * TICKS_PER_SECOND
    if now < before:
        return expected < WRAP_32 - _UPTIME_TOLERANCE_TICKS
    # It may have run longer again than it had before, but not longer than we were away.
    return now + _UPTIME_TOLERANCE_TICKS < expected and now < elapsed * TICKS_PER_SECOND
