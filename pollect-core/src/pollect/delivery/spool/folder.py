"""The files of one spool: a journal of batches, read when it is opened and never again.

Segments are only appended to, named after the number of their first batch, and deleted once all of
it is delivered. `state` says from where on batches wait; the process that uses the folder locks it.
Every batch has a checksum, so that damage costs only the batches it hits, and `state` says how many
samples there should be. A kill leaves the files consistent; a power cut may cost what the kernel
still held.
"""

import contextlib
import fcntl
import os
import struct
from collections.abc import Sequence
from io import FileIO
from pathlib import Path

from pollect.delivery.memory import Entry
from pollect.delivery.spool import STATE
from pollect.delivery.spool.records import checksum, decode_batch, find_records, pack_record

#: How large a spool may grow, about, and in how many parts; a sample takes some thirteen bytes.
SPOOL_BYTES = 256 * 1024 * 1024
_SEGMENTS = 64
#: Number of the oldest batch that waits, samples stored from it on; a checksum follows.
_STATE = struct.Struct("<QQ")


class SpoolFolder:
    """One spool, for one thread at a time. All may raise `OSError`."""

    def __init__(self, folder: Path, size_bytes: int = SPOOL_BYTES) -> None:
        self.folder = folder
        self.next_number = 0
        #: Batches before this number have to go, for the folder to keep its size.
        self.too_old = 0
        self._segment_bytes = size_bytes // _SEGMENTS
        self._segments: list[int] = []
        #: Of the last segment. A new process begins a new one.
        self._used_bytes = self._segment_bytes
        self._stored_samples = 0
        #: The oldest batch that waits.
        self._head: Entry | None = None

    def open(self) -> tuple[list[Entry], int, bool]:
        """Lock the folder and read it; raises `BlockingIOError` when another process uses it.

        Returns what waits, oldest first and `added` in Unix time, how many samples of it are
        missing or damaged, and whether some may have been delivered before, as it is not known
        where reading goes on.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._state = _open(self.folder / STATE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            fcntl.flock(self._state, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return self._scan(os.pread(self._state, _STATE.size + 4, 0))
        except OSError:
            os.close(self._state)
            raise

    def append(self, entries: Sequence[Entry], wall: float) -> None:
        """Write what is packed, at once. `wall` is what to add to monotonic time for Unix time."""
        if self._used_bytes >= self._segment_bytes:
            self._segments.append(entries[0].number)
            self._used_bytes = 0
            self.too_old = self._segments[max(0, len(self._segments) - _SEGMENTS)]
        left = data = memoryview(b"".join(pack_record(e, e.added + wall) for e in entries))
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._segment(self._segments[-1], "ab") as file:
            file.truncate(self._used_bytes)  # a failed attempt may have left a part
            while left:
                left = left[os.write(file.fileno(), left) :]
        self._used_bytes += len(data)
        self.next_number = entries[-1].number + 1
        for entry in entries:
            entry.position = self._stored_samples
            self._stored_samples += entry.samples
            entry.settle()

    def keep_from(self, head: Entry | None) -> None:
        """Note that batches before this one are dealt with; None if all are."""
        self._head = head
        number = head.number if head else self.next_number
        waiting = self._stored_samples - head.position if head and head.position is not None else 0
        state = _STATE.pack(number, waiting)
        os.pwrite(self._state, state + checksum(state), 0)
        while len(self._segments) > 1 and self._segments[1] <= number:
            self._path(self._segments.pop(0)).unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the folder; no segment stays when nothing waits."""
        with contextlib.suppress(OSError):
            for segment in self._segments:
                if self._head is None:
                    self._path(segment).unlink(missing_ok=True)
                else:
                    with self._segment(segment, "rb") as file:
                        os.fdatasync(file.fileno())
        os.close(self._state)

    def _scan(self, state: bytes) -> tuple[list[Entry], int, bool]:
        known = state[_STATE.size :] == checksum(state[: _STATE.size])
        head, expected = _STATE.unpack_from(state) if known else (0, 0)
        names = (file.stem for file in self.folder.glob("*.spool"))
        self._segments = sorted(int(name) for name in names if name.isdecimal())
        waiting: list[Entry] = []
        for segment in self._segments:
            with self._segment(segment, "rb") as file:
                for entry in find_records(file.read()):
                    if entry.number >= head and decode_batch(entry.packed) is not None:
                        waiting.append(entry)
                        head = entry.number + 1
                        entry.position = self._stored_samples
                        self._stored_samples += entry.samples
        self.next_number = max([head, *(segment + 1 for segment in self._segments)])
        self._head = waiting[0] if waiting else None
        return waiting, max(0, expected - self._stored_samples), bool(waiting) and not known

    def _segment(self, number: int, mode: str) -> FileIO:
        return FileIO(self._path(number), mode, opener=_open)

    def _path(self, segment: int) -> Path:
        return self.folder / f"{segment:016d}.spool"


def _open(path: str | Path, flags: int) -> int:
    """Open a file that is ours alone; raises `OSError` for a link."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
