"""A buffer on disk: what waits for a remote writer survives the end of the process.

One SQLite file for each writer. The series of a batch are kept once, in a dictionary, so that a
sample costs a number and a value. The file is consistent after a kill at any point and after a
power cut; a power cut may cost the batches of the last seconds.
"""

import contextlib
import itertools
import logging
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from pollect.delivery.spool.rows import (
    SeriesKey,
    SourceKey,
    decode_key,
    decode_samples,
    encode_key,
    encode_samples,
)
from pollect.model import Batch, Metric, Sample
from pollect.plugin import Clock

#: How large a spool may grow, about; a sample takes some ten bytes.
SPOOL_BYTES = 256 * 1024 * 1024

_MODE = 0o600
_FORMAT_VERSION = 1
#: What SQLite adds to the bytes of a row, about.
_ROW_BYTES = 40
#: One part of so many may be dictionary before what is unused in it is removed.
_DICTIONARY_SHARE = 4
#: When the disk is full, one part of so many is dropped at a time.
_DROPPED_SHARE = 8
#: The write-ahead log is written back after so many pages, of 4096 bytes.
_LOG_PAGES = 256
_RESERVE_BYTES = 2 * _LOG_PAGES * 4096
#: How long to wait for another process that holds the file; a second daemon does so for ever.
_LOCK_SECONDS = 0.2
#: The largest that SQLite takes.
_MOST_PAGES = 2**32 - 2
#: An extended result code of SQLite holds the primary one in its lowest byte.
_PRIMARY_CODE = 0xFF

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS dictionary (id INTEGER PRIMARY KEY, entry BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS batch (id INTEGER PRIMARY KEY, stored REAL NOT NULL, "
    "samples INTEGER NOT NULL, source INTEGER NOT NULL, time REAL NOT NULL, "
    "content BLOB NOT NULL)",
    f"PRAGMA user_version = {_FORMAT_VERSION}",
)

T = TypeVar("T")


class _Entry(NamedTuple):
    """What is known of a stored batch without reading it."""

    number: int
    samples: int
    bytes: int
    #: Monotonic time.
    stored: float


class SpoolBuffer:
    """The queue on disk: what `Buffer` describes, for one thread at a time.

    No failure of the disk leaves this class: what cannot be kept is returned as dropped or counted
    in `unreadable`, and when a file cannot be used at all the queue goes on in memory.
    """

    def __init__(
        self,
        file: Path,
        *,
        samples: int,
        age: float,
        clock: Clock,
        log: logging.Logger,
        size_bytes: int = SPOOL_BYTES,
    ) -> None:
        self.samples = 0
        self.unreadable = 0
        self._file = file
        self._reserve = file.with_suffix(".reserve")
        self._limit = samples
        self._age = age
        self._size_limit = size_bytes
        self._clock = clock
        self._log = log
        self._in_memory = False
        #: The disk was full: the file does not grow until there is room again.
        self._confined = False
        self._reset()
        self._database = self._open()

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, *batches: Batch) -> list[Batch]:
        """Append batches in one transaction; return the ones that had to go for it."""
        try:
            self._insert(batches)
        except _DiskFull:
            return [batch for one in batches for batch in self._make_room_for(one)]
        return self._drop(self._count_excess())

    def expire(self) -> list[Batch]:
        limit = self._clock.monotonic() - self._age
        waiting = itertools.islice(self._queue, self._pinned, None)
        expired = itertools.takewhile(lambda entry: entry.stored < limit, waiting)
        return self._drop(sum(1 for _ in expired))

    def peek(self, samples: int) -> list[Batch]:
        self._pinned = self._pinned_samples = 0
        total = chosen = 0
        for entry in self._queue:
            if chosen and total + entry.samples > samples:
                break
            total += entry.samples
            chosen += 1
        found = self._read(0, chosen)
        if found:
            self._pinned, self._pinned_samples = chosen, total
        return found

    def ack(self) -> None:
        self._gone = 0
        if not self._pinned:
            return
        for _ in range(self._pinned):
            entry = self._queue.popleft()
            self._delivered_up_to = entry.number
            self._count_out(entry)
        self._pinned = self._pinned_samples = 0
        # On a full disk the next change that succeeds makes up for it.
        with contextlib.suppress(_DiskFull):
            self._run(self._delete_delivered)
        if self._confined and not self._queue:
            self._release_if_room()

    def release(self) -> list[Batch]:
        self.unreadable += self._gone
        self._pinned = self._pinned_samples = self._gone = 0
        return self._drop(self._count_excess())

    def clear(self) -> list[Batch]:
        """Leave what is on disk to the next process; drop and return what is not."""
        left = self._read(0, len(self._queue)) if self._in_memory else []
        self.unreadable += self._gone
        self._reset()
        return left

    def close(self) -> None:
        self._reset()
        self._database.close()

    def _reset(self) -> None:
        """Begin with nothing."""
        self.samples = 0
        self._queue: deque[_Entry] = deque()
        self._pinned = self._pinned_samples = 0
        #: Samples that were pinned when the file broke: lost unless they are delivered.
        self._gone = 0
        self._bytes = 0
        self._next_batch = 1
        #: Batches up to this one are dealt with, even if the disk does not know it yet.
        self._delivered_up_to = 0
        self._numbers: dict[SourceKey | SeriesKey, int] = {}
        self._sources: dict[int, SourceKey] = {}
        self._series: dict[int, SeriesKey] = {}
        self._next_number = 1
        self._dictionary_bytes = 0
        self._dictionary_limit = self._size_limit // _DICTIONARY_SHARE

    def _count_in(self, entry: _Entry) -> None:
        self._queue.append(entry)
        self._next_batch = entry.number + 1
        self.samples += entry.samples
        self._bytes += entry.bytes

    def _count_out(self, entry: _Entry) -> None:
        self.samples -= entry.samples
        self._bytes -= entry.bytes

    def _count_excess(self) -> int:
        """Return how many of the oldest batches have to go to keep the limits."""
        samples, excess = self.samples - self._pinned_samples, 0
        size = self._bytes + self._dictionary_bytes
        for entry in itertools.islice(self._queue, self._pinned, None):
            if samples <= self._limit and size <= self._size_limit:
                break
            samples -= entry.samples
            size -= entry.bytes
            excess += 1
        return excess

    def _make_room_for(self, batch: Batch) -> list[Batch]:
        """Store a batch on a disk that is full; return what had to go, itself if nothing helped."""
        dropped: list[Batch] = []
        while True:
            try:
                self._insert((batch,))
            except _DiskFull:
                self._confine()
                waiting = len(self._queue) - self._pinned
                made_room = self._drop(min(waiting, 1 + waiting // _DROPPED_SHARE))
                dropped += made_room
                if not (self._forget_unused() or made_room):
                    return [*dropped, batch]
            else:
                return dropped + self._drop(self._count_excess())

    def _insert(self, batches: Sequence[Batch]) -> None:
        """Store batches behind the others; raises `_DiskFull`."""
        if not batches:
            return
        if self._dictionary_bytes > self._dictionary_limit:
            self._forget_unused()

        def insert(
            database: sqlite3.Connection,
        ) -> tuple[dict[SourceKey | SeriesKey, int], int, list[_Entry]]:
            self._delete_delivered(database)
            new: dict[SourceKey | SeriesKey, int] = {}

            def number(key: SourceKey | SeriesKey) -> int:
                known = self._numbers.get(key) or new.get(key)
                if known is None:
                    known = new[key] = self._next_number + len(new)
                return known

            now, age_now = self._clock.monotonic(), self._clock.time()
            rows, stored = [], []
            for position, batch in enumerate(batches, self._next_batch):
                source = number((batch.source, batch.static_labels))
                series = [number((s.metric, s.label_values)) for s in batch.samples]
                content = encode_samples(batch, series)
                rows.append((position, age_now, len(batch), source, batch.time, content))
                stored.append(_Entry(position, len(batch), len(content) + _ROW_BYTES, now))
            entries = [(known, encode_key(key)) for key, known in new.items()]
            database.executemany("INSERT INTO dictionary VALUES (?, ?)", entries)
            database.executemany("INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?)", rows)
            return new, sum(len(entry) + _ROW_BYTES for _, entry in entries), stored

        new, dictionary_bytes, stored = self._run(insert)
        for key, known in new.items():
            self._learn(known, key)
        self._dictionary_bytes += dictionary_bytes
        for entry in stored:
            self._count_in(entry)

    def _delete_delivered(self, database: sqlite3.Connection) -> None:
        database.execute("DELETE FROM batch WHERE id <= ?", (self._delivered_up_to,))

    def _drop(self, count: int) -> list[Batch]:
        """Remove and return the oldest batches that are not pinned; none if the disk is full."""
        if not count:
            return []
        dropped = self._read(self._pinned, count)
        chosen = list(itertools.islice(self._queue, self._pinned, self._pinned + count))
        if not chosen:
            return []  # reading found the file broken
        first, last = chosen[0].number, chosen[-1].number
        try:
            self._run(
                lambda database: database.execute(
                    "DELETE FROM batch WHERE id BETWEEN ? AND ?", (first, last)
                )
            )
        except _DiskFull:
            return []
        self._queue.rotate(-self._pinned)
        for _ in range(min(count, len(self._queue))):
            self._count_out(self._queue.popleft())
        self._queue.rotate(self._pinned)
        return dropped

    def _read(self, position: int, count: int) -> list[Batch]:
        """Return batches from a position of the queue on; none if the file proves broken."""
        chosen = list(itertools.islice(self._queue, position, position + count))
        if not chosen:
            return []

        def select(database: sqlite3.Connection) -> list[Batch]:
            if not self._queue:
                return []  # the file was set aside
            rows = database.execute(
                "SELECT source, time, content FROM batch WHERE id BETWEEN ? AND ? ORDER BY id",
                (chosen[0].number, chosen[-1].number),
            ).fetchall()
            if len(rows) != len(chosen):
                raise sqlite3.DatabaseError("batches are missing")
            try:
                return [self._decode_batch(*row) for row in rows]
            except (KeyError, msgspec.MsgspecError) as error:
                raise sqlite3.DatabaseError("a batch cannot be decoded") from error

        return self._run(select)

    def _decode_batch(self, source_number: int, time: float, content: bytes) -> Batch:
        source, static_labels = self._sources[source_number]
        stored = decode_samples(content)
        times = stored.times
        samples = []
        for position, (number, value) in enumerate(zip(stored.series, stored.values, strict=True)):
            metric, label_values = self._series[number]
            samples.append(Sample(metric, value, label_values, times.get(position)))
        return Batch(source, samples, time, static_labels)

    def _learn(self, number: int, key: SourceKey | SeriesKey) -> None:
        self._numbers[key] = number
        self._next_number = max(self._next_number, number + 1)
        if isinstance(key[0], Metric):
            self._series[number] = key
        else:
            self._sources[number] = key

    def _forget_unused(self) -> bool:
        """Remove from the dictionary what no waiting batch uses; return whether there was any."""
        size_before = self._dictionary_bytes

        def forget(database: sqlite3.Connection) -> list[tuple[int, bytes]]:
            used = {row[0] for row in database.execute("SELECT DISTINCT source FROM batch")}
            for (content,) in database.execute("SELECT content FROM batch"):
                used.update(decode_samples(content).series)
            entries = database.execute("SELECT id, entry FROM dictionary").fetchall()
            unused = [(number,) for number, _ in entries if number not in used]
            database.executemany("DELETE FROM dictionary WHERE id = ?", unused)
            return [(number, entry) for number, entry in entries if number in used]

        try:
            entries = self._run(forget)
        except _DiskFull:
            return False
        self._load_dictionary(entries)
        self._dictionary_limit = max(self._dictionary_limit, 2 * self._dictionary_bytes)
        return self._dictionary_bytes < size_before

    def _load_dictionary(self, entries: Iterable[tuple[int, bytes]]) -> None:
        self._numbers, self._sources, self._series = {}, {}, {}
        self._dictionary_bytes = 0
        for number, entry in entries:
            self._learn(number, decode_key(entry))
            self._dictionary_bytes += len(entry) + _ROW_BYTES

    def _run(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Make a change in one transaction, in a new file if this one proves broken.

        Raises `_DiskFull`, with nothing changed.
        """
        while True:
            try:
                with _transaction(self._database) as database:
                    return change(database)
            except sqlite3.ProgrammingError:
                raise  # a mistake of ours, no fault of the file
            except sqlite3.Error as error:
                if _is_full(error):
                    raise _DiskFull from error
                self._log.error(
                    "the spool %s is broken (%s): %d samples lost, set aside as *.broken",
                    self._file, error, self.samples - self._pinned_samples,
                )  # fmt: skip
                # What is being sent is not lost yet.
                self.unreadable += self.samples - self._pinned_samples
                gone = self._gone + self._pinned_samples
                self._reset()
                self._gone = gone
                self._database.close()
                self._set_aside()
                self._database = self._open()

    def _open(self) -> sqlite3.Connection:
        """Return the database with the index of what it holds; in memory if there is no other."""
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE))
            try:
                database = self._connect(str(self._file))
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                self._log.error("%s is broken (%s): set aside as *.broken", self._file, error)
                self._reset()
                self._set_aside()
                database = self._connect(str(self._file))
        except (OSError, sqlite3.Error) as error:
            self._log.error("cannot use %s (%s): samples are kept in memory", self._file, error)
            self._reset()
            self._in_memory = True
            return self._connect(":memory:")
        self._make_reserve()
        if self._queue:
            self._log.info("%d samples wait in %s", self.samples, self._file)
        return database

    def _connect(self, place: str) -> sqlite3.Connection:
        # Threads take turns; see `WriteBehindBuffer`.
        database = sqlite3.connect(
            place, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
            (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if verdict != "ok" or version not in (0, _FORMAT_VERSION):
                raise sqlite3.DatabaseError(f"version {version}, {verdict}")
            with _transaction(database):
                for statement in _SCHEMA:
                    database.execute(statement)
            self._load(database)
        except BaseException:
            database.close()
            raise
        return database

    def _load(self, database: sqlite3.Connection) -> None:
        age_now, now = self._clock.time(), self._clock.monotonic()
        rows = database.execute(
            "SELECT id, samples, length(content), stored FROM batch ORDER BY id"
        )
        for number, samples, size, stored in rows:
            # A wall clock that was set back meanwhile makes nobody younger than new.
            age = max(0.0, age_now - stored)
            self._count_in(_Entry(number, samples, size + _ROW_BYTES, now - age))
        try:
            self._load_dictionary(database.execute("SELECT id, entry FROM dictionary"))
        except msgspec.MsgspecError as error:
            raise sqlite3.DatabaseError("the dictionary cannot be decoded") from error

    def _set_aside(self) -> None:
        """Give way to a new file; the broken one stays for whoever wants to look at it."""
        with contextlib.suppress(OSError):
            self._file.replace(self._file.with_suffix(".broken"))
        for suffix in ("-wal", "-shm"):
            self._file.with_name(self._file.name + suffix).unlink(missing_ok=True)

    def _make_reserve(self) -> bool:
        """Keep room on the disk for deleting: on a full one SQLite cannot even do that."""
        try:
            descriptor = os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, _MODE)
            try:
                os.posix_fallocate(descriptor, 0, _RESERVE_BYTES)
            finally:
                os.close(descriptor)
        except OSError:
            self._reserve.unlink(missing_ok=True)
            return False
        return True

    def _confine(self) -> None:
        """Give the reserve to the write-ahead log, and let the file itself not grow any more."""
        if self._confined or self._in_memory:
            return
        self._log.error("the disk is full: the oldest samples are being dropped")
        with contextlib.suppress(OSError, sqlite3.Error):
            self._reserve.unlink(missing_ok=True)
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            (pages,) = self._database.execute("PRAGMA page_count").fetchone()
            self._database.execute(f"PRAGMA max_page_count = {pages}").fetchall()
            self._confined = True

    def _release_if_room(self) -> None:
        if self._make_reserve():
            self._database.execute(f"PRAGMA max_page_count = {_MOST_PAGES}").fetchall()
            self._confined = False


class _DiskFull(Exception):
    """There is no room for a change; nothing was changed."""


@contextlib.contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    database.execute("BEGIN")
    try:
        yield database
        database.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back by itself
            database.execute("ROLLBACK")
        raise


def _is_full(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return bool(code & _PRIMARY_CODE == sqlite3.SQLITE_FULL)
