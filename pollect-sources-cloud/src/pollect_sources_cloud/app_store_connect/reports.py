"""The daily sales summary of Apple: unpacking, and adding up its rows. Pure.

Facts: "Summary Sales Report" and "Product Type Identifiers" of the help of App Store Connect. A
report is a table in UTF-8 with tabs and a header; a blank cell may be one space; a refund is a row
with negative units.
"""

import csv
import gzip
import io
import re
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, InvalidOperation

from pollect.api import BadResponse

GZIP_MARK = b"\x1f\x8b"
MAX_REPORT_BYTES = 256 * 1024 * 1024

SKU, TYPE, UNITS, PROCEEDS = (
    "sku",
    "product type identifier",
    "units",
    "developer proceeds",
)
NEEDED = (SKU, TYPE, UNITS, PROCEEDS)
PARENT, CURRENCY, COUNTRY, BEGIN = (
    "parent identifier",
    "currency of proceeds",
    "country code",
    "begin date",
)

#: What `units` of 1.x adds up: universal apps, and in-app purchases of iOS.
UNITS_OF_1X = frozenset(("1F", "IA1"))
DOWNLOADS = {
    "first": frozenset(("1", "1F", "1T", "1E", "1EP", "1EU", "1-B", "F1", "F1-B")),
    "redownload": frozenset(("3", "3F", "3T", "F3")),
    "update": frozenset(("7", "7F", "7T", "F7")),
}
IN_APP = frozenset(("IA1", "IA9", "FI1", "IA1-M", "IA9-M", "FI1-M"))
SUBSCRIPTIONS = frozenset(("IAY", "IAY-M"))
#: Restored purchases: known, and no sale.
NO_SALE = frozenset(("IA3", "IA3-M"))
_DOWNLOAD_OF = {code: name for name, codes in DOWNLOADS.items() for code in codes}
KNOWN = frozenset(_DOWNLOAD_OF) | IN_APP | SUBSCRIPTIONS | NO_SALE

#: SKU, then download type, parent or currency (empty for subscriptions), then country.
Key = tuple[str, str, str]


@dataclass
class Report:
    """The sums of one report."""

    #: SKU -> what 1.x calls units.
    units: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    downloads: dict[Key, int] = field(default_factory=lambda: defaultdict(int))
    in_app: dict[Key, int] = field(default_factory=lambda: defaultdict(int))
    subscriptions: dict[Key, int] = field(default_factory=lambda: defaultdict(int))
    proceeds: dict[Key, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    #: The newest `Begin Date`.
    day: date | None = None
    rows: int = 0
    skipped: int = 0
    #: Why the first row that was left out makes no sense.
    reason: str = ""
    unknown_types: set[str] = field(default_factory=set)


def unpack(body: bytes) -> bytes:
    """Return the table in an answer, whatever encoding its headers name.

    Apple names it `agzip`, which nothing unpacks by itself. Raises `BadResponse`.
    """
    if not body.startswith(GZIP_MARK):
        return body
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as packed:
            table = packed.read(MAX_REPORT_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise BadResponse(f"the report cannot be unpacked: {error}") from error
    if len(table) > MAX_REPORT_BYTES:
        raise BadResponse(f"the report is larger than {MAX_REPORT_BYTES} bytes")
    return table


def parse_report(table: bytes) -> Report:
    """Add up the rows of a report.

    Raises `BadResponse` when it is not such a table or lacks a column.
    """
    report = Report()
    text = io.TextIOWrapper(io.BytesIO(table), encoding="utf-8-sig", newline="")
    try:
        lines = csv.reader(text, delimiter="\t", quoting=csv.QUOTE_NONE)
        header = next((line for line in lines if line), None)
        if header is None:
            raise BadResponse("expected a table with a header, got nothing")
        columns = {" ".join(name.lower().split()): index for index, name in enumerate(header)}
        for name in NEEDED:
            if name not in columns:
                found = ", ".join(repr(known[:40]) for known in list(columns)[:30])
                raise BadResponse(f"the column {name!r} is missing, found {found}")
        for line in lines:
            if not line:
                continue
            try:
                _add(report, line, columns)
            except ValueError as error:
                report.skipped += 1
                report.reason = report.reason or str(error)
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadResponse(f"expected a table with tabs in UTF-8: {error}") from error
    return report


def _add(report: Report, line: Sequence[str], columns: dict[str, int]) -> None:
    def cell(name: str) -> str:
        index = columns.get(name)
        return "" if index is None or index >= len(line) else line[index].strip()

    longest = max(columns[name] for name in NEEDED)
    if longest >= len(line):
        raise ValueError(f"expected {longest + 1} cells or more, got {len(line)}")
    sku, kind = cell(SKU), cell(TYPE)
    if not sku or not kind:
        raise ValueError(f"the {TYPE if sku else SKU} is blank")
    units = _whole(cell(UNITS))
    currency, country = cell(CURRENCY), cell(COUNTRY)
    proceeds = _number(cell(PROCEEDS), PROCEEDS) if currency else Decimal(0)

    report.rows += 1
    report.units[sku] += units if kind in UNITS_OF_1X else 0
    day = _day(cell(BEGIN))
    if day is not None:
        report.day = max(day, report.day or day)
    if kind not in KNOWN:
        report.unknown_types.add(kind)
        return
    if kind in _DOWNLOAD_OF:
        report.downloads[sku, _DOWNLOAD_OF[kind], country] += units
    elif kind in IN_APP:
        report.in_app[sku, cell(PARENT), country] += units
    elif kind in SUBSCRIPTIONS:
        report.subscriptions[sku, "", country] += units
    if currency:
        report.proceeds[sku, currency, country] += units * proceeds


def _whole(text: str) -> int:
    number = _number(text, UNITS)
    if number != int(number):
        raise ValueError(f"{UNITS}: expected a whole number, got {text[:40]!r}")
    return int(number)


def _number(text: str, column: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number) > 1e15:
        raise ValueError(f"{column}: expected a number, got {text[:40]!r}")
    return number


def _day(text: str) -> date | None:
    if not re.fullmatch(r"\d{2}/\d{2}/\d{4}", text):
        return None
    try:
        return datetime.strptime(text, "%m/%d/%Y").date()  # noqa: DTZ007 - a day of the store
    except ValueError:
        return None
