"""The way of a batch from its source to the writers."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from pollect.delivery.outbox import LostCallback
from pollect.errors import describe
from pollect.model import Batch, WriterStatus
from pollect.plugin import Writer

log = logging.getLogger(__name__)

BatchFilter = Callable[[Batch], Batch | None]


class Port(Protocol):
    """Where batches for one writer go in."""

    writer: Writer[Any]
    name: str

    def deliver(self, batches: Sequence[Batch]) -> None:
        """Take batches over, quickly."""

    def status(self) -> WriterStatus:
        """Return how the writer fares."""


class DirectPort:
    """An in-process writer, called in the thread of the probe."""

    def __init__(self, writer: Writer[Any], *, lost: LostCallback | None = None) -> None:
        self.writer = writer
        self.name = writer.context.name
        self._report_lost = lost
        self._lock = threading.Lock()
        self._reason = ""
        self._written = 0
        self._lost = 0

    def deliver(self, batches: Sequence[Batch]) -> None:
        size = sum(map(len, batches))
        try:
            self.writer.write(batches)
        except Exception as error:
            reason = describe(error)
            with self._lock:
                known, self._reason = self._reason == reason, reason
                self._lost += size
            if not known:
                self.writer.log.error("%d samples lost: %s", size, reason, exc_info=error)
            if self._report_lost is not None:
                for batch in batches:
                    self._report_lost(self.name, batch, error)
            return
        with self._lock:
            self._reason = ""
            self._written += size

    def status(self) -> WriterStatus:
        return WriterStatus(
            writer=self.name,
            up=not self._reason,
            reason=self._reason,
            lost_samples=self._lost,
            written_samples=self._written,
        )


class MergedTick:
    """The batches of one tick, for writers that want them together.

    They are handed over when every probe of the tick has ended, or at the next tick if one takes
    longer; what comes still later follows by itself.
    """

    def __init__(self, flush: Callable[[Sequence[Batch]], None]) -> None:
        self._flush = flush
        self._lock = threading.Lock()
        self._batches: list[Batch] = []
        #: One for the loop that begins the probes, and one for each probe.
        self._pending = 1
        self._over = False

    def begin(self) -> None:
        """Wait for one more probe."""
        with self._lock:
            self._pending += 1

    def end(self, batch: Batch | None = None) -> None:
        """Take what one probe brought, and hand all over if it was the last."""
        with self._lock:
            self._pending -= 1
            if batch is not None:
                self._batches.append(batch)
            batches = self._take() if self._over or not self._pending else []
        if batches:
            self._flush(batches)

    def close(self) -> None:
        """Hand over what is there."""
        with self._lock:
            self._over = True
            batches = self._take()
        if batches:
            self._flush(batches)

    def _take(self) -> list[Batch]:
        batches, self._batches = self._batches, []
        return batches


class Routes:
    """The writers of one executor."""

    def __init__(self, ports: Sequence[Port], filters: Sequence[BatchFilter] = ()) -> None:
        self.partial = [port for port in ports if port.writer.accepts_partial]
        self.full = [port for port in ports if not port.writer.accepts_partial]
        self._filters = filters

    @property
    def ports(self) -> frozenset[Port]:
        return frozenset((*self.partial, *self.full))

    def tick(self) -> MergedTick:
        return MergedTick(self._write_full)

    def write(self, batch: Batch, tick: MergedTick | None = None) -> None:
        """Hand a batch to those who take it at once, and to its tick for the others."""
        filtered = self._filtered(batch) if self._filters else batch
        if filtered is None:
            if tick is not None:
                tick.end()
            return
        for port in self.partial:
            port.deliver((filtered,))
        if tick is not None:
            tick.end(filtered if self.full else None)
        else:
            self._write_full((filtered,))

    def _write_full(self, batches: Sequence[Batch]) -> None:
        for port in self.full:
            port.deliver(batches)

    def _filtered(self, batch: Batch) -> Batch | None:
        result: Batch | None = batch
        for accept in self._filters:
            try:
                result = accept(batch)
            except Exception as error:  # noqa: BLE001 - a plugin's filter costs only itself
                log.error("a batch filter failed on %s: %s", batch.source, describe(error))
                continue
            if result is None:
                return None
            batch = result
        return result
