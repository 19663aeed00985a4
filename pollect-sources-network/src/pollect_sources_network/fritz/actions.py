"""What the actions of a FRITZ!Box answer, and which values that makes.

AVM's documents "TR-064 First Steps" and "WANCommonInterfaceConfig", "WANIPConnection",
"WANDSLInterfaceConfig", "WLANConfiguration", "Hosts", "DeviceInfo", "UserInterface"
(fritz.com/service/schnittstellen). Services whose names end in `IFC1` or `Conn1` are those of UPnP
IGD and need no password.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pollect.api import BadResponse, Kind, Metric, Sample

#: The out arguments of an action by name; numbers and booleans are converted by the library.
Fields = Mapping[str, Any]

DECIBELS_PER_UNIT = 0.1
BITS_PER_KILOBIT = 1000
WRAP_32 = 1 << 32

RECEIVED = Metric(
    "recv_bytes", help="Bytes received from the internet.", unit="bytes", kind=Kind.COUNTER
)
SENT = Metric("sent_bytes", help="Bytes sent to the internet.", unit="bytes", kind=Kind.COUNTER)
RECEIVED_RATE = Metric(
    "recv_bytes_sec", help="Bytes received from the internet per second.", unit="bytes per second"
)
SENT_RATE = Metric(
    "sent_bytes_sec", help="Bytes sent to the internet per second.", unit="bytes per second"
)

LINK_UP = Metric("link_up", help="1 while the line to the provider is up.")
CONNECTED = Metric("connected", help="1 while the internet connection is up.")
CONNECTION_UPTIME = Metric(
    "connection_uptime", help="Seconds since the internet connection was made.", unit="seconds"
)
MAX_BITRATE = Metric(
    "max_bitrate",
    help="Highest rate of the line in bits per second.",
    unit="bits per second",
    labels=("direction",),
)
DSL_RATE = Metric(
    "dsl_rate",
    help="Present rate of the DSL line in bits per second.",
    unit="bits per second",
    labels=("direction",),
)
DSL_NOISE_MARGIN = Metric(
    "dsl_noise_margin_db",
    help="Noise margin of the DSL line in decibels.",
    unit="decibels",
    labels=("direction",),
)
DSL_ATTENUATION = Metric(
    "dsl_attenuation_db",
    help="Attenuation of the DSL line in decibels.",
    unit="decibels",
    labels=("direction",),
)
DSL_ERRORS = Metric(
    "dsl_errors", help="Errors on the DSL line.", kind=Kind.COUNTER, labels=("type",)
)
WLAN_CLIENTS = Metric("wlan_clients", help="Devices in a wireless network.", labels=("radio",))
HOSTS = Metric("hosts", help="Devices that the box knows, present or not.")
UPTIME = Metric("uptime", help="Seconds since the box was started.", unit="seconds")
UPDATE_AVAILABLE = Metric("update_available", help="1 when there is newer firmware.")

#: The box numbers its wireless networks in this order; the last is the guests'.
RADIOS = {1: "2.4ghz", 2: "5ghz", 3: "guest"}


@dataclass(frozen=True, slots=True)
class Detail:
    """One action whose answer is worth metrics."""

    service: str
    action: str
    parse: Callable[[Fields], Iterator[Sample]]


def parse_link(fields: Fields) -> Iterator[Sample]:
    yield LINK_UP.sample(float(fields["NewPhysicalLinkStatus"] == "Up"))
    yield MAX_BITRATE.sample(int(fields["NewLayer1DownstreamMaxBitRate"]), "down")
    yield MAX_BITRATE.sample(int(fields["NewLayer1UpstreamMaxBitRate"]), "up")


def parse_connection(fields: Fields) -> Iterator[Sample]:
    yield CONNECTED.sample(float(fields["NewConnectionStatus"] == "Connected"))
    yield CONNECTION_UPTIME.sample(int(fields["NewUptime"]))


def parse_dsl(fields: Fields) -> Iterator[Sample]:
    for direction, prefix in (("down", "NewDownstream"), ("up", "NewUpstream")):
        yield DSL_RATE.sample(int(fields[f"{prefix}CurrRate"]) * BITS_PER_KILOBIT, direction)
        for metric, field in ((DSL_NOISE_MARGIN, "NoiseMargin"), (DSL_ATTENUATION, "Attenuation")):
            yield metric.sample(
                round(int(fields[prefix + field]) * DECIBELS_PER_UNIT, 1), direction
            )


def parse_dsl_errors(fields: Fields) -> Iterator[Sample]:
    yield DSL_ERRORS.sample(int(fields["NewFECErrors"]), "fec")
    yield DSL_ERRORS.sample(int(fields["NewCRCErrors"]), "crc")


def parse_hosts(fields: Fields) -> Iterator[Sample]:
    yield HOSTS.sample(int(fields["NewHostNumberOfEntries"]))


def parse_device(fields: Fields) -> Iterator[Sample]:
    yield UPTIME.sample(int(fields["NewUpTime"]))


def parse_user_interface(fields: Fields) -> Iterator[Sample]:
    yield UPDATE_AVAILABLE.sample(float(fields["NewUpgradeAvailable"]))


def parse_clients(radio: str) -> Callable[[Fields], Iterator[Sample]]:
    """Return the parser of `GetTotalAssociations` for one radio."""

    def parse(fields: Fields) -> Iterator[Sample]:
        yield WLAN_CLIENTS.sample(int(fields["NewTotalAssociations"]), radio)

    return parse


DETAILS = (
    Detail("WANCommonIFC1", "GetCommonLinkProperties", parse_link),
    Detail("WANIPConn1", "GetStatusInfo", parse_connection),
    Detail("DeviceInfo1", "GetInfo", parse_device),
    Detail("WANDSLInterfaceConfig1", "GetInfo", parse_dsl),
    Detail("WANDSLInterfaceConfig1", "X_AVM-DE_GetDSLInfo", parse_dsl_errors),
    *(
        Detail(f"WLANConfiguration{number}", "GetTotalAssociations", parse_clients(radio))
        for number, radio in RADIOS.items()
    ),
    Detail("Hosts1", "GetHostNumberOfEntries", parse_hosts),
    Detail("UserInterface1", "GetInfo", parse_user_interface),
)


def parse_totals_64(fields: Fields) -> tuple[int, int] | None:
    """Return bytes received and sent of `GetAddonInfos`; None from a box that does not count so.

    Both are text, and empty on some models.
    """
    received = fields.get("NewX_AVM_DE_TotalBytesReceived64")
    sent = fields.get("NewX_AVM_DE_TotalBytesSent64")
    if not received or not sent:
        return None
    return int(received), int(sent)


def parse_detail(detail: Detail, fields: Fields) -> list[Sample]:
    """Return the samples of an answer; raises `BadResponse` when it is not as documented."""
    try:
        return list(detail.parse(fields))
    except (KeyError, ValueError, TypeError) as error:
        raise BadResponse(
            f"{detail.service}/{detail.action}: expected its documented fields, got {error}"
        ) from error
