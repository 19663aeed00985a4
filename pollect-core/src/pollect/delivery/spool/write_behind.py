"""A buffer on disk that nobody waits for who hands something over.

A batch is safe against the end of the process once it is on disk, milliseconds after it was handed
over; until then it waits in memory.
"""

import logging
import sys
import threading
from collections.abc import Callable, Sequence

from pollect.delivery.memory import Drop, MemoryBuffer
from pollect.delivery.spool.store import SpoolBuffer
from pollect.model import Batch

Settled = Callable[[Sequence[Batch], Drop], None]


class WriteBehindBuffer:
    """Stores what is put into a spool, from a thread of its own. See `Buffer`.

    All that waits for the disk is stored in one transaction. Whoever works on the spool, to store
    or to take out, holds `_disk`; `put` and the counts never do.
    """

    outdated = 0

    def __init__(
        self, spool: SpoolBuffer, waiting: MemoryBuffer, *, settled: Settled, log: logging.Logger
    ) -> None:
        """Begin to store what comes into `waiting`.

        `settled` is called after every transaction, with what had to go for it.
        """
        self._spool = spool
        self._waiting = waiting
        self._settled = settled
        self._log = log
        self._disk = threading.Lock()
        self._work = threading.Event()
        self._ending = False
        self._closed = False
        self._left: Sequence[Batch] = ()
        self._thread = threading.Thread(target=self._run, name="pollect-spool", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        # In this order: what moves on meanwhile is counted twice rather than not at all.
        return len(self._waiting) + len(self._spool)

    @property
    def samples(self) -> int:
        return self._waiting.samples + self._spool.samples

    @property
    def unreadable(self) -> int:
        return self._spool.unreadable

    @property
    def ready(self) -> bool:
        return len(self._spool) > 0

    def put(self, *batches: Batch) -> Sequence[Batch]:
        dropped = self._waiting.put(*batches)
        self._work.set()
        return dropped

    def expire(self) -> Sequence[Batch]:
        with self._disk:
            return self._spool.expire()

    def peek(self, samples: int) -> Sequence[Batch]:
        with self._disk:
            return self._spool.peek(samples)

    def ack(self) -> bool:
        with self._disk:
            self._spool.ack()
            return not self._closed

    def release(self) -> Sequence[Batch]:
        with self._disk:
            return self._spool.release()

    def close(self, seconds: float) -> Sequence[Batch]:
        """End when everything is on disk, or after `seconds`; return what is not.

        A disk that comes back later may still take what was given up on.
        """
        self._ending = True
        self._work.set()
        self._thread.join(max(0.0, seconds))
        if self._thread.is_alive():
            self._log.error("the disk of the spool does not answer")
        # Taken before `_left` is looked at: the thread may end just now.
        given_up = self._waiting.close()
        return [*self._left, *given_up]

    def _run(self) -> None:
        ending = False
        while not ending:
            self._work.wait()
            self._work.clear()
            ending = self._ending
            self._store()
        with self._disk:
            self._closed = True
            self._left = self._spool.clear()
            self._spool.close()

    def _store(self) -> None:
        """Move on disk what waits, in one transaction."""
        expired = self._waiting.expire()
        if expired:
            self._settled(expired, Drop.TOO_OLD)
        with self._disk:
            batches = self._waiting.peek(sys.maxsize)
            try:
                dropped = self._spool.put(*batches)
            except Exception:  # noqa: BLE001 - a mistake of ours does not cost the next ones as well
                self._log.exception("cannot store %d batches", len(batches))
                dropped = batches
            in_time = self._waiting.ack()
        if in_time:
            self._settled(dropped, Drop.TOO_MANY)
