"""The way of a batch from its source to the writers."""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

from pollect.delivery.direct import DirectPort
from pollect.delivery.receipts import BrokerReceipt, Receipt
from pollect.errors import describe
from pollect.model import Batch, WriterStatus
from pollect.plugin import Writer
from pollect.plugin.traits import has_trait

if TYPE_CHECKING:
    from pollect.delivery.outbox import Outbox

log = logging.getLogger(__name__)

BatchFilter = Callable[[Batch], Batch | None]


class Port(Protocol):
    """Where batches for one writer go in."""

    writer: Writer[Any]
    name: str

    def deliver(self, batches: Sequence[Batch], receipt: Receipt | None = None) -> None:
        """Take batches over, quickly; `receipt` is called for each one that is settled."""

    def status(self) -> WriterStatus:
        """Return how the writer fares."""


def is_outbox(port: Port) -> "TypeGuard[Outbox]":
    """Whether a port stands before a remote writer; without one, outboxes are not imported."""
    return not isinstance(port, DirectPort)


class MergedTick:
    """The batches of one tick, for writers that want them together.

    They are handed over when every probe of the tick has ended, or at the next tick if one takes
    longer; what comes still later follows by itself.
    """

    def __init__(self, flush: Callable[[Sequence[Batch]], None]) -> None:
        self._flush = flush
        # Held while they are handed over, so that nothing that waits for `close` overtakes them.
        self._lock = threading.Lock()
        self._batches: list[Batch] = []
        #: One for the loop that begins the probes, and one for each probe.
        self._pending = 1
        #: Nothing waits here any more.
        self.over = False

    def begin(self, probes: int = 1) -> None:
        """Wait for so many more probes."""
        with self._lock:
            self._pending += probes

    def end(self, batch: Batch | None = None) -> None:
        """Take what one probe brought, and hand all over if it was the last."""
        with self._lock:
            self._pending -= 1
            if batch is not None:
                self._batches.append(batch)
            if self.over or not self._pending:
                self._hand_over()

    def close(self) -> None:
        """Hand over what is there."""
        with self._lock:
            self._hand_over()

    def _hand_over(self) -> None:
        batches, self._batches = self._batches, []
        if batches:
            self._flush(batches)
        self.over = True


class Routes:
    """The writers of one executor.

    Batches are put into the queues of the writers first, which runs no code of a plugin;
    in-process writers write theirs in `drain`.
    """

    def __init__(self, ports: Sequence[Port], filters: Sequence[BatchFilter] = ()) -> None:
        self.partial = [port for port in ports if has_trait(port.writer, "accepts_partial")]
        self.full = [port for port in ports if port not in self.partial]
        self._direct = [port for port in ports if isinstance(port, DirectPort)]
        #: Those that show the present, and those that only show.
        self.present = frozenset(port for port in ports if has_trait(port.writer, "latest_only"))
        self.shown = frozenset(port for port in ports if has_trait(port.writer, "only_shows"))
        self.filters = filters
        self._failing: set[object] = set()

    @property
    def ports(self) -> frozenset[Port]:
        return frozenset((*self.partial, *self.full))

    @property
    def merges_directly(self) -> bool:
        """Whether an in-process writer takes the batches of a tick together."""
        return any(isinstance(port, DirectPort) for port in self.full)

    def filtered(self, batch: Batch) -> Batch | None:
        """Return what the plugins' filters leave of a batch; runs their code."""
        result: Batch | None = batch
        for accept in self.filters:
            try:
                result = accept(batch)
                if result is not None and not isinstance(result, Batch):
                    raise TypeError(f"expected a Batch or None, got {type(result).__name__}")
            except BaseException as error:  # noqa: BLE001 - code of a plugin
                level = logging.DEBUG if accept in self._failing else logging.ERROR
                self._failing.add(accept)
                log.log(level, "a batch filter failed on %s: %s", batch.source, describe(error))
                continue
            if result is None:
                return None
            batch = result
        return batch

    def put(self, batch: Batch, tick: MergedTick | None = None) -> None:
        """Hand a batch to those who take it at once, and to its tick for the others."""
        if self.partial:
            _put(self.partial, (batch,))
        if tick is not None:
            tick.end(batch if self.full else None)
        else:
            self.put_merged((batch,))

    def put_merged(self, batches: Sequence[Batch]) -> None:
        """Hand over the batches of one tick."""
        _put(self.full, batches)

    def put_to(
        self,
        ports: Iterable[Port],
        batch: Batch,
        receipt: Callable[[Port], None],
        is_kept: Callable[[], bool],
    ) -> None:
        """Hand a batch to some of the writers; `receipt` gets the port of each that has it.

        `is_kept` says whether a broker has the batch still.
        """
        for port in ports:
            settled = BrokerReceipt(partial(receipt, port), is_kept)
            if isinstance(port, DirectPort):
                port.put((batch,), settled)
            else:
                port.deliver((batch,), settled)

    def drain(self) -> None:
        """Let the in-process writers write what was put; runs their code."""
        for port in self._direct:
            port.drain()


def _put(ports: Iterable[Port], batches: Sequence[Batch]) -> None:
    for port in ports:
        if isinstance(port, DirectPort):
            port.put(batches)
        else:
            port.deliver(batches)
