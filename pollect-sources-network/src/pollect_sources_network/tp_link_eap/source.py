"""Source `TpLinkEap`: clients and radio traffic of a stand-alone TP-Link EAP access point.

Uses the JSON of its web interface, which is there as long as no controller has adopted the access
point; both generations of firmware (`monitor.ap.*` of EAP110 to early EAP225, `status.*` of
EAP225 v3 and later). A probe is a login, three to six requests, and a logout, so that people can
still log in themselves; with `keepSession` only the requests.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
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
from pollect.support.urls import check_base_url, redact_url
from pollect_sources_network.tp_link_eap.client import EapClient, LoggedOut, NotOffered
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
#: What the troubles call the list of clients.
CLIENTS_PART = "clients"
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
    target_option = "url"
    target_prefix = "http://"
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
        self._url = check_base_url(config.url)
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
            self._url,
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
                return self._read_parts(client)
            except LoggedOut:
                self._is_logged_in = False
        self._log_in(client)
        try:
            return self._read_parts(client)
        except LoggedOut as error:
            self._reject_login()
            raise AuthenticationFailed(
                f"{self._where}: logged in and out again: wrong password, or another session"
            ) from error

    def _read_parts(self, client: EapClient) -> list[Sample]:
        samples = list(self._samples(client))
        if not samples and self.troubles:
            raise BadResponse(f"{self._where}: {self.troubles}")
        return samples

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
        clients, problems = leading_number(point.get("StaNum")), []
        if clients is not None:
            yield TOTAL_CLIENTS.sample(clients)
        elif point.get("StaNum") is not None:
            problems.append(f"StaNum: expected a number, got {point['StaNum']!r:.60}")
        self.troubles.note("access point", problems)
        mac = str(point["MAC"])
        for number, radio in enumerate(OLD_RADIOS):
            query = {"operation": "read", "interface": f"WIFI{number}", "apMac": mac}
            traffic = self._traffic(client, "monitor.ap.interface", query, radio)
            yield from traffic or ()
            if traffic is not None and self.config.details:
                query = {"operation": "read", "radioId": str(number), "apMac": mac}
                yield from self._radio(client, "monitor.ap.wsetting", query, radio)
        if self.config.details:
            yield from self._users(client, "monitor.client.client")[1]
            query = {"operation": "read", "apMac": mac}
            yield from self._part(client, "device", "monitor.ap.devinfo", query, parse_device) or ()

    def _new_samples(self, client: EapClient) -> Iterator[Sample]:
        count, users = self._users(client, "status.client.user")
        if count is not None:
            yield TOTAL_CLIENTS.sample(count)
        for number, radio in enumerate(RADIOS):
            query = {"operation": "read", "radioID": str(number)}
            traffic = self._traffic(
                client, "status.traffic.radio", {**query, "type": "radio"}, radio
            )
            yield from traffic or ()
            if traffic is not None and self.config.details:
                yield from self._radio(client, "status.wireless.radio", query, radio)
        if self.config.details:
            yield from users
            query = {"operation": "read"}
            yield from self._part(client, "device", "status.device", query, parse_device) or ()

    def _users(self, client: EapClient, name: str) -> tuple[int | None, list[Sample]]:
        """Return how many clients there are, None if it is unknown, and where they are."""
        try:
            users = client.get(name, operation="load")
            if users is not None and not isinstance(users, list):
                raise BadResponse(f"expected a list, got {users!r:.80}")
        except NotOffered as error:
            self.log.debug("%s", error)
            return None, []
        except BadResponse as error:
            self.troubles.failed(CLIENTS_PART, error)
            return None, []
        samples = self._parsed(CLIENTS_PART, parse_users, users or [])
        return len(users or []), samples

    def _traffic(
        self, client: EapClient, name: str, query: Mapping[str, str], radio: str
    ) -> list[Sample] | None:
        parse = partial(parse_traffic, radio=radio, details=self.config.details)
        return self._part(client, f"traffic of {radio}", name, query, parse)

    def _radio(
        self, client: EapClient, name: str, query: Mapping[str, str], radio: str
    ) -> list[Sample]:
        parse = partial(parse_radio, radio=radio)
        return self._part(client, f"radio {radio}", name, query, parse) or []

    def _part(
        self,
        client: EapClient,
        part: str,
        name: str,
        query: Mapping[str, str],
        parse: Callable[[Any, list[str]], Iterable[Sample]],
    ) -> list[Sample] | None:
        """Return what an answer says that not every model has; None from one without it.

        What cannot be read is a trouble of that part.
        """
        try:
            data = client.get(name, **query)
            # Some models have a list of one.
            data = data[0] if isinstance(data, list) and data else data
            if data and not isinstance(data, Mapping):
                raise BadResponse(f"{name}: expected an object, got {data!r:.80}")
        except NotOffered as error:
            self.log.debug("%s", error)
            data = None
        except BadResponse as error:
            self.troubles.failed(part, error)
            return []
        if not data:
            self.troubles.works(part)
            return None
        return self._parsed(part, parse, data)

    def _parsed(
        self, part: str, parse: Callable[[Any, list[str]], Iterable[Sample]], data: object
    ) -> list[Sample]:
        problems: list[str] = []
        samples = list(parse(data, problems))
        self.troubles.note(part, problems)
        return samples
