"""An energy meter that is heard on this host's network, for `pollect init`."""

import contextlib
import time
from collections.abc import Iterator

from pollect.api import BadResponse, Suggestion, TargetUnavailable
from pollect_sources_home.sma_energy_meter.listener import Listener
from pollect_sources_home.sma_energy_meter.payload import PORT, Reading, parse_datagram

#: A meter sends its measurements every second.
LISTEN_SECONDS = 1.0


def suggest_energy_meter(
    *, port: int = PORT, listen_seconds: float = LISTEN_SECONDS
) -> Iterator[Suggestion]:
    """Yield a source for the first meter that is heard; listens and sends nothing."""
    reading = _hear(port, listen_seconds)
    if reading is not None:
        yield Suggestion(
            "source",
            {"type": "SmaEnergyMeter", "serial": reading.serial},
            "Power and energy that an SMA energy meter or Home Manager multicasts on this network.",
        )


def _hear(port: int, seconds: float) -> Reading | None:
    ends = time.monotonic() + seconds
    with (
        contextlib.suppress(TargetUnavailable),
        Listener(port, interface=None, multicast=True) as listener,
    ):
        for datagram in listener.datagrams(ends):
            with contextlib.suppress(BadResponse):
                heard = parse_datagram(datagram)
                if isinstance(heard, Reading):
                    return heard
    return None
