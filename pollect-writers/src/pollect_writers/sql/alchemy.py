"""Other databases, through SQLAlchemy and its drivers."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pollect.api import MissingDependency, Rejected, Retryable, Secret
from pollect_writers.optional import missing_library
from pollect_writers.sql.rows import IDENTITY_DIGITS, POINTS_TABLE, SERIES_TABLE, Points

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Insert, Table

REQUIREMENT = "pollect-writers[sql]"
_WORD_CHARACTERS = 255
#: Databases limit the parameters of one statement, SQLite to 999 in old versions.
_SERIES_PER_STATEMENT = 500


class AlchemyStore:
    """A `Store` behind a SQLAlchemy URL."""

    def __init__(self, url: Secret, timeout_seconds: float) -> None:
        self._url = url
        self._timeout = timeout_seconds
        self._engine: Engine | None = None
        self._has_tables = False
        self._series: Table
        self._points: Table
        self._ids: dict[str, int] = {}

    def open(self) -> None:
        if not self._has_tables:
            with self._connect() as database:
                self._series.metadata.create_all(database)
            self._has_tables = True

    def write(self, points: Points) -> None:
        self.open()
        with self._connect() as database:
            added = self._number_series(database, points)
            numbers = self._ids | added
            rows = [
                {"series_id": numbers[series.identity], "time_ms": time_ms, "value": value}
                for series, values in points.items()
                for time_ms, value in values.items()
            ]
            database.execute(_insert_new(self._points, database), rows)
        self._ids.update(added)

    def prune(self, before_ms: int) -> None:
        from sqlalchemy import bindparam, delete, exists, select

        self.open()
        series, points = self._series, self._points
        with self._connect() as database:
            numbers = [number for (number,) in database.execute(select(series.c.id))]
        old = delete(points).where(
            points.c.series_id == bindparam("number"), points.c.time_ms < before_ms
        )
        for number in numbers:
            with self._connect() as database:
                database.execute(old, {"number": number})
        with self._connect() as database:
            used = exists().where(points.c.series_id == series.c.id)
            database.execute(delete(series).where(~used))
        self._ids.clear()

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None
        self._has_tables = False
        self._ids.clear()

    def _number_series(self, database: "Connection", points: Points) -> dict[str, int]:
        """Return the ids of the series that are new to this process, adding unknown ones."""
        new = [series for series in points if series.identity not in self._ids]
        numbers: dict[str, int] = {}
        for start in range(0, len(new), _SERIES_PER_STATEMENT):
            part = {
                series.identity: series for series in new[start : start + _SERIES_PER_STATEMENT]
            }
            found = self._find_series(database, part)
            missing = [series._asdict() for key, series in part.items() if key not in found]
            if missing:
                database.execute(_insert_new(self._series, database), missing)
                found = self._find_series(database, part)
            numbers.update(found)
        return numbers

    def _find_series(self, database: "Connection", identities: Iterable[str]) -> dict[str, int]:
        from sqlalchemy import select

        columns = self._series.c
        query = select(columns.identity, columns.id).where(columns.identity.in_(identities))
        return {row.identity: row.id for row in database.execute(query)}

    @contextmanager
    def _connect(self) -> Iterator["Connection"]:
        """Give a connection in a transaction; translate what goes wrong in it."""
        self._engine = engine = self._engine or self._build_engine()
        from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

        target = engine.url.render_as_string(hide_password=True)
        try:
            with engine.begin() as database:
                yield database
        except (DataError, IntegrityError) as error:
            raise Rejected(f"{target}: {_describe(error)}") from error
        except SQLAlchemyError as error:
            # Also a table that is missing or a right that is refused: the operator can cure it.
            self.close()
            raise Retryable(f"{target}: {_describe(error)}") from error

    def _build_engine(self) -> "Engine":
        try:
            import sqlalchemy
        except ImportError as error:
            raise missing_library("sqlalchemy", REQUIREMENT) from error
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError

        try:
            url = sqlalchemy.make_url(self._url.reveal())
            engine = sqlalchemy.create_engine(
                url,
                pool_size=1,
                max_overflow=0,
                pool_pre_ping=True,
                hide_parameters=True,
                connect_args=_connect_arguments(url.drivername, self._timeout),
            )
        except (ImportError, NoSuchModuleError) as error:
            raise MissingDependency(
                f"the driver of the database is not installed: {error}", requirement=REQUIREMENT
            ) from error
        except ArgumentError as error:
            # The text of the error may hold the address, password included.
            raise Rejected("url: expected an address that SQLAlchemy understands") from error
        self._series, self._points = _build_tables()
        return engine


def _build_tables() -> "tuple[Table, Table]":
    import sqlalchemy as sa

    def text(name: str, *, length: int | None = _WORD_CHARACTERS) -> sa.Column[Any]:
        return sa.Column(name, sa.String(length) if length else sa.Text(), nullable=False)

    metadata = sa.MetaData()
    series = sa.Table(
        SERIES_TABLE,
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("identity", sa.String(IDENTITY_DIGITS), nullable=False, unique=True),
        text("metric", length=None),
        text("collection"),
        text("type"),
        text("source"),
        text("name"),
        text("labels", length=None),
        text("unit"),
        text("kind"),
    )
    points = sa.Table(
        POINTS_TABLE,
        metadata,
        sa.Column("series_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("time_ms", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("value", sa.Double, nullable=False),
    )
    return series, points


def _insert_new(table: "Table", database: "Connection") -> "Insert":
    """Return an INSERT that leaves alone the rows that are there, where the database can."""
    import sqlalchemy
    from sqlalchemy.dialects import postgresql, sqlite

    dialect = database.dialect.name
    if dialect == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    if dialect == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    if dialect in ("mysql", "mariadb"):
        return sqlalchemy.insert(table).prefix_with("IGNORE")
    return sqlalchemy.insert(table)


def _connect_arguments(driver: str, timeout_seconds: float) -> dict[str, Any]:
    """Return the time-outs in the words of the driver; there is no common one."""
    if driver == "postgresql+psycopg":
        milliseconds = int(timeout_seconds * 1000)
        return {
            "connect_timeout": max(1, int(timeout_seconds)),
            "options": f"-c statement_timeout={milliseconds}",
            "tcp_user_timeout": milliseconds,
        }
    return {}


def _describe(error: Exception) -> str:
    """Return the driver's words without the statement and the link that SQLAlchemy adds."""
    original = getattr(error, "orig", None) or error
    return " ".join(str(original).split("\n")[0].split())
