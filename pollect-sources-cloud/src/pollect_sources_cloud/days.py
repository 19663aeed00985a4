"""Days as the stores count them."""

import functools
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo


def pacific_day(unix_seconds: float) -> date:
    """Return the day on the west coast of the United States, where both stores end their days."""
    return datetime.fromtimestamp(unix_seconds, UTC).astimezone(_pacific()).date()


def local_midnight(day: date) -> int:
    """Return the Unix time in seconds at which `day` began where this host is."""
    return int(datetime(day.year, day.month, day.day).timestamp())  # noqa: DTZ001 - local on purpose


@functools.cache
def _pacific() -> tzinfo:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo("America/Los_Angeles")
    except ZoneInfoNotFoundError:
        # A host without time zones: winter time the whole year, so a day ends an hour late.
        return timezone(timedelta(hours=-8))
