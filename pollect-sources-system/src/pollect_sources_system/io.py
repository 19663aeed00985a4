"""Source `IO`: activity of the block devices of this host.

Read from `/proc/diskstats`, where partitions, `dm-*` and `loop*` are devices too; elsewhere through
psutil. Cost of a probe: one small file. Everything but the totals appears from the second probe on.
"""

import functools
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Annotated, Any

from msgspec import Meta

from pollect.api import (
    Metric,
    Panel,
    Sample,
    Source,
    SourceConfig,
    SourceContext,
    TargetUnavailable,
)
from pollect.support.filters import NameFilter, Names
from pollect.support.rates import Rates
from pollect_sources_system.device_counters import DeviceCounters, declare_counter
from pollect_sources_system.kernel import ON_LINUX, parse_diskstats, read_text
from pollect_sources_system.load_psutil import load_psutil

LABELS = ("disk",)
#: A device busy for all of a second moves the kernel's busy time by this many milliseconds.
BUSY_MS_PER_PERCENT = 10.0


_counter = functools.partial(declare_counter, "disk")

COUNTERS = (
    _counter("read_count", "reads_sec", "total_read_count", "operations", "Reads completed"),
    _counter("write_count", "writes_sec", "total_write_count", "operations", "Writes completed"),
    _counter("read_bytes", "read_bytes_sec", "total_read_bytes", "bytes", "Bytes read"),
    _counter("write_bytes", "write_bytes_sec", "total_write_bytes", "bytes", "Bytes written"),
)
BUSY = Metric(
    "busy_percent",
    help="Share of the time in percent during which the device had something to do.",
    unit="percent",
    labels=LABELS,
    panel=Panel(needs=("latency|details",)),
)
READ_LATENCY = Metric(
    "read_latency_ms",
    help="Milliseconds a read took on average; absent when there was none.",
    unit="milliseconds",
    labels=LABELS,
    panel=Panel(needs=("latency|details",)),
)
WRITE_LATENCY = Metric(
    "write_latency_ms",
    help="Milliseconds a write took on average; absent when there was none.",
    unit="milliseconds",
    labels=LABELS,
    panel=Panel(needs=("latency|details",)),
)


class IOConfig(SourceConfig, frozen=True, kw_only=True):
    include: Annotated[
        Names, Meta(description="Devices to report, by name or shell pattern; default: all.")
    ] = None
    exclude: Annotated[
        Names, Meta(description="Devices to leave out, by name or shell pattern.")
    ] = None
    include_total: Annotated[
        bool, Meta(description="Also report the counters that the rates come from.")
    ] = False
    latency: Annotated[
        bool, Meta(description="Also report how busy a device is and how long operations take.")
    ] = False


class IOSource(Source[IOConfig]):
    """Reads, writes and bytes per second of each block device; latency on request."""

    config_type = IOConfig
    metrics = (
        *(metric for counter in COUNTERS for metric in (counter.rate, counter.total)),
        BUSY,
        READ_LATENCY,
        WRITE_LATENCY,
    )

    _psutil: ModuleType

    def __init__(self, config: IOConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._counters = DeviceCounters(COUNTERS, NameFilter(config.include, config.exclude))
        self._times: Rates[str] = Rates()

    def open(self) -> None:
        if not ON_LINUX:
            self._psutil = load_psutil(self.context.roots)

    def probe(self) -> Iterable[Sample]:
        try:
            devices = self._read_devices()
        except (OSError, NotImplementedError) as error:
            raise TargetUnavailable(f"cannot read the disk activity: {error}") from error
        now = self.context.clock.monotonic()
        selected = self._counters.select(devices)
        samples = self._counters.samples(now, selected, totals=self.config.include_total)
        if self.config.latency or self.config.details:
            samples += self._latencies(now, selected)
        return samples

    def _read_devices(self) -> Mapping[str, Any]:
        if ON_LINUX:
            table = parse_diskstats(read_text(self.context.roots.proc / "diskstats"))
            self.troubles.note("block devices", table.problems)
            return table.rows
        # nowrap=True would add the old counters of a device to those of its successor.
        found: Mapping[str, Any] = self._psutil.disk_io_counters(perdisk=True, nowrap=False)
        return found

    def _latencies(self, now: float, devices: Mapping[str, Any]) -> list[Sample]:
        samples = []
        for label, io in devices.items():
            busy = getattr(io, "busy_time", None)  # only Linux and FreeBSD tell
            counters = (io.read_count, io.read_time, io.write_count, io.write_time, busy or 0)
            rates = self._times.update(label, now, counters)
            if rates is None:
                continue
            reads, read_ms, writes, write_ms, busy_ms = rates
            if busy is not None:
                samples.append(BUSY.sample(min(busy_ms / BUSY_MS_PER_PERCENT, 100.0), label))
            if reads:
                samples.append(READ_LATENCY.sample(read_ms / reads, label))
            if writes:
                samples.append(WRITE_LATENCY.sample(write_ms / writes, label))
        self._times.keep(devices)
        return samples
