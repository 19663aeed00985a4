"""What waits for a remote writer: a queue of batches, bounded in samples and age."""

import enum
import threading
from collections import deque
from collections.abc import Iterable, Sequence

from pollect.delivery.receipts import BrokerReceipt, Receipt
from pollect.model import Batch, SourceId
from pollect.plugin import Clock


class Drop(enum.Enum):
    """Why a buffer gives up on samples."""

    TOO_MANY = enum.auto()
    TOO_OLD = enum.auto()


class Entry:
    """One batch that waits. `gone` marks one that left from the middle of the queue."""

    __slots__ = ("added", "batch", "gone", "number", "packed", "position", "receipt", "samples")

    def __init__(
        self,
        number: int,
        samples: int,
        added: float,
        batch: Batch | None,
        receipt: Receipt | None = None,
    ) -> None:
        self.number = number
        self.samples = samples
        #: Monotonic time.
        self.added = added
        #: None while there is only its packed form, of a buffer that has one.
        self.batch = batch
        self.packed = b""
        #: Samples that were on disk before this batch; None until it is there itself.
        self.position: int | None = None
        self.gone = False
        self.receipt = receipt

    @property
    def is_at_broker(self) -> bool:
        """Whether a broker brings the batch again if it ends here."""
        return isinstance(self.receipt, BrokerReceipt) and self.receipt.is_kept()

    def settle(self) -> None:
        """Let whoever handed the batch over know that it is in safe hands, or given up on."""
        receipt, self.receipt = self.receipt, None
        if receipt is not None:
            receipt()


class MemoryBuffer:
    """A first-in first-out queue of batches in memory, safe for threads.

    Any thread may `put` and ask how much waits, and never waits for a disk. Taking out is for one
    thread at a time. Batches given out by `peek` are out of reach until `ack` or `release`: nothing
    pushes them out, and they do not count, or a slow delivery would cost the newest samples instead
    of the oldest.
    """

    #: Whether an empty batch, the news that a source has no values any more, never gets too old.
    keeps_withdrawals = False

    def __init__(self, *, samples: int, age: float, clock: Clock) -> None:
        #: Samples that gave way to newer ones: neither delivered nor lost.
        self.outdated = 0
        #: Samples that can no longer be read, because their disk is broken.
        self.unreadable = 0
        #: Samples that were not delivered before the end, and that a broker brings again.
        self.left_to_brokers = 0
        self._limit = samples
        self._age = age
        self._clock = clock
        self._lock = threading.Lock()
        self._queue: deque[Entry] = deque()
        #: Of the queue: what is gone and what is given out does not count.
        self._batches = self._waiting = 0
        self._out: list[Entry] = []
        self._next_number = 0
        self._closed = False

    def __len__(self) -> int:
        return self._batches + len(self._out)

    @property
    def samples(self) -> int:
        """Samples that wait, the ones given out included."""
        with self._lock:
            return self._waiting + sum(entry.samples for entry in self._out)

    @property
    def ready(self) -> bool:
        """Whether there is something to peek at."""
        return self._batches > 0

    def start(self) -> None:
        """Begin what the buffer does by itself."""

    def put(self, *batches: Batch, receipt: Receipt | None = None) -> Sequence[Batch]:
        """Append batches; return the ones that had to go for it, oldest first.

        A closed buffer takes nothing. `receipt` is called for each of the batches.
        """
        with self._lock:
            if self._closed:
                return batches
            now = self._clock.monotonic()
            for batch in batches:
                self._append(Entry(self._next_number, len(batch), now, batch, receipt))
                self._next_number += 1
            dropped = self._take_excess()
        return self._load(dropped)

    def expire(self) -> Sequence[Batch]:
        """Drop and return the batches that are too old."""
        with self._lock:
            dropped = self._take_older(self._clock.monotonic() - self._age)
        return self._load(dropped)

    def peek(self, samples: int, *, most: int | None = None, skip: int = 0) -> Sequence[Batch]:
        """Give out the oldest batches behind the first `skip`, at most `most`.

        Up to so many samples, but one batch at least. None when what was chosen is unreadable.
        """
        with self._lock:
            skipped = [entry for entry in (self._pop() for _ in range(skip)) if entry]
            total = 0
            while (head := self._head()) is not None and len(self._out) != most:
                if self._out and total + head.samples > samples:
                    break
                self._pop()
                self._out.append(head)
                total += head.samples
            self._push_back(skipped)
            out = list(self._out)
        return self._load(out)

    def ack(self) -> bool:
        """Forget what was given out: it is dealt with. Return False if `close` came first."""
        with self._lock:
            done, self._out = self._out, []
            for entry in done:
                entry.gone = True
            in_time = not self._closed
        for entry in done:
            entry.settle()
        return in_time

    def release(self) -> Sequence[Batch]:
        """Take back what was given out, to be tried again; return what is too much now."""
        with self._lock:
            out, self._out = self._out, []
            if not self._closed:
                self._push_back(self._worth_keeping(out))
            dropped = self._take_excess()
        return self._load(dropped)

    def close(self, seconds: float = 0.0) -> Sequence[Batch]:
        """End, waiting for a disk at most so long; return what does not outlive the process."""
        with self._lock:
            self._closed = True
            left = self._take_all()
        return self._load_lost(left)

    def _load_lost(self, left: Iterable[Entry]) -> list[Batch]:
        """Return the batches of what is left at the end that no broker keeps."""
        lost = []
        for entry in left:
            if entry.is_at_broker:
                self.left_to_brokers += entry.samples
            else:
                lost.append(entry)
        return self._load(lost)

    def _load(self, entries: Iterable[Entry]) -> list[Batch]:
        """Return the batches of entries that have left the queue, as far as they can be read."""
        return [entry.batch for entry in entries if entry.batch is not None]

    def _append(self, entry: Entry) -> None:
        self._queue.append(entry)
        self._batches += 1
        self._waiting += entry.samples

    def _head(self) -> Entry | None:
        queue = self._queue
        while queue and queue[0].gone:
            queue.popleft()
        return queue[0] if queue else None

    def _oldest(self) -> Entry | None:
        """Return the first of all entries, the ones given out included."""
        first = [*self._out[:1], *filter(None, [self._head()])]
        return min(first, key=lambda entry: entry.number, default=None)

    def _pop(self) -> Entry | None:
        entry = self._head()
        if entry is not None:
            self._queue.popleft()
            self._batches -= 1
            self._waiting -= entry.samples
        return entry

    def _push_back(self, entries: Sequence[Entry]) -> None:
        """Put entries back where their numbers belong: near the front."""
        before: list[Entry] = []
        while entries and (head := self._head()) is not None and head.number < entries[-1].number:
            self._queue.popleft()
            before.append(head)
        self._batches += len(entries)
        self._waiting += sum(entry.samples for entry in entries)
        both = sorted([*before, *entries], key=lambda entry: entry.number)
        self._queue.extendleft(reversed(both))

    def _worth_keeping(self, released: list[Entry]) -> list[Entry]:
        return released

    def _remove(self, entry: Entry) -> None:
        """Take an entry out of the middle of the queue."""
        entry.gone = True
        self._batches -= 1
        self._waiting -= entry.samples
        if len(self._queue) > 2 * self._batches + 64:
            self._queue = deque(kept for kept in self._queue if not kept.gone)

    def _take_all(self) -> list[Entry]:
        left = [*self._out, *(entry for entry in self._queue if not entry.gone)]
        self._out = []
        self._queue.clear()
        self._batches = self._waiting = 0
        return left

    def _take_older(self, limit: float) -> list[Entry]:
        dropped: list[Entry] = []
        kept: list[Entry] = []
        while (head := self._head()) is not None and head.added < limit:
            self._pop()
            head.gone = not (self.keeps_withdrawals and not head.samples)
            if head.gone:
                head.settle()
            (dropped if head.gone else kept).append(head)
        self._push_back(kept)
        return dropped

    def _too_much(self) -> bool:
        return self._waiting > self._limit

    def _take_excess(self) -> list[Entry]:
        dropped = []
        while self._too_much() and (entry := self._pop()) is not None:
            entry.gone = True
            entry.settle()
            dropped.append(entry)
        return dropped


class LatestBuffer(MemoryBuffer):
    """For writers that show the present: a newer batch of a source replaces the one that waits.

    What is replaced is outdated, not lost.
    """

    keeps_withdrawals = True

    def __init__(self, *, samples: int, age: float, clock: Clock) -> None:
        super().__init__(samples=samples, age=age, clock=clock)
        self._latest: dict[SourceId, Entry] = {}

    def _append(self, entry: Entry) -> None:
        if entry.batch is not None:
            waiting = self._latest.get(entry.batch.source)
            if waiting is not None:
                self.outdated += waiting.samples
                self._remove(waiting)
                waiting.batch = None
                waiting.settle()
            self._latest[entry.batch.source] = entry
        super()._append(entry)

    def _pop(self) -> Entry | None:
        entry = super()._pop()
        if entry is not None and entry.batch is not None:
            del self._latest[entry.batch.source]
        return entry

    def _push_back(self, entries: Sequence[Entry]) -> None:
        super()._push_back(entries)
        for entry in entries:
            if entry.batch is not None:
                self._latest[entry.batch.source] = entry

    def _worth_keeping(self, released: list[Entry]) -> list[Entry]:
        """Leave out what newer batches replaced while it was being sent."""
        kept = [
            entry
            for entry in released
            if entry.batch is not None and entry.batch.source not in self._latest
        ]
        self.outdated += sum(entry.samples for entry in released) - sum(e.samples for e in kept)
        for entry in released:
            if entry not in kept:
                entry.settle()
        return kept
