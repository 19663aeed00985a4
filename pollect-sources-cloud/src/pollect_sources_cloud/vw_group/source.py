"""Sources `MMI` and `VwGroup`: mileage, ranges, levels and service of a car of the group.

The apps of the makers refuse every other program since July 2026. What is left is the portal that
the EU Data Act demands: the owner orders a continuous delivery of the car's data there, once, and
it holds a new file every 15 minutes at best. A probe asks for it no more often than that: the list
of files, and the newest one if it is new; nothing is ever sent to the car. Not confirmed with a
real account yet.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from pollect.api import (
    AuthenticationFailed,
    ConfigError,
    Metric,
    NoData,
    ProbeError,
    Sample,
    Secret,
    SignIn,
    Source,
    SourceContext,
)
from pollect.support.http import HttpClient
from pollect.support.quota import shared_budget
from pollect.support.tokens import (
    Token,
    TokenFile,
    TokenFormat,
    find_token_file,
    secret_of,
    sign_in_command,
    token_file,
)
from pollect_sources_cloud import __version__
from pollect_sources_cloud.endpoints import check_endpoint
from pollect_sources_cloud.files import KeyFile
from pollect_sources_cloud.limits import (
    ANSWER_SECONDS,
    CONNECT_SECONDS,
    HOLD_SECONDS,
    RETRY_SECONDS,
    Limit,
)
from pollect_sources_cloud.vw_group.brands import AUDI, Brand, find_brand
from pollect_sources_cloud.vw_group.config import MmiConfig, VwGroupConfig
from pollect_sources_cloud.vw_group.dataset import CLOCK_ERROR_SECONDS, parse_delivery, unpack
from pollect_sources_cloud.vw_group.deliveries import Car, Deliveries
from pollect_sources_cloud.vw_group.metrics import AGE, DETAILS, VALUES, labelled
from pollect_sources_cloud.vw_group.portal import Portal, SessionOver

#: After a failure; the engine asks again then, even if the tick is longer.
FAILURE_PAUSE_SECONDS = RETRY_SECONDS[0]
#: Ticks come a little early: what is due within this share of the pause is due now.
TOLERANCE = 0.05
MAX_DELIVERY_BYTES = 32 * 1024 * 1024


class CookieFormat(TokenFormat):
    """The cookies of the portal, and whose session they are."""

    def read(self, data: Any) -> Token:
        cookies = data.get("cookies")
        return Token(
            access=secret_of(data.get("access_token"), "access_token"),
            extra={"user": str(data.get("user", "")), "cookies": cookies},
        )

    def write(self, token: Token) -> dict[str, Any]:
        return {**token.extra, "access_token": token.access.reveal()}


class MMISource(Source[MmiConfig]):
    """One car of an Audi account, by the names of 1.x."""

    config_type: ClassVar[type[MmiConfig]] = MmiConfig
    metrics: ClassVar[tuple[Metric, ...]] = (*VALUES, *DETAILS, AGE)
    hold: ClassVar[float | None] = HOLD_SECONDS
    retry_after: ClassVar[Sequence[float]] = RETRY_SECONDS
    #: Whether every car of the account is read, each with its label.
    has_labels: ClassVar[bool] = False

    def __init__(self, config: MmiConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        if config.credentials is None and (config.user is None) != (config.password is None):
            missing = "user" if config.user is None else "password"
            raise ConfigError("expected user and password, or none of them", key=missing)
        # Empty, as in the sample config of 1.x, is left out.
        if config.vin and not re.fullmatch(r"[A-Za-z0-9]{17}", config.vin):
            raise ConfigError(f"expected 17 letters and digits, got {config.vin!r}", key="vin")
        self._portal_url = check_endpoint(config.portal, key="portal")
        self._identity_url = check_endpoint(config.identity, key="identity")
        self._brand = self._find_brand()
        self._vin = config.vin.upper() if config.vin else None
        self._limit = Limit(self._portal_url, config.timeout or ANSWER_SECONDS)
        account = config.user or config.credentials or ""
        place = self._place_of_token(account)
        self._budget = shared_budget(context, "vwgroup", f"{self._brand.key} {account}")
        self._deliveries = Deliveries(place.with_name(f"{place.stem}_cars.json"))
        self._token_place = place
        self._tokens: TokenFile | None = None
        #: VIN -> its order in the portal, for the cars of the config or of the account.
        self._orders: dict[str, str] = {}
        self._vins: list[str] = []
        self._due = float("-inf")
        self._failure: ProbeError | NoData | None = None
        self._http: HttpClient | None = None
        self._portal: Portal | None = None

    def open(self) -> None:
        self.close()
        self._http = HttpClient(
            timeout=self._limit.answer_seconds,
            connect_timeout=CONNECT_SECONDS,
            max_body_bytes=MAX_DELIVERY_BYTES,
            headers={
                "User-Agent": f"pollect/{__version__}",
                "Accept-Language": f"{self.config.language.lower()}-{self.config.country.upper()}",
            },
        )
        self._portal = Portal(
            self._portal_url,
            self._identity_url,
            self._brand,
            country=self.config.country,
            language=self.config.language,
            http=self._http,
            limit=self._limit,
            budget=self._budget,
        )
        self._tokens = token_file(
            self._token_place, remedy=sign_in_command(self.context), form=CookieFormat()
        )
        waited = self.context.clock.time() - self._deliveries.read()
        if 0 <= waited < self.config.interval and self._deliveries.cars:
            self._due = self.context.clock.monotonic() + self.config.interval - waited

    def probe(self) -> list[Sample]:
        if self._portal is None:
            raise ProbeError("not open")
        now = self.context.clock.monotonic()
        if now < self._due:
            if self._failure is not None:
                raise self._failure.with_traceback(None)
        else:
            self._ask(self._portal, now)
        return list(self._samples())

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
        self._http = self._portal = self._tokens = None

    def deadline_seconds(self) -> float:
        return self._limit.deadline_seconds(self.context.interval)

    def sign_in(self, dialogue: SignIn) -> None:
        self.open()
        assert self._portal is not None and self._tokens is not None  # noqa: S101, PT018 - open
        self._limit.begin_probe()
        user, password = self._credentials() or (
            dialogue.ask("E-mail address of the account"),
            dialogue.ask_secret("Password"),
        )
        token = self._portal.sign_in(user, password)
        self._tokens.store(_owned(token, user))
        for vin in self._portal.vehicles(token):
            order = self._portal.order(token, vin)
            if order is None:
                dialogue.show(f"{vin}: no data is ordered: {self._how_to_order()}")
                continue
            newest = self._portal.newest_delivery(token, vin, order)
            dialogue.show(f"{vin}: {newest.name if newest else 'ordered, no delivery yet'}")

    def _find_brand(self) -> Brand:
        return AUDI

    def _place_of_token(self, account: str) -> Path:
        return find_token_file(self.context, "mmi_token.json", self.config.token_file)

    def _ask(self, portal: Portal, now: float) -> None:
        """Look for new deliveries; the next look is due an interval later, sooner if it fails."""
        self._limit.begin_probe()
        pause = min(FAILURE_PAUSE_SECONDS, self.config.interval)
        self._due = now + pause * (1 - TOLERANCE)
        try:
            self._read_cars(portal)
        except (ProbeError, NoData) as error:
            self._failure = error
            raise
        self._failure = None
        self._due = now + self.config.interval * (1 - TOLERANCE)

    def _read_cars(self, portal: Portal) -> None:
        """Read every car; raises the first error if not one can be read."""
        if not self._vins:
            self._vins = self._choose(self._with_session(portal, portal.vehicles))
        ends: dict[str, ProbeError | NoData | None] = {}
        for vin in self._vins:
            try:
                self._read_car(portal, vin)
                ends[vin] = None
            except AuthenticationFailed:
                raise  # the session, which the cars share
            except (ProbeError, NoData) as error:
                ends[vin] = error
        self._deliveries.write(self.context.clock.time(), self._vins, self.log)
        errors = [error for error in ends.values() if error is not None]
        if len(errors) == len(ends):
            raise errors[0]
        for vin, end in ends.items():
            if isinstance(end, ProbeError):
                reason = str(end).removeprefix(f"{vin}: ")
                self.troubles.failed(vin, reason, type(end).__name__)
            else:
                self.troubles.works(vin)

    def _read_car(self, portal: Portal, vin: str) -> None:
        if vin not in self._orders:
            order = self._with_session(portal, portal.order, vin)
            if order is None:
                raise ProbeError(f"{vin}: no data is ordered: {self._how_to_order()}")
            self._orders[vin] = order
        order = self._orders[vin]
        newest = self._with_session(portal, portal.newest_delivery, vin, order)
        known = self._deliveries.cars.get(vin)
        if newest is None:
            if known is None:
                raise NoData(f"{vin}: no delivery yet; the first comes within hours of the order")
            return
        if known is not None and known.delivery == newest.name:
            return
        content = self._with_session(portal, portal.download, vin, order, newest.name)
        now = self.context.clock.time()
        found = parse_delivery(unpack(content, newest.name), newest.name, now)
        self.troubles.note(f"values of {vin}", found.problems)
        # A time to come is that of a clock that was wrong.
        is_dated = known is not None and (known.time or math.inf) <= now + CLOCK_ERROR_SECONDS
        if known is not None and is_dated and (found.time or 0.0) <= (known.time or 0.0):
            # Sent again without the car having said anything since: no new measurement.
            self._deliveries.cars[vin] = msgspec.structs.replace(known, delivery=newest.name)
            return
        self._deliveries.cars[vin] = Car(newest.name, found.values, found.time)

    def _with_session(self, portal: Portal, ask: Any, *arguments: Any) -> Any:
        """Ask the portal with the session at hand; if it is over, once more with a new one."""
        assert self._tokens is not None  # noqa: S101 - made together with the portal
        token = self._session(portal)
        try:
            return ask(token, *arguments)
        except SessionOver:
            return ask(self._session(portal, rejected=token), *arguments)

    def _session(self, portal: Portal, rejected: Token | None = None) -> Token:
        assert self._tokens is not None  # noqa: S101 - made together with the portal
        found = self._credentials()
        if found is None:
            return self._tokens.usable(self.context.clock, rejected=rejected)
        user, password = found
        stored = self._tokens.stored()
        if stored is not None and stored.extra.get("user") != user:
            rejected = stored  # of another account
        return self._tokens.usable(
            self.context.clock,
            obtain=lambda: _owned(portal.sign_in(user, password), user),
            rejected=rejected,
        )

    def _credentials(self) -> tuple[str, Secret] | None:
        """Return user and password of the config, None if it has none; raises `ProbeError`."""
        if self.config.credentials is None:
            if self.config.user is None or self.config.password is None:
                return None
            return self.config.user, self.config.password
        file = KeyFile(self.context.config_dir / self.config.credentials, self.log)
        try:
            data = json.loads(file.read())
            user, password = data["user"], data["pass"]
        except (ValueError, LookupError, TypeError) as error:
            raise ProbeError(f"{file.path}: expected JSON with 'user' and 'pass'") from error
        if not isinstance(user, str) or not isinstance(password, str):
            raise ProbeError(f"{file.path}: expected 'user' and 'pass' to be texts")
        return user, Secret(password)

    def _choose(self, found: list[str]) -> list[str]:
        """Return the cars to read, of those of the account."""
        if self._vin is not None:
            if self._vin not in found:
                cars = ", ".join(found) or "none"
                raise ProbeError(f"{self._vin}: not a car of this account, which has {cars}")
            return [self._vin]
        if not found:
            raise ProbeError("the account has no car in the portal: add it there")
        if len(found) > 1 and not self.has_labels:
            raise ProbeError(f"the account has several cars: set vin to one of {', '.join(found)}")
        return found

    def _how_to_order(self) -> str:
        return (
            f"sign in at {self._portal_url} in a browser and order 'customised data', "
            "continuous, every 15 minutes"
        )

    def _samples(self) -> Iterator[Sample]:
        values, details, age = self._metrics()
        wanted = (*values, *details) if self.config.details else values
        for vin in self._vins or ([self._vin] if self._vin else list(self._deliveries.cars)):
            car = self._deliveries.cars.get(vin)
            if car is None:
                continue
            labels = (vin,) if self.has_labels else ()
            for metric in wanted:
                if metric.name in car.values:
                    yield metric.sample(car.values[metric.name], *labels)
            if self.config.details and car.time is not None:
                yield age.sample(max(0.0, self.context.clock.time() - car.time), *labels)

    def _metrics(self) -> tuple[tuple[Metric, ...], tuple[Metric, ...], Metric]:
        return VALUES, DETAILS, AGE


class VwGroupSource(MMISource):
    """The cars of an account of any brand of the group."""

    config_type = VwGroupConfig
    _labelled = (labelled(VALUES), labelled(DETAILS), labelled((AGE,))[0])
    metrics = (*_labelled[0], *_labelled[1], _labelled[2])
    has_labels = True

    def _find_brand(self) -> Brand:
        assert isinstance(self.config, VwGroupConfig)  # noqa: S101 - by config_type
        return find_brand(self.config.brand)

    def _place_of_token(self, account: str) -> Path:
        # Accounts of two brands, or two of one, stand side by side.
        digest = hashlib.blake2b(account.encode(), digest_size=4).hexdigest()
        name = f"vw_group_{self._brand.key.lower()}_{digest}_token.json"
        return find_token_file(self.context, name, self.config.token_file)

    def _metrics(self) -> tuple[tuple[Metric, ...], tuple[Metric, ...], Metric]:
        return self._labelled


def _owned(token: Token, user: str) -> Token:
    return msgspec.structs.replace(token, extra={**token.extra, "user": user})
