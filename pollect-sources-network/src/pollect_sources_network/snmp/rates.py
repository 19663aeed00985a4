"""Change per second of an agent's counters: wraps, reboots and gaps distinguished.

The library hands out plain integers, so whether a counter that went back wrapped is decided from
the values: below 2^32 it was 32 bits wide, and it wrapped if it stood in the upper half of that
range before. From the lower half it was reset, as by `clear counters` or a driver that was loaded
again. Whether the device restarted is decided from its sysUpTime.
"""

from typing import Literal, TypeAlias

from pollect.support.rates import counter_change

CounterBits: TypeAlias = Literal["auto", "none", 32, 64]

WRAP_32 = 1 << 32
WRAP_64 = 1 << 64
#: What a counter of 32 bits can count: octets of a gigabit link. RFC 2863, section 3.1.6, asks for
#: 64 bits from 20 megabits on.
_FASTEST_32_PER_SECOND = 125e6
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
        change = change_of(last[0], value, bits, elapsed)
        return None if change is None else change / elapsed


def change_of(before: float, now: float, bits: CounterBits, elapsed: float) -> float | None:
    """Return how far a counter went in `elapsed` seconds; None when it was reset.

    What stands back wrapped when it was in the upper half of its range before, or, where the config
    says that it is 32 bits wide, when the rate that follows is possible.
    """
    if bits == "none":
        return now - before
    is_wide = bits == 64 or before >= WRAP_32
    change = counter_change(before, now, WRAP_64 if is_wide else WRAP_32)
    if change is None and bits == 32 and 0 <= now < before < WRAP_32:
        wrapped = now - before + WRAP_32
        return wrapped if wrapped <= _FASTEST_32_PER_SECOND * elapsed else None
    return change


def has_restarted(before: float, now: float, elapsed: float) -> bool:
    """Whether a device restarted between two values of sysUpTime `elapsed` seconds apart."""
    expected = before + elapsed * TICKS_PER_SECOND
    if now < before:
        return expected < WRAP_32 - _UPTIME_TOLERANCE_TICKS
    # It may have run longer again than it had before, but not longer than we were away.
    return now + _UPTIME_TOLERANCE_TICKS < expected and now < elapsed * TICKS_PER_SECOND
