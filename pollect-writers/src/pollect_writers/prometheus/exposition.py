"""The text of a scrape: one rendered block for each source, joined when a scraper asks.

A source has the same series in the same order at nearly every probe. Its `Layout` remembers their
`name{labels} ` prefixes, so that a batch costs little more than formatting its numbers; only when
the series change is a new layout made. It keeps them as templates of many lines, which take a third
of the memory that a text for each series does, and half of the time. Blocks are immutable and
swapped under a lock: a scrape takes what is there and never waits for a probe.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple, TypeAlias

from pollect.api import Batch, Metric, Sample, SourceId
from pollect.support.names import metric_name
from pollect_writers.prometheus.families import (
    Family,
    FormatSeries,
    family_of,
    series_formatter,
)

StaticLabels: TypeAlias = tuple[tuple[str, str], ...]
#: Families with their lines, each line beginning with a newline.
Block: TypeAlias = list[tuple[Family, bytes]]
_Described: TypeAlias = tuple[Family, FormatSeries]
#: Gives the sources of the series of a name by the hash of their prefixes.
_Owners: TypeAlias = Callable[[str], Mapping[int, SourceId]]
_FEWEST_SHARERS = 2
_NEWLINE = b"\n"
#: Bytes above which texts are handed on as they are: a copy of all would cost more than it saves.
_LARGE = 16_384
#: Stands in a template for the number of a line.
_NUMBER = b"%r"
#: Lines of a template at most, so that what formatting needs for a moment is little.
_LINES = 1000
_END_OF_OPEN_METRICS = b"# EOF\n"


class Template(NamedTuple):
    """The lines of some series of a family, to be filled with their numbers by `%`."""

    text: bytes
    lines: int

    @classmethod
    def of(cls, prefixes: Sequence[str]) -> "Template":
        text = "".join(prefixes).encode("utf-8", "replace").replace(b"%", b"%%")
        # A prefix begins with the only newline it has and ends with a blank.
        lines = text[1:].split(_NEWLINE)
        return cls(b"".join([b"\n%b%b" % (line, _NUMBER) for line in lines]), len(lines))

    def prefixes(self) -> list[str]:
        lines = self.text[1:].split(_NEWLINE)
        cut = -len(_NUMBER)
        return [f"\n{line[:cut].replace(b'%%', b'%').decode()}" for line in lines]


class Layout(NamedTuple):
    """The series of one source, in the order of its samples and in the order of the text."""

    metrics: list[Metric]
    labels: list[tuple[str, ...]]
    static: StaticLabels
    #: Which sample comes next in the text; None if the orders are the same.
    order: list[int] | None
    #: Families in the order of the text with their lines.
    families: list[tuple[Family, list[Template]]]
    #: False while a series is left out because another source has it: look again next time.
    complete: bool

    def known(self) -> dict[tuple[Metric, tuple[str, ...]], str]:
        """Return the prefixes by metric and label values."""
        keys = zip(self.metrics, self.labels, strict=True)
        prefixes = self.prefixes_of([family.name for family, _ in self.families])
        if self.order is None:
            return dict(zip(keys, prefixes, strict=True))
        by_index = list(keys)
        return dict(zip((by_index[i] for i in self.order), prefixes, strict=True))

    def prefixes_of(self, names: Collection[str]) -> Iterable[str]:
        """Return the prefixes of the families in `names`, in the order of the text."""
        for family, templates in self.families:
            if family.name in names:
                for template in templates:
                    yield from template.prefixes()


class SharedSeries:
    """Which source has which series of the names that several sources have.

    Layouts are made one after the other, so that of two sources with the same series the second one
    sees the first. A series is known by the hash of its prefix: ten thousand sources that share
    their names would otherwise look through each other's.
    """

    def __init__(self) -> None:
        #: Held while a layout is made and takes the place of another one.
        self.lock = threading.Lock()
        self._layouts: dict[str, dict[SourceId, Layout]] = {}
        #: For names of more than one source.
        self._owners: dict[str, dict[int, SourceId]] = {}

    def owners(self, source: SourceId, name: str) -> Mapping[int, SourceId]:
        """Return who has which series of this name, nothing if no other source has the name."""
        layouts = self._layouts.get(name, {})
        if len(layouts) <= (source in layouts):
            return {}
        owners = self._owners.get(name)
        if owners is None:
            owners = self._owners[name] = {}
            for other, layout in layouts.items():
                owners.update((hash(prefix), other) for prefix in layout.prefixes_of([name]))
        return owners

    def replace(self, source: SourceId, old: Layout, new: Layout) -> None:
        """Note that a source has other series now."""
        for family, _ in old.families:
            name = family.name
            layouts = self._layouts[name]
            del layouts[source]
            owners = self._owners.get(name)
            if owners is not None:
                for prefix in old.prefixes_of([name]):
                    owners.pop(hash(prefix), None)
            if len(layouts) < _FEWEST_SHARERS:
                self._owners.pop(name, None)
            if not layouts:
                del self._layouts[name]
        for family, _ in new.families:
            name = family.name
            self._layouts.setdefault(name, {})[source] = new
            owners = self._owners.get(name)
            if owners is not None:
                owners.update((hash(prefix), source) for prefix in new.prefixes_of([name]))


class Renderer:
    """Renders the batches of one source."""

    def __init__(self, source: SourceId | None, shared: SharedSeries | None = None) -> None:
        """`shared`: what other sources have, whose series are left out here."""
        self.lock = threading.Lock()
        self.layout = _EMPTY
        self._shared = shared
        self._source = source
        self._described: dict[Metric, _Described] = {}

    def render(
        self,
        samples: Sequence[Sample],
        static: StaticLabels = (),
    ) -> tuple[Block, list[str]]:
        """Return the block of `samples`, and the series left out as they are there already."""
        if not samples:
            self._lay_out_again(lambda owners: (_EMPTY, []))
            return [], []
        # Three passes, as `zip(*samples)` makes an iterator for each sample at once.
        metrics = [sample[0] for sample in samples]
        values = [sample[1] for sample in samples]
        labels = [sample[2] for sample in samples]
        layout = self.layout
        repeated: list[str] = []
        if not (
            layout.complete
            and layout.metrics == metrics
            and layout.labels == labels
            and layout.static == static
        ):
            layout, repeated = self._lay_out_again(
                lambda owners: self._lay_out(metrics, labels, static, owners)
            )
        if layout.order is not None:
            values = [values[index] for index in layout.order]
        numbers = map(float, values)
        block = [
            (family, b"".join([text % tuple(islice(numbers, lines)) for text, lines in templates]))
            for family, templates in layout.families
        ]
        return block, repeated

    def _lay_out_again(
        self, lay_out: Callable[[_Owners], tuple[Layout, list[str]]]
    ) -> tuple[Layout, list[str]]:
        shared, source = self._shared, self._source
        if shared is None or source is None:
            self.layout, repeated = lay_out(lambda name: {})
            return self.layout, repeated
        with shared.lock:
            layout, repeated = lay_out(lambda name: shared.owners(source, name))
            shared.replace(source, self.layout, layout)
            self.layout = layout
        return layout, repeated

    def _lay_out(
        self,
        metrics: list[Metric],
        labels: list[tuple[str, ...]],
        static: StaticLabels,
        owners_of: _Owners,
    ) -> tuple[Layout, list[str]]:
        first = self.layout is _EMPTY
        same_labels = static == self.layout.static
        known = self.layout.known() if same_labels else {}
        before, self._described = self._described if same_labels else {}, {}
        prefixes: list[str] = []
        by_family: dict[str, list[int]] = {}
        families: dict[str, Family] = {}
        for index, key in enumerate(zip(metrics, labels, strict=True)):
            metric, values = key
            described = self._described.get(metric)
            if described is None:
                described = before.get(metric) or self._describe(metric, static)
                self._described[metric] = described
                families.setdefault(described[0].name, described[0])
            family, format_series = described
            prefixes.append(known.get(key) or format_series(values))
            by_family.setdefault(family.name, []).append(index)
        complete = True
        order: list[int] = []
        repeated: list[str] = []
        seen: set[str] = set()
        laid_out: list[tuple[Family, list[Template]]] = []
        for name, indices in by_family.items():
            start = len(order)
            owners = owners_of(name)
            for index in indices:
                prefix = prefixes[index]
                is_elsewhere = bool(owners) and (
                    owners.get(hash(prefix), self._source) != self._source
                )
                if is_elsewhere or prefix in seen:
                    complete = complete and not is_elsewhere
                    repeated.append(prefix)
                    continue
                seen.add(prefix)
                order.append(index)
            mine = [prefixes[index] for index in order[start:]]
            if mine:
                parts = (mine[first : first + _LINES] for first in range(0, len(mine), _LINES))
                laid_out.append((families[name], list(map(Template.of, parts))))
        in_order = order == list(range(len(metrics)))
        if first:
            # Most sources are laid out once: what that took would be a good part of what it gives.
            self._described = {}
        layout = Layout(
            metrics,
            labels,
            static,
            None if in_order else order,
            laid_out,
            complete=complete,
        )
        return layout, repeated

    def _describe(self, metric: Metric, static: StaticLabels) -> _Described:
        name = metric_name(self._source, metric.name)
        return family_of(name, metric), series_formatter(name, metric.labels, static)


_EMPTY = Layout([], [], (), None, [], complete=True)


class Exposition:
    """What a scraper sees: the blocks of all sources."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._shared = SharedSeries()
        self._renderers: dict[SourceId, Renderer] = {}
        self._blocks: dict[SourceId, Block] = {}
        self._complained: set[str] = set()

    def put(self, batch: Batch) -> None:
        """Show the series of `batch` in place of what its source had; an empty one removes it."""
        source = batch.source
        with self._lock:
            renderer = self._renderers.get(source)
            if renderer is None:
                renderer = self._renderers[source] = Renderer(source, self._shared)
        with renderer.lock:
            block, repeated = renderer.render(batch.samples, batch.static_labels)
            with self._lock:
                if block:
                    self._blocks[source] = block
                else:
                    self._blocks.pop(source, None)
                    self._renderers.pop(source, None)
        for prefix in repeated:
            self._complain(source, prefix)

    def blocks(self) -> list[Block]:
        """Return the blocks of all sources as they are now."""
        with self._lock:
            return list(self._blocks.values())

    def _complain(self, source: SourceId, prefix: str) -> None:
        series = prefix.strip()
        key = f"{source} {series.partition('{')[0]}"
        if key not in self._complained:
            self._complained.add(key)
            self._log.warning(
                "%s: %s is there already and left out; give the source a name of its own",
                source,
                series,
            )


def join_text(
    blocks: Iterable[Block], names: Collection[str] = (), others: Iterable[bytes] = ()
) -> list[bytes]:
    """Return the parts of a text 0.0.4 exposition; `names` restricts it to these metrics.

    `others` are families that are text already.
    """
    return [*_join(blocks, names, lambda family: family.text_header), *others]


def join_open_metrics(
    blocks: Iterable[Block], names: Collection[str] = (), others: Iterable[bytes] = ()
) -> list[bytes]:
    """Return the parts of an OpenMetrics 1.0 exposition; see `join_text`."""
    blocks = list(blocks)
    taken = {family.name for block in blocks for family, _ in block}

    def header(family: Family) -> bytes:
        clashes = family.open_name != family.name and family.open_name in taken
        return family.open_unknown_header if clashes else family.open_header

    return [*_join(blocks, names, header), *others, _END_OF_OPEN_METRICS]


def _join(
    blocks: Iterable[Block], names: Collection[str], header: Callable[[Family], bytes]
) -> list[bytes]:
    # All series of a family stand together, whichever source has them.
    found: dict[str, tuple[Family, list[bytes]]] = {}
    for block in blocks:
        for family, lines in block:
            shown = found.get(family.name)
            if shown is not None:
                shown[1].append(lines)
            elif not names or family.name in names or family.open_name in names:
                found[family.name] = family, [lines]
    parts: list[bytes] = []
    for family, texts in found.values():
        large = sum(map(len, texts)) >= _LARGE * len(texts)
        parts += (header(family), *(texts if large else (b"".join(texts),)), _NEWLINE)
    return parts
