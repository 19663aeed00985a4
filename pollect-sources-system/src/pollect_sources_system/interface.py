"""Source `Interface`: traffic of the network cards of this host's network namespace.

Read through psutil (`/proc/net/dev` on Linux). Cost of a probe: one small file; with `state` also
a few system calls per card.
"""

import functools
from collections.abc import Iterable
from types import ModuleType
from typing import Annotated

from msgspec import Meta

from pollect.api import Metric, Sample, Source, SourceConfig, SourceContext, TargetUnavailable
from pollect.support.filters import NameFilter, Names
from pollect_sources_system.device_counters import DeviceCounters, declare_counter
from pollect_sources_system.load_psutil import load_psutil

LABELS = ("interface",)
BITS_PER_MEGABIT = 1_000_000


_counter = functools.partial(declare_counter, "interface")

TRAFFIC = (
    _counter("bytes_sent", "sent_bytes_sec", "total_bytes_sent", "bytes", "Bytes sent"),
    _counter("packets_sent", "sent_packets_sec", "total_packets_sent", "packets", "Packets sent"),
    _counter("bytes_recv", "recv_bytes_sec", "total_bytes_recv", "bytes", "Bytes received"),
    _counter(
        "packets_recv", "recv_packets_sec", "total_packets_recv", "packets", "Packets received"
    ),
)
ERRORS = (
    _counter("errin", "recv_errors_sec", "total_errors_recv", "errors", "Errors on receiving"),
    _counter("errout", "sent_errors_sec", "total_errors_sent", "errors", "Errors on sending"),
    _counter("dropin", "recv_drops_sec", "total_drops_recv", "packets", "Incoming packets dropped"),
    _counter(
        "dropout", "sent_drops_sec", "total_drops_sent", "packets", "Outgoing packets dropped"
    ),
)
UP = Metric("up", help="1 while the card is up and has a link, else 0.", labels=LABELS)
SPEED = Metric(
    "speed_bits",
    help="Speed of the link in bits per second; absent where the driver does not know it.",
    unit="bits_per_second",
    labels=LABELS,
)
MTU = Metric(
    "mtu", help="Largest packet in bytes that the card sends.", unit="bytes", labels=LABELS
)


class InterfaceConfig(SourceConfig, frozen=True, kw_only=True):
    include_total: Annotated[
        bool, Meta(description="Also report the counters that the rates come from.")
    ] = False
    include: Annotated[
        Names, Meta(description="Cards to report, by name or shell pattern; default: all.")
    ] = None
    exclude: Annotated[Names, Meta(description="Cards to leave out, by name or shell pattern.")] = (
        None
    )
    errors: Annotated[bool, Meta(description="Also report errors and dropped packets.")] = False
    state: Annotated[
        bool, Meta(description="Also report whether a card is up, its speed and its MTU.")
    ] = False


class InterfaceSource(Source[InterfaceConfig]):
    """Bytes and packets per second of each network card; errors and link state on request."""

    config_type = InterfaceConfig
    metrics = (
        *(metric for counter in (*TRAFFIC, *ERRORS) for metric in (counter.rate, counter.total)),
        UP,
        SPEED,
        MTU,
    )

    _psutil: ModuleType

    def __init__(self, config: InterfaceConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._counters = DeviceCounters(
            (*TRAFFIC, *ERRORS) if config.errors or config.details else TRAFFIC,
            NameFilter(config.include, config.exclude),
            self.log,
        )

    def open(self) -> None:
        self._psutil = load_psutil(self.context.roots)

    def probe(self) -> Iterable[Sample]:
        try:
            # nowrap=True would take the counters of a card made anew for an overflow and add
            # the old ones to them, for every user of psutil in the process.
            cards = self._psutil.net_io_counters(pernic=True, nowrap=False)
            now = self.context.clock.monotonic()
            states = self._psutil.net_if_stats() if self._wants_state else {}
        except OSError as error:
            raise TargetUnavailable(f"cannot read the network cards: {error}") from error
        selected = self._counters.select(cards)
        samples = self._counters.samples(now, selected, totals=self.config.include_total)
        for label, state in self._counters.select(states).items():
            samples.append(UP.sample(float(state.isup), label))
            samples.append(MTU.sample(state.mtu, label))
            if state.speed:
                samples.append(SPEED.sample(state.speed * BITS_PER_MEGABIT, label))
        return samples

    @property
    def _wants_state(self) -> bool:
        return self.config.state or self.config.details
