"""What waits for a remote writer: a queue of batches, bounded in samples and age."""

import enum
import threading
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from pollect.model import Batch
from pollect.plugin import Clock


class Drop(enum.Enum):
    """Why a buffer gives up on samples."""

    TOO_MANY = enum.auto()
    TOO_OLD = enum.auto()


class Buffer(Protocol):
    """A first-in first-out queue of batches, safe for threads.

    Any thread may `put` and ask how much waits, and never waits for a disk. Taking out is for one
    thread at a time. Batches given out by `peek` are pinned until `ack` or `release`: nothing
    pushes them out, and they do not count, or a slow delivery would cost the newest samples instead
    of the oldest.
    """

    @property
    def samples(self) -> int:
        """Samples that wait, the pinned ones included."""

    @property
    def unreadable(self) -> int:
        """Samples that can no longer be read, because their disk is broken."""

    @property
    def outdated(self) -> int:
        """Samples that gave way to newer ones: neither delivered nor lost."""

    @property
    def ready(self) -> bool:
        """Whether there is something to peek at."""

    def __len__(self) -> int:
        """Return how many batches wait, those included that are not ready yet."""

    def put(self, *batches: Batch) -> Sequence[Batch]:
        """Append batches; return the ones that had to go for it, oldest first.

        A closed buffer takes nothing.
        """

    def expire(self) -> Sequence[Batch]:
        """Drop and return the batches that are too old."""

    def peek(self, samples: int) -> Sequence[Batch]:
        """Return the oldest batches, one at least, up to this many samples; pin them."""

    def ack(self) -> bool:
        """Forget the pinned batches: they are dealt with. Return False if `close` came first."""

    def release(self) -> Sequence[Batch]:
        """Unpin the batches, to be tried again; return the ones that are too many now."""

    def close(self, seconds: float) -> Sequence[Batch]:
        """End, waiting for a disk at most so long; return what does not outlive the process."""


class MemoryBuffer:
    """The queue in memory. See `Buffer`."""

    unreadable = 0

    def __init__(self, *, samples: int, age: float, clock: Clock) -> None:
        self.samples = 0
        self.outdated = 0
        self._limit = samples
        self._age = age
        self._clock = clock
        self._lock = threading.Lock()
        self._queue: deque[tuple[float, Batch]] = deque()
        self._pinned = 0
        self._pinned_samples = 0
        self._closed = False

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def ready(self) -> bool:
        return bool(self._queue)

    def put(self, *batches: Batch) -> list[Batch]:
        with self._lock:
            if self._closed:
                return list(batches)
            for batch in batches:
                self._append(batch)
            return self._drop_excess()

    def expire(self) -> list[Batch]:
        with self._lock:
            return self._drop_older(self._clock.monotonic() - self._age)

    def peek(self, samples: int) -> list[Batch]:
        chosen: list[Batch] = []
        total = 0
        with self._lock:
            for _, batch in self._queue:
                if chosen and total + len(batch) > samples:
                    break
                total += len(batch)
                chosen.append(batch)
            self._pinned, self._pinned_samples = len(chosen), total
        return chosen

    def ack(self) -> bool:
        with self._lock:
            for _ in range(self._pinned):
                self._queue.popleft()
            self.samples -= self._pinned_samples
            self._pinned = self._pinned_samples = 0
            return not self._closed

    def release(self) -> list[Batch]:
        with self._lock:
            self._pinned = self._pinned_samples = 0
            return self._drop_excess()

    def close(self, seconds: float = 0.0) -> list[Batch]:
        with self._lock:
            self._closed = True
            left = [batch for _, batch in self._queue]
            self._queue.clear()
            self.samples = self._pinned = self._pinned_samples = 0
        return left

    def _append(self, batch: Batch) -> None:
        self._queue.append((self._clock.monotonic(), batch))
        self.samples += len(batch)

    def _drop_older(self, limit: float) -> list[Batch]:
        dropped = []
        while len(self._queue) > self._pinned and self._queue[self._pinned][0] < limit:
            dropped.append(self._drop_oldest())
        return dropped

    def _drop_excess(self) -> list[Batch]:
        dropped = []
        while self.samples - self._pinned_samples > self._limit:
            dropped.append(self._drop_oldest())
        return dropped

    def _drop_oldest(self) -> Batch:
        batch = self._queue[self._pinned][1]
        del self._queue[self._pinned]
        self.samples -= len(batch)
        return batch


class LatestBuffer(MemoryBuffer):
    """For writers that show the present: a newer batch of a source replaces the one that waits.

    What is replaced is outdated, not lost.
    """

    def _append(self, batch: Batch) -> None:
        for index in range(self._pinned, len(self._queue)):
            _, waiting = self._queue[index]
            if waiting.source == batch.source:
                del self._queue[index]
                self.samples -= len(waiting)
                self.outdated += len(waiting)
                break
        super()._append(batch)

    def release(self) -> list[Batch]:
        with self._lock:
            self._pinned = self._pinned_samples = 0
            self._replace_older()
            return self._drop_excess()

    def _replace_older(self) -> None:
        """Keep the newest batch of each source: others came while the pinned ones were sent."""
        newest = {batch.source: index for index, (_, batch) in enumerate(self._queue)}
        kept = deque(
            entry for index, entry in enumerate(self._queue) if newest[entry[1].source] == index
        )
        replaced = self.samples - sum(len(batch) for _, batch in kept)
        self._queue = kept
        self.samples -= replaced
        self.outdated += replaced

    def _drop_older(self, limit: float) -> list[Batch]:
        waiting = [self._queue.pop() for _ in range(len(self._queue) - self._pinned)][::-1]
        dropped = []
        for added, batch in waiting:
            # That a source has no values any more stays true, however old the news are.
            if added < limit and batch.samples:
                dropped.append(batch)
                self.samples -= len(batch)
            else:
                self._queue.append((added, batch))
        return dropped
