"""Source `Gdc`: crashes, installs and ratings of apps in the Google Play Console, per day.

Google writes monthly CSV files to a private bucket of the developer account and renews them once a
day. A probe asks for the state of four to eight small objects per app, and for the content of those
that changed. All numbers are of whole days on the west coast of the United States and one to three
days old. Needs the extra `gdc` (PyJWT with cryptography) for the sign-in.
"""

import os
import re
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from pollect.api import (
    DETAIL,
    MOMENT,
    AuthenticationFailed,
    ConfigError,
    FilePath,
    Headline,
    Metric,
    Panel,
    ProbeError,
    Sample,
    Seconds,
    Source,
    SourceConfig,
    SourceContext,
    TargetUnavailable,
)
from pollect.support.http import HttpClient
from pollect.support.quota import shared_budget
from pollect_sources_cloud.days import local_midnight, pacific_day
from pollect_sources_cloud.endpoints import check_endpoint
from pollect_sources_cloud.files import KeyFile
from pollect_sources_cloud.gdc.cache import MAX_FILE_BYTES, ReportFolder
from pollect_sources_cloud.gdc.client import Storage
from pollect_sources_cloud.gdc.reports import (
    CRASHES,
    CRASHES_BY_VERSION,
    INSTALLS,
    KINDS,
    RATINGS,
    Report,
    ReportKind,
    months_of,
    parse_report,
)
from pollect_sources_cloud.limits import (
    ANSWER_SECONDS,
    CONNECT_SECONDS,
    HOLD_SECONDS,
    RETRY_SECONDS,
    Limit,
)
from pollect_sources_cloud.signing import Signer

GOOGLE = "https://storage.googleapis.com"
EMULATOR = "STORAGE_EMULATOR_HOST"
#: Google writes no row for a day without crashes; so many days after the last row there were none.
QUIET_DAYS = 3

LATEST_UPDATE = Metric(
    "latestUpdate",
    help="Local midnight of the newest day with a row of crashes, of all apps; 0 without any.",
    unit="seconds",
    panel=MOMENT,
)
_PACKAGE = ("package",)
DAILY = {
    CRASHES: {
        "daily crashes": Metric(
            "daily_crashes",
            help="Crashes on the newest day.",
            labels=_PACKAGE,
            headline=Headline("crashes"),
        ),
        "daily anrs": Metric(
            "daily_anrs",
            help="Times the app did not respond on the newest day.",
            labels=_PACKAGE,
        ),
    },
    INSTALLS: {
        "daily device installs": Metric(
            "daily_device_installs",
            help="Devices that got the app on the newest day.",
            labels=_PACKAGE,
        ),
        "daily device uninstalls": Metric(
            "daily_device_uninstalls",
            help="Devices that lost the app on the newest day.",
            labels=_PACKAGE,
        ),
        "daily user installs": Metric(
            "daily_user_installs",
            help="Users who got the app on the newest day and had it on no other device.",
            labels=_PACKAGE,
        ),
        "active device installs": Metric(
            "active_device_installs",
            help="Devices with the app that were switched on in the last 30 days.",
            labels=_PACKAGE,
            headline=Headline("devices"),
        ),
    },
    RATINGS: {
        "daily average rating": Metric(
            "daily_average_rating",
            help="Average of the stars given on the newest day with a rating.",
            labels=_PACKAGE,
            panel=Panel(minimum=1, maximum=5),
        ),
        "total average rating": Metric(
            "total_average_rating",
            help="Average of the latest stars of every user.",
            labels=_PACKAGE,
            headline=Headline("stars"),
            panel=Panel(minimum=1, maximum=5),
        ),
    },
}
SKIPPED_ROWS = Metric(
    "skipped_rows",
    help="Lines of the files in use that make no sense and were left out.",
    labels=_PACKAGE,
    panel=DETAIL,
)


class GdcApp(msgspec.Struct, frozen=True, kw_only=True):
    package: Annotated[
        str, Meta(min_length=1, description="Package name of the app, as in org.example.app.")
    ]
    name: Annotated[
        str | None, Meta(description="Name for people who read the config; used nowhere else.")
    ] = None


class GdcConfig(SourceConfig, frozen=True, kw_only=True):
    bucket_name: Annotated[
        str,
        Meta(
            description="Bucket of the developer account, pubsite_prod_rev_... as the console "
            "shows it; gs:// in front and a path behind it do no harm."
        ),
    ]
    key_file: Annotated[FilePath, Meta(description="JSON key of the service account.")]
    apps: Annotated[
        list[GdcApp],
        Meta(min_length=1, description="The apps: a package each, and a name if you like."),
    ]
    db_dir: Annotated[
        FilePath, Meta(description="Folder for the downloaded files, made when it is missing.")
    ] = "db"
    endpoint: Annotated[
        str | None,
        Meta(
            description="Base URL of the storage service; default: what STORAGE_EMULATOR_HOST "
            "names, else Google's."
        ),
    ] = None
    timeout: Annotated[Seconds | None, Meta(description="Seconds to wait for one answer.")] = (
        ANSWER_SECONDS
    )


class GdcSource(Source[GdcConfig]):
    """Crashes, installs and ratings of the apps of one developer account."""

    config_type = GdcConfig
    #: The names of 1.x hold the package: `crashes_org.example.app`.
    dynamic_metrics = True
    metrics = (
        LATEST_UPDATE,
        *(metric for columns in DAILY.values() for metric in columns.values()),
        SKIPPED_ROWS,
    )
    hold: ClassVar[float | None] = HOLD_SECONDS
    retry_after: ClassVar[Sequence[float]] = RETRY_SECONDS

    def __init__(self, config: GdcConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._endpoint = _endpoint(config.endpoint)
        # The order of the config, each once: 1.x took an app twice, too.
        self._packages = list(dict.fromkeys(app.package for app in config.apps))
        for index, app in enumerate(config.apps):
            if not re.fullmatch(r"[A-Za-z0-9_.]+", app.package):
                raise ConfigError(
                    f"expected a package name as in org.example.app, got {app.package!r}",
                    key=f"apps[{index}].package",
                )
        self._bucket = bucket_of(config.bucket_name)
        self._by_version = {
            package: Metric(
                f"crashes_{package}",
                help=f"Crashes and ANRs of {package} on the newest day, per version.",
                labels=("versionCode", "type"),
            )
            for package in self._packages
        }
        self._key_file = KeyFile(context.config_dir / config.key_file, self.log)
        self._folder = ReportFolder(context.config_dir / config.db_dir, self._bucket)
        self._limit = Limit(self._bucket, config.timeout or ANSWER_SECONDS)
        self._budget = shared_budget(context, "gdc", self._bucket)
        #: File name -> what stands in it, for the files that are in use.
        self._reports: dict[str, Report] = {}
        self._http: HttpClient | None = None
        self._storage: Storage | None = None

    def open(self) -> None:
        self.close()
        signer = Signer("RS256", "gdc")
        self._key_file.read()
        self._http = HttpClient(
            timeout=self._limit.answer_seconds,
            connect_timeout=CONNECT_SECONDS,
            max_body_bytes=MAX_FILE_BYTES,
        )
        self._storage = Storage(
            self._endpoint,
            self._bucket,
            self._key_file,
            signer=signer,
            http=self._http,
            limit=self._limit,
            clock=self.context.clock,
            budget=self._budget,
        )

    def probe(self) -> list[Sample]:
        if self._storage is None:
            raise ProbeError("not open")
        self._limit.begin_probe()
        self._refresh(self._storage)
        return list(self._samples())

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
        self._http = self._storage = None

    def deadline_seconds(self) -> float:
        return self._limit.deadline_seconds(self.context.interval)

    def _refresh(self, storage: Storage) -> None:
        """Bring the files up to date; raises the first error if not one could be asked for.

        What fails for one report of one app costs neither the other reports nor the other apps.
        """
        storage.sign_in()
        months = months_of(pacific_day(self.context.clock.time()))
        ends: dict[str, ProbeError | None] = {}
        for package in self._packages:
            for kind in KINDS:
                part = f"{package}: {kind.category} {kind.dimension}"
                try:
                    self._refresh_report(storage, package, kind, months)
                    ends[part] = None
                except (TargetUnavailable, AuthenticationFailed) as error:
                    ends[part] = error
                    break  # the other reports of this app would fare the same
                except ProbeError as error:
                    ends[part] = error
        errors = [error for error in ends.values() if error is not None]
        if len(errors) == len(ends):
            raise errors[0]
        for part, end in ends.items():
            if end is None:
                self.troubles.works(part)
            else:
                self.troubles.failed(part, end, type(end).__name__)

    def _refresh_report(
        self, storage: Storage, package: str, kind: ReportKind, months: tuple[str, str]
    ) -> None:
        """Get the file of this month, and while it holds nothing yet that of the last one."""
        for month in months:
            if self._refresh_month(storage, package, kind, month):
                break
        self._folder.prune(kind, package)

    def _refresh_month(self, storage: Storage, package: str, kind: ReportKind, month: str) -> bool:
        """Get a file unless it is here already; return whether it holds rows."""
        name, file = kind.object_name(package, month), kind.file_name(package, month)
        generation = storage.generation(name)
        if generation is None:
            return False
        report = self._report(kind, file)
        if report is None or generation != self._folder.generation(file):
            content = storage.content(name)
            if content is None:
                return False
            try:
                report = parse_report(content, kind)
            except ProbeError as error:
                raise type(error)(f"{name}: {error}") from error
            self._folder.store(file, content, generation)
            self._reports[file] = report
            if report.skipped:
                self.log.warning("%s: %d rows left out: %s", name, report.skipped, report.reason)
        return bool(report.rows)

    def _report(self, kind: ReportKind, file: str) -> Report | None:
        """Return what stands in a file here, None if there is no such file or it is broken."""
        if file not in self._reports:
            try:
                content = self._folder.read(file)
                if content is None:
                    return None
                self._reports[file] = parse_report(content, kind)
            except ProbeError as error:
                self.log.debug("%s: %s", file, error)
                return None
        return self._reports[file]

    def _samples(self) -> Iterator[Sample]:
        days: list[date] = []
        in_use: set[str] = set()
        for package in self._packages:
            skipped = 0
            for kind in KINDS:
                found = list(self._in_use(package, kind))
                in_use.update(file for file, _ in found)
                reports = [report for _, report in found]
                skipped += sum(report.skipped for report in reports)
                if kind is CRASHES_BY_VERSION:
                    newest = next((report for report in reports if report.rows), Report(()))
                    days += [row.day for row in newest.newest_rows()]
                    yield from self._crashes_by_version(package, newest)
                else:
                    yield from self._newest_numbers(package, kind, reports)
            if self.config.details:
                yield SKIPPED_ROWS.sample(skipped, package)
        self._reports = {name: self._reports[name] for name in in_use if name in self._reports}
        yield LATEST_UPDATE.sample(local_midnight(max(days)) if days else 0)

    def _in_use(self, package: str, kind: ReportKind) -> Iterator[tuple[str, Report]]:
        """Yield name and content of the files of a report, the newest month first."""
        for month in self._folder.months(kind, package):
            file = kind.file_name(package, month)
            report = self._report(kind, file)
            if report is not None:
                yield file, report

    def _crashes_by_version(self, package: str, report: Report) -> Iterator[Sample]:
        for row in report.newest_rows():
            for column, kind in (("daily crashes", "crash"), ("daily anrs", "anr")):
                if column in row.numbers:
                    number = 0 if self._is_quiet_since(row.day) else row.numbers[column]
                    yield self._by_version[package].sample(number, row.version, kind)

    def _newest_numbers(
        self, package: str, kind: ReportKind, reports: list[Report]
    ) -> Iterator[Sample]:
        for column, metric in DAILY[kind].items():
            found = next(filter(None, (report.newest_number(column) for report in reports)), None)
            if found is not None:
                day, number = found
                quiet = kind is CRASHES and self._is_quiet_since(day)
                yield metric.sample(0 if quiet else number, package)

    def _is_quiet_since(self, day: date) -> bool:
        today = date.fromtimestamp(self.context.clock.time())  # noqa: DTZ012 - as 1.x counts
        return (today - day).days >= QUIET_DAYS


def bucket_of(text: str) -> str:
    """Return the name of the bucket in what the console shows; raises `ConfigError`."""
    name = text.strip().removeprefix("gs://").partition("/")[0]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ConfigError(
            f"expected a bucket such as pubsite_prod_rev_0123456789, got {text!r}",
            key="bucketName",
        )
    return name


def _endpoint(configured: str | None) -> str:
    if configured is not None:
        return check_endpoint(configured, key="endpoint")
    emulator = os.environ.get(EMULATOR, "")
    if not emulator:
        return GOOGLE
    url = emulator if "://" in emulator else f"http://{emulator}"
    try:
        return check_endpoint(url, key="endpoint")
    except ConfigError as error:
        raise ConfigError(f"{EMULATOR}: {error.problem}", key="endpoint") from error
