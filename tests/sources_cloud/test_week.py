"""A week of Gdc and AppStoreConnect in the engine, on a clock that the test moves."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pollect.engine.engine import Engine
from pollect.testing import FakeClock, HttpRequest, build_source, wait_until
from pollect_sources_cloud.app_store_connect.source import AppStoreConnectSource
from pollect_sources_cloud.gdc.source import GdcSource
from tests.core.engine.rig import plan_of, recording
from tests.simulators import app_store_connect as apple_simulator
from tests.simulators import google_storage as google_simulator
from tests.simulators.app_store_connect import ISSUER, KEY_ID, VENDOR, AppStoreConnect
from tests.simulators.google_storage import BUCKET, Bucket, TokenEndpoint, as_report
from tests.sources_network.driver import series_of

APP = "my.app"
START = datetime(2026, 11, 28, tzinfo=UTC)
HOUR = 3600.0
#: Rare, so that only what holds values and tries again can make up for it.
TICK = 6 * HOUR
#: Google writes yesterday's row at noon, Apple yesterday's report at 13:00 (5 am there).
GOOGLE_HOUR, APPLE_HOUR = 12, 13
NO_SALES_ON = date(2026, 11, 29)
HEAD = "Date,Package Name,App Version Code,Daily Crashes,Daily ANRs\n"


class Week:
    """Both services, which go on with the clock, and an engine that reads them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.clock = FakeClock(time=START.timestamp())
        self.tokens = stack.enter_context(TokenEndpoint(self.clock.time))
        self.bucket = stack.enter_context(Bucket(self.tokens))
        self.apple = stack.enter_context(AppStoreConnect(self.clock.time))
        self.folder = folder
        self.replace_google_key("k1")
        self.replace_apple_key()
        self._rows: dict[str, str] = {}
        self._written = {"google": date(2026, 11, 25), "apple": date(2026, 11, 25)}
        self.requests: dict[str, Counter[date]] = {"google": Counter(), "apple": Counter()}
        self._seen = {"google": 0, "apple": 0}
        self.write_reports()
        options: dict[str, Any] = {
            "clock": self.clock,
            "config_dir": folder,
            "state_dir": folder / "state",
            "interval": TICK,
        }
        self.gdc = build_source(
            {
                "bucketName": BUCKET,
                "keyFile": "key.json",
                "endpoint": self.bucket.url,
                "apps": [{"package": APP}],
            },
            GdcSource,
            **options,
        )
        self.store = build_source(
            {
                "keyId": KEY_ID,
                "keyFile": "key.p8",
                "issuerId": ISSUER,
                "vendorNumber": VENDOR,
                "endpoint": self.apple.url,
            },
            AppStoreConnectSource,
            **options,
        )
        self.writer = recording()
        plan = plan_of([self.gdc, self.store], [self.writer], interval=TICK)
        self.engine = Engine(plan, clock=self.clock)
        self.probes = {"google": 0, "apple": 0}

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.time(), UTC)

    def write_reports(self) -> None:
        """Do what both services have done until now."""
        yesterday = self.now.date() - timedelta(days=1)
        for service, hour in (("google", GOOGLE_HOUR), ("apple", APPLE_HOUR)):
            newest = yesterday if self.now.hour >= hour else yesterday - timedelta(days=1)
            while self._written[service] < newest:
                self._written[service] += timedelta(days=1)
                (self._write_row if service == "google" else self._write_sales)(
                    self._written[service]
                )

    def _write_row(self, day: date) -> None:
        month = f"{day:%Y%m}"
        rows = self._rows.get(month, HEAD) + f"{day},{APP},7,{day.day},0\n"
        self._rows[month] = rows
        name = f"stats/crashes/crashes_{APP}_{month}_app_version.csv"
        self.bucket.put(name, as_report(rows))

    def _write_sales(self, day: date) -> None:
        sold = apple_simulator.table(apple_simulator.row("APP", "1F", day.day, day=day))
        self.apple.days[day] = apple_simulator.NO_SALES if day == NO_SALES_ON else sold

    def replace_google_key(self, key_id: str) -> None:
        key = google_simulator.new_key()
        self.tokens.keys[key_id] = key.public_key()
        file = self.folder / "key.json"
        google_simulator.write_key_file(file, key, self.tokens.token_uri, key_id)

    def replace_apple_key(self) -> None:
        key = apple_simulator.new_key()
        self.apple.keys[KEY_ID] = key.public_key()
        apple_simulator.write_key_file(self.folder / "key.p8", key)

    def settle(self, *, google: int = 0, apple: int = 0) -> None:
        """Wait until so many probes more have ended, and count their requests."""
        self.probes["google"] += google
        self.probes["apple"] += apple
        wait_until(self._is_settled, f"probes at {self.now}: {self.probes}", limit_seconds=200)
        servers: dict[str, list[HttpRequest]] = {
            "google": self.bucket.requests,
            "apple": self.apple.requests,
        }
        for service, requests in servers.items():
            self.requests[service][self.now.date()] += len(requests) - self._seen[service]
            self._seen[service] = len(requests)

    def _is_settled(self) -> bool:
        ended = [sum(status.probes.values()) for status in self.engine.source_statuses()]
        assert ended <= list(self.probes.values()), f"at {self.now}: {ended}"
        batches = Counter(batch.source.type for batch in self.writer.batches)
        # A probe that works is over when its values are written.
        working = [
            sum(count for outcome, count in status.probes.items() if outcome.up)
            for status in self.engine.source_statuses()
        ]
        written = [batches["Gdc"], batches["AppStoreConnect"]]
        return ended == list(self.probes.values()) and written == working and self.clock.waited_for

    def move_to(self, moment: datetime, *, google: int = 0, apple: int = 0) -> None:
        """Let time pass until `moment`, at which so many probes are expected."""
        self.clock.advance((moment - self.now).total_seconds())
        self.write_reports()
        self.settle(google=google, apple=apple)

    def latest(self, kind: str) -> dict[str, float]:
        """Return the series that a writer has of a source now."""
        found = [batch for batch in self.writer.batches if batch.source.type == kind]
        return series_of(list(found[-1].samples))

    def up(self) -> list[bool]:
        return [status.up for status in self.engine.source_statuses()]


@pytest.fixture
def week(tmp_path: Path) -> Iterator[Week]:
    with ExitStack() as stack:
        week = Week(tmp_path, stack)
        week.engine.start()
        stack.callback(week.engine.stop)
        yield week


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """Return a moment of the week: days count from the 28th of November."""
    return START + timedelta(days=day - 28, hours=hour, minutes=minute)


CRASHES = f'crashes_{APP}{{versionCode="7",type="crash"}}'
UNITS = 'units{sku="APP"}'


@pytest.mark.timeout(900)
def test_a_week_of_both_stores(week: Week) -> None:
    def day_until(day: int, last_hour: int) -> None:
        for hour in range(6, last_hour + 1, 6):
            week.move_to(at(day, hour), google=1, apple=1)

    week.settle(google=1, apple=1)
    assert week.latest("Gdc")[CRASHES] == 26
    assert week.latest("AppStoreConnect")[UNITS] == 26

    day_until(28, 24)
    assert week.latest("Gdc")[CRASHES] == 27
    assert week.latest("AppStoreConnect")[UNITS] == 27

    day_until(29, 24)
    assert week.latest("AppStoreConnect")[UNITS] == 28

    # The 30th: nothing was sold on the 29th, and the last values are not those of today.
    day_until(30, 24)
    sales = week.latest("AppStoreConnect")
    assert sales[UNITS] == 0
    assert sales["report_date"] == at(29, 0).timestamp()
    assert week.latest("Gdc")[CRASHES] == 29

    # The first of December: the file of November gets its last row, that of December begins
    # on the second.
    day_until(31, 24)
    assert week.latest("Gdc")[CRASHES] == 30
    assert week.latest("AppStoreConnect")[UNITS] == 30
    day_until(32, 12)
    assert week.latest("Gdc")[CRASHES] == 1
    assert week.latest("Gdc")["latestUpdate"] == at(31, 0).timestamp()

    # Google's key stops working; a new one lies there an hour and a quarter later.
    week.tokens.keys.clear()
    week.move_to(at(32, 18), google=1, apple=1)
    assert week.up() == [False, True]
    assert "key.json is refused" in week.engine.source_statuses()[0].reason
    week.move_to(at(32, 18, 5), google=1)
    week.move_to(at(32, 18, 20), google=1)
    week.replace_google_key("k2")
    assert week.latest("Gdc")[CRASHES] == 1
    week.move_to(at(32, 19, 20), google=1)
    assert week.up() == [True, True]
    week.move_to(at(32, 24), google=1, apple=1)

    # Apple's key stops working just when there would be a new report.
    week.move_to(at(33, 6), google=1, apple=1)
    week.apple.keys.clear()
    week.move_to(at(33, 12), google=1, apple=1)
    assert week.up() == [True, False]
    assert "key.p8 belong to one active team key" in week.engine.source_statuses()[1].reason
    week.move_to(at(33, 12, 5), apple=1)
    week.move_to(at(33, 12, 20), apple=1)
    assert week.latest("AppStoreConnect")[UNITS] == 1
    week.replace_apple_key()
    week.move_to(at(33, 13, 20), apple=1)
    assert week.up() == [True, True]
    assert week.latest("AppStoreConnect")[UNITS] == 2
    week.move_to(at(33, 18), google=1, apple=1)
    week.move_to(at(33, 24), google=1, apple=1)
    day_until(34, 18)
    assert week.latest("Gdc")[CRASHES] == 3
    assert week.latest("AppStoreConnect")[UNITS] == 3

    # Nothing was ever withdrawn, however far the ticks are apart.
    assert all(batch.samples for batch in week.writer.batches)

    def days(service: str) -> dict[int, int]:
        return {
            (day - date(2026, 10, 31)).days: count for day, count in week.requests[service].items()
        }

    # Apple: asked when a new day has begun there, and when the report of it is there. On the 2nd
    # of December the key fails three times, with two tokens each.
    assert {day: count for day, count in days("apple").items() if 28 < day < 33} == {
        29: 2, 30: 2, 31: 2, 32: 2,
    }  # fmt: skip
    assert days("apple")[33] == 3 * 2 + 1
    # Google: four ticks, one question for each of four files (three of them are not there, and so
    # asked for in two months: seven), and the content of the one that has changed.
    google = days("google")
    assert google[29] == google[30] == 4 * 7 + 1
    # From the first of December there (08:00 here) until it has a file, November is asked as well.
    assert google[31] == 2 * 7 + 2 * 8 + 1


def test_key_that_is_missing_at_the_start_is_found_five_minutes_later(tmp_path: Path) -> None:
    with ExitStack() as stack:
        week = Week(tmp_path, stack)
        key = (tmp_path / "key.json").read_bytes()
        (tmp_path / "key.json").unlink()
        week.engine.start()
        stack.callback(week.engine.stop)
        week.settle(google=1, apple=1)
        assert week.up() == [False, True]
        (tmp_path / "key.json").write_bytes(key)
        week.move_to(at(28, 0, 5), google=1)
        assert week.up() == [True, True]
        assert week.latest("Gdc")[CRASHES] == 26
