"""What the page `/json` says, as samples. Pure; a field that makes no sense yields no value.

The layout is that of jomjol/AI-on-the-edge-device, `ClassFlowPostProcessing.cpp`: one object for
each number sequence. Its fields are texts since firmware 13 and were partly numbers before.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from pollect.api import (
    Alert,
    Headline,
    Metric,
    Sample,
)
from pollect_sources_home.numbers import decimal_number, json_number

#: What the firmware writes while all is well; anything else is an error.
NO_ERROR = "no error"

READING = Metric(
    None,
    help="What the device reads, by `type`: `value`, `rate` in units per minute, `pre` for the "
    "last valid reading, `error` as 1 or 0.",
    labels=("type",),
    headline=[Headline("reading", {"type": "value"}), Headline("rate", {"type": "rate"})],
    alert=Alert(
        "MeterReadingWrong",
        "the device cannot read the meter",
        above=0,
        lasting_seconds=3600,
        labels={"type": "error"},
    ),
)
NUMBERED_READING = READING.labelled("number")


def parse_reading(fields: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the type of each value with its number."""
    value = _number(fields.get("value"))
    # A reading of 0 would look as if the meter had started again.
    if value:
        yield "value", value
    rate = 0.0 if fields.get("rate") == "" else _number(fields.get("rate"))
    if rate is not None:
        yield "rate", rate
    pre = _number(fields.get("pre"))
    if pre is not None:
        yield "pre", pre
    if isinstance(fields.get("error"), str):
        yield "error", float(fields["error"] != NO_ERROR)


def find_problems(fields: Mapping[str, Any], *, details: bool) -> list[str]:
    """Return the values that are there and cannot be read.

    Until the first round they are empty, and a rate without a time is `nan`.
    """
    problems = [
        f"{name}: expected a number, got {fields[name]!r:.40}"
        for name in ("value", "rate", "pre", *(("raw",) if details else ()))
        if fields.get(name) not in (None, "", "nan") and _number(fields[name]) is None
    ]
    error, timestamp = fields.get("error"), fields.get("timestamp")
    if error is not None and not isinstance(error, str):
        problems.append(f"error: expected a text, got {error!r:.40}")
    if details and timestamp not in (None, "") and _time(timestamp) is None:
        problems.append(f"timestamp: expected a time as of ISO 8601, got {timestamp!r:.40}")
    return problems


def parse_details(fields: Mapping[str, Any], now: float) -> Iterator[tuple[str, float]]:
    """Yield what few ask for: the reading before any check, and how old the valid one is.

    `now` is Unix time in seconds. A time without its distance to UTC is not used.
    """
    raw = _number(fields.get("raw"))
    if raw is not None:
        yield "raw", raw
    time = _time(fields.get("timestamp"))
    if time is not None and time.tzinfo is not None:
        yield "age", max(0.0, now - time.timestamp())


def make_sample(kind: str, value: float, number: str | None) -> Sample:
    """Return a sample, labelled with its number sequence unless that is None."""
    if number is None:
        return READING.sample(value, kind)
    return NUMBERED_READING.sample(value, kind, number)


def _time(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _number(value: object) -> float | None:
    if isinstance(value, str):
        return decimal_number(value)
    return None if isinstance(value, bool) else json_number(value)
