"""Source `LoadAvg`: how many processes ran or waited to run, on average.

Read from `/proc/loadavg` (proc(5)), elsewhere through getloadavg(3). Windows has no load average.
Cost of a probe: one small file.
"""

import os
from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

from pollect.api import (
    BadResponse,
    Headline,
    Metric,
    NoData,
    Panel,
    Sample,
    Source,
    SourceConfig,
    TargetUnavailable,
)

#: Values of the label `time`: averages over 1, 5 and 15 minutes.
TIMES = ("short", "mid", "long")

LOAD = Metric(
    help="Processes that run or wait to, averaged over 1 (short), 5 (mid) or 15 (long) minutes.",
    unit="processes",
    labels=("time",),
    headline=[
        Headline("1 min", {"time": "short"}),
        Headline("5 min", {"time": "mid"}),
        Headline("15 min", {"time": "long"}),
    ],
)
LOAD_PER_CPU = Metric(
    "per_cpu",
    help="Load average divided by the number of logical CPUs.",
    unit="processes",
    labels=("time",),
    panel=Panel(needs=("per_cpu|details",)),
)


class LoadAvgConfig(SourceConfig, frozen=True, kw_only=True):
    per_cpu: Annotated[
        bool, Meta(description="Also report the load divided by the number of logical CPUs.")
    ] = False


class LoadAvgSource(Source[LoadAvgConfig]):
    """The three load averages of this host."""

    config_type = LoadAvgConfig
    metrics = (LOAD, LOAD_PER_CPU)

    def open(self) -> None:
        if not hasattr(os, "getloadavg"):
            self.log.warning("this system has no load average; nothing to report")

    def probe(self) -> Iterable[Sample]:
        loads = self._read_loads()
        samples = [LOAD.sample(load, time) for time, load in zip(TIMES, loads, strict=True)]
        if self.config.per_cpu or self.config.details:
            cpus = os.cpu_count() or 1
            samples += [
                LOAD_PER_CPU.sample(load / cpus, time)
                for time, load in zip(TIMES, loads, strict=True)
            ]
        return samples

    def _read_loads(self) -> tuple[float, float, float]:
        try:
            text = (self.context.roots.proc / "loadavg").read_text("ascii")
        except FileNotFoundError:
            pass
        except OSError as error:
            raise TargetUnavailable(f"cannot read the load average: {error}") from error
        else:
            return parse_loadavg(text)
        if not hasattr(os, "getloadavg"):
            raise NoData("this system has no load average")
        try:
            return os.getloadavg()
        except OSError as error:
            raise TargetUnavailable("the load average is unobtainable") from error


def parse_loadavg(text: str) -> tuple[float, float, float]:
    """Return the load of 1, 5 and 15 minutes out of `/proc/loadavg`.

    Raises `BadResponse` when it does not begin with three numbers.
    """
    try:
        short, mid, long = (float(field) for field in text.split()[: len(TIMES)])
    except ValueError as error:
        raise BadResponse(f"expected three load averages, got {text[:80]!r}") from error
    return short, mid, long
