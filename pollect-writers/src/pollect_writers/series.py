"""What a writer works out once for each series, and not again at every tick."""

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from pollect.api import Batch, Metric, Sample, SourceId

_T = TypeVar("_T")


class _Known(NamedTuple, Generic[_T]):
    """The series of a source's last batch, in its order."""

    static_labels: tuple[tuple[str, str], ...]
    metrics: list[Metric]
    label_values: list[tuple[str, ...]]
    values: list[_T]


class SeriesCache(Generic[_T]):
    """Remembers something about each series of the last batch of each source.

    A source mostly brings the same series in the same order: comparing two lists then spares the
    look-up of every single one.
    """

    def __init__(self, build: Callable[[Batch, Sample], _T]) -> None:
        self._build = build
        self._known: dict[SourceId, _Known[_T]] = {}

    def of(self, batch: Batch) -> Sequence[_T]:
        """Return what `build` made of each sample's series, in the order of the samples."""
        samples = batch.samples
        metrics = [sample[0] for sample in samples]
        label_values = [sample[2] for sample in samples]
        known = self._known.get(batch.source)
        if known is None or known.static_labels != batch.static_labels:
            before: dict[tuple[Metric, tuple[str, ...]], _T] = {}
        elif known.metrics == metrics and known.label_values == label_values:
            return known.values
        else:
            keys = zip(known.metrics, known.label_values, strict=True)
            before = dict(zip(keys, known.values, strict=True))
        values = []
        for sample in samples:
            key = (sample.metric, sample.label_values)
            values.append(before[key] if key in before else self._build(batch, sample))
        if samples:
            found = _Known(batch.static_labels, metrics, label_values, values)
            self._known[batch.source] = found
        else:
            # The source has none any more; it may be gone for good.
            self._known.pop(batch.source, None)
        return values
