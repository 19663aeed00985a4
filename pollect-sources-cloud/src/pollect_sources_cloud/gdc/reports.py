"""The monthly CSV files of Google Play: which there are, and what stands in them. Pure.

Facts: the help page "Download and export monthly reports" of the Play Console, and real files. They
are UTF-16 with a byte order mark. Until July 2026 the header of installs and ratings was quoted and
said `Package Name`, since then `Package name`: columns count by their name in lower case.
"""

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from pollect.api import BadResponse

UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
#: What stands for a number that is not known.
UNREPORTED = ("", "na", "n/a")
DATE = "date"
VERSION = "app version code"


@dataclass(frozen=True)
class ReportKind:
    """One of the reports of an app; there is a file for each month."""

    category: str
    dimension: str
    #: The columns with numbers.
    columns: tuple[str, ...]
    #: Further columns that it must have.
    keys: tuple[str, ...] = (DATE,)

    def file_name(self, package: str, month: str) -> str:
        """Return the base name of the file of a month, which is `YYYYMM`."""
        return f"{self.category}_{package}_{month}_{self.dimension}.csv"

    def object_name(self, package: str, month: str) -> str:
        """Return the name of the object in the bucket."""
        return f"stats/{self.category}/{self.file_name(package, month)}"

    def month_of(self, package: str, file_name: str) -> str | None:
        """Return the month of a file of this kind and app, None for any other file."""
        pattern = rf"{self.category}_{re.escape(package)}_(\d{{6}})_{self.dimension}\.csv"
        found = re.fullmatch(pattern, file_name)
        return found[1] if found else None


CRASHES_BY_VERSION = ReportKind(
    "crashes", "app_version", ("daily crashes", "daily anrs"), (DATE, VERSION)
)
CRASHES = ReportKind("crashes", "overview", ("daily crashes", "daily anrs"))
INSTALLS = ReportKind(
    "installs",
    "overview",
    (
        "daily device installs",
        "daily device uninstalls",
        "daily user installs",
        "active device installs",
    ),
)
RATINGS = ReportKind("ratings", "overview", ("daily average rating", "total average rating"))
KINDS = (CRASHES_BY_VERSION, CRASHES, INSTALLS, RATINGS)
#: Columns in which 0.0 means that there was nothing to average.
AVERAGES = frozenset(RATINGS.columns)


@dataclass(frozen=True)
class Row:
    """One line: its day, its version code if the report has them, and the numbers it reports."""

    day: date
    version: str
    numbers: dict[str, float]


@dataclass(frozen=True)
class Report:
    """What stands in one file."""

    rows: tuple[Row, ...]
    #: Lines that make no sense.
    skipped: int = 0
    #: Why the first of them does not.
    reason: str = ""

    def newest_rows(self) -> list[Row]:
        """Return all rows of the newest day, one for each version; the last of equal ones."""
        if not self.rows:
            return []
        newest = max(row.day for row in self.rows)
        return list({row.version: row for row in self.rows if row.day == newest}.values())

    def newest_number(self, column: str) -> tuple[date, float] | None:
        """Return the newest day on which `column` is reported, and its number."""
        found = [(row.day, row.numbers[column]) for row in self.rows if column in row.numbers]
        if not found:
            return None
        newest = max(day for day, _ in found)
        return newest, [number for day, number in found if day == newest][-1]


def months_of(today: date) -> tuple[str, str]:
    """Return the month of `today` and the one before as `YYYYMM`."""
    last_of_previous = today.replace(day=1) - timedelta(days=1)
    return f"{today:%Y%m}", f"{last_of_previous:%Y%m}"


def parse_report(content: bytes, kind: ReportKind) -> Report:
    """Return what stands in a file.

    Raises `BadResponse` when it is not such a table or lacks a column.
    """
    lines = _lines(content)
    try:
        header = next((line for line in lines if line), None)
        if header is None:
            raise BadResponse("expected a table with a header, got an empty file")
        columns = {normalise(name): index for index, name in reversed(list(enumerate(header)))}
        for name in (*kind.keys, *kind.columns):
            if name not in columns:
                found = ", ".join(repr(normalise(text)[:40]) for text in header[:20])
                raise BadResponse(f"the column {name!r} is missing, found {found}")
        rows, reasons = [], []
        for line in lines:
            if not line:
                continue
            try:
                rows.append(_row(line, columns, kind))
            except ValueError as error:
                reasons.append(str(error))
    except csv.Error as error:
        raise BadResponse(f"expected comma separated values: {error}") from error
    return Report(tuple(rows), len(reasons), reasons[0] if reasons else "")


def normalise(name: str) -> str:
    """Return the name of a column in lower case, with single spaces."""
    return " ".join(name.replace("\ufeff", "").lower().split())


def _lines(content: bytes) -> Iterator[list[str]]:
    encoding = "utf-16" if content.startswith(UTF16_MARKS) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise BadResponse(f"expected text in {encoding[:6].upper()}, got other bytes") from error
    return csv.reader(io.StringIO(text, newline=""))


def _row(line: Sequence[str], columns: dict[str, int], kind: ReportKind) -> Row:
    def cell(name: str) -> str:
        index = columns[name]
        if index >= len(line):
            raise ValueError(f"expected {max(columns.values()) + 1} cells, got {len(line)}")
        return line[index].strip()

    numbers = {name: _number(cell(name), name) for name in kind.columns}
    version = cell(VERSION) if VERSION in kind.keys else ""
    if VERSION in kind.keys and not version:
        raise ValueError("the version code is blank")
    return Row(
        _day(cell(DATE)),
        version,
        {name: number for name, number in numbers.items() if number is not None},
    )


def _day(text: str) -> date:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        raise ValueError(f"expected a date as YYYY-MM-DD, got {text[:40]!r}")
    return date.fromisoformat(text)


def _number(text: str, column: str) -> float | None:
    if text.lower() in UNREPORTED:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"{column}: expected a number, got {text[:40]!r}")
    return None if column in AVERAGES and number == 0 else number
