"""What the rows of a spool hold: sources and series of its dictionary, and samples by number."""

from typing import TypeAlias

import msgspec

from pollect.model import Batch, Kind, Metric, SourceId

#: Static labels are part of where a batch comes from.
SourceKey: TypeAlias = tuple[SourceId, tuple[tuple[str, str], ...]]
SeriesKey: TypeAlias = tuple[Metric, tuple[str, ...]]


class _SourceEntry(msgspec.Struct, array_like=True, tag=0):
    source: tuple[str, str, str | None, int]
    static_labels: tuple[tuple[str, str], ...]


class _SeriesEntry(msgspec.Struct, array_like=True, tag=1):
    name: str | None
    help: str
    unit: str
    kind: Kind
    labels: tuple[str, ...]
    label_values: tuple[str, ...]


class Samples(msgspec.Struct, array_like=True):
    """The samples of a batch; `times` has those that differ from the batch's, by position."""

    series: list[int]
    values: list[int | float]
    times: dict[int, float]


_encode = msgspec.msgpack.Encoder().encode
_decode_entry = msgspec.msgpack.Decoder(_SourceEntry | _SeriesEntry).decode
#: Raises `msgspec.MsgspecError`.
decode_samples = msgspec.msgpack.Decoder(Samples).decode


def encode_samples(batch: Batch, series: list[int]) -> bytes:
    """Return the samples of a batch, whose series have these numbers in the dictionary."""
    samples = batch.samples
    times = {
        position: sample.time for position, sample in enumerate(samples) if sample.time is not None
    }
    try:
        return _encode(Samples(series, [sample.value for sample in samples], times))
    except OverflowError:
        # An integer beyond 64 bits; a float holds it as well as any writer can.
        return _encode(Samples(series, [float(sample.value) for sample in samples], times))


def encode_key(key: SourceKey | SeriesKey) -> bytes:
    """Return an entry of the dictionary."""
    first, second = key
    if isinstance(first, Metric):
        facts = (first.name, first.help, first.unit, first.kind, first.labels)
        return _encode(_SeriesEntry(*facts, second))  # type: ignore[arg-type]
    return _encode(_SourceEntry(first, second))  # type: ignore[arg-type]


def decode_key(entry: bytes) -> SourceKey | SeriesKey:
    """Return what an entry of the dictionary means; raises `msgspec.MsgspecError`."""
    found = _decode_entry(entry)
    if isinstance(found, _SourceEntry):
        return SourceId(*found.source), found.static_labels
    metric = Metric(
        found.name,
        help=found.help,
        unit=found.unit,
        kind=found.kind,
        labels=found.labels,
    )
    return metric, found.label_values
