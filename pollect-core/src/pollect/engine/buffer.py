"""What waits for a remote writer: a queue of batches, bounded in samples and age."""

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from pollect.model import Batch
from pollect.plugin import Clock


class Buffer(Protocol):
    """A first-in first-out queue of batches. Not safe for threads: the outbox holds a lock.

    Batches given out by `peek` are pinned until `ack` or `release`: nothing pushes them out, and
    they do not count, or a slow delivery would cost the newest samples instead of the oldest.
    """

    #: Samples that wait, the pinned ones included.
    samples: int
    #: Samples that can no longer be read, because their disk is broken.
    unreadable: int

    def __len__(self) -> int:
        """Return how many batches wait."""

    def put(self, batch: Batch) -> Sequence[Batch]:
        """Append a batch; return the ones that had to go for it, oldest first."""

    def expire(self) -> Sequence[Batch]:
        """Drop and return the batches that are too old."""

    def peek(self, samples: int) -> Sequence[Batch]:
        """Return the oldest batches, one at least, up to this many samples; pin them."""

    def ack(self) -> None:
        """Forget the pinned batches: they are dealt with."""

    def release(self) -> Sequence[Batch]:
        """Unpin the batches, to be tried again; return the ones that are too many now."""

    def clear(self) -> Sequence[Batch]:
        """Drop and return everything that cannot be kept beyond the end of the process."""

    def close(self) -> None:
        """Let go of files, if any."""


class MemoryBuffer:
    """The queue in memory. See `Buffer`."""

    unreadable = 0

    def __init__(self, *, samples: int, age: float, clock: Clock) -> None:
        self.samples = 0
        self._limit = samples
        self._age = age
        self._clock = clock
        self._queue: deque[tuple[float, Batch]] = deque()
        self._pinned = 0
        self._pinned_samples = 0

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, batch: Batch) -> list[Batch]:
        self._queue.append((self._clock.monotonic(), batch))
        self.samples += len(batch)
        return self._drop_excess()

    def expire(self) -> list[Batch]:
        limit = self._clock.monotonic() - self._age
        dropped = []
        while len(self._queue) > self._pinned and self._queue[self._pinned][0] < limit:
            dropped.append(self._drop_oldest())
        return dropped

    def peek(self, samples: int) -> list[Batch]:
        chosen: list[Batch] = []
        total = 0
        for _, batch in self._queue:
            if chosen and total + len(batch) > samples:
                break
            total += len(batch)
            chosen.append(batch)
        self._pinned, self._pinned_samples = len(chosen), total
        return chosen

    def ack(self) -> None:
        for _ in range(self._pinned):
            self._queue.popleft()
        self.samples -= self._pinned_samples
        self._pinned = self._pinned_samples = 0

    def release(self) -> list[Batch]:
        self._pinned = self._pinned_samples = 0
        return self._drop_excess()

    def clear(self) -> list[Batch]:
        left = [batch for _, batch in self._queue]
        self._queue.clear()
        self.samples = self._pinned = self._pinned_samples = 0
        return left

    def close(self) -> None:
        pass

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

    def put(self, batch: Batch) -> list[Batch]:
        for index in range(self._pinned, len(self._queue)):
            _, waiting = self._queue[index]
            if waiting.source == batch.source:
                del self._queue[index]
                self.samples -= len(waiting)
                break
        return super().put(batch)

    def expire(self) -> list[Batch]:
        limit = self._clock.monotonic() - self._age
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
