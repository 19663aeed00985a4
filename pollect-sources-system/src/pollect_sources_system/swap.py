"""Source `Swap`: memory that was moved to disk, and how much moves.

Read through psutil (`/proc/meminfo` and `/proc/vmstat` on Linux). Cost of a probe: two small files.
The rates appear from the second probe on.
"""

import os
from collections.abc import Iterable
from types import ModuleType

from pollect.api import (
    Headline,
    Kind,
    Metric,
    Sample,
    Source,
    SourceConfig,
    SourceContext,
    TargetUnavailable,
)
from pollect.support.rates import Rates
from pollect_sources_system.load_psutil import load_psutil

#: psutil takes every page of Linux for this many bytes; a Raspberry Pi 5 has larger ones.
PSUTIL_PAGE_BYTES = 4096

SWAP = Metric(
    "bytes",
    help="Swap space in bytes, by state.",
    unit="bytes",
    labels=("type",),
    headline=[Headline("used", {"type": "used"}), Headline("free", {"type": "free"})],
)
IN_RATE = Metric(
    "in_bytes_per_second",
    help="Bytes read back from swap per second.",
    unit="bytes_per_second",
    headline=Headline("read back"),
)
OUT_RATE = Metric(
    "out_bytes_per_second", help="Bytes moved to swap per second.", unit="bytes_per_second"
)
IN_TOTAL = Metric(
    "in_bytes_total", help="Bytes read back from swap.", unit="bytes", kind=Kind.COUNTER
)
OUT_TOTAL = Metric("out_bytes_total", help="Bytes moved to swap.", unit="bytes", kind=Kind.COUNTER)


class SwapSource(Source[SourceConfig]):
    """Swap space: total, used, free, and the traffic to and from it."""

    metrics = (SWAP, IN_RATE, OUT_RATE, IN_TOTAL, OUT_TOTAL)

    _psutil: ModuleType

    def __init__(self, config: SourceConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._rates: Rates[None] = Rates()

    def open(self) -> None:
        self._psutil = load_psutil(self.context.roots)

    def probe(self) -> Iterable[Sample]:
        try:
            swap = self._psutil.swap_memory()
        except OSError as error:
            raise TargetUnavailable(f"cannot read the swap usage: {error}") from error
        now = self.context.clock.monotonic()
        scale = os.sysconf("SC_PAGE_SIZE") / PSUTIL_PAGE_BYTES if self._psutil.LINUX else 1.0
        moved = swap.sin * scale, swap.sout * scale
        samples = [
            SWAP.sample(swap.total, "total"),
            SWAP.sample(swap.used, "used"),
            SWAP.sample(swap.free, "free"),
            IN_TOTAL.sample(moved[0]),
            OUT_TOTAL.sample(moved[1]),
        ]
        rates = self._rates.update(None, now, moved)
        if rates is not None:
            samples += [IN_RATE.sample(rates[0]), OUT_RATE.sample(rates[1])]
        return samples
