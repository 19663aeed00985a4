"""Source `AppStoreConnect`: downloads, purchases and proceeds of apps in Apple's store, per day.

Apple makes a report of each day on the west coast of the United States, some hours after its end. A
probe asks for yesterday's until it is there, once an hour, and for older ones while there is none
at all; then for nothing until the next day. Needs the extra `appstoreconnect` (PyJWT with
cryptography) for the sign-in.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from pollect.api import (
    DETAIL,
    MOMENT,
    ConfigError,
    FilePath,
    Headline,
    Metric,
    NoData,
    ProbeError,
    Sample,
    Seconds,
    Source,
    SourceConfig,
    SourceContext,
)
from pollect.support.http import HttpClient
from pollect.support.quota import shared_budget
from pollect_sources_cloud.app_store_connect.cache import ReportFile, State
from pollect_sources_cloud.app_store_connect.client import NoReport, SalesReports
from pollect_sources_cloud.app_store_connect.reports import Key, Report, parse_report, unpack
from pollect_sources_cloud.days import local_midnight, pacific_day
from pollect_sources_cloud.endpoints import check_endpoint
from pollect_sources_cloud.files import KeyFile
from pollect_sources_cloud.limits import (
    ANSWER_SECONDS,
    CONNECT_SECONDS,
    HOLD_SECONDS,
    RETRY_SECONDS,
    Limit,
)
from pollect_sources_cloud.signing import Signer

APPLE = "https://api.appstoreconnect.apple.com"
#: Yesterday, and three days further back.
DAYS_BACK = 4
#: Until a report that is not there yet is asked for again.
NOT_YET_SECONDS = 3600.0
DAY_SECONDS = 86_400

LATEST_UPDATE = Metric(
    "latestUpdate",
    help="Time of the probe, less as many days as the report is old.",
    unit="seconds",
    panel=MOMENT,
)
REPORT_DATE = Metric(
    "report_date",
    help="Local midnight of the day that the values are of.",
    unit="seconds",
    panel=MOMENT,
)
UNITS = Metric(
    "units",
    help="Universal apps bought and in-app purchases of iOS, product types 1F and IA1.",
    labels=("sku",),
    headline=Headline("units"),
)
SKIPPED_ROWS = Metric(
    "skipped_rows", help="Rows of the report that make no sense and were left out.", panel=DETAIL
)


def _metrics(*last: str) -> dict[str, Metric]:
    return {
        "downloads": Metric(
            "downloads",
            help="Downloads of apps: first ones, repeated ones, updates.",
            labels=("sku", "type", *last),
            headline=Headline("downloads"),
        ),
        "iap_units": Metric("iap_units", help="In-app purchases.", labels=("sku", "parent", *last)),
        "subscription_units": Metric(
            "subscription_units",
            help="Payments of subscriptions that renew themselves.",
            labels=("sku", *last),
        ),
        "proceeds": Metric(
            "proceeds",
            help="What Apple owes for the day, refunds taken off, in the currency of the label.",
            labels=("sku", "currency", *last),
            headline=Headline("proceeds"),
        ),
    }


SUMS = _metrics()
SUMS_BY_COUNTRY = _metrics("country")


class AppStoreConnectConfig(SourceConfig, frozen=True, kw_only=True):
    key_id: Annotated[str, Meta(min_length=1, description="Key ID of the team key.")]
    key_file: Annotated[FilePath, Meta(description="Private key, the .p8 file of the team key.")]
    issuer_id: Annotated[str, Meta(min_length=1, description="Issuer ID, above the list of keys.")]
    vendor_number: Annotated[
        str, Meta(description="Vendor number, as under Payments and Financial Reports.")
    ]
    db_dir: Annotated[
        FilePath, Meta(description="Folder for the downloaded report, made when it is missing.")
    ] = "db"
    country: Annotated[
        bool, Meta(description="Add the label country to the sums; makes many series.")
    ] = False
    endpoint: Annotated[str, Meta(description="Base URL of the service.")] = APPLE
    timeout: Annotated[Seconds | None, Meta(description="Seconds to wait for one answer.")] = (
        ANSWER_SECONDS
    )


class AppStoreConnectSource(Source[AppStoreConnectConfig]):
    """Downloads, purchases and proceeds of one vendor."""

    config_type = AppStoreConnectConfig
    metrics = (
        UNITS,
        LATEST_UPDATE,
        REPORT_DATE,
        *SUMS.values(),
        *SUMS_BY_COUNTRY.values(),
        SKIPPED_ROWS,
    )
    hold: ClassVar[float | None] = HOLD_SECONDS
    retry_after: ClassVar[Sequence[float]] = RETRY_SECONDS

    def __init__(self, config: AppStoreConnectConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._endpoint = check_endpoint(config.endpoint, key="endpoint")
        if not re.fullmatch(r"[A-Za-z0-9]+", config.vendor_number):
            raise ConfigError(
                f"expected a number such as 81234567, got {config.vendor_number!r}",
                key="vendorNumber",
            )
        self._key_file = KeyFile(context.config_dir / config.key_file, self.log)
        self._file = ReportFile(context.config_dir / config.db_dir, config.vendor_number)
        self._limit = Limit(self._endpoint, config.timeout or ANSWER_SECONDS)
        self._budget = shared_budget(context, "appstoreconnect", config.issuer_id)
        self._state = State()
        self._report: Report | None = None
        #: Day -> monotonic seconds until which it is not asked for.
        self._not_before: dict[date, float] = {}
        self._logged_types: set[str] = set()
        self._http: HttpClient | None = None
        self._reports: SalesReports | None = None

    def expected_metrics(self) -> Sequence[Metric]:
        sums = SUMS_BY_COUNTRY if self.config.country else SUMS
        return [UNITS, LATEST_UPDATE, REPORT_DATE, *sums.values(), SKIPPED_ROWS]

    def open(self) -> None:
        self.close()
        signer = Signer("ES256", "appstoreconnect")
        self._key_file.read()
        self._restore()
        self._http = HttpClient(timeout=self._limit.answer_seconds, connect_timeout=CONNECT_SECONDS)
        self._reports = SalesReports(
            self._endpoint,
            key_id=self.config.key_id,
            issuer_id=self.config.issuer_id,
            vendor=self.config.vendor_number,
            key_file=self._key_file,
            signer=signer,
            http=self._http,
            limit=self._limit,
            clock=self.context.clock,
            budget=self._budget,
        )

    def probe(self) -> list[Sample]:
        if self._reports is None:
            raise ProbeError("not open")
        self._limit.begin_probe()
        now = self.context.clock.time()
        today = pacific_day(now)
        self._refresh(self._reports, today)
        if self._state.day is None:
            raise NoData(f"there is no report of the last {DAYS_BACK} days yet")
        age_days = (today - self._state.day).days
        return [
            *self._sums(),
            LATEST_UPDATE.sample(int(now) - age_days * DAY_SECONDS),
            REPORT_DATE.sample(local_midnight(self._state.day)),
        ]

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
        self._http = self._reports = None

    def deadline_seconds(self) -> float:
        return self._limit.deadline_seconds(self.context.interval)

    def _restore(self) -> None:
        """Take up what the last run, or 1.x, left on disk."""
        state = self._file.read_state()
        report = None
        table = self._file.read()
        if table is not None:
            try:
                report = parse_report(table)
            except ProbeError as error:
                self.log.warning("%s: %s; fetching the report again", self._file.path, error)
        if report is None and not state.no_sales:
            state = State(gone=state.gone)
        elif report is not None and state.day is None:  # 1.x left no state
            state = State(report.day, gone=state.gone)
        self._state, self._report = state, report

    def _refresh(self, reports: SalesReports, today: date) -> None:
        """Get the newest report there is, unless it is known."""
        wanted = [today - timedelta(days=back) for back in range(1, DAYS_BACK + 1)]
        now = self.context.clock.monotonic()
        self._not_before = {day: until for day, until in self._not_before.items() if until > now}
        if self._state.day is not None and self._state.day >= today:
            # Learnt while the clock was wrong.
            self._state = State(gone=self._state.gone)
        for day in wanted:
            if self._state.day is not None and day <= self._state.day:
                return
            if day in self._not_before or day in self._state.gone:
                continue
            found = reports.fetch(day)
            if found is NoReport.NOT_YET:
                self._not_before[day] = now + NOT_YET_SECONDS
            elif found is NoReport.GONE:
                gone = (*self._state.gone, day)
                self._learn(msgspec.structs.replace(self._state, gone=gone), wanted)
            else:
                self._take(None if isinstance(found, NoReport) else found, day, wanted)
                return

    def _take(self, body: bytes | None, day: date, wanted: list[date]) -> None:
        """Make a report the newest; None, or one without rows, is of a day without sales."""
        report = None
        if body is not None:
            try:
                table = unpack(body)
                report = parse_report(table)
            except ProbeError as error:
                raise type(error)(f"report of {day}: {error}") from error
            if report.skipped and not report.rows:
                raise ProbeError(f"report of {day}: not one row makes sense: {report.reason}")
            if report.rows:
                self._file.write(table)
                self._report = report
                self._log_oddities(report, day)
        no_sales = report is None or not report.rows
        self._learn(State(day, no_sales, self._state.gone), wanted)

    def _learn(self, state: State, wanted: list[date]) -> None:
        self._file.write_state(state, wanted)
        self._state = state

    def _log_oddities(self, report: Report, day: date) -> None:
        if report.skipped:
            found = report.skipped, report.reason
            self.log.warning("report of %s: %d rows left out: %s", day, *found)
        for kind in sorted(report.unknown_types - self._logged_types):
            self.log.warning("the product type %r is unknown: its rows count nowhere", kind[:40])
        self._logged_types |= report.unknown_types

    def _sums(self) -> Iterator[Sample]:
        """Yield the sums of the last report; zeros for all it had, if nothing was sold since."""
        report, factor = self._report or Report(), 0 if self._state.no_sales else 1
        for sku, units in report.units.items():
            yield UNITS.sample(units * factor, sku)
        metrics = SUMS_BY_COUNTRY if self.config.country else SUMS
        for name, sums in (
            ("downloads", report.downloads),
            ("iap_units", report.in_app),
            ("subscription_units", report.subscriptions),
            ("proceeds", report.proceeds),
        ):
            metric = metrics[name]
            # Subscriptions have nothing beside SKU and country.
            middle = len(metric.labels) - self.config.country > 1
            for (sku, other, country), number in self._folded(sums).items():
                labels = (sku, *([other] * middle), *([country] * self.config.country))
                yield metric.sample(float(number * factor) + 0.0, *labels)  # -0.0 is an odd sight
        if self.config.details:
            yield SKIPPED_ROWS.sample(report.skipped * factor)

    def _folded(self, sums: Mapping[Key, int | Decimal]) -> Mapping[Key, int | Decimal]:
        """Return the sums over all countries, unless they are wanted each."""
        if self.config.country:
            return sums
        folded: dict[Key, int | Decimal] = defaultdict(int)
        for (sku, other, _), number in sums.items():
            folded[sku, other, ""] += number
        return folded
