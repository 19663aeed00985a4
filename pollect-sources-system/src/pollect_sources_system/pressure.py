"""Source `Pressure`: how much work waits for CPU, memory, disks or interrupts (PSI).

Read from `/proc/pressure` (kernel documentation, accounting/psi); Linux 4.20 or newer, unless built
without it or started with `psi=0`. Cost of a probe: three or four small files.

`kind` is `some` when at least one task waited, `full` when all that could run waited at once.
"""

import errno
from collections.abc import Iterable

from pollect.api import (
    Alert,
    BadResponse,
    Headline,
    Kind,
    Metric,
    NoData,
    Sample,
    Source,
    SourceConfig,
    TargetUnavailable,
)

RESOURCES = ("cpu", "memory", "io", "irq")
#: The kernel's field, and the window in seconds as label value.
WINDOWS = {"avg10": "10", "avg60": "60", "avg300": "300"}
PERCENT = 100.0
MICROSECONDS_PER_SECOND = 1_000_000.0

RATIO = Metric(
    "ratio",
    help="Share of the time that tasks waited, averaged over the window in seconds.",
    unit="ratio",
    labels=("resource", "kind", "window"),
    alert=[
        Alert(
            f"{resource.capitalize()}Pressure",
            summary,
            above=limit,
            lasting_seconds=600,
            labels={"resource": resource, "kind": kind, "window": "300"},
        )
        for resource, kind, limit, summary in (
            ("cpu", "some", 0.9, "tasks wait for the processor nearly all the time"),
            ("memory", "full", 0.1, "all tasks wait for memory a tenth of the time"),
            ("io", "full", 0.5, "all tasks wait for disks half of the time"),
        )
    ],
    headline=[
        Headline(resource, {"resource": resource, "kind": "some", "window": "60"})
        for resource in RESOURCES
    ],
)
SECONDS = Metric(
    "seconds_total",
    help="Seconds that tasks waited since the system started.",
    unit="seconds",
    kind=Kind.COUNTER,
    labels=("resource", "kind"),
)

UNSUPPORTED = "this kernel keeps no pressure figures (it needs 4.20, CONFIG_PSI and psi=1)"


class PressureSource(Source[SourceConfig]):
    """Pressure stall information of CPU, memory, I/O and interrupts."""

    metrics = (RATIO, SECONDS)

    def open(self) -> None:
        folder = self.context.roots.proc / "pressure"
        if not any((folder / resource).exists() for resource in RESOURCES):
            self.log.warning("idle: %s", UNSUPPORTED)

    def probe(self) -> Iterable[Sample]:
        samples: list[Sample] = []
        for resource in RESOURCES:
            with self.troubles.part(resource):
                samples += parse_pressure(resource, self._read(resource))
        if not samples and self.troubles:
            raise TargetUnavailable(str(self.troubles))
        if not samples:
            raise NoData(UNSUPPORTED)
        return samples

    def _read(self, resource: str) -> str:
        """Return the text about one resource; empty where the kernel has none."""
        try:
            return (self.context.roots.proc / "pressure" / resource).read_text("ascii")
        except FileNotFoundError:
            return ""
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                return ""
            raise TargetUnavailable(f"cannot read the pressure of {resource}: {error}") from error


def parse_pressure(resource: str, text: str) -> list[Sample]:
    """Return the samples of one file of `/proc/pressure`.

    Lines are `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, averages in percent, the total in
    microseconds. Raises `BadResponse` for anything else.
    """
    samples = []
    for line in text.splitlines():
        kind, *pairs = line.split()
        try:
            fields = {name: float(value) for name, value in (pair.split("=") for pair in pairs)}
            samples += [
                RATIO.sample(fields[field] / PERCENT, resource, kind, window)
                for field, window in WINDOWS.items()
            ]
            seconds = fields["total"] / MICROSECONDS_PER_SECOND
        except (KeyError, ValueError) as error:
            raise BadResponse(f"expected pressure figures, got {line[:80]!r}") from error
        samples.append(SECONDS.sample(seconds, resource, kind))
    return samples
