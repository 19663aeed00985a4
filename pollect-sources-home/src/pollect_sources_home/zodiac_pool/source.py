"""Source `ZodiacPool`: cleaning robots of a pool through the Zodiac (iAqualink) cloud.

One request for the list of devices a day and one per robot every 30 s at most, whatever the tick.
The interface is that of the maker's app and is not documented. `remaining_time` is in seconds.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self

from msgspec import Meta

from pollect.api import (
    AuthenticationFailed,
    ConfigError,
    FilePath,
    NoData,
    ProbeError,
    Sample,
    Seconds,
    Secret,
    SignIn,
    Source,
    SourceConfig,
    SourceContext,
)
from pollect.support.pacing import REFUSED_SECONDS
from pollect.support.quota import shared_budget
from pollect.support.tokens import Token, TokenFile
from pollect_sources_home.cloud import (
    CloudAccount,
    check_cloud_url,
    identity_of,
    token_file_of,
)
from pollect_sources_home.zodiac_pool.client import ZodiacClient, ZodiacFormat
from pollect_sources_home.zodiac_pool.robots import (
    METRICS,
    detail_samples,
    parse_robot,
    robot_samples,
)

USERS_URL = "https://prod.zodiac-io.com"
DEVICES_URL = "https://r-api.iaqualink.net"
#: Name and format are those of 1.x.
FILE_NAME = "zodiac-token.json"

DISTANCE_SECONDS = 30.0
DEVICES_SECONDS = 86_400.0
#: The service is slow at times.
DEFAULT_TIMEOUT_SECONDS = 20.0
#: The part of the source that is the list of devices.
_LIST = "list of devices"
KINDS = frozenset({"vr", "vortrax", "cyclonext", "cyclobat"})


class ZodiacPoolConfig(SourceConfig, frozen=True, kw_only=True):
    user: Annotated[
        str | None,
        Meta(description="E-mail address of the account; default: that of `pollect auth`."),
    ] = None
    password: Annotated[Secret | None, Meta(description="Password of the account.")] = None
    token_file: Annotated[
        FilePath | None,
        Meta(description="File for the token; default: zodiac-token.json in the state folder."),
    ] = None
    devices: Annotated[
        tuple[str, ...], Meta(description="Serial numbers of the robots to read; default: all.")
    ] = ()
    timeout: Annotated[Seconds | None, Meta(description="Seconds to wait for one answer.")] = None
    users_url: Annotated[str, Meta(description="Where sign-in and states of the service are.")] = (
        USERS_URL
    )
    devices_url: Annotated[str, Meta(description="Where its list of devices is.")] = DEVICES_URL


class ZodiacPoolSource(Source[ZodiacPoolConfig]):
    """State, cycle, error and remaining time of every robot of an account."""

    config_type = ZodiacPoolConfig
    metrics = METRICS

    def __init__(self, config: ZodiacPoolConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        if (config.user is None) != (config.password is None):
            missing = "password" if config.password is None else "user"
            raise ConfigError("user and password belong together", key=missing)
        self._users_url = check_cloud_url(config.users_url, "usersUrl")
        self._devices_url = check_cloud_url(config.devices_url, "devicesUrl")
        account = config.user or config.token_file or FILE_NAME
        budget = shared_budget(context, "ZodiacPool", account)
        self._account = CloudAccount[ZodiacClient](
            context, budget, DISTANCE_SECONDS, config.timeout
        )
        #: Serial number -> kind, of the robots that are read.
        self._robots: dict[str, str] | None = None
        self._robots_until = 0.0
        #: Serial numbers of the config that the account does not have.
        self._missing: list[str] = []
        #: Serial number -> until when it is not asked for, and why.
        self._refused: dict[str, tuple[float, AuthenticationFailed]] = {}
        #: Devices that were reported as of a kind that is not read.
        self._reported: set[str] = set()

    def open(self) -> None:
        self._account.open(
            self._own_tokens(),
            lambda http: ZodiacClient(
                http,
                self._account.budget,
                self.context.clock,
                users_url=self._users_url,
                devices_url=self._devices_url,
            ),
        )

    def take_over(self, previous: Self) -> None:
        if previous.config.user == self.config.user:
            self._account.pace.take_over(previous._account.pace)

    def probe(self) -> Iterable[Sample]:
        return self._account.read(self._fetch)

    def sign_in(self, dialogue: SignIn) -> None:
        self.open()
        client, tokens = self._account.opened()
        user = self.config.user or dialogue.ask("E-mail address of the account")
        password = self.config.password or dialogue.ask_secret("Password")
        tokens.store(client.log_in(user, password))
        dialogue.show(f"The token is in {tokens.file}.")
        devices = client.fetch_devices(self._usable)
        for device in devices:
            serial, kind = device.get("serial_number"), device.get("device_type")
            note = "" if str(kind) in KINDS else ", which is not read"
            dialogue.show(f"Found {serial}: {kind}{note}")
        if not devices:
            dialogue.show("The account has no devices yet.")

    def close(self) -> None:
        self._account.close()

    def deadline_seconds(self) -> float:
        return self._account.deadline_seconds()

    def _own_tokens(self) -> TokenFile:
        user = self.config.user
        return token_file_of(
            self.context,
            FILE_NAME,
            self.config.token_file,
            user or "",
            lambda token: user is None or _belongs_to(token, user),
            ZodiacFormat(),
        )

    def _usable(self, rejected: Token | None) -> Token:
        client, tokens = self._account.opened()
        user, password = self.config.user, self.config.password
        stored = tokens.stored()
        if user is not None and stored is not None and not _belongs_to(stored, user):
            # Another source has signed in meanwhile; a file that the config names is taken over.
            tokens = self._own_tokens()
            self._account.use(tokens)
            rejected = tokens.stored() if self.config.token_file else None
        return tokens.usable(
            self.context.clock,
            renew=self._renew,
            obtain=None
            if user is None or password is None
            else lambda: client.log_in(user, password),
            rejected=rejected,
        )

    def _renew(self, old: Token) -> Token:
        client, _ = self._account.opened()
        if self.config.user is not None and not _belongs_to(old, self.config.user):
            raise AuthenticationFailed("ZodiacPool: the token belongs to another account")
        return client.renew(old)

    def _fetch(self) -> list[Sample]:
        client, _ = self._account.opened()
        robots = self._known_robots(client)
        now = self.context.clock.time()
        self._account.slow_down()
        samples: list[Sample] = []
        failure: ProbeError | None = None
        refusals: dict[str, AuthenticationFailed] = {}
        for serial, kind in robots.items():
            try:
                reported = self._fetch_state(client, serial)
            except ProbeError as error:
                failure = failure or error
                if isinstance(error, AuthenticationFailed):
                    refusals[serial] = error
                if len(robots) > 1:
                    self.troubles.failed(serial, error, type(error).__name__)
                continue
            self.troubles.works(serial)
            problems: list[str] = []
            robot = parse_robot(reported, kind, problems)
            self.troubles.note(_values_of(serial), problems)
            if robot is not None:
                samples += robot_samples(robot, serial, now)
            if self.config.details:
                samples += detail_samples(robot, reported, serial, kind)
        self.troubles.keep([_LIST, *robots, *map(_values_of, robots), *self._missing])
        if len(refusals) < len(robots):
            # Not the account but these are refused, to which a new token makes no difference.
            self._refuse(refusals)
        if not samples:
            raise failure or NoData(
                "no robot reports its state; it may be off or unplugged"
                if robots
                else "the account has no robot of a type that is read"
            )
        return samples

    def _fetch_state(self, client: ZodiacClient, serial: str) -> Mapping[str, Any]:
        until, refusal = self._refused.get(serial, (0.0, None))
        if refusal is not None and self.context.clock.monotonic() < until:
            raise refusal
        return client.fetch_state(serial, self._usable)

    def _refuse(self, refusals: Mapping[str, AuthenticationFailed]) -> None:
        until = self.context.clock.monotonic() + REFUSED_SECONDS
        known = {s: pair for s, pair in self._refused.items() if refusals.get(s) is pair[1]}
        self._refused = {
            serial: known.get(serial, (until, error)) for serial, error in refusals.items()
        }

    def _known_robots(self, client: ZodiacClient) -> dict[str, str]:
        now = self.context.clock.monotonic()
        if self._robots is None or now >= self._robots_until:
            devices = client.fetch_devices(self._usable)
            self._robots = dict(sorted(self._robots_in(devices)))
            self._robots_until = now + DEVICES_SECONDS
        return self._robots

    def _robots_in(self, devices: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, str]]:
        wanted = self.config.devices
        missing = set(wanted)
        problems: list[str] = []
        for device in devices:
            serial, kind = device.get("serial_number"), device.get("device_type")
            if not isinstance(serial, str) or not identity_of(serial):
                problems.append(f"expected a device with a serial number, got {serial!r:.40}")
                continue
            if wanted and serial not in wanted:
                continue
            missing.discard(serial)
            if isinstance(kind, str) and kind in KINDS:
                yield serial, kind
            elif serial not in self._reported:
                self._reported.add(serial)
                self.log.info("device %s of type %s is not read", serial, kind)
        self.troubles.note(_LIST, problems)
        self._missing = sorted(missing)
        for serial in self._missing:
            self.troubles.failed(serial, "the account has no such device")


def _values_of(serial: str) -> str:
    return f"values of {serial}"


def _belongs_to(token: Token, user: str) -> bool:
    return str(token.extra.get("email", "")).lower() == user.lower()
