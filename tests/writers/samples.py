"""Batches for tests."""

from collections.abc import Mapping

from pollect.api import Batch, Kind, Metric, SourceId

#: What `FakeClock` shows, and a time that every backend takes.
NOW = 1_700_000_000.0

VALUE = Metric("value", help="A number.")
BYTES = Metric("bytes_sent", help="Bytes sent.", unit="bytes", kind=Kind.COUNTER, labels=("nic",))


def values(source: SourceId, numbers: Mapping[str, float], *, time: float = NOW) -> Batch:
    """Return one batch with a value for each label `of`."""
    metric = Metric("value", help="A number.", labels=("of",))
    return Batch(source, [metric.sample(value, of) for of, value in numbers.items()], time)


def numbered(source: SourceId, number: int, *, time: float | None = None) -> Batch:
    """Return the batch of one tick: its number is its value, one second apart by default."""
    return Batch(source, [VALUE.sample(float(number))], NOW + number if time is None else time)


def counted(source: SourceId, amount: float, *, time: float = NOW) -> Batch:
    """Return a batch with one counter."""
    return Batch(source, [BYTES.sample(amount, "eth0")], time)
