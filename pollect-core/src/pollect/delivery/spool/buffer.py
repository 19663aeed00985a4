"""The buffer of an outbox that is on disk as well, without a wait for whoever hands over.

What is put waits in memory; a thread stores it, all that waits at once, milliseconds later. From
then on it outlives the process. A disk that hangs, is full, read-only or broken costs nothing but
that: samples go on through memory, and the disk is tried again.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pollect.delivery.memory import Drop, Entry, MemoryBuffer
from pollect.delivery.spool.folder import SpoolFolder
from pollect.delivery.spool.records import Damaged, encode_batch
from pollect.errors import describe
from pollect.model import Batch
from pollect.plugin import Clock

#: How large a spool may grow, about; a sample takes some thirteen bytes.
SPOOL_BYTES = 256 * 1024 * 1024
#: With no more than these waiting, stored samples stay in memory: no reading for what is quick.
CACHED_SAMPLES = 10_000
#: Seconds between two attempts at a disk that refuses.
RETRY_SECONDS = 10.0
_STORED_AT_ONCE = 1000


class SpoolBuffer(MemoryBuffer):
    """See `MemoryBuffer`. No failure of the disk leaves this class."""

    def __init__(
        self,
        folder: Path,
        *,
        samples: int,
        age: float,
        clock: Clock,
        settled: Callable[[Sequence[Batch], Drop], None],
        log: logging.Logger,
        size_bytes: int = SPOOL_BYTES,
    ) -> None:
        """Read what the folder holds. `settled` is called by the thread, with what had to go."""
        super().__init__(samples=samples, age=age, clock=clock)
        self._folder = SpoolFolder(folder, size_bytes)
        self._settled = settled
        self._log = log
        self._troubles: set[str] = set()
        #: What is to be stored, and what has to go but must be read for it.
        self._fresh: deque[Entry] = deque()
        self._doomed: list[Entry] = []
        self._retry_at = clock.monotonic()
        self._noting = threading.Lock()
        self._work = threading.Event()
        self._ending = False
        self._usable = self._open(folder)
        self._thread = threading.Thread(target=self._run, name="pollect-spool", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, *batches: Batch) -> Sequence[Batch]:
        dropped = super().put(*batches)
        self._work.set()
        return dropped

    def ack(self) -> bool:
        in_time = super().ack()
        self._note_head()
        return in_time

    def close(self, seconds: float = 0.0) -> Sequence[Batch]:
        """End when everything is on disk, or after `seconds`; return what is not.

        A disk that comes back later may still take what was given up on.
        """
        self._ending = True
        self._work.set()
        self._thread.join(max(0.0, seconds))
        if self._thread.is_alive():
            self._log.error("the disk of the spool does not answer")
        with self._lock:
            self._closed = True
            left = self._take_all()
        return [e.batch for e in left if e.place is None and e.batch is not None]

    def store(self) -> bool:
        """Write down what is only in memory; return whether the disk has it all."""
        if not self._usable:
            self._fresh.clear()
        while self._fresh and (self._ending or self._clock.monotonic() >= self._retry_at):
            with self._lock:
                count = min(len(self._fresh), _STORED_AT_ONCE)
                entries = [self._fresh.popleft() for _ in range(count)]
            wall = self._clock.time() - self._clock.monotonic()
            encoded = [(entry, content) for entry in entries if (content := self._encode(entry))]
            try:
                places = self._folder.append(
                    [(e.number, e.samples, e.added + wall, content) for e, content in encoded]
                )
            except OSError as error:
                self._complain("the spool takes no samples, they are kept in memory: %s", error)
                self._retry_at = self._clock.monotonic() + RETRY_SECONDS
                with self._lock:
                    self._fresh.extendleft(entry for entry, _ in reversed(encoded))
                break
            for (entry, _), place in zip(encoded, places, strict=True):
                entry.place = place
                if self._waiting > CACHED_SAMPLES:
                    entry.batch = None
            if places and self._troubles:
                self._troubles.clear()
                self._log.info("the spool takes samples again")
        return self._usable and not self._fresh

    def _encode(self, entry: Entry) -> bytes:
        """Return what to store of an entry; empty for one that is gone or cannot be encoded."""
        try:
            return b"" if entry.gone or entry.batch is None else encode_batch(entry.batch)
        except Exception as error:  # noqa: BLE001 - a batch beyond encoding costs itself only
            self._complain("a batch cannot be stored: %s", error)
            return b""

    def _append(self, entry: Entry) -> None:
        super()._append(entry)
        self._fresh.append(entry)

    def _take_excess(self) -> list[Entry]:
        """Take out what is too much; what has to be read for it waits for the thread."""
        dropped = super()._take_excess()
        self._doomed += [entry for entry in dropped if entry.batch is None]
        return [entry for entry in dropped if entry.batch is not None]

    def _trim(self) -> Sequence[Batch]:
        """Return what was taken out unread, and drop the oldest when the folder is too large."""
        too_old = self._folder.too_old()
        with self._lock:
            dropped, self._doomed = self._doomed, []
            while (head := self._head()) is not None and head.number < too_old:
                self._pop()
                head.gone = True
                dropped.append(head)
        return self._load(dropped)

    def _load(self, entries: Iterable[Entry]) -> list[Batch]:
        found = []
        for entry in entries:
            batch = entry.batch
            try:
                if batch is None and entry.place is not None:
                    batch = self._folder.read(entry.place)
            except (OSError, Damaged) as error:
                self._complain("samples are lost, the spool is damaged: %s", error)
                with self._lock:
                    self._out = [out for out in self._out if out is not entry]
                    self.unreadable += entry.samples
            if batch is not None:
                found.append(batch)
        return found

    def _open(self, folder: Path) -> bool:
        try:
            waiting, self.unreadable, repeats = self._folder.open()
        except OSError as error:
            busy = isinstance(error, BlockingIOError)
            reason = "another process uses it" if busy else describe(error)
            self._log.error("cannot use %s (%s): samples are kept in memory", folder, reason)
            return False
        for record, place in waiting:
            # A wall clock that was set back meanwhile makes nothing younger than new.
            age = max(0.0, self._clock.time() - record.stored)
            entry = Entry(record.number, record.samples, self._clock.monotonic() - age, None)
            entry.place = place
            super()._append(entry)
        self._next_number = self._folder.next_number
        if self.unreadable:
            self._log.error("%d samples are lost: %s is damaged", self.unreadable, folder)
        if repeats:
            self._log.warning("%s/state is damaged: samples may be delivered twice", folder)
        if self._batches:
            self._log.info("%d samples wait in %s", self._waiting, folder)
        return True

    def _run(self) -> None:
        ending = False
        while not ending:
            self._work.wait(RETRY_SECONDS if self._fresh else None)
            self._work.clear()
            ending = self._ending
            try:
                self._settled(self.expire(), Drop.TOO_OLD)
                self.store()
                self._settled(self._trim(), Drop.TOO_MANY)
                self._note_head()
            except Exception:  # noqa: BLE001 - the next round is worth a try
                self._log.exception("a mistake in the spool")
        with self._lock:
            self._closed = True
        if self._usable:
            self._folder.close()

    def _note_head(self) -> None:
        """Let the disk know from where on batches wait."""
        with self._noting:
            with self._lock:
                if self._closed or not self._usable:
                    return
                waiting = [*self._out[:1], *filter(None, [self._head()])]
                head = min(waiting, key=lambda entry: entry.number, default=None)
                number, place = (head.number, head.place) if head else (self._next_number, None)
            try:
                self._folder.keep_from(number, place)
            except OSError as error:
                self._complain("the spool cannot note what was delivered: %s", error)

    def _complain(self, text: str, error: Exception) -> None:
        """Log a trouble once, until the disk takes samples again."""
        if text not in self._troubles:
            self._troubles.add(text)
            self._log.error(text, describe(error))
