"""Gdc against a bucket that demands a signed-for token, and against both emulators."""

import logging
import os
import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pollect.api import (
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    ProbeError,
    TargetUnavailable,
)
from pollect.testing import (
    FakeClock,
    HttpResponse,
    Misbehaviour,
    Running,
    absent_port,
    build_source,
    format_samples,
)
from pollect_sources_cloud.gdc.reports import (
    CRASHES,
    CRASHES_BY_VERSION,
    INSTALLS,
    RATINGS,
    parse_report,
)
from pollect_sources_cloud.gdc.source import GdcSource, bucket_of
from tests.simulators.google_storage import (
    BUCKET,
    EMULATORS,
    Bucket,
    TokenEndpoint,
    as_report,
    new_key,
    write_key_file,
)
from tests.sources_cloud.recordings import recording
from tests.sources_network.driver import series_of

APP, OTHER = "my.app.package", "org.example.other"
NOON = datetime(2026, 11, 22, 20, tzinfo=UTC).timestamp()
DAY = 86_400.0

BY_VERSION = f"""\
Date,Package Name,App Version Code,Daily Crashes,Daily ANRs
2026-11-20,{APP},100,7,1
2026-11-21,{APP},100,3,0
2026-11-21,{APP},101,5,2
"""
OVERVIEW = f"""\
Date,Package Name,Daily Crashes,Daily ANRs
2026-11-20,{APP},7,1
2026-11-21,{APP},8,2
"""
INSTALLS_NEW = f"""\
Date,Package name,Daily Device Installs,Daily Device Uninstalls,Daily Device Upgrades,\
Total User Installs,Daily User Installs,Daily User Uninstalls,Active Device Installs,\
Install events,Update events,Uninstall events
2026-11-20,{APP},4,1,0,0,3,1,98,4,0,1
2026-11-21,{APP},,,,,,,104,,,
"""
RATINGS_NEW = f"""\
Date,Package name,Daily Average Rating,Total Average Rating
2026-11-20,{APP},5.0,4.6
2026-11-21,{APP},0.0,4.5
"""


def object_name(category: str, month: int, dimension: str, package: str = APP) -> str:
    return f"stats/{category}/{category}_{package}_{month}_{dimension}.csv"


CRASH_OBJECT = object_name("crashes", 202611, "app_version")


class World:
    """A bucket, who may read it, and a source that does."""

    def __init__(self, folder: Path, tokens: TokenEndpoint, bucket: Bucket, clock: FakeClock):
        self.folder = folder
        self.tokens = tokens
        self.bucket = bucket
        self.clock = clock
        self.key = new_key()
        tokens.keys["k1"] = self.key.public_key()
        self.key_file = write_key_file(folder / "key.json", self.key, tokens.token_uri)

    def source(self, *packages: str, **options: Any) -> GdcSource:
        section = {
            "bucketName": f"gs://{BUCKET}/stats/",
            "keyFile": "key.json",
            "endpoint": self.bucket.url,
            "apps": [{"package": package, "name": "Any"} for package in packages or (APP,)],
            **options,
        }
        source = build_source(
            section,
            GdcSource,
            clock=self.clock,
            config_dir=self.folder,
            state_dir=self.folder / "state",
            collection="Apps",
        )
        assert isinstance(source, GdcSource)
        return source

    def fill(self) -> None:
        for category, dimension, text in (
            ("crashes", "app_version", BY_VERSION),
            ("crashes", "overview", OVERVIEW),
            ("installs", "overview", INSTALLS_NEW),
            ("ratings", "overview", RATINGS_NEW),
        ):
            self.bucket.put(object_name(category, 202611, dimension), as_report(text))

    def series(self, *packages: str, **options: Any) -> dict[str, float]:
        with Running(self.source(*packages, **options)) as running:
            return series_of(running.probe())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    clock = FakeClock(time=NOON)
    with TokenEndpoint(clock.time) as tokens, Bucket(tokens) as bucket:
        yield World(tmp_path, tokens, bucket, clock)


def versions(series: dict[str, float]) -> dict[str, float]:
    """Return the old series: crashes per version."""
    return {name: value for name, value in series.items() if name.startswith("crashes_")}


def test_all_versions_of_the_newest_day_and_the_new_values_beside_them(world, golden) -> None:
    world.fill()
    source = world.source(details=True)
    with Running(source) as running:
        golden("gdc.txt", format_samples(source, running.probe()))


def test_files_keep_the_names_of_1x_and_are_for_the_owner_only(world) -> None:
    world.fill()
    world.series(dbDir="deep/er/db")
    folder = world.folder / "deep/er/db"
    names = {file.name for file in folder.iterdir() if not file.name.startswith(".")}
    assert f"crashes_{APP}_202611_app_version.csv" in names
    assert len(names) == 4
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_a_file_is_got_again_only_when_its_object_changed_and_also_after_a_restart(world) -> None:
    world.fill()
    with Running(world.source()) as running:
        running.probe()
        assert len(world.bucket.asked(content=True)) == 4
        running.probe()
    assert world.series()['daily_crashes{package="my.app.package"}'] == 8
    assert len(world.bucket.asked(content=True)) == 4
    newer = OVERVIEW + f"2026-11-22,{APP},1,0\n"
    world.bucket.put(object_name("crashes", 202611, "overview"), as_report(newer))
    assert world.series()['daily_crashes{package="my.app.package"}'] == 1
    assert world.bucket.asked(content=True)[4:] == [object_name("crashes", 202611, "overview")]


def test_two_apps_each_have_their_own_state(world) -> None:
    """1.x had one stamp for all apps, and got every file again at every probe."""
    for package in (APP, OTHER):
        text = BY_VERSION.replace(APP, package)
        world.bucket.put(object_name("crashes", 202611, "app_version", package), as_report(text))
    with Running(world.source(APP, OTHER)) as running:
        for _ in range(3):
            assert len(versions(series_of(running.probe()))) == 8
    assert len(world.bucket.asked(content=True)) == 2


def test_file_of_1x_is_used_as_long_as_the_bucket_has_nothing_newer(world) -> None:
    folder = world.folder / "db"
    folder.mkdir()
    (folder / f"crashes_{APP}_202610_app_version.csv").write_bytes(
        as_report(BY_VERSION.replace("2026-11", "2026-10"))
    )
    assert versions(world.series()) == {
        f'crashes_{APP}{{versionCode="{code}",type="{kind}"}}': 0
        for code in (100, 101)
        for kind in ("crash", "anr")
    }


def test_at_the_begin_of_a_month_the_last_one_counts_and_then_goes(world) -> None:
    world.clock.advance(datetime(2026, 12, 1, 20, tzinfo=UTC).timestamp() - NOON)
    october, november, december = (
        object_name("crashes", month, "app_version") for month in (202610, 202611, 202612)
    )
    head, row = BY_VERSION.splitlines()[0], f"{APP},100"
    world.bucket.put(november, as_report(f"{head}\n2026-11-29,{row},4,1\n"))
    with Running(world.source()) as running:
        name = f'crashes_{APP}{{versionCode="100",type="crash"}}'
        assert series_of(running.probe())[name] == 4
        # The last days of a month come when the next one has begun.
        world.bucket.put(november, as_report(f"{head}\n2026-11-30,{row},6,1\n"))
        assert series_of(running.probe())[name] == 6
        # A file with a header only is a month without data.
        world.bucket.put(december, as_report(f"{head}\n"))
        assert series_of(running.probe())[name] == 6
        world.bucket.put(december, as_report(f"{head}\n2026-12-01,{row},2,0\n"))
        assert series_of(running.probe())[name] == 2
        asked = len(world.bucket.asked())
        running.probe()
        assert november not in world.bucket.asked()[asked:]
        world.clock.advance(35 * DAY)
        january = object_name("crashes", 202701, "app_version")
        world.bucket.put(january, as_report(f"{head}\n2027-01-02,{row},9,0\n"))
        running.probe()
    kept = sorted(file.name for file in (world.folder / "db").glob("crashes*"))
    assert kept == [f"crashes_{APP}_{month}_app_version.csv" for month in (202612, 202701)]
    assert not list((world.folder / "db").glob(".*202611*"))
    assert october not in world.bucket.asked(content=True)


@pytest.mark.parametrize(("days", "crashes"), [(1, 8), (2, 8), (3, 0), (4, 0)])
def test_from_the_third_day_after_the_last_row_there_were_no_crashes(
    world, days: int, crashes: int
) -> None:
    world.fill()
    world.clock.advance((days - 1) * DAY)
    series = world.series()
    assert series[f'daily_crashes{{package="{APP}"}}'] == crashes
    by_version = f'crashes_{APP}{{versionCode="101",type="anr"}}'
    assert series[by_version] == (2 if crashes else 0)
    # The rule is for crashes and ANRs alone, and never for the date.
    assert series[f'active_device_installs{{package="{APP}"}}'] == 104
    assert series[f'total_average_rating{{package="{APP}"}}'] == 4.5
    assert series["latestUpdate"] == time.mktime((2026, 11, 21, 0, 0, 0, 0, 0, -1))


def test_latest_update_is_the_local_midnight(world, time_zone) -> None:
    time_zone("Asia/Tokyo")
    world.fill()
    assert world.series()["latestUpdate"] == datetime(2026, 11, 20, 15, tzinfo=UTC).timestamp()


def test_the_month_is_that_of_the_west_coast(world) -> None:
    """At three in the morning UTC on the first, it is still the last day of the month there."""
    world.clock.advance(datetime(2026, 12, 1, 3, tzinfo=UTC).timestamp() - NOON)
    world.series()
    assert object_name("crashes", 202612, "overview") not in world.bucket.asked()
    assert object_name("crashes", 202611, "overview") in world.bucket.asked()


def test_nothing_in_the_bucket_is_no_news_and_no_failure(world) -> None:
    assert world.series() == {"latestUpdate": 0}


BROKEN = {
    "status 500": HttpResponse("oops", 500),
    "hang up": Misbehaviour.HANG_UP,
    "silent": Misbehaviour.SILENT,
    "cut short": Misbehaviour.CUT_SHORT,
    "no JSON": HttpResponse("<html>"),
    "no generation": HttpResponse({"name": "x"}),
    "forbidden": HttpResponse({"error": {"message": "no"}}, 403),
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_failure_of_one_app_costs_only_itself(world, answer, caplog) -> None:
    world.fill()
    for category, dimension in (
        ("crashes", "app_version"),
        ("crashes", "overview"),
        ("installs", "overview"),
        ("ratings", "overview"),
    ):
        world.bucket.instead[object_name(category, 202611, dimension, OTHER)] = answer
    # The others have to answer in this time, even if it is short for the one that does not.
    source = world.source(OTHER, APP, timeout=0.6 if answer is Misbehaviour.SILENT else 60)
    with Running(source) as running, caplog.at_level(logging.INFO, "Apps/Gdc"):
        for _ in range(2):
            series = series_of(running.probe())
            assert series[f'daily_crashes{{package="{APP}"}}'] == 8
        assert len({record.message for record in caplog.records}) == len(caplog.records) > 0
        assert all(OTHER in record.message for record in caplog.records)
        world.bucket.instead.clear()
        text = OVERVIEW.replace(APP, OTHER)
        world.bucket.put(object_name("crashes", 202611, "overview", OTHER), as_report(text))
        assert series_of(running.probe())[f'daily_crashes{{package="{OTHER}"}}'] == 8
        assert "works again" in caplog.records[-1].message


def test_file_without_a_needed_column_leaves_the_last_one_in_use(world, caplog) -> None:
    world.fill()
    name = object_name("crashes", 202611, "overview")
    with Running(world.source()) as running:
        running.probe()
        world.bucket.put(name, as_report(OVERVIEW.replace("Daily ANRs", "Daily Freezes")))
        series = series_of(running.probe())
    assert series[f'daily_crashes{{package="{APP}"}}'] == 8
    assert series[f'daily_anrs{{package="{APP}"}}'] == 2
    assert f"{name}: the column 'daily anrs' is missing" in caplog.text
    assert world.series()[f'daily_crashes{{package="{APP}"}}'] == 8


def test_when_everything_fails_the_probe_does_and_names_the_column(world) -> None:
    broken = as_report("Datum,Absturz\n2026-11-21,1\n")
    for category, dimension in (("crashes", "app_version"), ("crashes", "overview")):
        world.bucket.put(object_name(category, 202611, dimension), broken)
    for category in ("installs", "ratings"):
        world.bucket.put(object_name(category, 202611, "overview"), broken)
    with Running(world.source()) as running, pytest.raises(BadResponse, match="column 'date'"):
        running.probe()


def test_download_that_is_cut_short_leaves_no_file_behind(world) -> None:
    world.fill()
    content = world.bucket.objects[CRASH_OBJECT]
    facts = {"name": CRASH_OBJECT, "generation": "77"}

    def cut(request: Any) -> Any:
        return Misbehaviour.CUT_SHORT if request.query.get("alt") else facts

    world.bucket.instead[CRASH_OBJECT] = cut
    with Running(world.source()) as running:
        assert not versions(series_of(running.probe()))
        assert not list((world.folder / "db").glob("*app_version*"))
        world.bucket.instead.clear()
        assert len(versions(series_of(running.probe()))) == 4
    assert (world.folder / "db" / f"crashes_{APP}_202611_app_version.csv").read_bytes() == content


def test_broken_file_of_an_old_cache_is_got_again(world) -> None:
    world.fill()
    world.series()
    file = world.folder / "db" / f"crashes_{APP}_202611_app_version.csv"
    file.write_bytes(file.read_bytes()[:31])
    assert len(versions(world.series())) == 4


def test_bad_rows_are_left_out_and_counted_blank_cells_are_no_zeros(world, caplog) -> None:
    text = BY_VERSION + (
        f"2026-11-21,{APP},102,,3\n"
        f"2026-11-21,{APP},103,many,0\n"
        f"2026-11-21,{APP}\n"
        f"21.11.2026,{APP},104,1,0\n"
        f"2026-11-21,{APP},,1,0\n"
        f'2026-11-21,{APP},"105,b",1,0,more,cells\n'
        f"2026-11-21,{APP},106,NA,NA\n"
    )
    world.bucket.put(CRASH_OBJECT, as_report(text))
    series = world.series(details=True)
    start = f'crashes_{APP}{{versionCode="'
    assert {name.removeprefix(start) for name in versions(series)} == {
        *(
            f'{code}",type="{kind}"}}'
            for code in ("100", "101", "105,b")
            for kind in ("crash", "anr")
        ),
        '102",type="anr"}',
    }
    assert series[f'skipped_rows{{package="{APP}"}}'] == 4
    assert f"{CRASH_OBJECT}: 4 rows left out: daily crashes: expected a number" in caplog.text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8", "utf-8-sig"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_texts_are_read_in_every_encoding_and_with_every_end_of_line(encoding, line_end) -> None:
    report = parse_report(
        as_report(BY_VERSION, encoding=encoding, line_end=line_end), CRASHES_BY_VERSION
    )
    assert [row.version for row in report.newest_rows()] == ["100", "101"]
    assert not report.skipped


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"\xff\xfe\x00", b"\x80\x81", b"\x1f\x8b\x08", b"Date\x00,a\n", b'"' * 999],
)
def test_what_is_no_table_is_refused(content: bytes) -> None:
    with pytest.raises(BadResponse):
        parse_report(content, CRASHES)


def test_real_installs_of_both_header_forms() -> None:
    old = parse_report(recording("gdc/installs_com.example.finder_202607_overview.csv"), INSTALLS)
    assert old.newest_number("active device installs").__repr__() == (
        "(datetime.date(2026, 7, 28), 105.0)"
    )
    by_country = recording("gdc/installs_com.example.api_202608_country.csv")
    new = parse_report(by_country, INSTALLS)
    assert not new.skipped
    assert any("daily device installs" not in row.numbers for row in new.rows)


def test_real_ratings_that_are_not_available() -> None:
    october = parse_report(recording("gdc/ratings_com.example.dice_202110_overview.csv"), RATINGS)
    june = parse_report(recording("gdc/ratings_com.example.dice_202106_overview.csv"), RATINGS)
    assert not october.skipped
    assert not june.skipped
    newest = june.newest_number("daily average rating")
    assert newest is not None
    assert 1 <= newest[1] <= 5
    assert october.newest_number("total average rating") is not None


def test_every_real_file_of_crashes_is_read_whole() -> None:
    for month, days in (("06", 30), ("07", 31), ("08", 31), ("09", 30)):
        report = parse_report(
            recording(f"gdc/crashes_com.example.dice_2021{month}_overview.csv"), CRASHES
        )
        assert len(report.rows) == days, month
        assert not report.skipped


def test_token_is_kept_and_renewed_a_minute_before_it_ends(world) -> None:
    with Running(world.source()) as running:
        running.probe()
        world.clock.advance(3500)
        running.probe()
        assert len(world.tokens.tokens) == 1
        world.clock.advance(40)
        running.probe()
        assert len(world.tokens.tokens) == 2


def test_token_that_is_refused_is_renewed_once(world) -> None:
    world.fill()
    with Running(world.source()) as running:
        running.probe()
        world.tokens.tokens.append("another")
        assert series_of(running.probe())[f'daily_crashes{{package="{APP}"}}'] == 8
        asked = len(world.bucket.requests)
        world.bucket.routes = {"*": HttpResponse({"error": {"message": "no"}}, 401)}
        with pytest.raises(AuthenticationFailed, match=r"token is refused.*key\.json"):
            running.probe()
        assert len(world.bucket.requests) == asked + 2


def test_key_that_is_replaced_while_the_daemon_runs_is_used(world) -> None:
    world.fill()
    with Running(world.source()) as running:
        running.probe()
        world.tokens.keys.clear()
        world.clock.advance(3600)
        with pytest.raises(AuthenticationFailed, match="refused: invalid_grant; make a new key"):
            running.probe()
        key = new_key()
        world.tokens.keys["k2"] = key.public_key()
        write_key_file(world.key_file, key, world.tokens.token_uri, "k2")
        assert series_of(running.probe())[f'daily_crashes{{package="{APP}"}}'] == 8


def test_missing_permission_says_what_to_grant(world) -> None:
    world.bucket.routes = {"*": HttpResponse({"error": {"message": "no storage.objects.get"}}, 403)}
    source = world.source()
    with Running(source) as running, pytest.raises(AuthenticationFailed, match="bulk reports"):
        running.probe()
    assert len(world.bucket.requests) == 1


def test_bucket_that_does_not_exist_is_a_failure_not_an_empty_one(world) -> None:
    source = world.source(bucketName="pubsite_prod_rev_1")
    with Running(source) as running, pytest.raises(BadResponse, match="there is no bucket"):
        running.probe()


def test_absent_storage_is_named_and_a_busy_one_is_left_alone_as_long_as_it_says(world) -> None:
    with absent_port() as port:
        source = world.source(endpoint=f"http://127.0.0.1:{port}")
        with Running(source) as running, pytest.raises(TargetUnavailable):
            running.probe()
    world.bucket.routes = {"*": HttpResponse("busy", 429, {"Retry-After": "120"})}
    for _ in range(2):
        with Running(world.source()) as running:
            with pytest.raises(TargetUnavailable, match="until 20:02:00"):
                running.probe()
    assert len(world.bucket.requests) == 1


KEYS = {
    "absent": (None, "cannot read the key file .*key.json: No such file"),
    "no JSON": ("-----BEGIN", "expected the JSON key of a service account"),
    "of another kind": ('{"installed": {}}', "client_email is missing"),
    "no key in it": (
        '{"client_email": "a", "private_key": "secret-text", "token_uri": "http://127.0.0.1:1/"}',
        "expected an RSA key in PEM",
    ),
    "sent in the clear": (
        '{"client_email": "a", "private_key": "k", "token_uri": "http://example.org/"}',
        "loopback",
    ),
}


@pytest.mark.parametrize(("text", "complaint"), KEYS.values(), ids=KEYS)
def test_unusable_key_file_is_named_and_never_quoted(world, text, complaint) -> None:
    world.key_file.unlink()
    if text is not None:
        world.key_file.write_text(text)
    with Running(world.source()) as running, pytest.raises(ProbeError, match=complaint) as caught:
        running.probe()
    assert "secret-text" not in str(caught.value)


def test_key_that_others_can_read_is_warned_of_once(world, caplog) -> None:
    os.chmod(world.key_file, 0o644)
    with Running(world.source()) as running:
        running.probe()
        world.clock.advance(4000)
        running.probe()
    assert caplog.text.count("others can read this key") == 1


def test_folder_that_cannot_be_written_is_named(world) -> None:
    world.fill()
    (world.folder / "db").write_text("a file")
    with Running(world.source()) as running, pytest.raises(ProbeError, match=r"cannot .*/db"):
        running.probe()


@pytest.mark.integration
@pytest.mark.parametrize("emulator", EMULATORS)
def test_both_emulators_are_read(world, emulator, monkeypatch) -> None:
    with EMULATORS[emulator](world.folder) as storage:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage.url.removeprefix("http://"))
        source = build_source(
            {"bucketName": BUCKET, "keyFile": "key.json", "apps": [{"package": APP}]},
            GdcSource,
            clock=world.clock,
            config_dir=world.folder,
            state_dir=world.folder / "state",
        )
        with Running(source) as running:
            assert series_of(running.probe()) == {"latestUpdate": 0}
            storage.put(CRASH_OBJECT, as_report(BY_VERSION))
            storage.put(object_name("ratings", 202611, "overview"), as_report(RATINGS_NEW))
            series = series_of(running.probe())
            assert series[f'crashes_{APP}{{versionCode="100",type="crash"}}'] == 3
            assert series[f'total_average_rating{{package="{APP}"}}'] == 4.5
            storage.put(CRASH_OBJECT, as_report(BY_VERSION + f"2026-11-22,{APP},102,1,0\n"))
            newest = versions(series_of(running.probe()))
            assert newest == {
                f'crashes_{APP}{{versionCode="102",type="crash"}}': 1,
                f'crashes_{APP}{{versionCode="102",type="anr"}}': 0,
            }


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"apps": []}, "apps: expected at least 1 in the list, got 0"),
        ({"apps": [{"package": "a/b"}]}, r"apps\[0\].package: expected a package name"),
        ({"bucketName": "gs://"}, "bucketName: expected a bucket"),
        ({"endpoint": "http://storage.example.org"}, "endpoint: expected https"),
    ],
)
def test_mistakes_are_found_before_anything_runs(world, options, complaint) -> None:
    with pytest.raises(ConfigError, match=complaint):
        world.source(**options)


def test_bucket_is_taken_as_the_console_shows_it() -> None:
    for text in (BUCKET, f"gs://{BUCKET}", f"gs://{BUCKET}/", f" gs://{BUCKET}/stats/crashes "):
        assert bucket_of(text) == BUCKET
