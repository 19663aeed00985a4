"""Advice a metric carries for people who look at it or want to hear of it.

Hints say what a value means; they are no part of what a metric is, and are never sent anywhere.
The status page shows headlines first, `pollect dashboard` draws panels, `pollect rules` and the
writer `Notify` turn alerts into rules.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

_TOO_LONG = 200


class Headline(NamedTuple):
    """Which series of a metric tell most of the source, and what they are called at a glance."""

    #: In a word or two: `used`, `1 min`; the labels that `labels` does not name follow it.
    title: str = ""
    #: Only series with exactly these labels: `{"type": "used"}`.
    labels: Mapping[str, str] = {}


class Panel(NamedTuple):
    """How to draw a metric, where its unit and kind do not say it all."""

    #: Ends of the axis, in the unit of the metric.
    minimum: float | None = None
    maximum: float | None = None
    #: From these values on it is drawn in amber and in red; red below amber: small is bad.
    amber: float | None = None
    red: float | None = None
    #: A few values with a name each, drawn as states over time: `{0: "off", 1: "on"}`.
    states: Mapping[float, str] = {}
    #: Options of the source without which the metric does not come, one of each text at least:
    #: `("errors|details",)`, named as in Python.
    needs: tuple[str, ...] = ()


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
