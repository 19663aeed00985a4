"""Source `Uptime`: how long this host has been running.

Read from `/proc/uptime` and `/proc/stat` (proc(5)), elsewhere through psutil. Cost of a probe: two
small files.
"""

from collections.abc import Iterable
from types import ModuleType

from pollect.api import (
    BadResponse,
    Headline,
    Metric,
    Sample,
    Source,
    SourceConfig,
    TargetUnavailable,
)
from pollect_sources_system.load_psutil import load_psutil

UPTIME = Metric(
    "seconds",
    help="Seconds since the system started.",
    unit="seconds",
    headline=Headline("running for"),
)
BOOT_TIME = Metric(
    "boot_time_seconds", help="When the system started, in seconds since 1970.", unit="seconds"
)


class UptimeSource(Source[SourceConfig]):
    """Uptime and boot time."""

    metrics = (UPTIME, BOOT_TIME)

    _psutil: ModuleType

    def open(self) -> None:
        self._psutil = load_psutil(self.context.roots)

    def probe(self) -> Iterable[Sample]:
        try:
            boot_time = self._psutil.boot_time()
            return [UPTIME.sample(self._read_uptime(boot_time)), BOOT_TIME.sample(boot_time)]
        except (OSError, RuntimeError) as error:
            raise TargetUnavailable(f"cannot read the boot time: {error}") from error

    def _read_uptime(self, boot_time: float) -> float:
        try:
            text = (self.context.roots.proc / "uptime").read_text("ascii")
        except FileNotFoundError:
            return self.context.clock.time() - boot_time
        return parse_uptime(text)


def parse_uptime(text: str) -> float:
    """Return the seconds out of `/proc/uptime`; raises `BadResponse`."""
    try:
        return float(text.split()[0])
    except (ValueError, IndexError) as error:
        raise BadResponse(f"expected seconds of uptime, got {text[:80]!r}") from error
