"""Source `Cpu`: what the CPUs of this host spend their time on.

Read through psutil (`/proc/stat` on Linux). Cost of a probe: one small file. Time that virtual
machines get is part of `user`, as the kernel counts it. The ratios appear from the second probe on.
"""

from collections.abc import Iterable
from types import ModuleType
from typing import Annotated, Any

from msgspec import Meta

from pollect.api import (
    Kind,
    Metric,
    Sample,
    Source,
    SourceConfig,
    SourceContext,
    TargetUnavailable,
)
from pollect_sources_system.load_psutil import load_psutil

#: Label value for all CPUs together.
ALL = "all"
#: Together they are all the time there is; systems other than Linux know only some of them.
MODES = ("user", "nice", "system", "iowait", "irq", "softirq", "steal", "idle")
IDLE_MODES = frozenset({"idle", "iowait"})

USAGE = Metric(
    "usage_ratio",
    help="Share of the time since the last probe in which the CPU worked; 1 is all of it.",
    unit="ratio",
    labels=("cpu",),
)
MODE = Metric(
    "mode_ratio",
    help="Share of the time since the last probe by what the CPU did.",
    unit="ratio",
    labels=("cpu", "mode"),
)
SECONDS = Metric(
    "seconds_total",
    help="Seconds since the start of the system by what the CPU did.",
    unit="seconds",
    kind=Kind.COUNTER,
    labels=("cpu", "mode"),
)


class CpuConfig(SourceConfig, frozen=True, kw_only=True):
    per_core: Annotated[
        bool, Meta(description="Also report every logical CPU, numbered from 0.")
    ] = False


class CpuSource(Source[CpuConfig]):
    """CPU time by mode, of all CPUs together and of each on request."""

    config_type = CpuConfig
    metrics = (USAGE, MODE, SECONDS)

    _psutil: ModuleType

    def __init__(self, config: CpuConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._last: dict[str, dict[str, float]] = {}

    def open(self) -> None:
        self._psutil = load_psutil(self.context.roots)

    def probe(self) -> Iterable[Sample]:
        samples: list[Sample] = []
        current = self._read()
        for cpu, seconds in current.items():
            samples += [SECONDS.sample(value, cpu, mode) for mode, value in seconds.items()]
            if cpu in self._last:
                samples += share_samples(cpu, self._last[cpu], seconds)
        self._last = current
        return samples

    def _read(self) -> dict[str, dict[str, float]]:
        try:
            cpus = {ALL: self._psutil.cpu_times()}
            if self.config.per_core or self.config.details:
                cores = self._psutil.cpu_times(percpu=True)
                cpus |= {str(core): times for core, times in enumerate(cores)}
        except OSError as error:
            raise TargetUnavailable(f"cannot read the CPU times: {error}") from error
        return {cpu: select_modes(times) for cpu, times in cpus.items()}


def select_modes(times: Any) -> dict[str, float]:
    """Return the seconds of every mode this system knows."""
    return {mode: getattr(times, mode) for mode in MODES if hasattr(times, mode)}


def share_samples(cpu: str, last: dict[str, float], now: dict[str, float]) -> list[Sample]:
    """Return what each mode, and work as a whole, took of the time between two readings."""
    # The kernel's idle and iowait times may go back a little (proc(5)): no time, then.
    spent = {mode: max(0.0, now[mode] - last.get(mode, 0.0)) for mode in now}
    total = sum(spent.values())
    if not total:
        return []
    busy = sum(seconds for mode, seconds in spent.items() if mode not in IDLE_MODES)
    shares = (MODE.sample(seconds / total, cpu, mode) for mode, seconds in spent.items())
    return [USAGE.sample(busy / total, cpu), *shares]
