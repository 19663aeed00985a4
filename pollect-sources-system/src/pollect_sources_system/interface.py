"""Source `Interface`: traffic of the network cards of this host's network namespace.

Read from `/proc/net/dev`, elsewhere through psutil. Cost of a probe: one small file; with `state`
also a few system calls per card. Of the host around a container it shows the namespace of process
1, and the state as in `/sys/class/net`.
"""

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, NamedTuple

from msgspec import Meta

from pollect.api import (
    YES_NO,
    Metric,
    Panel,
    Roots,
    Sample,
    Source,
    SourceConfig,
    SourceContext,
    TargetUnavailable,
)
from pollect.support.filters import NameFilter, Names
from pollect_sources_system.device_counters import DeviceCounters, declare_counter
from pollect_sources_system.kernel import (
    ON_LINUX,
    parse_net_dev,
    read_of_namespace,
    read_text,
)
from pollect_sources_system.load_psutil import load_psutil

LABELS = ("interface",)
BITS_PER_MEGABIT = 1_000_000
#: Of `flags` in if.h: the card is switched on.
IFF_UP = 1
#: Values of `operstate` with which a card works; drivers of virtual ones say `unknown`.
RUNNING = frozenset({"up", "unknown"})


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
    _counter(
        "errin",
        "recv_errors_sec",
        "total_errors_recv",
        "errors",
        "Errors on receiving",
        "errors|details",
    ),
    _counter(
        "errout",
        "sent_errors_sec",
        "total_errors_sent",
        "errors",
        "Errors on sending",
        "errors|details",
    ),
    _counter(
        "dropin",
        "recv_drops_sec",
        "total_drops_recv",
        "packets",
        "Incoming packets dropped",
        "errors|details",
    ),
    _counter(
        "dropout",
        "sent_drops_sec",
        "total_drops_sent",
        "packets",
        "Outgoing packets dropped",
        "errors|details",
    ),
)
UP = Metric(
    "up",
    help="1 while the card is up and has a link, else 0.",
    labels=LABELS,
    panel=YES_NO.needing("state|details"),
)
SPEED = Metric(
    "speed_bits",
    help="Speed of the link in bits per second; absent where the driver does not know it.",
    unit="bits_per_second",
    labels=LABELS,
    panel=Panel(needs=("state|details",), sometimes=True),
)
MTU = Metric(
    "mtu",
    help="Largest packet in bytes that the card sends.",
    unit="bytes",
    labels=LABELS,
    panel=Panel(needs=("state|details",)),
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
        )

    def open(self) -> None:
        if not ON_LINUX or self._wants_state:
            self._psutil = load_psutil(self.context.roots)

    def probe(self) -> Iterable[Sample]:
        try:
            cards = self._read_cards()
            now = self.context.clock.monotonic()
            states = self._read_states(cards) if self._wants_state else {}
        except OSError as error:
            raise TargetUnavailable(f"cannot read the network cards: {error}") from error
        selected = self._counters.select(cards)
        samples = self._counters.samples(now, selected, totals=self.config.include_total)
        for label, state in self._counters.select(states).items():
            samples.append(UP.sample(float(state.isup), label))
            if state.mtu:
                samples.append(MTU.sample(state.mtu, label))
            if state.speed > 0:
                samples.append(SPEED.sample(state.speed * BITS_PER_MEGABIT, label))
        return samples

    def _read_cards(self) -> Mapping[str, Any]:
        if ON_LINUX:
            table = parse_net_dev(read_of_namespace(self.context.roots, "net/dev"))
            self.troubles.note("network cards", table.problems)
            return table.rows
        # nowrap=True would take the counters of a card made again for an overflow and add the
        # old ones to them, for every user of psutil in the process.
        found: Mapping[str, Any] = self._psutil.net_io_counters(pernic=True, nowrap=False)
        return found

    def _read_states(self, cards: Iterable[str]) -> Mapping[str, Any]:
        if self.context.roots == Roots():
            found: Mapping[str, Any] = self._psutil.net_if_stats()
            return found
        return read_states(self.context.roots.sys / "class" / "net", cards)

    @property
    def _wants_state(self) -> bool:
        return self.config.state or self.config.details


class State(NamedTuple):
    """The state of a card, its fields named as psutil names them; 0 where it is not known."""

    isup: bool
    #: Megabits per second.
    speed: int
    mtu: int


def read_states(folder: Path, cards: Iterable[str]) -> dict[str, State]:
    """Return the states of `cards` as `/sys/class/net` shows them; one that is gone is left out."""
    return {
        card: State(
            _read(folder / card / "operstate") in RUNNING
            and bool(_read_number(folder / card / "flags") & IFF_UP),
            _read_number(folder / card / "speed"),
            _read_number(folder / card / "mtu"),
        )
        for card in cards
        if (folder / card).is_dir()
    }


def _read(file: Path) -> str:
    try:
        return read_text(file).strip()
    except OSError:
        return ""  # the driver does not know


def _read_number(file: Path) -> int:
    try:
        return int(_read(file), 0)
    except ValueError:
        return 0
