"""`Value`, `ValueSet` and `AvgValue` of pollect 1.x."""

from collections.abc import Sequence
from typing import Any


class Value:
    """A value with the values of its labels; `name` is the last part of the metric name."""

    def __init__(
        self, value: Any, label_values: Sequence[Any] | None = None, name: str | None = None
    ) -> None:
        self.value = int(value) if isinstance(value, bool) else value
        self.label_values = [] if label_values is None else label_values
        self.name = name

    def get_key(self) -> str:
        """Return name and label values in one text."""
        return "".join(str(part) for part in (self.name or "", *self.label_values))

    def __repr__(self) -> str:
        return f"{self.value} ({self.name}, {list(self.label_values)})"


class ValueSet:
    """Values that share the names of their labels."""

    def __init__(self, labels: Sequence[str] | None = None) -> None:
        self.labels = [] if labels is None else labels
        self.values: list[Value] = []
        #: Whole Unix seconds, set after the probe.
        self.time = 0
        #: `collection.type` or `collection.type.name`, set after the probe.
        self.name = ""

    def add(self, value: Value) -> None:
        """Append a value."""
        self.values.append(value)

    def __repr__(self) -> str:
        lines = "\n\t".join(map(repr, self.values))
        return f"{self.name} {list(self.labels)}\n\t{lines}"


class AvgValue:
    """The average of values that belong to one series."""

    def __init__(self, base: Value) -> None:
        self.base = base
        self.count = 1
        self.sum: float = base.value

    def add(self, value: Value) -> None:
        """Count one more value in."""
        self.count += 1
        self.sum += value.value

    def avg(self) -> float:
        """Return the average of all values so far."""
        return self.sum / self.count
