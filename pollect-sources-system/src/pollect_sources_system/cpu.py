"""Source `Cpu`: what the CPUs of this host spend their time on.

Read from `/proc/stat`, elsewhere through psutil. Cost of a probe: one small file. CPUs have the
numbers that the kernel gives them: one that is switched off leaves a gap. Time that virtual
machines get is part of `user`, as the kernel counts it. The ratios appear from the second probe on.
"""

from collections.abc import Iterable
from types import ModuleType
from typing import Annotated, Any

from msgspec import Meta

from pollect.api import (
    BadResponse,
    Headline,
    Kind,
    Metric,
    Sample,
    Source,
    SourceConfig,
    SourceContext,
    TargetUnavailable,
)
from pollect_sources_system.kernel import (
    ALL,
    ON_LINUX,
    parse_cpu_times,
    read_text,
)
from pollect_sources_system.load_psutil import load_psutil

#: Together they are all the time there is; systems other than Linux know only some of them.
MODES = ("user", "nice", "system", "iowait", "irq", "softirq", "steal", "idle")
IDLE = "idle"
IDLE_MODES = frozenset({IDLE, "iowait"})
#: A larger fall of the idle time is a new beginning, as for node_exporter.
RESET_SECONDS = 3.0

USAGE = Metric(
    "usage_ratio",
    help="Share of the time since the last probe in which the CPU worked; 1 is all of it.",
    unit="ratio",
    labels=("cpu",),
    headline=Headline("busy", {"cpu": "all"}),
)
MODE = Metric(
    "mode_ratio",
    help="Share of the time since the last probe by what the CPU did.",
    unit="ratio",
    labels=("cpu", "mode"),
    headline=[
        Headline("waiting for disks", {"cpu": "all", "mode": "iowait"}),
        Headline("system", {"cpu": "all", "mode": "system"}),
    ],
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
        if not ON_LINUX:
            self._psutil = load_psutil(self.context.roots)

    def probe(self) -> Iterable[Sample]:
        samples: list[Sample] = []
        current: dict[str, dict[str, float]] = {}
        for cpu, read in self._read().items():
            last = self._last.get(cpu)
            seconds = current[cpu] = hold_back(last or {}, read)
            samples += [SECONDS.sample(value, cpu, mode) for mode, value in seconds.items()]
            if last is not None:
                samples += share_samples(cpu, last, seconds)
        self._last = current
        return samples

    def _read(self) -> dict[str, dict[str, float]]:
        per_core = self.config.per_core or self.config.details
        try:
            if ON_LINUX:
                table = parse_cpu_times(read_text(self.context.roots.proc / "stat"))
                self.troubles.note("CPU times", table.problems)
                cpus = {cpu: row for cpu, row in table.rows.items() if per_core or cpu == ALL}
                if not cpus:
                    raise BadResponse("expected the CPU times of the kernel, found none")
                return cpus
            found = {ALL: self._psutil.cpu_times()}
            if per_core:
                cores = self._psutil.cpu_times(percpu=True)
                found |= {str(core): times for core, times in enumerate(cores)}
        except OSError as error:
            raise TargetUnavailable(f"cannot read the CPU times: {error}") from error
        return {cpu: select_modes(times) for cpu, times in found.items()}


def hold_back(last: dict[str, float], now: dict[str, float]) -> dict[str, float]:
    """Return the seconds of `now`, where none is smaller than that of `last`.

    The kernel's idle and iowait times may fall a little (proc(5)), which a counter must not. When
    idle falls by seconds the CPU was taken out and put back, and all of them start again.
    """
    if last.get(IDLE, 0.0) - now.get(IDLE, 0.0) > RESET_SECONDS:
        return now
    return {mode: max(seconds, last.get(mode, 0.0)) for mode, seconds in now.items()}


def select_modes(times: Any) -> dict[str, float]:
    """Return the seconds of every mode this system knows."""
    return {mode: getattr(times, mode) for mode in MODES if hasattr(times, mode)}


def share_samples(cpu: str, last: dict[str, float], now: dict[str, float]) -> list[Sample]:
    """Return what each mode, and work as a whole, took of the time between two readings."""
    spent = {mode: max(0.0, now[mode] - last.get(mode, 0.0)) for mode in now}
    total = sum(spent.values())
    if not total:
        return []
    busy = sum(seconds for mode, seconds in spent.items() if mode not in IDLE_MODES)
    shares = (MODE.sample(seconds / total, cpu, mode) for mode, seconds in spent.items())
    return [USAGE.sample(busy / total, cpu), *shares]
