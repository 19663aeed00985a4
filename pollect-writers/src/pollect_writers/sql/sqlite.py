"""The embedded history: a SQLite file, through the standard library."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pollect.api import Retryable
from pollect_writers.sql.rows import POINTS_TABLE, SERIES_TABLE, Points, Series

_MODE = 0o600

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS {SERIES_TABLE} (
    id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE, metric TEXT NOT NULL,
    collection TEXT NOT NULL, type TEXT NOT NULL, source TEXT NOT NULL, name TEXT NOT NULL,
    labels TEXT NOT NULL, unit TEXT NOT NULL, kind TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS {POINTS_TABLE} (
    series_id INTEGER NOT NULL, time_ms INTEGER NOT NULL, value REAL NOT NULL,
    PRIMARY KEY (series_id, time_ms)
) WITHOUT ROWID;
"""
# The names are constants of ours, not somebody's text.
_FIND_SERIES = f"SELECT id FROM {SERIES_TABLE} WHERE identity = ?"  # noqa: S608
_ADD_SERIES = (
    f"INSERT INTO {SERIES_TABLE} ({', '.join(Series._fields)}) "  # noqa: S608
    f"VALUES ({', '.join('?' for _ in Series._fields)})"
)
_ADD_POINT = f"INSERT OR IGNORE INTO {POINTS_TABLE} VALUES (?, ?, ?)"  # noqa: S608
_DELETE_POINTS = f"DELETE FROM {POINTS_TABLE} WHERE series_id = ? AND time_ms < ?"  # noqa: S608
_DELETE_SERIES = (
    f"DELETE FROM {SERIES_TABLE} WHERE NOT EXISTS "  # noqa: S608
    f"(SELECT 1 FROM {POINTS_TABLE} WHERE series_id = {SERIES_TABLE}.id)"
)


class SqliteStore:
    """A `Store` in one file, which others may read at the same time.

    `follows_links`: whether the file may be a link, as one that the operator named may.
    """

    def __init__(self, path: Path, timeout_seconds: float, *, follows_links: bool = True) -> None:
        self._path = path
        self._flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        if not follows_links:
            self._flags |= os.O_NOFOLLOW
        self._timeout = timeout_seconds
        self._database: sqlite3.Connection | None = None
        self._ids: dict[str, int] = {}

    def open(self) -> None:
        self._open()

    def write(self, points: Points) -> None:
        added: dict[str, int] = {}
        with self._transaction() as database:
            rows: list[tuple[int, int, float]] = []
            for series, values in points.items():
                number = self._ids.get(series.identity)
                if number is None:
                    number = added[series.identity] = _find_or_add(database, series)
                rows.extend((number, time_ms, value) for time_ms, value in values.items())
            database.executemany(_ADD_POINT, rows)
        self._ids.update(added)

    def prune(self, before_ms: int) -> None:
        with self._transaction() as database:
            numbers = database.execute(f"SELECT id FROM {SERIES_TABLE}").fetchall()  # noqa: S608
        for (number,) in numbers:
            # One transaction for each series: readers and the next write never wait for long.
            with self._transaction() as database:
                database.execute(_DELETE_POINTS, (number, before_ms))
        with self._transaction() as database:
            database.execute(_DELETE_SERIES)
        self._ids.clear()

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
        self._ids.clear()

    def _open(self) -> sqlite3.Connection:
        if self._database is not None:
            return self._database
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, self._flags, _MODE))
            # The outbox closes from another thread than the one that wrote, never at once.
            database = sqlite3.connect(self._path, timeout=self._timeout, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise Retryable(f"{self._path}: {error}") from error
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.executescript(_SCHEMA)
        except sqlite3.Error as error:
            database.close()
            raise Retryable(f"{self._path}: {error}") from error
        self._database = database
        return database

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        database = self._open()
        try:
            with database:
                yield database
        except sqlite3.Error as error:
            # Locked by somebody, the disk full or away: none of it is the data's fault.
            self.close()
            raise Retryable(f"{self._path}: {error}") from error


def _find_or_add(database: sqlite3.Connection, series: Series) -> int:
    found = database.execute(_FIND_SERIES, (series.identity,)).fetchone()
    if found is not None:
        return int(found[0])
    number = database.execute(_ADD_SERIES, series).lastrowid
    assert number is not None  # noqa: S101  an INSERT always has one
    return number
