"""Source `Fritz` (alias `Fritzbox`): internet traffic of an AVM FRITZ!Box.

TR-064 and UPnP IGD, which are SOAP over HTTP on port 49000 (49443 with TLS), through the library
fritzconnection (extra `fritz`). Connecting reads about 40 descriptions from the box, a probe is one
request, or about twenty with `details`. The traffic needs no password, most details do.
"""

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, field

from pollect.api import (
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    Host,
    Sample,
    Seconds,
    Secret,
    Source,
    SourceConfig,
    SourceContext,
    TargetUnavailable,
)
from pollect.support.connect import ROOM_SECONDS
from pollect.support.rates import counter_change
from pollect_sources_network.fritz.actions import (
    ALL,
    FREQUENCY_BAND,
    RECEIVED,
    RECEIVED_RATE,
    SENT,
    SENT_RATE,
    USUAL_NETWORKS,
    WLAN_SERVICE,
    WRAP_32,
    WRAP_64,
    Detail,
    Fields,
    list_details,
    name_radios,
    parse_detail,
    parse_totals_32,
    parse_totals_64,
)
from pollect_sources_network.fritz.client import FritzClient, NotOffered

#: What a box without a configuration answers to as well.
DEFAULT_ADDRESS = "169.254.1.1"
PORT, TLS_PORT = 49000, 49443
DEFAULT_TIMEOUT_SECONDS = 10.0
#: For all requests of a probe together. Connecting is some 40 of 40 ms each, and a busy box takes
#: longer.
PROBE_SECONDS = 30.0
TRAFFIC_SERVICE = "WANCommonIFC1"


class FritzConfig(SourceConfig, frozen=True, kw_only=True):
    ip: Annotated[Host | None, Meta(description="Address of the box; default 169.254.1.1.")] = None
    host: Annotated[Host | None, Meta(description="The same as `ip`.")] = None
    address: Annotated[Host | None, Meta(description="The same as `ip`.")] = None
    port: Annotated[
        Annotated[int, Meta(ge=1, le=65535)] | None,
        Meta(description="Port of TR-064; default 49000, with `tls` 49443."),
    ] = None
    user: Annotated[
        str | None,
        Meta(description="User; default: FRITZ_USERNAME, else the last who logged in to the box."),
    ] = None
    pass_: Annotated[
        Secret | None, Meta(description="Password; default: FRITZ_PASSWORD. Quote it.")
    ] = field(name="pass", default=None)
    password: Annotated[Secret | None, Meta(description="The same as `pass`.")] = None
    tls: Annotated[bool, Meta(description="Encrypt; the certificate is not verified.")] = False
    timeout: Annotated[Seconds | None, Meta(description="Seconds to wait for one answer.")] = (
        DEFAULT_TIMEOUT_SECONDS
    )


class FritzSource(Source[FritzConfig]):
    """Internet traffic of a FRITZ!Box; one request per probe."""

    config_type = FritzConfig
    target_option = "ip"
    metrics = ALL

    def __init__(self, config: FritzConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        addresses = [text for text in (config.ip, config.host, config.address) if text]
        if len(addresses) > 1:
            raise ConfigError("`ip`, `host` and `address` are the same option", key="ip")
        if config.pass_ is not None and config.password is not None:
            raise ConfigError("`pass` and `password` are the same option", key="password")
        self._address = addresses[0] if addresses else DEFAULT_ADDRESS
        self._password = config.pass_ if config.pass_ is not None else config.password
        self._timeout_seconds = config.timeout or DEFAULT_TIMEOUT_SECONDS
        self._limit_seconds = max(PROBE_SECONDS, self._timeout_seconds)
        self._client: FritzClient | None = None
        #: Whether the time limit has begun with connecting, and goes on for the probe after it.
        self._has_just_connected = False
        #: None until the box showed whether it does.
        self._counts_64_bits: bool | None = None
        #: What `GetAddonInfos` said last; empty from a box that does not have it.
        self._addons: Fields = {}
        #: What to ask for with `details`: all that the box did not refuse; None before the first.
        self._wanted: list[Detail] | None = None
        #: Time, bytes received and bytes sent of the last probe.
        self._last: tuple[float, int, int] | None = None

    def open(self) -> None:
        self.close()
        config = self.config
        self._client = FritzClient(
            self._address,
            port=config.port or (TLS_PORT if config.tls else PORT),
            user=config.user,
            password=self._password,
            tls=config.tls,
            timeout_seconds=self._timeout_seconds,
            limit_seconds=self._limit_seconds,
        )
        self._has_just_connected = True
        self._counts_64_bits = None
        self._addons = {}
        self._wanted = None

    def probe(self) -> Iterable[Sample]:
        if self._client is None:
            self.open()
        elif not self._has_just_connected:
            self._client.begin()
        self._has_just_connected = False
        try:
            samples = self._traffic()
        except BadResponse:
            # New firmware may have other services: read the descriptions again.
            self.close()
            raise
        if self.config.details:
            samples += self._details()
        return samples

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def deadline_seconds(self) -> float:
        # `timeout` is the time for one answer.
        return max(self.context.interval, self._limit_seconds + ROOM_SECONDS)

    def _traffic(self) -> list[Sample]:
        totals, wrap = self._fetch_totals()
        now = self.context.clock.monotonic()
        samples = [RECEIVED.sample(totals[0]), SENT.sample(totals[1])]
        last, self._last = self._last, (now, *totals)
        if last is None or now <= last[0]:
            return samples
        for metric, before, after in zip((RECEIVED_RATE, SENT_RATE), last[1:], totals, strict=True):
            # None: the box was restarted, or its counters were reset.
            change = counter_change(before, after, wrap)
            if change is not None:
                samples.append(metric.sample(change / (now - last[0])))
        return samples

    def _fetch_totals(self) -> tuple[tuple[int, int], int]:
        """Return bytes received and sent, and where their counters start again."""
        if self._counts_64_bits is not False:
            try:
                self._addons = self._call(TRAFFIC_SERVICE, "GetAddonInfos")
                totals = parse_totals_64(self._addons)
            except BadResponse:
                # A box that had them has trouble; an old one does not know the action.
                if self._counts_64_bits:
                    raise
                totals = None
            self._counts_64_bits = totals is not None
            if totals is not None:
                return totals, WRAP_64
            self._last = None
        received = self._call(TRAFFIC_SERVICE, "GetTotalBytesReceived")
        return parse_totals_32(received, self._call(TRAFFIC_SERVICE, "GetTotalBytesSent")), WRAP_32

    def _details(self) -> list[Sample]:
        samples: list[Sample] = []
        wanted = list_details(self._name_radios()) if self._wanted is None else self._wanted
        self._wanted = list(wanted)
        for detail in wanted:
            if detail not in self._wanted:
                continue
            try:
                answer = self._call(detail.service, detail.action)
                problems: list[str] = []
                samples += parse_detail(detail, {**self._addons, **answer}, problems)
                self.troubles.note(detail.name, problems)
            except AuthenticationFailed as error:
                # Asking on and on would make the box lock the user out for a while.
                self._wanted = [each for each in self._wanted if not each.needs_login]
                self.log.warning("left out all that needs a login from now on: %s", error)
            except NotOffered as error:
                self._wanted.remove(detail)
                self.log.info("left out from now on: %s", error)
            except BadResponse as error:
                self.troubles.failed(detail.name, error)
        self.troubles.keep({detail.name for detail in self._wanted})
        return samples

    def _name_radios(self) -> dict[int, str]:
        count = self._client.count_services(WLAN_SERVICE) if self._client else 0
        if count <= USUAL_NETWORKS:
            return name_radios(count)
        try:
            band = self._call(f"{WLAN_SERVICE}3", "GetInfo").get(FREQUENCY_BAND, "")
        except (AuthenticationFailed, BadResponse) as error:
            self.log.debug("the band of the third wireless network is unknown: %s", error)
            band = ""
        return name_radios(count, str(band))

    def _call(self, service: str, action: str) -> Fields:
        if self._client is None:
            raise TargetUnavailable(f"{self._address}: not connected")
        return self._client.call(service, action)
