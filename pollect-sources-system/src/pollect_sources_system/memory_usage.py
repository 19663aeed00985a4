"""Source `MemoryUsage`: main memory of this host.

Read from `/proc/meminfo` (proc(5)), elsewhere through psutil. Cost of a probe: one small file.
"""

from collections.abc import Iterable
from types import ModuleType
from typing import Any

from pollect.api import Headline, Metric, Sample, Source, SourceConfig, TargetUnavailable
from pollect_sources_system.kernel import ON_LINUX, parse_meminfo, read_text
from pollect_sources_system.load_psutil import load_psutil

MEMORY = Metric(
    help="Main memory in bytes, by what it is used for.",
    unit="bytes",
    labels=("type",),
    headline=[
        Headline("used", {"type": "used"}),
        Headline("available", {"type": "available"}),
        Headline("total", {"type": "total"}),
    ],
)

#: Reported with `details`, where the system tells them.
DETAILS = ("free", "buffers", "shared", "slab", "active", "inactive")


class MemoryUsageSource(Source[SourceConfig]):
    """Main memory: total, available, used, cached; with `details` its finer divisions."""

    metrics = (MEMORY,)

    _psutil: ModuleType

    def open(self) -> None:
        if not ON_LINUX:
            self._psutil = load_psutil(self.context.roots)

    def probe(self) -> Iterable[Sample]:
        try:
            memory = self._read_memory()
        except OSError as error:
            raise TargetUnavailable(f"cannot read the memory usage: {error}") from error
        samples = [
            MEMORY.sample(memory.total, "total"),
            MEMORY.sample(memory.available, "available"),
            MEMORY.sample(used_bytes(memory), "used"),
        ]
        if hasattr(memory, "cached"):
            samples.append(MEMORY.sample(memory.cached, "cached"))
        if self.config.details:
            samples += [
                MEMORY.sample(getattr(memory, name), name)
                for name in DETAILS
                if getattr(memory, name, None) is not None
            ]
        return samples

    def _read_memory(self) -> Any:
        if ON_LINUX:
            return parse_meminfo(read_text(self.context.roots.proc / "meminfo"))
        return self._psutil.virtual_memory()


def used_bytes(memory: Any) -> int:
    """Return the used memory as pollect has always counted it on Linux.

    That is what is neither free nor buffers nor cache. Since psutil 7.1 its own `used` is total
    minus available, about twice as much on an idle host, which would break every graph. Other
    systems have no such fields; there psutil's `used` counts.
    """
    if not (hasattr(memory, "buffers") and hasattr(memory, "cached")):
        return int(memory.used)
    used: int = memory.total - memory.free - memory.buffers - memory.cached
    return used if used >= 0 else int(memory.total - memory.free)
