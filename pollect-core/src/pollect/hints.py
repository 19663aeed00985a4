"""Advice a metric carries for people who look at it or want to hear of it.

Hints say what a value means; they are no part of what a metric is, and are never sent anywhere.
The status page shows headlines first, `pollect dashboard` draws panels, `pollect rules` and the
writer `Notify` turn alerts into rules.
"""

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

_TOO_LONG = 200


class Headline(NamedTuple):
    """Which series of a metric tell most of the source, and what they are called at a glance."""

    #: In a word or two: `used`, `1 min`; the labels that `labels` does not name follow it.
    title: str = ""
    #: Only series with exactly these labels: `{"type": "used"}`.
    labels: Mapping[str, str] = {}
    #: Show how far a counter has counted, not how fast: a mileage, the energy of all years.
    total: bool = False
    #: What values of the other labels are called: `{"_": "/"}`.
    words: Mapping[str, str] = {}


class Panel(NamedTuple):
    """How to draw a metric, where its unit and kind do not say it all."""

    #: Ends of the axis, in the unit of the metric.
    minimum: float | None = None
    maximum: float | None = None
    #: From these values on it is drawn in amber and in red; red below amber: small is bad.
    amber: float | None = None
    red: float | None = None
    #: A few values with a name each, shown by it and drawn as states over time:
    #: `{0: "off", 1: "on"}`.
    states: Mapping[float, str] = {}
    #: States in green and in red; the others have a colour without a meaning.
    good: Collection[float] = ()
    bad: Collection[float] = ()
    #: The value is a Unix time in seconds, not how long something took.
    moment: bool = False
    #: Whether it comes is for the device to decide: a dashboard has no panel for it.
    sometimes: bool = False
    #: Options of the source without which the metric does not come, one of each text at least:
    #: `("errors|details",)`, named as in Python.
    needs: tuple[str, ...] = ()

    def needing(self, *options: str) -> "Panel":
        """Return the same for a metric that comes with these options only, see `needs`."""
        return self._replace(needs=options)


_NO_OR_YES: Mapping[float, str] = {0: "no", 1: "yes"}
#: Of metrics that are 1 or 0: neither is better, 1 is good, 1 is bad.
YES_NO = Panel(states=_NO_OR_YES)
YES_IS_GOOD = Panel(states=_NO_OR_YES, good=(1,), bad=(0,))
YES_IS_BAD = Panel(states=_NO_OR_YES, good=(0,), bad=(1,))
#: Of metrics that are a Unix time.
MOMENT = Panel(moment=True)
#: Of metrics that come with `details` only.
DETAIL = Panel().needing("details")


class Alert(NamedTuple):
    """When a value of a metric is worth a message, by default.

    `name` tells it from the other alerts of the source, in CamelCase: `DiskFull`. `summary` says
    what is wrong, without the value: "less than 5 % of the disk is free".
    """

    name: str
    summary: str
    #: Exactly one of the two; in the unit of the metric.
    above: float | None = None
    below: float | None = None
    #: Seconds it has to last.
    lasting_seconds: float = 0.0
    #: Only series with these labels: `{"attribute": "Reallocated_*"}`, by shell pattern.
    labels: Mapping[str, str] = {}
    #: Compare the share of the series of the same metric that has these labels instead.
    share_of: Mapping[str, str] = {}

    def check(self) -> None:
        """Raise `ValueError` with what is wrong with the hint itself."""
        if not re.fullmatch(r"[A-Z][A-Za-z0-9]{0,79}", self.name):
            raise ValueError(f"alert {self.name!r}: expected a name in CamelCase")
        if not 0 < len(self.summary) <= _TOO_LONG:
            raise ValueError(f"alert {self.name}: expected a summary of 1 to {_TOO_LONG} letters")
        if (self.above is None) == (self.below is None):
            raise ValueError(f"alert {self.name}: expected `above` or `below`")
        if not self.lasting_seconds >= 0:
            raise ValueError(f"alert {self.name}: expected seconds, got {self.lasting_seconds}")
