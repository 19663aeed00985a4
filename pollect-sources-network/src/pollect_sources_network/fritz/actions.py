"""What the actions of a FRITZ!Box answer, and which values that makes.

AVM's documents "TR-064 First Steps" and "WANCommonInterfaceConfig", "WANIPConnection",
"WANDSLInterfaceConfig", "WLANConfiguration", "LANEthernetInterfaceConfig", "Hosts", "DeviceInfo",
"UserInterface" (fritz.com/service/schnittstellen). Services whose names end in `IFC1` or `Conn1`
are those of UPnP IGD and need no password.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pollect.api import (
    DETAIL,
    YES_IS_GOOD,
    YES_NO,
    Alert,
    BadResponse,
    Headline,
    Kind,
    Metric,
    Sample,
)
from pollect_sources_network.fritz.answer import Answer, sample_of

#: The out arguments of an action by name; numbers and booleans are converted by the library.
Fields = Mapping[str, Any]

DECIBELS_PER_UNIT = 0.1
BITS_PER_KILOBIT = 1000
WRAP_32 = 1 << 32
WRAP_64 = 1 << 64

RECEIVED = Metric(
    "recv_bytes", help="Bytes received from the internet.", unit="bytes", kind=Kind.COUNTER
)
SENT = Metric("sent_bytes", help="Bytes sent to the internet.", unit="bytes", kind=Kind.COUNTER)
RECEIVED_RATE = Metric(
    "recv_bytes_sec",
    help="Bytes received from the internet per second.",
    unit="bytes per second",
    headline=Headline("download"),
)
SENT_RATE = Metric(
    "sent_bytes_sec",
    help="Bytes sent to the internet per second.",
    unit="bytes per second",
    headline=Headline("upload"),
)

LINK_UP = Metric(
    "link_up", help="1 while the line to the provider is up.", panel=YES_IS_GOOD.needing("details")
)
CONNECTED = Metric(
    "connected",
    help="1 while the internet connection is up.",
    headline=Headline("online"),
    panel=YES_IS_GOOD.needing("details"),
    alert=Alert(
        "InternetDown", "the box has no connection to the internet", below=1, lasting_seconds=300
    ),
)
CONNECTION_UPTIME = Metric(
    "connection_uptime",
    help="Seconds since the internet connection was made.",
    unit="seconds",
    panel=DETAIL,
)
MAX_BITRATE = Metric(
    "max_bitrate",
    help="Highest rate of the line in bits per second.",
    unit="bits per second",
    labels=("direction",),
    panel=DETAIL,
)
PACKETS = Metric(
    "packets",
    help="Packets received from the internet and sent to it.",
    kind=Kind.COUNTER,
    labels=("direction",),
    panel=DETAIL,
)
LINK_INFO = Metric(
    "link_info",
    help="Always 1; the label has the kind of the line.",
    labels=("access",),
    panel=DETAIL,
)
CONNECTION_INFO = Metric(
    "connection_info",
    help="Always 1; the label has why the last connection ended.",
    labels=("last_error",),
    panel=DETAIL,
)
DSL_UP = Metric("dsl_up", help="1 while the DSL line is up.", panel=YES_IS_GOOD.needing("details"))
DSL_MAX_RATE = Metric(
    "dsl_max_rate",
    help="Rate the DSL line could have in bits per second.",
    unit="bits per second",
    labels=("direction",),
    panel=DETAIL,
)
DSL_RATE = Metric(
    "dsl_rate",
    help="Present rate of the DSL line in bits per second.",
    unit="bits per second",
    labels=("direction",),
    panel=DETAIL,
)
DSL_NOISE_MARGIN = Metric(
    "dsl_noise_margin_db",
    help="Noise margin of the DSL line in decibels.",
    unit="decibels",
    labels=("direction",),
    panel=DETAIL,
)
DSL_ATTENUATION = Metric(
    "dsl_attenuation_db",
    help="Attenuation of the DSL line in decibels.",
    unit="decibels",
    labels=("direction",),
    panel=DETAIL,
)
DSL_ERRORS = Metric(
    "dsl_errors", help="Errors on the DSL line.", kind=Kind.COUNTER, labels=("type",), panel=DETAIL
)
WLAN_CLIENTS = Metric(
    "wlan_clients", help="Devices in a wireless network.", labels=("radio",), panel=DETAIL
)
WLAN_UP = Metric(
    "wlan_up",
    help="1 while a wireless network is on.",
    labels=("radio",),
    panel=YES_NO.needing("details"),
)
WLAN_CHANNEL = Metric(
    "wlan_channel", help="Channel of a wireless network.", labels=("radio",), panel=DETAIL
)
WLAN_INFO = Metric(
    "wlan_info",
    help="Always 1; the labels have name and standard of a wireless network.",
    labels=("radio", "ssid", "standard"),
    panel=DETAIL,
)
WLAN_PACKETS = Metric(
    "wlan_packets",
    help="Packets received and sent in a wireless network.",
    kind=Kind.COUNTER,
    labels=("radio", "direction"),
    panel=DETAIL,
)
LAN_BYTES = Metric(
    "lan_bytes",
    help="Bytes received and sent on the wired network.",
    unit="bytes",
    kind=Kind.COUNTER,
    labels=("direction",),
    panel=DETAIL,
)
LAN_PACKETS = Metric(
    "lan_packets",
    help="Packets received and sent on the wired network.",
    kind=Kind.COUNTER,
    labels=("direction",),
    panel=DETAIL,
)
HOSTS = Metric("hosts", help="Devices that the box knows, present or not.", panel=DETAIL)
UPTIME = Metric("uptime", help="Seconds since the box was started.", unit="seconds", panel=DETAIL)
INFO = Metric(
    "info",
    help="Always 1; the labels have model and firmware of the box.",
    labels=("model", "firmware"),
    panel=DETAIL,
)
UPDATE_AVAILABLE = Metric(
    "update_available", help="1 when there is newer firmware.", panel=YES_NO.needing("details")
)
UPDATE_INFO = Metric(
    "update_info",
    help="Always 1, and there with newer firmware alone; the label has its version.",
    labels=("firmware",),
    panel=DETAIL,
)

ALL = (
    RECEIVED,
    SENT,
    RECEIVED_RATE,
    SENT_RATE,
    LINK_UP,
    LINK_INFO,
    MAX_BITRATE,
    PACKETS,
    CONNECTED,
    CONNECTION_UPTIME,
    CONNECTION_INFO,
    DSL_UP,
    DSL_RATE,
    DSL_MAX_RATE,
    DSL_NOISE_MARGIN,
    DSL_ATTENUATION,
    DSL_ERRORS,
    WLAN_UP,
    WLAN_CHANNEL,
    WLAN_INFO,
    WLAN_CLIENTS,
    WLAN_PACKETS,
    LAN_BYTES,
    LAN_PACKETS,
    HOSTS,
    UPTIME,
    INFO,
    UPDATE_AVAILABLE,
    UPDATE_INFO,
)

#: Our name and that of the fields, for what is counted in both directions.
DIRECTIONS = {"recv": "Received", "sent": "Sent"}

WLAN_SERVICE = "WLANConfiguration"
#: Two radios and the guests; a box with three radios has one more.
USUAL_NETWORKS = 3
FREQUENCY_BAND = "NewX_AVM-DE_FrequencyBand"


@dataclass(frozen=True, slots=True)
class Detail:
    """One action whose answer is worth metrics."""

    service: str
    action: str
    parse: Callable[[Answer], Iterator[Sample]]

    @property
    def name(self) -> str:
        """What the box calls it."""
        return f"{self.service}/{self.action}"

    @property
    def needs_login(self) -> bool:
        """Whether the service is one of TR-064."""
        return not self.service.endswith(("IFC1", "Conn1"))


def parse_link(answer: Answer) -> Iterator[Sample]:
    yield from sample_of(LINK_UP, answer.is_word("NewPhysicalLinkStatus", "Up"))
    yield from sample_of(LINK_INFO, 1, answer.text("NewWANAccessType"))
    for direction, name in (("down", "Downstream"), ("up", "Upstream")):
        # The wide one comes from `GetAddonInfos` of newer firmware, and is empty on cable.
        wide = f"NewX_AVM_DE_Layer1{name}MaxBitRate64"
        narrow = f"NewLayer1{name}MaxBitRate"
        rate = answer.number(wide if answer.optional(wide) else narrow)
        yield from sample_of(MAX_BITRATE, rate, direction)


def parse_packets(direction: str) -> Callable[[Answer], Iterator[Sample]]:
    """Return the parser of `GetTotalPacketsReceived` or `GetTotalPacketsSent`."""

    def parse(answer: Answer) -> Iterator[Sample]:
        packets = answer.number(f"NewTotalPackets{DIRECTIONS[direction]}")
        yield from sample_of(PACKETS, packets, direction)

    return parse


def parse_connection(answer: Answer) -> Iterator[Sample]:
    yield from sample_of(CONNECTED, answer.is_word("NewConnectionStatus", "Connected"))
    yield from sample_of(CONNECTION_UPTIME, answer.number("NewUptime"))
    yield from sample_of(CONNECTION_INFO, 1, answer.text("NewLastConnectionError"))


def parse_dsl(answer: Answer) -> Iterator[Sample]:
    yield from sample_of(DSL_UP, answer.is_word("NewStatus", "Up"))
    for direction, prefix in (("down", "NewDownstream"), ("up", "NewUpstream")):
        for metric, field in ((DSL_RATE, "CurrRate"), (DSL_MAX_RATE, "MaxRate")):
            rate = answer.number(prefix + field, BITS_PER_KILOBIT)
            yield from sample_of(metric, rate, direction)
        for metric, field in ((DSL_NOISE_MARGIN, "NoiseMargin"), (DSL_ATTENUATION, "Attenuation")):
            decibels = answer.number(prefix + field, DECIBELS_PER_UNIT)
            rounded = None if decibels is None else round(decibels, 1)
            yield from sample_of(metric, rounded, direction)


def parse_dsl_errors(answer: Answer) -> Iterator[Sample]:
    yield from sample_of(DSL_ERRORS, answer.number("NewFECErrors"), "fec")
    yield from sample_of(DSL_ERRORS, answer.number("NewCRCErrors"), "crc")


def parse_hosts(answer: Answer) -> Iterator[Sample]:
    yield from sample_of(HOSTS, answer.number("NewHostNumberOfEntries"))


def parse_device(answer: Answer) -> Iterator[Sample]:
    yield from sample_of(UPTIME, answer.number("NewUpTime"))
    model, version = answer.text("NewModelName"), answer.text("NewSoftwareVersion")
    yield from sample_of(INFO, 1, model, version)


def parse_user_interface(answer: Answer) -> Iterator[Sample]:
    yield from sample_of(UPDATE_AVAILABLE, answer.flag("NewUpgradeAvailable"))
    if version := answer.optional("NewX_AVM-DE_Version"):
        yield UPDATE_INFO.sample(1, version)


def parse_lan(answer: Answer) -> Iterator[Sample]:
    for direction, name in DIRECTIONS.items():
        yield from sample_of(LAN_BYTES, answer.number(f"NewBytes{name}"), direction)
        yield from sample_of(LAN_PACKETS, answer.number(f"NewPackets{name}"), direction)


def parse_wlan(radio: str) -> Callable[[Answer], Iterator[Sample]]:
    """Return the parser of `GetInfo` for one radio."""

    def parse(answer: Answer) -> Iterator[Sample]:
        yield from sample_of(WLAN_UP, answer.is_word("NewStatus", "Up"), radio)
        yield from sample_of(WLAN_CHANNEL, answer.number("NewChannel"), radio)
        network, standard = answer.text("NewSSID"), answer.text("NewStandard")
        yield from sample_of(WLAN_INFO, 1, radio, network, standard)

    return parse


def parse_wlan_packets(radio: str) -> Callable[[Answer], Iterator[Sample]]:
    """Return the parser of `GetPacketStatistics` for one radio."""

    def parse(answer: Answer) -> Iterator[Sample]:
        for direction, name in DIRECTIONS.items():
            packets = answer.number(f"NewTotalPackets{name}")
            yield from sample_of(WLAN_PACKETS, packets, radio, direction)

    return parse


def parse_clients(radio: str) -> Callable[[Answer], Iterator[Sample]]:
    """Return the parser of `GetTotalAssociations` for one radio."""

    def parse(answer: Answer) -> Iterator[Sample]:
        yield from sample_of(WLAN_CLIENTS, answer.number("NewTotalAssociations"), radio)

    return parse


def name_radios(count: int, third_band: str = "") -> dict[int, str]:
    """Return the radios of `count` wireless networks by the numbers of their services.

    The last is the guests'. With four of them `third_band` is the megahertz of the third.
    """
    third = "6ghz" if third_band == "6000" else "5ghz2"
    names = (
        ("2.4ghz", "5ghz", third, "guest")
        if count > USUAL_NETWORKS
        else ("2.4ghz", "5ghz", "guest")
    )
    return dict(enumerate(names, start=1))


def list_details(radios: Mapping[int, str]) -> tuple[Detail, ...]:
    """Return every action that is worth asking for."""
    return (
        Detail("WANCommonIFC1", "GetCommonLinkProperties", parse_link),
        *(
            Detail("WANCommonIFC1", f"GetTotalPackets{name}", parse_packets(direction))
            for direction, name in DIRECTIONS.items()
        ),
        Detail("WANIPConn1", "GetStatusInfo", parse_connection),
        Detail("DeviceInfo1", "GetInfo", parse_device),
        Detail("WANDSLInterfaceConfig1", "GetInfo", parse_dsl),
        Detail("WANDSLInterfaceConfig1", "X_AVM-DE_GetDSLInfo", parse_dsl_errors),
        *(
            Detail(f"{WLAN_SERVICE}{number}", action, parse(radio))
            for number, radio in radios.items()
            for action, parse in (
                ("GetInfo", parse_wlan),
                ("GetTotalAssociations", parse_clients),
                ("GetPacketStatistics", parse_wlan_packets),
            )
        ),
        Detail("LANEthernetInterfaceConfig1", "GetStatistics", parse_lan),
        Detail("Hosts1", "GetHostNumberOfEntries", parse_hosts),
        Detail("UserInterface1", "GetInfo", parse_user_interface),
    )


def parse_totals_64(fields: Fields) -> tuple[int, int] | None:
    """Return bytes received and sent of `GetAddonInfos`; None from a box that does not count so.

    Both are text, and empty on some models. Raises `BadResponse` when one is not a number.
    """
    names = ("NewX_AVM_DE_TotalBytesReceived64", "NewX_AVM_DE_TotalBytesSent64")
    if not all(fields.get(name) for name in names):
        return None
    return _integers(fields, *names)


def parse_totals_32(received: Fields, sent: Fields) -> tuple[int, int]:
    """Return bytes of `GetTotalBytesReceived` and `GetTotalBytesSent`; raises `BadResponse`."""
    return _integers({**received, **sent}, "NewTotalBytesReceived", "NewTotalBytesSent")


def parse_detail(detail: Detail, fields: Fields, problems: list[str]) -> list[Sample]:
    """Return the samples of an answer; what of it cannot be read goes to `problems`."""
    answer = Answer(fields)
    samples = list(detail.parse(answer))
    problems += answer.problems
    return samples


def _integers(fields: Fields, first: str, second: str) -> tuple[int, int]:
    try:
        return int(fields[first]), int(fields[second])
    except (KeyError, ValueError, TypeError) as error:
        raise BadResponse(f"expected numbers as {first} and {second}, got {error}") from error
