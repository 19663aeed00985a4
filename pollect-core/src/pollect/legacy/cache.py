"""`ValueCache` of pollect 1.x: keeps values between two probes."""

import threading

from pollect.legacy.values import AvgValue, Value


class ValueCache:
    """Keeps the last value of every series, or the average of its values, until it is flushed.

    Safe to use from several threads; `lock()` and `release()` make several calls one.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._items: dict[tuple[str | None, tuple[str, ...]], AvgValue] = {}

    def add(self, value: Value, average: bool = False) -> None:
        """Take a value: it replaces the one before, or with `average` is averaged with it."""
        key = value.name, tuple(map(str, value.label_values))
        with self._lock:
            if average and key in self._items:
                self._items[key].add(value)
            else:
                self._items[key] = AvgValue(value)

    def flush_values(self) -> list[Value]:
        """Return all values and forget them."""
        with self._lock:
            items, self._items = self._items, {}
        return [
            Value(item.avg(), list(item.base.label_values), item.base.name)
            for item in items.values()
        ]

    def lock(self) -> None:
        """Keep other threads out until `release()`."""
        self._lock.acquire()

    def release(self) -> None:
        """Let other threads in again."""
        self._lock.release()
