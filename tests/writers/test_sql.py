"""Writer Sql: the same promises on SQLite, on SQLAlchemy's SQLite, and on PostgreSQL."""

import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from pollect.api import Batch, ConfigError, Metric, Retryable, SourceId, Writer
from pollect.testing import FakeClock, build_writer
from pollect_writers.sql.writer import DEFAULT_RETENTION_SECONDS, SqlWriter
from tests.writers.samples import BYTES, NOW, VALUE, numbered, values

NOW_MS = int(NOW * 1000)
SOURCE = SourceId("pollect", "Test", "one")
DAY = 86_400.0
QUERY = """
SELECT metric, labels, time_ms, value FROM pollect_series
JOIN pollect_points ON pollect_points.series_id = pollect_series.id ORDER BY metric, labels, time_ms
"""

Query = Callable[[str], list[tuple[Any, ...]]]


class Database:
    """One kind of database: how to configure it, and how to ask it."""

    def __init__(self, section: dict[str, Any], url: str) -> None:
        self.section = section
        self.clock = FakeClock(time=NOW)
        self._engine = sqlalchemy.create_engine(url)

    def writer(self, **section: Any) -> Writer[Any]:
        return build_writer({**self.section, **section}, SqlWriter, clock=self.clock)

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with self._engine.begin() as connection:
            return [tuple(row) for row in connection.execute(sqlalchemy.text(query))]

    def drop(self) -> None:
        with self._engine.begin() as connection:
            for table in ("pollect_series", "pollect_points"):
                connection.execute(sqlalchemy.text(f"DROP TABLE IF EXISTS {table}"))

    def close(self) -> None:
        self._engine.dispose()


@pytest.fixture(
    params=["sqlite", "alchemy", pytest.param("postgresql", marks=pytest.mark.integration)]
)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path / 'test.sqlite'}"
    if request.param == "sqlite":
        found = Database({"path": str(tmp_path / "test.sqlite")}, url)
    elif request.param == "alchemy":
        found = Database({"url": url}, url)
    else:
        url = request.getfixturevalue("postgresql_url")
        found = Database({"url": url}, url)
        found.drop()
    yield found
    found.close()


def test_samples_become_points_of_series(database: Database) -> None:
    writer = database.writer()
    batch = Batch(
        SOURCE,
        [BYTES.sample(7, "eth0"), VALUE.sample(1.5, time=NOW + 0.25), VALUE.sample(2)],
        NOW,
        (("site", "höme"),),
    )
    writer.open()
    writer.write([batch, values(SOURCE, {"x": 9}), Batch(SOURCE, [], NOW)])
    writer.close()
    assert database.ask(QUERY) == [
        ("pollect_Test_one_bytes_sent", '{"nic":"eth0","site":"höme"}', NOW_MS, 7),
        ("pollect_Test_one_value", '{"of":"x"}', NOW_MS, 9),
        ("pollect_Test_one_value", '{"site":"höme"}', NOW_MS, 2),
        ("pollect_Test_one_value", '{"site":"höme"}', NOW_MS + 250, 1.5),
    ]
    facts = "SELECT collection, type, source, name, unit, kind FROM pollect_series"
    assert database.ask(f"{facts} WHERE unit <> ''") == [
        ("pollect", "Test", "one", "bytes_sent", "bytes", "counter")
    ]


def test_repeated_delivery_and_restart_store_nothing_twice(database: Database) -> None:
    batches = [numbered(SOURCE, number) for number in range(5)]
    writer = database.writer()
    writer.write(batches)
    writer.write(batches)
    writer.close()
    again = database.writer()
    again.write([*batches, numbered(SOURCE, 5)])
    again.close()
    assert [row[3] for row in database.ask(QUERY)] == [0, 1, 2, 3, 4, 5]
    assert len(database.ask("SELECT id FROM pollect_series")) == 1


def test_thousands_of_series_fit_in_one_delivery(database: Database) -> None:
    writer = database.writer()
    writer.write([values(SOURCE, {str(number): number for number in range(2000)})])
    writer.write([values(SOURCE, {str(number): number for number in range(2001)}, time=NOW + 1)])
    writer.close()
    assert database.ask("SELECT count(*) FROM pollect_series") == [(2001,)]
    assert database.ask("SELECT count(*) FROM pollect_points") == [(4001,)]


def test_old_points_and_series_without_any_are_deleted(database: Database) -> None:
    other = SourceId("pollect", "Gone")
    writer = database.writer(retention=2 * DAY)
    writer.write([numbered(other, 0), numbered(SOURCE, 1)])
    database.clock.advance(DAY)
    writer.write([numbered(SOURCE, 2, time=NOW + DAY)])
    assert len(database.ask(QUERY)) == 3
    database.clock.advance(1.5 * DAY)
    writer.write([numbered(SOURCE, 3, time=NOW + 2.5 * DAY)])
    assert [row[3] for row in database.ask(QUERY)] == [2, 3]
    assert database.ask("SELECT type FROM pollect_series") == [("Test",)]
    database.clock.advance(0.1 * DAY)
    writer.write([numbered(other, 4, time=NOW + 2.6 * DAY)])
    assert len(database.ask(QUERY)) == 3, "a series that comes back gets a new row"
    writer.close()


def test_label_of_any_length_is_stored(database: Database) -> None:
    writer = database.writer()
    writer.write([values(SOURCE, {"long" * 2000: 1})])
    writer.close()
    assert len(database.ask(QUERY)) == 1


def test_table_that_somebody_dropped_is_made_again(database: Database) -> None:
    writer = database.writer()
    writer.write([numbered(SOURCE, 1)])
    database.drop()
    with pytest.raises(Retryable):
        writer.write([numbered(SOURCE, 2)])
    writer.write([numbered(SOURCE, 2)])
    writer.close()
    assert [row[3] for row in database.ask(QUERY)] == [2]


def test_history_is_in_the_state_folder_and_only_ours_to_read(tmp_path: Path) -> None:
    writer = build_writer({}, SqlWriter, state_dir=tmp_path / "state")
    writer.write([numbered(SOURCE, 1)])
    writer.close()
    file = tmp_path / "state" / "history.sqlite"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert writer.config.retention == DEFAULT_RETENTION_SECONDS


def test_reader_does_not_stop_the_writer_but_a_lock_does(tmp_path: Path) -> None:
    file = tmp_path / "history.sqlite"
    writer = build_writer({"timeout": 0.05}, SqlWriter, state_dir=tmp_path)
    writer.write([numbered(SOURCE, 1)])
    reader = sqlite3.connect(file, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM pollect_points").fetchall()
    writer.write([numbered(SOURCE, 2)])
    reader.execute("COMMIT")
    reader.execute("BEGIN IMMEDIATE")
    with pytest.raises(Retryable, match="database is locked"):
        writer.write([numbered(SOURCE, 3)])
    reader.execute("ROLLBACK")
    reader.close()
    writer.write([numbered(SOURCE, 3)])
    writer.close()


def test_server_that_is_away_keeps_the_samples_and_hides_the_password() -> None:
    url = "postgresql+psycopg://me:hush@127.0.0.1:1/history"
    writer = build_writer({"url": url}, SqlWriter)
    with pytest.raises(Retryable, match=r"127\.0\.0\.1") as caught:
        writer.write([numbered(SOURCE, 1)])
    writer.close()
    assert "hush" not in f"{caught.value} {writer.config!r}"


def test_path_and_url_together_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        build_writer({"path": "a", "url": "sqlite://"}, SqlWriter)
    assert caught.value.key == "path"


@pytest.mark.parametrize("url", ["not an address", "sqlite+absent:///x", "nosuch://h/d"])
def test_url_that_cannot_work_says_so_without_showing_it(url: str) -> None:
    from pollect.api import PollectError

    writer = build_writer({"url": url}, SqlWriter)
    with pytest.raises(PollectError) as caught:
        writer.open()
    assert url not in str(caught.value)
    writer.close()


def test_metric_without_a_name_has_an_empty_one(tmp_path: Path) -> None:
    writer = build_writer({}, SqlWriter, state_dir=tmp_path)
    writer.write([Batch(SourceId("c", "T"), [Metric(None).sample(1)], NOW)])
    writer.close()
    database = sqlite3.connect(tmp_path / "history.sqlite")
    row = database.execute("SELECT metric, source, name FROM pollect_series").fetchone()
    database.close()
    assert row == ("c_T", "", "")


@pytest.mark.integration
def test_connection_that_the_server_cut_is_made_anew(postgresql_url: str) -> None:
    database = Database({"url": postgresql_url}, postgresql_url)
    database.drop()
    writer = database.writer()
    writer.write([numbered(SOURCE, 1)])
    others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type LIKE 'client%'"
    assert database.ask(f"SELECT pg_terminate_backend(pid) {others}") == [(True,)]
    writer.write([numbered(SOURCE, 2)])
    writer.close()
    assert [row[3] for row in database.ask(QUERY)] == [1, 2]
    database.close()


def test_a_link_in_the_state_folder_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "history.sqlite").symlink_to(victim)
    writer = build_writer({}, SqlWriter, state_dir=tmp_path / "state")
    with pytest.raises(Retryable):
        writer.open()
    writer.close()
    assert not victim.exists()
