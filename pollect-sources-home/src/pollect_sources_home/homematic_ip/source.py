"""Source `HomematicIp`: rooms of a Homematic IP home, through the cloud of its access point.

One request for the state of the whole home (half a megabyte for a large one) per 60 s at most,
whatever the tick: an account that asks too often is blocked. Temperatures in °C.
"""

import uuid
from collections.abc import Iterable
from typing import Annotated, Self

from msgspec import Meta

from pollect.api import (
    AuthenticationFailed,
    ConfigError,
    FilePath,
    NoData,
    Sample,
    Seconds,
    Secret,
    SignIn,
    Source,
    SourceConfig,
    SourceContext,
)
from pollect.support.quota import shared_budget
from pollect.support.tokens import Token, sign_in_command
from pollect_sources_home.cloud import (
    CloudAccount,
    check_cloud_url,
    token_file_of,
)
from pollect_sources_home.homematic_ip.client import (
    INVALID_PIN,
    LOCKED,
    HomematicIpClient,
    Refused,
)
from pollect_sources_home.homematic_ip.state import (
    METRICS,
    find_problems,
    parse_climate,
    parse_details,
    parse_rooms,
)

LOOKUP_URL = "https://lookup.homematic.com:48335/getHost"
FILE_NAME = "homematicip_token.json"
DISTANCE_SECONDS = 60.0


class HomematicIpConfig(SourceConfig, frozen=True, kw_only=True):
    access_point: Annotated[
        str, Meta(description="SGTIN of the access point, as on its back, with dashes or without.")
    ]
    auth_token: Annotated[
        Secret | None,
        Meta(description="Token of a registration; default: the one that `pollect auth` keeps."),
    ] = None
    token_file: Annotated[
        FilePath | None,
        Meta(
            description="File for the token; default: homematicip_token.json in the state folder."
        ),
    ] = None
    timeout: Annotated[Seconds | None, Meta(description="Seconds to wait for one answer.")] = None
    lookup_url: Annotated[
        str, Meta(description="Where the host of an access point is looked up.")
    ] = LOOKUP_URL


class HomematicIpSource(Source[HomematicIpConfig]):
    """Temperature, target and humidity of every room with a thermostat on its wall."""

    config_type = HomematicIpConfig
    metrics = METRICS

    def __init__(self, config: HomematicIpConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        self._access_point = "".join(filter(str.isalnum, config.access_point)).upper()
        if not self._access_point:
            raise ConfigError("expected the SGTIN of the access point", key="accessPoint")
        self._lookup_url = check_cloud_url(config.lookup_url, "lookupUrl")
        budget = shared_budget(context, "HomematicIp", self._access_point)
        self._account = CloudAccount[HomematicIpClient](
            context, budget, DISTANCE_SECONDS, config.timeout
        )
        #: Rooms in which several thermostats were reported.
        self._reported: set[str] = set()
        #: Devices with values that could not be read.
        self._unreadable: set[str] = set()

    def open(self) -> None:
        point = self._access_point
        tokens = token_file_of(
            self.context,
            FILE_NAME,
            self.config.token_file,
            point,
            lambda token: token.extra.get("access_point", point) == point,
        )
        self._account.open(
            tokens,
            lambda http: HomematicIpClient(
                http, self._account.budget, self.context.clock, point, self._lookup_url
            ),
        )

    def take_over(self, previous: Self) -> None:
        if previous._access_point == self._access_point:
            self._account.pace.take_over(previous._account.pace)

    def probe(self) -> Iterable[Sample]:
        return self._account.read(self._fetch)

    def sign_in(self, dialogue: SignIn) -> None:
        self.open()
        client, tokens = self._account.opened()
        identity = str(uuid.uuid4())
        self._ask_to_connect(client, dialogue, identity)
        dialogue.wait_for(
            "Press the blue button on the access point.",
            lambda: client.is_acknowledged(identity),
        )
        token = client.request_token(identity)
        tokens.store(Token(access=token, extra={"access_point": self._access_point}))
        dialogue.show(f"The token is in {tokens.file}.")
        if self.config.auth_token is not None:
            dialogue.show("The config has an authToken, which is used instead: remove it there.")
        state = client.fetch_state(token)
        rooms = parse_rooms(state)
        dialogue.show(f"Found {len(state['devices'])} devices; rooms:")
        for room in rooms:
            samples, _ = parse_climate(room)
            dialogue.show(f"  {room.label}{'' if samples else ' (without a thermostat)'}")

    def close(self) -> None:
        self._account.close()

    def deadline_seconds(self) -> float:
        return self._account.deadline_seconds()

    def _ask_to_connect(self, client: HomematicIpClient, dialogue: SignIn, identity: str) -> None:
        try:
            client.request_connection(identity, None)
        except Refused as error:
            if error.code == INVALID_PIN:
                client.request_connection(identity, dialogue.ask_secret("PIN of the access point"))
            elif error.code == LOCKED:
                raise AuthenticationFailed(
                    "the access point takes no new clients; press its button first, then try again"
                ) from error
            else:
                raise

    def _fetch(self) -> list[Sample]:
        client, tokens = self._account.opened()
        token = self.config.auth_token
        if token is None:
            token = tokens.usable(self.context.clock).access
        try:
            state = client.fetch_state(token)
        except Refused as error:
            remedy = sign_in_command(self.context)
            raise AuthenticationFailed(
                f"{error}; if it lasts, run {remedy!r} to register again"
            ) from error
        self._account.slow_down()
        rooms = parse_rooms(state)
        samples: list[Sample] = []
        for room in rooms:
            found, thermostats = parse_climate(room)
            samples += found
            if len(thermostats) > 1 and room.label not in self._reported:
                self._reported.add(room.label)
                self.log.warning(
                    "room %s has several thermostats, %s counts; `details` shows each",
                    room.label,
                    thermostats[0],
                )
        if self.config.details:
            samples += parse_details(state, rooms)
        problems = find_problems(state, rooms, details=self.config.details)
        for device in self._unreadable - problems.keys():
            self.troubles.works(device)
        for device, problem in problems.items():
            self.troubles.failed(device, problem)
        self._unreadable = set(problems)
        if not samples:
            raise NoData("no room of the home has a thermostat on its wall that reports a value")
        return samples
