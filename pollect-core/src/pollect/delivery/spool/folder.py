"""The files of one spool: segments that are only appended to, and where reading goes on.

`state` is locked by the process that uses the folder; segments are named after the number of their
first batch and deleted once all of it is delivered. Every batch has a checksum and says how many
samples came before it, so that damage costs only the batches it hits, and how many samples those
were is known. A kill leaves the files consistent; a power cut may cost what the kernel still held.
"""

import contextlib
import fcntl
import os
import struct
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from pollect.delivery.memory import Place
from pollect.delivery.spool.records import MAGIC, Damaged, Record, decode_batch, parse_record
from pollect.model import Batch

#: A segment is not continued beyond this, or this share of the spool.
SEGMENT_BYTES = 1024 * 1024
_SEGMENTS = 16
STATE = "state"
_SUFFIX = ".spool"
#: Number and position of the oldest batch that waits, samples ever written, checksum.
_STATE = struct.Struct("<QQQI")
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_CREAT


class SpoolFolder:
    """One spool. Appending is for one thread at a time; all may raise `OSError`."""

    def __init__(self, folder: Path, size_bytes: int = SEGMENT_BYTES * _SEGMENTS) -> None:
        self.folder = folder
        self.next_number = 0
        self._segment_bytes = min(SEGMENT_BYTES, size_bytes // _SEGMENTS)
        self._most_segments = size_bytes // self._segment_bytes
        self._lock = threading.Lock()
        self._state = self._current = -1
        self._current_bytes = self._segment_bytes
        self._segments: list[int] = []
        #: Samples ever written; number and position of the oldest batch that waits.
        self._written, self._head = 0, (0, 0)

    def open(self) -> tuple[list[tuple[Record, Place]], int, bool]:
        """Lock the folder and read it; raises `BlockingIOError` when another process uses it.

        Returns what waits, oldest first, how many samples of it are missing or damaged, and whether
        some may have been delivered before, as it is not known where reading goes on.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._state = os.open(self.folder / STATE, os.O_RDWR | _FLAGS, 0o600)
        try:
            fcntl.flock(self._state, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return self._scan(os.pread(self._state, _STATE.size, 0))
        except OSError:
            os.close(self._state)
            raise

    def append(self, batches: Sequence[tuple[int, int, float, bytes]]) -> list[Place]:
        """Write batches (number, samples, wall time, content) at once; return where they are."""
        if not batches:
            return []
        if self._current_bytes >= self._segment_bytes:
            self._start_segment(batches[0][0])
        offset, position = self._current_bytes, self._written
        places: list[Place] = []
        data = bytearray()
        for number, samples, stored, content in batches:
            packed = Record(number, position, samples, stored, content).pack()
            places.append((self._segments[-1], offset + len(data), len(packed), position))
            data += packed
            position += samples
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._current, view) :]
        except OSError:
            os.ftruncate(self._current, self._current_bytes)
            raise
        with self._lock:
            self._current_bytes, self._written = offset + len(data), position
            self.next_number = batches[-1][0] + 1
            self._write_state()
        return places

    def read(self, place: Place) -> Batch:
        """Return a batch; raises `Damaged`."""
        segment, offset, size, _ = place
        with self._open_segment(segment) as file:
            record = parse_record(os.pread(file.fileno(), size, offset))
        if record is None:
            raise Damaged("a checksum does not match")
        return decode_batch(record.content)

    def keep_from(self, number: int, place: Place | None) -> None:
        """Note that batches before this one are dealt with; None if it is not on disk yet."""
        with self._lock:
            self._head = number, place[3] if place else self._written
            self._write_state()
            while len(self._segments) > 1 and self._segments[1] <= number:
                self._path(self._segments.pop(0)).unlink(missing_ok=True)

    def too_old(self) -> int:
        """Return the number before which batches have to go, for the folder to keep its size."""
        with self._lock:
            excess = len(self._segments) - self._most_segments
            return self._segments[excess] if excess > 0 else 0

    def close(self) -> None:
        """Let go of the folder; no segment stays when nothing waits."""
        with self._lock, contextlib.suppress(OSError):
            if self._current >= 0:
                os.fdatasync(self._current)
                os.close(self._current)
            if self._head[0] >= self.next_number:
                for segment in self._segments:
                    self._path(segment).unlink(missing_ok=True)
            os.close(self._state)
        self._state = self._current = -1

    def _write_state(self) -> None:
        packed = _STATE.pack(*self._head, self._written, 0)[:-4]
        os.pwrite(self._state, packed + zlib.crc32(packed).to_bytes(4, "little"), 0)

    def _start_segment(self, number: int) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(self._path(number), os.O_WRONLY | os.O_EXCL | os.O_APPEND | _FLAGS, 0o600)
        with self._lock:
            self._current, old = file, self._current
            self._current_bytes = 0
            self._segments.append(number)
        if old >= 0:
            os.fdatasync(old)
            os.close(old)

    def _scan(self, state: bytes) -> tuple[list[tuple[Record, Place]], int, bool]:
        head, expected, written = 0, -1, 0
        known = len(state) == _STATE.size and zlib.crc32(state[:-4]) == _STATE.unpack(state)[3]
        if known:
            head, expected, written, _ = _STATE.unpack(state)
        waiting: list[tuple[Record, Place]] = []
        lost, last = 0, head - 1
        names = (file.stem for file in self.folder.glob(f"*{_SUFFIX}"))
        self._segments = sorted(int(name) for name in names if name.isdecimal())
        for segment in self._segments:
            with self._open_segment(segment) as file:
                data, offset = file.read(), 0
            while 0 <= offset < len(data):
                record = parse_record(data, offset)
                if record is None:
                    offset = data.find(MAGIC, offset + 1)
                    continue
                place = segment, offset, len(record.pack()), record.position
                offset += place[2]
                if record.number > last:  # else delivered, or written again after a failure
                    last = record.number
                    lost += max(0, record.position - expected) if expected >= 0 else 0
                    expected = record.position + record.samples
                    waiting.append((record._replace(content=b""), place))
        lost += max(0, written - expected) if known else 0
        self._written = max(expected, written)
        self.next_number = max([last, *self._segments]) + 1
        self._head = waiting[0][0][:2] if waiting else (self.next_number, self._written)
        return waiting, lost, bool(waiting) and not known

    def _open_segment(self, segment: int) -> BinaryIO:
        """Open a segment to read it; raises `OSError`, also for a link."""
        return open(os.open(self._path(segment), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb")

    def _path(self, segment: int) -> Path:
        return self.folder / f"{segment:016d}{_SUFFIX}"
