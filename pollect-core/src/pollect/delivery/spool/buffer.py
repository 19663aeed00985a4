"""The buffer of an outbox that is on disk as well, without a wait for whoever hands over.

What is put waits in memory; a thread stores it, all that waits at once, milliseconds later. From
then on it outlives the process. A disk that hangs, is full, read-only or broken costs nothing but
that: samples go on through memory, and the disk is tried again. Samples are not read back while
the process runs: those that wait for long are kept as they are on disk, packed.
"""

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from pollect.delivery.memory import Entry, MemoryBuffer
from pollect.delivery.spool.folder import SpoolFolder
from pollect.delivery.spool.records import decode_batch, encode_batch
from pollect.errors import describe
from pollect.model import Batch
from pollect.plugin import Clock

#: With no more than these waiting, samples stay unpacked: no work for what is quick.
UNPACKED_SAMPLES = 10_000
#: Seconds between attempts at a disk that refuses, and before any: what is quick needs no disk.
RETRY_SECONDS, GATHER_SECONDS = 10.0, 0.005


class SpoolBuffer(MemoryBuffer):
    """See `MemoryBuffer`. No failure of the disk leaves this class."""

    def __init__(
        self, folder: SpoolFolder, *, samples: int, age: float, clock: Clock, log: logging.Logger
    ) -> None:
        super().__init__(samples=samples, age=age, clock=clock)
        self._folder = folder
        self._log = log
        #: What is to be stored.
        self._fresh: list[Entry] = []
        #: When to try a disk again that refuses.
        self._retry_at: float | None = None
        self._warned = False
        self._work = threading.Event()
        self._ending = False
        self._usable = self._open(folder.folder)
        self._thread = threading.Thread(target=self._run, name="pollect-spool", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ack(self) -> bool:
        in_time = super().ack()
        self._work.set()
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
        return self._load_lost(entry for entry in left if entry.position is None)

    def store(self) -> bool:
        """Note on disk what came in and what was dealt with; return whether it has it all."""
        if self._retry_at and self._clock.monotonic() < self._retry_at and not self._ending:
            return False
        with self._lock:
            if self._closed or not self._usable:
                return False
            self._closed = self._ending  # what is acknowledged from now on could not be noted
            fresh, self._fresh = self._fresh, []
            head = self._oldest()
        packed = [entry for entry in fresh if not entry.gone and self._pack(entry)]
        try:
            try:
                if packed:
                    self._folder.append(packed, self._clock.time() - self._clock.monotonic())
            finally:
                self._folder.keep_from(head)  # on a full disk that makes room
        except OSError as error:
            if self._retry_at is None:
                why = describe(error)
                self._log.error("the spool takes no samples, they are kept in memory: %s", why)
            self._retry_at = self._clock.monotonic() + RETRY_SECONDS
            with self._lock:
                self._fresh = [*(e for e in packed if e.position is None), *self._fresh]
            return False
        if self._retry_at is not None:
            self._retry_at = None
            self._log.info("the spool takes samples again")
        return not self._fresh

    def _pack(self, entry: Entry) -> bool:
        """Pack a batch; return False for one that cannot be, which costs itself only."""
        try:
            if entry.batch is not None:
                entry.packed = entry.packed or encode_batch(entry.batch)
                if self._waiting > UNPACKED_SAMPLES:
                    entry.batch = None
        except Exception as error:  # noqa: BLE001 - see above
            if not self._warned:
                self._log.error("a batch cannot be stored: %s", describe(error))
            self._warned = True
        return bool(entry.packed)

    def _append(self, entry: Entry) -> None:
        super()._append(entry)
        if self._usable:
            if len(self._fresh) > 2 * len(self) + 64:  # while the disk hangs
                self._fresh = [kept for kept in self._fresh if not kept.gone]
            self._fresh.append(entry)
            self._work.set()

    def _too_much(self) -> bool:
        head = self._head()
        return super()._too_much() or (head is not None and head.number < self._folder.too_old)

    def _load(self, entries: Iterable[Entry]) -> list[Batch]:
        found = ((entry.batch, entry.packed) for entry in entries)
        batches = (decode_batch(packed) if batch is None else batch for batch, packed in found)
        return [batch for batch in batches if batch is not None]

    def _open(self, folder: Path) -> bool:
        try:
            waiting, self.unreadable, repeats = self._folder.open()
        except OSError as error:
            busy = isinstance(error, BlockingIOError)
            why = "another process uses it" if busy else describe(error)
            self._log.error("cannot use %s (%s): samples are kept in memory", folder, why)
            return False
        now, wall = self._clock.monotonic(), self._clock.time()
        for entry in waiting:
            # A wall clock that was set back meanwhile makes nothing younger than new.
            entry.added = now - max(0.0, wall - entry.added)
            super()._append(entry)
        self._next_number = self._folder.next_number
        if self.unreadable:
            self._log.error("%d samples are lost: %s is damaged", self.unreadable, folder)
        if repeats:
            self._log.warning("%s/state is damaged: samples may arrive twice or be lost", folder)
        if waiting:
            self._log.info("%d samples wait in %s", self._waiting, folder)
        return True

    def _run(self) -> None:
        ending = False
        while not ending:
            self._work.wait(RETRY_SECONDS if self._retry_at else None)
            time.sleep(GATHER_SECONDS)
            self._work.clear()
            ending = self._ending
            try:
                self.store()
            except Exception:  # noqa: BLE001 - the next round is worth a try
                self._log.exception("a mistake in the spool")
        if self._usable:
            self._folder.close()
