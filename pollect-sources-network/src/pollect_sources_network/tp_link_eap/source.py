"""Source `TpLinkEap`: clients and radio traffic of a stand-alone TP-Link EAP access point.

Uses the JSON of its web interface, which is there as long as no controller has adopted the access
point; both generations of firmware (`monitor.ap.*` of EAP110 to early EAP225, `status.*` of
EAP225 v3 and later). A probe is a login, three to six requests, and a logout, so that people can
still log in themselves; with `keepSession` only the requests.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

from msgspec import Meta

from pollect.api import (
    AuthenticationFailed,
    BadResponse,
    ProbeError,
    Sample,
    Seconds,
    Secret,
    Source,
    SourceConfig,
    SourceContext,
)
from pollect.support.connect import ROOM_SECONDS
from pollect.support.urls import check_url, redact_url
from pollect_sources_network.tp_link_eap.client import EapClient, LoggedOut
from pollect_sources_network.tp_link_eap.payload import (
    BYTES,
    CHANNEL,
    CLIENTS,
    CPU,
    DROPPED,
    ERRORS,
    MEMORY,
    PACKETS,
    RADIOS,
    SSID_CLIENTS,
    TOTAL_CLIENTS,
    TX_POWER,
    UPTIME,
    leading_number,
    parse_device,
    parse_radio,
    parse_traffic,
    parse_users,
)

DEFAULT_TIMEOUT_SECONDS = 10.0
#: After a rejected login; doubled each time, since the access point locks after a few.
LOGIN_PAUSE_SECONDS = 600.0
MAX_LOGIN_PAUSE_SECONDS = 6 * 3600.0
#: For all requests of a probe together: a dozen small ones to a slow processor.
PROBE_SECONDS = 30.0
#: For the logout after a probe that used up all of that.
LOGOUT_SECONDS = 3.0
#: Older models have these interfaces and no more.
OLD_RADIOS = RADIOS[:2]


class TpLinkEapConfig(SourceConfig, frozen=True, kw_only=True):
    url: Annotated[str, Meta(description="Web interface, as in http://192.168.1.5.")]
    user: Annotated[str, Meta(description="User of the web interface.")]
    password: Annotated[Secret, Meta(description="Password of the web interface.")]
    timeout: Annotated[Seconds | None, Meta(description="Seconds to wait for one answer.")] = (
        DEFAULT_TIMEOUT_SECONDS
    )
    verify: Annotated[bool, Meta(description="Verify the certificate of an https `url`.")] = False
    keep_session: Annotated[
        bool,
        Meta(description="Stay logged in; no other user can use the web interface meanwhile."),
    ] = False


class TpLinkEapSource(Source[TpLinkEapConfig]):
    """Clients and radio traffic of one access point."""

    config_type = TpLinkEapConfig
    metrics = (
        TOTAL_CLIENTS,
        PACKETS,
        BYTES,
        ERRORS,
        DROPPED,
        CLIENTS,
        SSID_CLIENTS,
        CHANNEL,
        TX_POWER,
        CPU,
        MEMORY,
        UPTIME,
    )

    def __init__(self, config: TpLinkEapConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        check_url(config.url)
        self._where = redact_url(config.url)
        self._timeout_seconds = config.timeout or DEFAULT_TIMEOUT_SECONDS
        self._limit_seconds = max(PROBE_SECONDS, self._timeout_seconds)
        self._client: EapClient | None = None
        self._is_logged_in = False
        #: None until the access point showed which firmware it has.
        self._is_old: bool | None = None
        self._login_pause_seconds = LOGIN_PAUSE_SECONDS
        self._next_login = float("-inf")

    def open(self) -> None:
        self.close()
        self._client = EapClient(
            self.config.url,
            timeout_seconds=self._timeout_seconds,
            verify=self.config.verify,
        )

    def probe(self) -> Iterable[Sample]:
        if self._client is None:
            raise BadResponse("not open")
        self._client.begin(self._limit_seconds)
        try:
            return self._read(self._client)
        finally:
            if self._is_logged_in and not self.config.keep_session:
                self._log_out(self._client)

    def close(self) -> None:
        if self._client is None:
            return
        if self._is_logged_in:
            self._log_out(self._client)
        self._client.close()
        self._client = None

    def deadline_seconds(self) -> float:
        # `timeout` is the time for one answer.
        return max(self.context.interval, self._limit_seconds + LOGOUT_SECONDS + ROOM_SECONDS)

    def _read(self, client: EapClient) -> list[Sample]:
        if self._is_logged_in:
            try:
                return list(self._samples(client))
            except LoggedOut:
                self._is_logged_in = False
        self._log_in(client)
        try:
            return list(self._samples(client))
        except LoggedOut as error:
            self._reject_login()
            raise AuthenticationFailed(
                f"{self._where}: logged in and out again: wrong password, or another session"
            ) from error

    def _log_in(self, client: EapClient) -> None:
        now = self.context.clock.monotonic()
        if now < self._next_login:
            raise AuthenticationFailed(
                f"{self._where}: the last login was rejected, "
                f"the next try is in {self._next_login - now:.0f} s"
            )
        try:
            client.log_in(self.config.user, self.config.password)
        except AuthenticationFailed:
            self._reject_login()
            raise
        self._is_logged_in = True

    def _reject_login(self) -> None:
        self._is_logged_in = False
        self._next_login = self.context.clock.monotonic() + self._login_pause_seconds
        self._login_pause_seconds = min(2 * self._login_pause_seconds, MAX_LOGIN_PAUSE_SECONDS)

    def _log_out(self, client: EapClient) -> None:
        self._is_logged_in = False
        client.begin(LOGOUT_SECONDS)
        try:
            client.log_out()
        except ProbeError as error:
            self.log.debug("logout failed: %s", error)

    def _samples(self, client: EapClient) -> Iterator[Sample]:
        if self._is_old is None:
            self._is_old = self._detect(client)
        yield from self._old_samples(client) if self._is_old else self._new_samples(client)
        self._login_pause_seconds = LOGIN_PAUSE_SECONDS

    def _detect(self, client: EapClient) -> bool:
        """Return whether the firmware is of the older generation."""
        try:
            client.get("monitor.ap.aplist", operation="load")
        except BadResponse:
            client.get("status.device", operation="read")
            return False
        return True

    def _old_samples(self, client: EapClient) -> Iterator[Sample]:
        points = client.get("monitor.ap.aplist", operation="load")
        point = points[0] if isinstance(points, list) and points else None
        if not isinstance(point, Mapping) or "MAC" not in point:
            raise BadResponse(f"{self._where}: expected an access point, got {points!r:.80}")
        clients = leading_number(point.get("StaNum"))
        if clients is not None:
            yield TOTAL_CLIENTS.sample(clients)
        mac = str(point["MAC"])
        for number, radio in enumerate(OLD_RADIOS):
            query = {"operation": "read", "interface": f"WIFI{number}", "apMac": mac}
            data = self._optional(client, "monitor.ap.interface", query)
            if data:
                yield from parse_traffic(data, radio, details=self.config.details)
            if data and self.config.details:
                query = {"operation": "read", "radioId": str(number), "apMac": mac}
                settings = self._optional(client, "monitor.ap.wsetting", query)
                yield from parse_radio(settings, radio)
        if self.config.details:
            yield from parse_users(self._clients(client))
            query = {"operation": "read", "apMac": mac}
            yield from parse_device(self._optional(client, "monitor.ap.devinfo", query))

    def _new_samples(self, client: EapClient) -> Iterator[Sample]:
        users = client.get("status.client.user", operation="load")
        users = users if isinstance(users, list) else []
        yield TOTAL_CLIENTS.sample(len(users))
        for number, radio in enumerate(RADIOS):
            query = {"operation": "read", "radioID": str(number)}
            data = self._optional(client, "status.traffic.radio", {**query, "type": "radio"})
            if not data:
                continue
            yield from parse_traffic(data, radio, details=self.config.details)
            if self.config.details:
                yield from parse_radio(
                    self._optional(client, "status.wireless.radio", query), radio
                )
        if self.config.details:
            yield from parse_users(users)
            yield from parse_device(self._optional(client, "status.device", {"operation": "read"}))

    def _clients(self, client: EapClient) -> list[Any]:
        try:
            users = client.get("monitor.client.client", operation="load")
        except BadResponse as error:
            self.log.debug("%s", error)
            return []
        return users if isinstance(users, list) else []

    def _optional(
        self, client: EapClient, name: str, query: Mapping[str, str]
    ) -> Mapping[str, object]:
        """Return data that not every model has; empty where it is missing."""
        try:
            data = client.get(name, **query)
        except BadResponse as error:
            self.log.debug("%s", error)
            return {}
        # Some models have a list of one.
        data = data[0] if isinstance(data, list) and data else data
        return data if isinstance(data, Mapping) else {}
