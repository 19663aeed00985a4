"""AppStoreConnect against a service that verifies the token and every filter."""

import gzip
import stat
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from pollect.api import (
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    NoData,
    ProbeError,
    TargetUnavailable,
)
from pollect.testing import (
    FakeClock,
    HttpResponse,
    Misbehaviour,
    Running,
    build_source,
    format_samples,
)
from pollect_sources_cloud.app_store_connect.reports import parse_report, unpack
from pollect_sources_cloud.app_store_connect.source import AppStoreConnectSource
from tests.simulators.app_store_connect import (
    GONE,
    HEADER,
    ISSUER,
    KEY_ID,
    NO_SALES,
    VENDOR,
    AppStoreConnect,
    error,
    new_key,
    row,
    table,
    write_key_file,
)
from tests.sources_cloud.recordings import recording
from tests.sources_network.driver import limit_answers, series_of

NOON = datetime(2026, 11, 22, 20, tzinfo=UTC).timestamp()
DAY = 86_400.0
HOUR = 3600.0
#: The day before NOON.
YESTERDAY = date(2026, 11, 21)
SALES = table(
    row("APP.A", "1F", 10, 0.7, "EUR"),
    row("APP.A", "1F", 5, "0.70", "USD", "US"),
    row("APP.A", "1F", -1, 0.7, "EUR"),
    row("APP.A", "7F", 99),
    row("APP.A", "3F", 20),
    row("APP.B", "1", 3),
    row("APP.B", "F1", 4),
    row("COINS", "IA1", 2, 1.4, "EUR", parent="APP.A"),
    row("CLUB", "IAY", 6, 2, "EUR", parent="APP.A"),
)


class World:
    """The service, and a source that asks it."""

    def __init__(self, folder: Path, apple: AppStoreConnect, clock: FakeClock):
        self.folder = folder
        self.apple = apple
        self.clock = clock
        self.key = new_key()
        apple.keys[KEY_ID] = self.key.public_key()
        self.key_file = write_key_file(folder / "key.p8", self.key)

    def source(self, **options: Any) -> AppStoreConnectSource:
        section = {
            "keyId": KEY_ID,
            "keyFile": "key.p8",
            "issuerId": ISSUER,
            "vendorNumber": int(VENDOR),  # unquoted in YAML
            "endpoint": self.apple.url,
            **options,
        }
        source = build_source(
            section,
            AppStoreConnectSource,
            clock=self.clock,
            config_dir=self.folder,
            state_dir=self.folder / "state",
            collection="Apps",
        )
        assert isinstance(source, AppStoreConnectSource)
        return source

    def series(self, **options: Any) -> dict[str, float]:
        with Running(self.source(**options)) as running:
            return series_of(running.probe())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    clock = FakeClock(time=NOON)
    with AppStoreConnect(clock.time) as apple:
        yield World(tmp_path, apple, clock)


def test_units_of_1x_and_the_sums_beside_them(world, golden) -> None:
    world.apple.days[YESTERDAY] = SALES
    source = world.source(details=True)
    with Running(source) as running:
        golden("app_store_connect.txt", format_samples(source, running.probe()))


def test_country_is_a_label_where_it_is_wanted(world) -> None:
    world.apple.days[YESTERDAY] = SALES
    series = world.series(country=True)
    assert series['proceeds{sku="APP.A",currency="EUR",country="DE"}'] == pytest.approx(6.3)
    assert series['proceeds{sku="APP.A",currency="USD",country="US"}'] == 3.5
    assert series['subscription_units{sku="CLUB",country="DE"}'] == 6
    assert series['units{sku="APP.A"}'] == 14


def test_report_is_saved_under_the_name_of_1x_for_the_owner_only(world) -> None:
    world.apple.days[YESTERDAY] = SALES
    world.series(dbDir="deep/db")
    file = world.folder / "deep/db" / f"report_{VENDOR}.csv"
    assert file.read_bytes() == SALES
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_one_request_a_day_once_the_report_is_read_and_none_after_a_restart(world) -> None:
    world.apple.days[YESTERDAY] = SALES
    with Running(world.source()) as running:
        for _ in range(12):
            running.probe()
            world.clock.advance(HOUR / 2)
    world.series()
    assert world.apple.asked() == ["2026-11-21"]
    # Half past eight in the evening there: only after midnight there is something to ask for.
    world.clock.advance(9 * HOUR)
    world.series()
    assert world.apple.asked() == ["2026-11-21", "2026-11-22"]


def test_report_that_is_not_there_yet_is_asked_for_again_in_an_hour(world) -> None:
    world.apple.days[date(2026, 11, 20)] = SALES
    with Running(world.source()) as running:
        series = series_of(running.probe())
        assert world.apple.asked() == ["2026-11-21", "2026-11-20"]
        assert series["report_date"] == datetime(2026, 11, 20, tzinfo=UTC).timestamp()
        assert series["latestUpdate"] == NOON - 2 * DAY
        world.clock.advance(HOUR - 1)
        running.probe()
        assert len(world.apple.asked()) == 2
        world.clock.advance(1)
        world.apple.days[YESTERDAY] = table(row("APP.A", "1F", 1))
        series = series_of(running.probe())
        assert world.apple.asked()[2:] == ["2026-11-21"]
        assert series['units{sku="APP.A"}'] == 1
        assert series["latestUpdate"] == NOON + HOUR - DAY


def test_no_report_at_all_is_no_data_and_four_days_are_asked_for(world) -> None:
    with Running(world.source()) as running, pytest.raises(NoData, match="no report"):
        running.probe()
    assert world.apple.asked() == [f"2026-11-{day}" for day in (21, 20, 19, 18)]


def test_days_are_those_of_the_west_coast(world, time_zone) -> None:
    time_zone("Asia/Tokyo")
    world.clock.advance(datetime(2026, 11, 22, 7, 30, tzinfo=UTC).timestamp() - NOON)
    world.apple.days[date(2026, 11, 20)] = SALES
    world.series()
    assert world.apple.asked() == ["2026-11-20"]


def test_day_without_sales_is_a_day_of_zeros_and_never_asked_for_again(world) -> None:
    """1.x raised at every probe of such a day, and the values of the day before stayed."""
    world.apple.days[YESTERDAY] = SALES
    before = world.series()
    world.clock.advance(DAY)
    world.apple.days[date(2026, 11, 22)] = NO_SALES
    for _ in range(2):
        after = world.series()
    assert after.keys() == before.keys()
    values = {name: value for name, value in after.items() if "{" in name}
    assert set(values.values()) == {0}
    assert after["latestUpdate"] == before["latestUpdate"] + DAY
    assert world.apple.asked() == ["2026-11-21", "2026-11-22"]


def test_first_day_without_sales_has_a_date_and_nothing_to_be_zero(world) -> None:
    world.apple.days[YESTERDAY] = NO_SALES
    for _ in range(2):
        assert set(world.series()) == {"latestUpdate", "report_date"}
    assert len(world.apple.asked()) == 1


def test_report_without_rows_is_a_day_without_sales(world) -> None:
    world.apple.days[YESTERDAY] = SALES
    world.series()
    world.clock.advance(DAY)
    world.apple.days[date(2026, 11, 22)] = table()
    assert world.series()['units{sku="APP.A"}'] == 0


def test_day_that_is_too_old_is_never_asked_for_again(world) -> None:
    world.apple.days.update(dict.fromkeys((YESTERDAY, date(2026, 11, 20)), GONE))
    world.apple.days[date(2026, 11, 19)] = SALES
    for _ in range(2):
        assert world.series()['units{sku="APP.A"}'] == 14
    assert world.apple.asked() == ["2026-11-21", "2026-11-20", "2026-11-19"]


def test_version_that_is_asked_for_is_used_from_then_on(world) -> None:
    world.apple.version = "1_1"
    world.apple.days[YESTERDAY] = SALES
    with Running(world.source()) as running:
        assert series_of(running.probe())['units{sku="APP.A"}'] == 14
        assert len(world.apple.requests) == 2
        world.clock.advance(DAY)
        world.apple.days[date(2026, 11, 22)] = SALES
        running.probe()
        assert len(world.apple.requests) == 3


def test_version_is_tried_once_only(world) -> None:
    real = recording("app_store_connect/error_400_version.json")
    world.apple.instead = HttpResponse(real, 400)
    with Running(world.source()) as running, pytest.raises(BadResponse, match="status 400"):
        running.probe()
    assert [request.query.get("filter[version]") for request in world.apple.requests] == [
        None,
        "1_0",
    ]


REFUSALS = {
    "other 404": (error(404, "The specified resource does not exist"), BadResponse, "status 404"),
    "role": (error(403, "The API key in use does not allow this"), AuthenticationFailed, "Finance"),
    "server": (HttpResponse("<html>", 503), BadResponse, "status 503"),
    "hang up": (Misbehaviour.HANG_UP, ProbeError, "127"),
    "trickle": (Misbehaviour.TRICKLE, TargetUnavailable, "no answer within 0.2 s"),
    "silent": (Misbehaviour.SILENT, TargetUnavailable, "no answer within 0.2 s"),
    "page": (HttpResponse("<html><p>Maintenance"), BadResponse, "the column 'sku' is missing"),
    "nothing": (HttpResponse(b""), BadResponse, "expected a table"),
    "truncated": (HttpResponse(gzip.compress(SALES)[:-9]), BadResponse, "cannot be unpacked"),
    "flipped": (HttpResponse(b"\x1f\x8b" + b"\x00" * 40), BadResponse, "cannot be unpacked"),
    "binary": (HttpResponse(b"SKU\t\x80\xff"), BadResponse, "UTF-8"),
    "no sense": (
        HttpResponse(table("a\tb", row("A", "1F", "many"))),
        ProbeError,
        "not one row makes sense",
    ),
}


@pytest.mark.parametrize(("answer", "kind", "complaint"), REFUSALS.values(), ids=REFUSALS)
def test_what_is_no_report_is_a_failure_and_the_last_one_stays(
    world, answer, kind, complaint
) -> None:
    world.apple.days[YESTERDAY] = SALES
    source = world.source(timeout=60)
    with Running(source) as running:
        running.probe()
        world.clock.advance(DAY)
        world.apple.instead = answer
        if complaint.startswith("no answer"):
            limit_answers(source._limit, 0.2)
        with pytest.raises(kind, match=complaint) as raised:
            running.probe()
        if isinstance(answer, HttpResponse) and answer.status == 200:
            assert str(raised.value).startswith("report of 2026-11-22: ")
        assert (world.folder / "db" / f"report_{VENDOR}.csv").read_bytes() == SALES
        limit_answers(source._limit, 60)
        world.apple.instead = None
        world.apple.days[date(2026, 11, 22)] = table(row("APP.A", "1F", 3))
        assert series_of(running.probe())['units{sku="APP.A"}'] == 3


def test_service_that_is_asked_too_often_is_left_alone_as_long_as_it_says(world) -> None:
    world.apple.days[YESTERDAY] = SALES
    world.apple.instead = HttpResponse("", 429, {"Retry-After": "600"})
    with Running(world.source()) as running:
        with pytest.raises(TargetUnavailable, match="until 20:10:00"):
            running.probe()
        world.apple.instead = None
    world.clock.advance(599)
    with Running(world.source()) as running:
        with pytest.raises(TargetUnavailable, match="until 20:10:00"):
            running.probe()
        assert len(world.apple.requests) == 1
        world.clock.advance(1)
        running.probe()


def test_key_that_stops_working_is_reported_and_replaced_while_the_daemon_runs(world) -> None:
    world.apple.days[YESTERDAY] = SALES
    with Running(world.source()) as running:
        running.probe()
        world.clock.advance(DAY)
        world.apple.days[date(2026, 11, 22)] = SALES
        world.apple.keys.clear()
        asked = len(world.apple.requests)
        with pytest.raises(AuthenticationFailed, match=r"key\.p8 belong to one active team key"):
            running.probe()
        assert len(world.apple.requests) == asked + 2
        key = new_key()
        world.apple.keys[KEY_ID] = key.public_key()
        write_key_file(world.key_file, key)
        running.probe()


def test_token_is_kept_for_a_quarter_of_an_hour(world) -> None:
    with Running(world.source()) as running:
        tokens = []
        for _ in range(2):
            with pytest.raises(NoData):
                running.probe()
            tokens.append({request.headers["Authorization"] for request in world.apple.requests})
            world.apple.requests.clear()
            world.clock.advance(HOUR)
    assert len(tokens[0]) == 1
    assert tokens[0] != tokens[1]


@pytest.mark.parametrize("text", ["", "-----BEGIN PRIVATE KEY-----\nsecret\n"])
def test_unusable_key_is_named_and_never_quoted(world, text) -> None:
    world.key_file.write_text(text)
    with Running(world.source()) as running, pytest.raises(ProbeError) as caught:
        running.probe()
    assert "key.p8: expected a key of the curve P-256" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_day_learnt_while_the_clock_was_wrong_is_forgotten(world) -> None:
    folder = world.folder / "db"
    folder.mkdir()
    (folder / f"report_{VENDOR}.csv").write_bytes(SALES)
    (folder / f".report_{VENDOR}.csv.state").write_text('{"day": "2031-01-01", "no_sales": true}')
    world.apple.days[YESTERDAY] = table(row("APP.A", "1F", 3))
    assert world.series()['units{sku="APP.A"}'] == 3


def test_report_of_1x_is_taken_up_without_a_request(world) -> None:
    (world.folder / "db").mkdir()
    (world.folder / "db" / f"report_{VENDOR}.csv").write_bytes(SALES)
    assert world.series()['units{sku="APP.A"}'] == 14
    assert world.apple.asked() == []


def test_unknown_product_type_is_logged_once_by_name_and_counts_nowhere(world, caplog) -> None:
    with Running(world.source()) as running:
        for number in (21, 22):
            rows = [row("NEW", "XYZ", 5, 1, "EUR"), row("NEW", "IA3", 1)]
            world.apple.days[date(2026, 11, number)] = table(*rows)
            series = series_of(running.probe())
            assert {name for name in series if "{" in name} == {'units{sku="NEW"}'}
            world.clock.advance(DAY)
    assert caplog.text.count("the product type 'XYZ' is unknown") == 1
    assert "IA3" not in caplog.text


TYPES = {
    ("downloads", "first"): ("1", "1F", "1T", "1E", "1EP", "1EU", "1-B", "F1", "F1-B"),
    ("downloads", "redownload"): ("3", "3F", "3T", "F3"),
    ("downloads", "update"): ("7", "7F", "7T", "F7"),
    ("iap_units", "APP"): ("IA1", "IA9", "FI1", "IA1-M", "IA9-M", "FI1-M"),
    ("subscription_units", ""): ("IAY", "IAY-M"),
}


@pytest.mark.parametrize(
    ("name", "label", "code"),
    [(*place, code) for place, codes in TYPES.items() for code in codes],
)
def test_product_types_count_where_they_belong(world, name, label, code) -> None:
    world.apple.days[YESTERDAY] = table(row("S", code, 3, parent="APP"))
    series = world.series()
    found = {key: value for key, value in series.items() if "{" in key and key[:6] != "units{"}
    if name == "subscription_units":
        assert found == {'subscription_units{sku="S"}': 3}
    else:
        middle = "type" if name == "downloads" else "parent"
        assert found == {f'{name}{{sku="S",{middle}="{label}"}}': 3}
    assert series['units{sku="S"}'] == (3 if code in ("1F", "IA1") else 0)


def test_bad_rows_are_left_out_and_counted(world, caplog) -> None:
    rows = [
        row("A", "1F", 2, 1, "EUR"),
        row("A", "1F", "two"),
        row("A", "1F", "1.5"),
        row("A", "1F", 1, "dear", "EUR"),
        row(" ", "1F", 1),
        "APPLE\tUS\tA",
        row("A", "1F", 4, " ", " "),
    ]
    world.apple.days[YESTERDAY] = table(*rows)
    series = world.series(details=True)
    assert series['units{sku="A"}'] == 6
    assert series["skipped_rows"] == 5
    assert "report of 2026-11-21: 5 rows left out: units: expected a number" in caplog.text


def test_real_report_is_read_whole() -> None:
    report = parse_report(recording("app_store_connect/sales_daily_summary_first30.tsv"))
    assert report.day == date(2020, 10, 5)
    assert not report.skipped
    assert not report.unknown_types
    assert report.subscriptions["foo.bar.baz", "", "RU"] >= 15
    assert all(len(currency) == 3 for _, currency, _ in report.proceeds)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("sales_daily_2009.tsv", "sku"),
        ("subscription_first30.tsv", "sku"),
        ("subscription-event_first30.tsv", "sku"),
    ],
)
def test_real_reports_of_other_kinds_are_refused_by_the_missing_column(name, column) -> None:
    with pytest.raises(BadResponse, match=f"the column '{column}' is missing"):
        parse_report(recording(f"app_store_connect/{name}"))


def test_plain_table_needs_no_unpacking_and_names_of_columns_no_care() -> None:
    text = HEADER.replace("SKU", " sku ").replace("Product Type", "product  type")
    report = parse_report(unpack(f"\ufeff{text}\r\n{row('A', '1F', 1)}\r\n".encode()))
    assert report.units == {"A": 1}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"vendorNumber": "../8"}, "vendorNumber: expected a number"),
        ({"endpoint": "http://api.example.org"}, "endpoint: expected https"),
        ({"keyId": ""}, "keyId"),
    ],
)
def test_mistakes_are_found_before_anything_runs(world, options, complaint) -> None:
    with pytest.raises(ConfigError, match=complaint):
        world.source(**options)
