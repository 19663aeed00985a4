"""What `zpool`, `zfs` and the kernel's ARC statistics print: pure parsing.

Scripted output (`-H -p`) is tab-separated with exact numbers; `-` stands for unknown, and old
versions leave `%` and `x` behind percentages and ratios.
"""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from pollect.api import BadResponse

#: Columns of `zpool list -o`, in this order.
POOL_COLUMNS = (
    "name",
    "size",
    "allocated",
    "free",
    "fragmentation",
    "capacity",
    "dedupratio",
    "health",
)
#: Columns of `zfs list -o`.
DATASET_COLUMNS = ("name", "type", "used", "available", "referenced", "quota")
NO_POOLS = "no pools available"

_Item = TypeVar("_Item")


class Found(NamedTuple, Generic[_Item]):
    """What a table holds, and what of it could not be read."""

    items: list[_Item]
    problems: list[str]


@dataclass(frozen=True, slots=True)
class Pool:
    """One line of `zpool list`; None for what it does not know."""

    name: str
    size: float | None
    allocated: float | None
    free: float | None
    fragmentation_percent: float | None
    dedup_ratio: float | None
    health: str


class Activity(NamedTuple):
    """One line of `zpool iostat`: what a pool did per second during an interval."""

    read_operations: float
    write_operations: float
    read_bytes: float
    write_bytes: float


class Dataset(NamedTuple):
    """One line of `zfs list`, in bytes."""

    name: str
    type: str
    used: float | None
    available: float | None
    referenced: float | None
    quota: float | None


@dataclass(frozen=True, slots=True)
class Errors:
    """What `zpool status` tells of one pool."""

    pool: str
    read: float
    write: float
    checksum: float
    #: Unix time in seconds of the end of the last scrub; None if there was none.
    last_scrub: float | None


def parse_pools(text: str) -> Found[Pool]:
    """Return the pools of `zpool list -Hp -o POOL_COLUMNS`."""
    lines = (line for line in text.splitlines() if line != NO_POOLS)
    return _read_each(lines, lambda line: _make_pool(_check(line, len(POOL_COLUMNS))))


def _make_pool(row: Sequence[str]) -> Pool:
    # The column `capacity` says in percent what two others say in bytes.
    size, allocated, free, fragmentation, _, dedup = (parse_number(cell) for cell in row[1:-1])
    return Pool(row[0], size, allocated, free, fragmentation, dedup, row[-1])


def parse_activity(line: str) -> tuple[str, Activity | None]:
    """Return the pool of a line of `zpool iostat -Hp`, and what it did if that is known.

    Raises `BadResponse` for anything else the program says.
    """
    row = _check(line.rstrip("\n"), 7)
    numbers = [parse_number(cell) for cell in row[3:]]
    if any(number is None for number in numbers):
        return row[0], None
    return row[0], Activity(*(number or 0.0 for number in numbers))


def parse_datasets(text: str) -> Found[Dataset]:
    """Return the datasets of `zfs list -Hp -o DATASET_COLUMNS`."""

    def parse(line: str) -> Dataset:
        name, kind, *cells = _check(line, len(DATASET_COLUMNS))
        return Dataset(name, kind, *(parse_number(cell) for cell in cells))

    return _read_each(text.splitlines(), parse)


def parse_arc(text: str) -> dict[str, float]:
    """Return the counters of `/proc/spl/kstat/zfs/arcstats`: two lines of heading, then rows of
    name, type and value.
    """
    rows = (line.split() for line in text.splitlines()[2:])
    return {row[0]: float(row[2]) for row in rows if len(row) == 3 and row[2].isdigit()}


_SUFFIXES = ("", "K", "M", "G", "T", "P", "E")
_COUNT = re.compile(rf"(\d{{1,18}}(?:\.\d+)?)({'|'.join(_SUFFIXES)})", re.ASCII)
_POOL_LINE = re.compile(r"^\s*pool: (?P<pool>\S.*?)\s*$", re.MULTILINE)
_SCRUB_LINE = re.compile(r"^\s*scan: scrub repaired .* errors on (?P<when>.+)$", re.MULTILINE)


def parse_status(text: str) -> Found[Errors]:
    """Return the errors and last scrubs of `zpool status -p`.

    A pool's numbers stand in the row of its name, which may hold blanks; scrubs end at a time as
    ctime(3) prints it.
    """
    _, *parts = _POOL_LINE.split(text)
    found, problems = [], []
    for pool, part in zip(parts[::2], parts[1::2], strict=True):
        row = re.search(
            rf"^\s*{re.escape(pool)}\s+[A-Z]+\s+(\S+)\s+(\S+)\s+(\S+)", part, re.MULTILINE
        )
        if row is None:
            problems.append(f"expected the errors of pool {pool}, got {part.strip()[:80]!r}")
            continue
        scrub = _SCRUB_LINE.search(part)
        last_scrub = None
        try:
            last_scrub = parse_ctime(scrub["when"]) if scrub else None
        except BadResponse as error:
            problems.append(f"pool {pool}: {error}")
        try:
            read, write, checksum = (parse_count(cell) for cell in row.groups())
        except BadResponse as error:
            problems.append(f"pool {pool}: {error}")
            continue
        found.append(Errors(pool, read, write, checksum, last_scrub))
    return Found(found, problems)


def parse_ctime(text: str) -> float:
    """Return the Unix time of `Sun Nov  8 00:24:02 2026`, which is local time."""
    try:
        return time.mktime(time.strptime(text.strip(), "%a %b %d %H:%M:%S %Y"))
    except ValueError as error:
        raise BadResponse(f"expected the time of a scrub, got {text[:80]!r}") from error


def parse_count(cell: str) -> float:
    """Return a number of errors; raises `BadResponse` for anything else.

    Versions before 2.0 do not know `-p` here and shorten: `1.20K` are 1229, more or less.
    """
    found = _COUNT.fullmatch(cell)
    if found is None:
        raise BadResponse(f"expected a number of errors, got {cell[:40]!r}")
    return round(float(found[1]) * 1024.0 ** _SUFFIXES.index(found[2]))


def parse_number(cell: str) -> float | None:
    """Return the number in a cell; None for `-`, `none` and the like."""
    try:
        return float(cell.rstrip("%x"))
    except ValueError:
        return None


def _read_each(lines: Iterable[str], parse: Callable[[str], _Item]) -> Found[_Item]:
    items: list[_Item] = []
    problems: list[str] = []
    for line in lines:
        if line.strip():
            try:
                items.append(parse(line))
            except BadResponse as error:
                problems.append(str(error))
    return Found(items, problems)


def _check(line: str, columns: int) -> Sequence[str]:
    row = line.split("\t")
    if len(row) != columns:
        raise BadResponse(f"expected {columns} columns, got {' '.join(row)[:80]!r}")
    return row
