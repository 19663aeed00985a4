"""Batches of other daemons, on their way from a transport to the writers of this one.

A source that consumes a transport has a `Relay`. What it puts there goes to the writers of its
executor as it is; when the delivery side has a batch, the source hears of it and acknowledges it
to its broker. Until then the broker keeps it, so that neither a crash nor an outage loses it.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import msgspec

from pollect.model import Batch

#: Called when a batch may be acknowledged.
Accepted = Callable[[], None]
#: Batches that may wait to be accepted, and the samples in them, unless the writers say less.
MOST_PENDING: Final = 1000
MOST_SAMPLES: Final = 50_000
#: Keys of batches that are remembered, to notice what comes again.
_MOST_KEYS = 50_000


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """One batch of another daemon, as a transport brings it."""

    #: As its daemon wrote it: names, labels, times and types stay as they are.
    batch: Batch
    #: Which daemon it is from; sources of two origins never mix. Empty for one that a fleet shares.
    origin: str = ""
    #: Its place in the transport's order; a batch behind a later one is news only for a history.
    position: int = 0
    #: The same for the same batch whenever it comes; empty if the transport repeats nothing.
    key: str = ""


class Receipt:
    """For which writers a batch still has to be kept by its transport."""

    __slots__ = ("_relay", "accepted", "everyone", "key", "samples", "waiting")

    def __init__(self, relay: "Relay", parcel: Parcel, accepted: Accepted) -> None:
        self._relay = relay
        self.accepted: list[Accepted] = [accepted]
        self.key = parcel.key
        self.samples = len(parcel.batch)
        #: Those who do not have it yet; None until it is known who gets it.
        self.waiting: set[Any] | None = None
        #: How many writers there are.
        self.everyone = 0

    def expect(self, ports: Iterable[Any], everyone: int) -> None:
        """Note who gets the batch; with none it is dealt with.

        `everyone` counts the writers; with 0 it is accepted by all that get it or not at all.
        """
        with self._relay.changed:
            self.waiting = set(ports)
            self.everyone = everyone
            if not self.waiting:
                self._relay.settle(self)

    def safe(self, port: Any) -> None:
        """Note that a writer delivered the batch, stored it on disk, or gave it up."""
        with self._relay.changed:
            if self.waiting is not None:
                self.waiting.discard(port)
                if not self.waiting:
                    self._relay.settle(self)

    def is_kept(self) -> bool:
        """Whether the transport still has the batch, as it was not accepted yet."""
        return self._relay.is_pending(self)

    @property
    def is_held_up(self) -> bool:
        """Whether only some of the writers lack it: those whose targets are away."""
        return self.waiting is not None and len(self.waiting) < self.everyone


class Carrier(Protocol):
    """What the engine gives a relay to carry its batches."""

    @property
    def most_samples(self) -> int:
        """Samples that should wait at most, with regard to the buffers of the writers."""

    def take(self, parcel: Parcel, receipt: Receipt) -> bool:
        """Hand a batch over to the writers; return False when it is of no use any more.

        Runs the plugins' filters and the in-process writers, in the caller's thread.
        """


class Relay:
    """The way from one source to the writers. `put` and `acknowledge` are for one thread."""

    def __init__(self, most_pending: int = MOST_PENDING) -> None:
        #: Notified when a batch was accepted; guards the state, for a few steps in memory only.
        self.changed = threading.Condition(threading.RLock())
        self._most_pending = most_pending
        self._carrier: Carrier | None = None
        #: In the order of their coming.
        self._pending: dict[Receipt, None] = {}
        self._samples = 0
        self._accepted: deque[Accepted] = deque()
        #: Batches of late by their keys, None for those that are dealt with.
        self._keys: dict[str, Receipt | None] = {}
        #: Batches and samples handed over, those that came again, and those of an owner that was
        #: no longer the owner.
        self.batches = self.samples = self.repeated = self.superseded = 0

    @property
    def connected(self) -> bool:
        """Whether there are writers; false for a source that is probed by itself."""
        return self._carrier is not None

    @property
    def pending(self) -> int:
        """How many batches wait to be accepted."""
        return len(self._pending)

    def is_pending(self, receipt: Receipt) -> bool:
        """Whether a batch waits to be accepted."""
        with self.changed:
            return receipt in self._pending

    @property
    def has_room(self) -> bool:
        """Whether to go on consuming. While it is false the broker keeps what comes.

        A writer whose target is away holds up no other: once too many batches wait for it alone,
        it is to keep them in its buffer, and the oldest are accepted.
        """
        with self.changed:
            if self._carrier is None:
                return False
            for receipt in list(self._pending):
                if not self._is_full():
                    break
                if receipt.is_held_up:
                    self.settle(receipt)
            return not self._is_full()

    def connect(self, carrier: Carrier | None) -> None:
        """Take the way to the writers; called by the engine."""
        self._carrier = carrier

    def put(self, parcel: Parcel, accepted: Accepted) -> None:
        """Hand a batch over to the writers.

        `accepted` is called by a later `acknowledge`, when every writer has delivered the batch,
        has it on disk, or has given it up. What came before is not handed over again.
        """
        carrier = self._carrier
        if carrier is None:
            raise RuntimeError("a source without writers has nothing to relay to")
        receipt = self._new_receipt(parcel, accepted)
        if receipt is None:
            return
        try:
            taken = carrier.take(parcel, receipt)
        except BaseException:
            with self.changed:
                self._drop(receipt)
                self._keys.pop(parcel.key, None)
            raise
        with self.changed:
            if taken:
                self.batches += 1
                self.samples += receipt.samples
            else:
                self.superseded += 1

    def acknowledge(self, seconds: float = 0.0) -> int:
        """Call `accepted` of every batch that may be acknowledged; return how many there were.

        Waits for one, `seconds` at most.
        """
        with self.changed:
            if not self._accepted and seconds > 0:
                self.changed.wait_for(lambda: self._accepted or not self._pending, seconds)
            calls, self._accepted = self._accepted, deque()
        for call in calls:
            call()
        return len(calls)

    def settle(self, receipt: Receipt) -> None:
        """Let a batch be acknowledged; `changed` is held."""
        if self._drop(receipt):
            self._accepted.extend(receipt.accepted)
            self.changed.notify_all()

    def _new_receipt(self, parcel: Parcel, accepted: Accepted) -> Receipt | None:
        """Return the receipt of a batch, None for one that came before."""
        with self.changed:
            receipt = Receipt(self, parcel, accepted)
            if parcel.key:
                if parcel.key in self._keys:
                    self.repeated += 1
                    first = self._keys[parcel.key]
                    if first is not None:
                        first.accepted.append(accepted)
                    else:
                        self._accepted.append(accepted)
                    return None
                if len(self._keys) >= _MOST_KEYS:
                    del self._keys[next(iter(self._keys))]
                self._keys[parcel.key] = receipt
            self._pending[receipt] = None
            self._samples += receipt.samples
            return receipt

    def _drop(self, receipt: Receipt) -> bool:
        if receipt not in self._pending:
            return False
        del self._pending[receipt]
        self._samples -= receipt.samples
        if receipt.key in self._keys:
            self._keys[receipt.key] = None
        return True

    def _is_full(self) -> bool:
        most = min(MOST_SAMPLES, self._carrier.most_samples if self._carrier else 0)
        return len(self._pending) >= self._most_pending or self._samples >= most > 0
