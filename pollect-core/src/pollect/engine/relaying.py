"""Batches of other daemons, carried from a source that relays them to the writers.

They go as they came: names, labels, times and types stay. What this daemon adds is what a writer
needs to tell sources apart, and what their own daemons can no longer do when they are gone: end
values whose time is over.
"""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from pollect.delivery.routing import Port, Routes, is_outbox
from pollect.engine.foreign import Foreign, Origin
from pollect.engine.scheduler import Scheduler, Timer
from pollect.model import Batch, SourceId
from pollect.plugin import Clock
from pollect.relay import Parcel, Receipt

#: Sources of other daemons at most; of more, those without news for longest are withdrawn.
MOST_SOURCES = 50_000
#: The share of the smallest buffer of a writer that batches may take that are not accepted yet.
_SHARE_OF_BUFFER = 0.5


class _Known:
    """What is known of one source of another daemon."""

    __slots__ = ("epoch", "epoch_began", "expires", "labels", "name", "position", "time")

    def __init__(self, name: SourceId) -> None:
        self.name = name
        #: Of the newest batch.
        self.position = -1
        self.time = -math.inf
        #: Its latest owner in a fleet, and the first time that one wrote.
        self.epoch: tuple[int, int] | None = None
        self.epoch_began = -math.inf
        #: Monotonic seconds until the values written are true; infinite if nothing is to be done.
        self.expires = math.inf
        self.labels: tuple[tuple[str, str], ...] = ()


class RelayCarrier:
    """Carries the batches of one source that relays; see `pollect.relay`."""

    def __init__(
        self,
        routes: Callable[[], Routes],
        foreign: Foreign,
        *,
        clock: Clock,
        scheduler: Scheduler,
        errand: Callable[[Callable[[], None]], None],
    ) -> None:
        self._routes = routes
        self._foreign = foreign
        self._clock = clock
        self._scheduler = scheduler
        self._errand = errand
        #: Held while a batch is put into the queues of the writers, so that none overtakes another.
        #: Taken by the source's own thread and by errands.
        self._order = threading.Lock()
        self._known: OrderedDict[Origin, _Known] = OrderedDict()
        self._closed = False
        #: When to look for values that are too old, in monotonic seconds.
        self._look_at = math.inf
        self._look: Timer | None = None

    @property
    def most_samples(self) -> int:
        """Samples that may wait here without pushing others out of a writer's buffer."""
        buffers = [
            port.writer.config.buffer.samples for port in self._routes().ports if is_outbox(port)
        ]
        return max(1, int(min(buffers) * _SHARE_OF_BUFFER)) if buffers else 1_000_000

    def take(self, parcel: Parcel, receipt: Receipt) -> bool:
        """Hand a batch over to the writers; return False for one of a former owner."""
        with self._order:
            if self._closed:
                return True  # without a receipt: left to the broker
            known = self._source_of(parcel)
            if _is_superseded(parcel.batch, known):
                receipt.expect((), 0)
                return False
            late = parcel.position < known.position and parcel.batch.time < known.time
            if not late:
                self._note(parcel, known)
        routes = self._routes()
        batch = routes.filtered(msgspec.structs.replace(parcel.batch, source=known.name))
        everyone = routes.ports
        ports = everyone - routes.present if late else everyone
        if batch is None or (late and not batch.samples):
            ports = frozenset()
        waiting: set[object] = set(ports)
        others = len(everyone)
        if everyone and everyone == routes.shown:
            waiting.add(self)  # which never has it
            others = 0
        with self._order:
            # Before anyone has it: a writer may be done at once.
            receipt.expect(waiting, others)
            if batch is not None:
                routes.put_to(ports, batch, receipt.safe, receipt.is_kept)
        self._watch(known.expires)
        routes.drain()
        return True

    def close(self) -> None:
        """Withdraw everything, and take nothing any more."""
        with self._order:
            self._closed = True
            known, self._known = self._known, OrderedDict()
        for source in known.values():
            self._withdraw(source)
            self._foreign.release(source.name)
        self._routes().drain()

    def _source_of(self, parcel: Parcel) -> _Known:
        origin = parcel.origin, parcel.batch.source
        known = self._known.get(origin)
        if known is None:
            known = self._known[origin] = _Known(self._foreign.name(origin))
            if len(self._known) > MOST_SOURCES:
                _, oldest = self._known.popitem(last=False)
                self._foreign.release(oldest.name)
                self._errand(lambda: self._withdraw(oldest))
        elif not self._foreign.is_free(known.name):
            # A reload brought a source of this daemon with the same name.
            self._foreign.release(known.name)
            known.name = self._foreign.name(origin)
        self._known.move_to_end(origin)
        return known

    def _note(self, parcel: Parcel, known: _Known) -> None:
        batch = parcel.batch
        known.position, known.time = parcel.position, batch.time
        known.labels = batch.static_labels
        if batch.epoch is not None and (known.epoch is None or batch.epoch > known.epoch):
            known.epoch, known.epoch_began = batch.epoch, batch.time
        lasts = batch.fresh_seconds if batch.samples else None
        # From now on: the clocks of two hosts may differ.
        known.expires = math.inf if lasts is None else self._clock.monotonic() + lasts

    def _watch(self, until: float) -> None:
        """Look after values that are true until then, in monotonic seconds."""
        with self._order:
            if self._closed or until >= self._look_at:
                return
            if self._look is not None:
                self._look.cancel()
            self._look_at = until
            self._look = self._scheduler.call_at(until, lambda: self._errand(self._expire))

    def _expire(self) -> None:
        """Withdraw the values whose time is over; in a thread of the engine."""
        now = self._clock.monotonic()
        earliest = math.inf
        with self._order:
            self._look_at, self._look = math.inf, None
            over = []
            for known in self._known.values():
                if known.expires <= now:
                    over.append(known)
                else:
                    earliest = min(earliest, known.expires)
        for known in over:
            self._withdraw(known, now)
        self._watch(earliest)
        self._routes().drain()

    def _withdraw(self, known: _Known, now: float = math.inf) -> None:
        """Let every writer know that a source has no values any more, if they are old enough."""
        routes = self._routes()
        batch = routes.filtered(Batch(known.name, (), self._clock.time(), known.labels))
        with self._order:
            if known.expires > now:
                return
            known.expires = math.inf
            if batch is not None:
                routes.put_to(routes.ports, batch, _without_receipt, lambda: False)


def _is_superseded(batch: Batch, known: _Known) -> bool:
    """Whether a batch is of a former owner that went on when the source was another's already."""
    if batch.epoch is None or known.epoch is None:
        return False
    return batch.epoch < known.epoch and batch.time >= known.epoch_began


def _without_receipt(port: Port) -> None:
    """Take the receipt of a batch that no broker keeps."""
