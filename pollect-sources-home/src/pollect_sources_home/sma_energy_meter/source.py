"""Source `SmaEnergyMeter`: SMA Energy Meter (EMETER-10, -20) and Sunny Home Manager 2.0.

The meters send their measurements by UDP multicast once a second or more often; see `payload` for
the protocol. Nothing is ever sent to them: other listeners on this port have made inverters lose
their meter. Powers, currents and voltages are means since the last probe, counters the last value.
Needs no third-party library.
"""

import threading
from collections.abc import (
    Iterable,
    Sequence,
)
from ipaddress import AddressValueError, IPv4Address
from typing import Annotated

from msgspec import Meta

from pollect.api import (
    DETAIL,
    BadResponse,
    ConfigError,
    Headline,
    Host,
    Kind,
    Metric,
    ProbeValue,
    Sample,
    SourceConfig,
    SourceContext,
    TargetUnavailable,
)
from pollect.support.background import BackgroundSource
from pollect_sources_home.sma_energy_meter.listener import Listener
from pollect_sources_home.sma_energy_meter.meters import Meter, Meters
from pollect_sources_home.sma_energy_meter.payload import MULTICAST_GROUP, PORT, parse_datagram

#: Meters send every second or more often: for so long, not hearing one is normal.
PATIENCE_SECONDS = 2.0

_POWERS = {
    "wirkleistung": ("Active", "W", "kWh"),
    "blindleistung": ("Reactive", "var", "kvarh"),
    "scheinleistung": ("Apparent", "VA", "kVAh"),
}
_HEADLINES = {
    "wirkleistung_positive": Headline("drawn", {"phase": "0"}),
    "wirkleistung_negative": Headline("fed in", {"phase": "0"}),
}
_DIRECTIONS = {"positive": "drawn from the grid", "negative": "fed into the grid"}
_OF_PHASE = "of a phase, or all of them (phase 0)"


def _declare(*more: str) -> dict[str, Metric]:
    """Return the metrics by name, with further labels after the phase."""
    labels = ("phase", *more)
    metrics = [
        Metric("strom", help="Current of a phase in A.", unit="A", labels=labels),
        Metric("spannung", help="Voltage of a phase in V.", unit="V", labels=labels),
        Metric("leistungsfaktor", help=f"Power factor {_OF_PHASE}.", labels=labels),
        Metric(
            "netzfrequenz",
            help="Frequency of the grid in Hz.",
            unit="Hz",
            labels=labels,
        ),
        Metric(
            "wirkleistung",
            help=f"Active power {_OF_PHASE} in W, negative if fed into the grid (details).",
            unit="W",
            labels=labels,
            panel=DETAIL,
        ),
    ]
    for name, (word, power, energy) in _POWERS.items():
        for direction, where in _DIRECTIONS.items():
            metrics += [
                Metric(
                    f"{name}_{direction}",
                    help=f"{word} power {where} in {power}, {_OF_PHASE}.",
                    unit=power,
                    labels=labels,
                    headline=_HEADLINES.get(f"{name}_{direction}", ()),
                ),
                Metric(
                    f"{name}_{direction}_sum",
                    help=f"{word} energy {where} in {energy}, {_OF_PHASE}.",
                    unit=energy,
                    kind=Kind.COUNTER,
                    labels=labels,
                ),
            ]
    return {str(metric.name): metric for metric in metrics}


PLAIN = _declare()
WITH_SERIAL = _declare("serial")
INFO = Metric(
    "info",
    help="A meter that is heard, always 1 (details).",
    labels=("serial", "susyid", "version"),
    panel=DETAIL,
)


class SmaEnergyMeterConfig(SourceConfig, frozen=True, kw_only=True):
    host_ip: Annotated[
        Host,
        Meta(
            description="Address of this host on the network of the meter; default: the interface "
            "of the default route."
        ),
    ] = ""
    serial: Annotated[
        int | str | Annotated[list[int | str], Meta(min_length=1)] | None,
        Meta(
            description="Serial number of the meter to listen to, or a list, which adds the label "
            "`serial`; default: the meter that is heard first."
        ),
    ] = None
    serial_label: Annotated[bool, Meta(description="Add the label `serial` to every value.")] = (
        False
    )
    port: Annotated[
        Annotated[int, Meta(ge=1, le=65535)], Meta(description="UDP port the meters send to.")
    ] = PORT
    multicast: Annotated[
        bool,
        Meta(
            description=f"Join the group {MULTICAST_GROUP}; false to hear only what a meter sends "
            "to this host by itself."
        ),
    ] = True


class SmaEnergyMeterSource(BackgroundSource[SmaEnergyMeterConfig]):
    """Power, energy, current and voltage of SMA's energy meters, as they multicast them."""

    config_type = SmaEnergyMeterConfig
    metrics = (*PLAIN.values(), *WITH_SERIAL.values(), INFO)
    #: Long enough for any meter; switches forget who joined a group, and joining again helps.
    silence_seconds = 60.0

    def __init__(self, config: SmaEnergyMeterConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._interface = _read_address(config.host_ip)
        self._wanted = _read_serials(config.serial)
        self._with_serial = config.serial_label or isinstance(config.serial, list)
        self._lock = threading.Lock()
        self._meters = Meters(self._wanted)
        self._listener: Listener | None = None
        self._listening_since = 0.0
        #: Serial number -> when a probe found measurements of it.
        self._seen: dict[int, float] = {}
        self._named: set[int] = set()
        self._last: list[Sample] = []
        self._taken_at = 0.0

    def expected_metrics(self) -> Sequence[Metric]:
        return [*(WITH_SERIAL if self._with_serial else PLAIN).values(), INFO]

    def receive(self) -> None:
        port, multicast = self.config.port, self.config.multicast
        with self._lock:
            self._meters.forget()
        self._listening_since = self.context.clock.monotonic()
        with Listener(port, interface=self._interface, multicast=multicast) as listener:
            self._listener = listener
            if self.background.stopped:
                return
            for datagram in listener.datagrams():
                self._take(datagram)
        with self._lock:
            raise TargetUnavailable(self._meters.describe_silence())

    def interrupt(self) -> None:
        if self._listener is not None:
            self._listener.wake()

    def probe(self) -> ProbeValue:
        try:
            return super().probe()
        except TargetUnavailable as error:
            if self.background.decided:
                raise
            with self._lock:
                raise TargetUnavailable(self._meters.describe_silence()) from error

    def latest(self) -> list[Sample]:
        now = self.context.clock.monotonic()
        with self._lock:
            fresh = [meter for meter in self._meters.chosen.values() if meter.numbers]
            others = self._meters.others
            if not fresh:
                if self._last and now - self._taken_at < PATIENCE_SECONDS:
                    return self._last
                raise TargetUnavailable(self._meters.describe_silence())
            self._last = [sample for meter in fresh for sample in self._samples(meter)]
            self._taken_at = now
        self._warn_of(others)
        self._note_silent({meter.serial for meter in fresh}, now)
        return self._last

    def _take(self, datagram: bytes) -> None:
        try:
            heard = parse_datagram(datagram)
        except BadResponse as error:
            self.log.debug("broken datagram: %s", error)
            with self._lock:
                self._meters.hear_broken(str(error))
            return
        with self._lock:
            counts = self._meters.hear(heard)
            complete = self._wanted <= self._meters.chosen.keys()
        waited = self.context.clock.monotonic() - self._listening_since
        if counts and (complete or waited >= PATIENCE_SECONDS):
            self.background.works()

    def _samples(self, meter: Meter) -> Iterable[Sample]:
        metrics = WITH_SERIAL if self._with_serial else PLAIN
        more = (str(meter.serial),) if self._with_serial else ()
        values = {(quantity.name, quantity.phase): v for quantity, v in meter.take().items()}
        for (name, phase), value in values.items():
            yield metrics[name].sample(value, phase, *more)
        if not self.config.details:
            return
        for (name, phase), drawn in values.items():
            fed = values.get(("wirkleistung_negative", phase))
            if name == "wirkleistung_positive" and fed is not None:
                yield metrics["wirkleistung"].sample(drawn - fed, phase, *more)
        yield INFO.sample(1, str(meter.serial), str(meter.susyid), meter.version)

    def _warn_of(self, others: set[int]) -> None:
        """Name, once each, the meters that are heard and left out, unless that was asked for."""
        if self.config.serial is None and others - self._named:
            self._named |= others
            chosen = ", ".join(map(str, self._meters.chosen))
            listed = ", ".join(map(str, sorted(others)))
            self.log.warning(
                "reports meter %s and leaves out %s; choose by the option serial", chosen, listed
            )

    def _note_silent(self, heard: set[int], now: float) -> None:
        """Report each meter of the option `serial` that is silent while others are heard."""
        for serial in heard:
            self._seen[serial] = now
            self.troubles.works(f"meter {serial}")
        for serial in sorted(self._wanted - heard):
            if now - self._seen.get(serial, -PATIENCE_SECONDS) >= PATIENCE_SECONDS:
                self.troubles.failed(f"meter {serial}", "no measurements since the last probe")


def _read_address(text: str) -> IPv4Address | None:
    try:
        address = IPv4Address(text) if text else None
    except AddressValueError as error:
        raise ConfigError(
            f"expected an IPv4 address of this host, got {text!r}", key="hostIp"
        ) from error
    return None if address is None or address.is_unspecified else address


def _read_serials(serial: int | str | list[int | str] | None) -> frozenset[int]:
    if serial is None:
        return frozenset()
    found = set()
    for position, each in enumerate(serial if isinstance(serial, list) else [serial]):
        text = str(each).strip()
        if not (text.isascii() and text.isdigit() and int(text) < 1 << 32):
            key = f"serial[{position}]" if isinstance(serial, list) else "serial"
            raise ConfigError(f"expected a serial number, got {each!r}", key=key)
        found.add(int(text))
    return frozenset(found)
