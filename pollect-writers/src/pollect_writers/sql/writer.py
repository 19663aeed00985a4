"""Writer `Sql`: keeps every sample in a database, for reports and for machines without one.

By default a SQLite file in the state folder, without any third-party library. With `url` any
database of SQLAlchemy: extra `sql`, or `postgresql` which brings the driver as well.
"""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from pollect.api import (
    Batch,
    ConfigError,
    FilePath,
    Seconds,
    Secret,
    WriteError,
    Writer,
    WriterConfig,
    WriterContext,
)
from pollect_writers.series import SeriesCache
from pollect_writers.sql.rows import Store, build_points, describe_series
from pollect_writers.sql.sqlite import SqliteStore

DEFAULT_FILE = "history.sqlite"
DEFAULT_RETENTION_SECONDS = 30 * 24 * 3600
SECONDS_BETWEEN_PRUNINGS = 3600.0

_MILLISECONDS = 1000


class SqlWriterConfig(WriterConfig, frozen=True, kw_only=True):
    path: Annotated[
        FilePath | None,
        Meta(description="SQLite file; default: `history.sqlite` in the state folder."),
    ] = None
    url: Annotated[
        Secret | None,
        Meta(
            description="Another database, as SQLAlchemy writes it: "
            "`postgresql+psycopg://user:password@host/database`."
        ),
    ] = None
    retention: Annotated[
        Annotated[float, Meta(ge=3600)] | None,
        Meta(description="Seconds to keep a sample, an hour at least; null: without limit."),
    ] = DEFAULT_RETENTION_SECONDS
    timeout: Annotated[Seconds, Meta(description="Seconds to wait for a lock or a connection.")] = (
        10.0
    )


class SqlWriter(Writer[SqlWriterConfig]):
    """Keeps samples in SQLite or another SQL database."""

    config_type = SqlWriterConfig

    def __init__(self, config: SqlWriterConfig, context: WriterContext) -> None:
        super().__init__(config, context)
        self._store: Store
        if config.url is None:
            file = context.state_dir / DEFAULT_FILE
            if config.path is not None:
                file = context.config_dir / config.path
            self._store = SqliteStore(file, config.timeout, follows_links=config.path is not None)
        elif config.path is None:
            from pollect_writers.sql.alchemy import AlchemyStore

            self._store = AlchemyStore(config.url, config.timeout)
        else:
            raise ConfigError("expected a path or a url, got both", key="path")
        self._series = SeriesCache(describe_series)
        self._next_pruning = context.clock.monotonic()

    def target_identity(self) -> tuple[str, ...]:
        if self.config.url is None:
            return (self.config.path or DEFAULT_FILE,)
        scheme, _, rest = self.config.url.reveal().partition("://")
        return scheme.partition("+")[0], rest.rpartition("@")[2]

    def open(self) -> None:
        self._store.open()

    def write(self, batches: Sequence[Batch]) -> None:
        points = build_points(batches, self._series)
        if points:
            self._store.write(points)
        clock = self.context.clock
        if self.config.retention is not None and clock.monotonic() >= self._next_pruning:
            self._next_pruning = clock.monotonic() + SECONDS_BETWEEN_PRUNINGS
            self._prune(clock.time() - self.config.retention)

    def close(self) -> None:
        self._store.close()

    def _prune(self, before: float) -> None:
        try:
            self._store.prune(int(before * _MILLISECONDS))
        except WriteError as error:
            # The samples in hand are stored: only the old ones stay for another hour.
            self.log.warning("cannot delete old samples: %s", error)
