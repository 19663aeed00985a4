"""Source `Viessmann`: heat pumps, boilers, ventilation and storage through the maker's cloud.

Viessmann Climate Solutions, IoT API v2, with OAuth 2 and PKCE. An account has 1450 calls a day and
120 in 10 minutes in its smallest plan: one call per 90 seconds at most, whatever the tick, and one
a day for the list of devices. Units are those of the service: °C, bar, percent, hours, kWh.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qs

import msgspec
from msgspec import Meta

from pollect.api import (
    AuthenticationFailed,
    AuthorizationCode,
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
from pollect.support.oauth import AuthorizationRequest
from pollect.support.quota import Quota, shared_budget
from pollect.support.tokens import Token, sign_in_command
from pollect_sources_home.cloud import (
    CloudAccount,
    check_cloud_url,
    token_file_of,
)
from pollect_sources_home.viessmann.client import SCOPE, NotFound, ViessmannClient
from pollect_sources_home.viessmann.details import DETAILS, parse_details, parse_online
from pollect_sources_home.viessmann.equipment import (
    Gateway,
    choose_gateway,
    device_id,
    parse_gateways,
    type_of,
)
from pollect_sources_home.viessmann.features import (
    USUAL_METRICS,
    Feature,
    find_problems,
    name_of,
    parse_features,
    properties_of,
)

API_URL = "https://api.viessmann-climatesolutions.com/iot"
IDENTITY_URL = "https://iam.viessmann-climatesolutions.com/idp/v3"
#: Name and format are those of 1.x.
FILE_NAME = "viessmann_token.json"

#: 960 calls a day leave room for the owner's app and other programs in the smallest plan.
DISTANCE_SECONDS = 90.0
QUOTAS = (Quota(1450, 86_400), Quota(120, 600))
EQUIPMENT_SECONDS = 86_400.0
#: Parts of the source: what a gateway lists of its devices, and an account of its gateways.
_LIST, _EQUIPMENT = "list of features", "equipment"

CLIENT_HINT = (
    "register a client at https://app.developer.viessmann-climatesolutions.com, with the redirect "
    "URL http://localhost:4200/ and Google reCAPTCHA disabled, then run 'pollect auth Viessmann'"
)


class ViessmannConfig(SourceConfig, frozen=True, kw_only=True):
    client_id: Annotated[
        str | None,
        Meta(description="Client of your account in the developer portal; required."),
    ] = msgspec.field(name="client_id", default=None)
    callback_url: Annotated[
        str, Meta(description="Redirect URL of the client, exactly as registered.")
    ] = msgspec.field(name="callback_url", default="http://localhost:4200/")
    user: Annotated[
        str | None,
        Meta(description="User of the account, for a sign-in without a browser; second choice."),
    ] = None
    password: Annotated[Secret | None, Meta(description="Password of the account.")] = None
    token_file: Annotated[
        FilePath | None,
        Meta(description="File for the token; default: viessmann_token.json in the state folder."),
    ] = None
    installation: Annotated[
        str | None, Meta(description="Number of the installation, if there are several.")
    ] = None
    gateway: Annotated[
        str | None, Meta(description="Serial number of the gateway; default: the first.")
    ] = None
    device: Annotated[
        str | None, Meta(description="Number of the device; default: the first that heats.")
    ] = None
    devices: Annotated[
        Literal["one", "all"],
        Meta(description="Set to `all` for all devices of the gateway, with a label `device`."),
    ] = "one"
    timeout: Annotated[Seconds | None, Meta(description="Seconds to wait for one answer.")] = None
    api_url: Annotated[str, Meta(description="Where the interface of the service is.")] = API_URL
    identity_url: Annotated[str, Meta(description="Where the sign-in of the service is.")] = (
        IDENTITY_URL
    )


class ViessmannSource(Source[ViessmannConfig]):
    """Every feature of one device, or of all devices of a gateway."""

    config_type = ViessmannConfig
    metrics = (*USUAL_METRICS, *DETAILS)
    dynamic_metrics = True

    def __init__(self, config: ViessmannConfig, context: SourceContext) -> None:
        super().__init__(config, context)
        if not config.client_id:
            raise ConfigError("a client_id is required", key="client_id", hint=CLIENT_HINT)
        if (config.user is None) != (config.password is None):
            missing = "password" if config.password is None else "user"
            raise ConfigError("user and password belong together", key=missing)
        self._api_url = check_cloud_url(config.api_url, "apiUrl")
        self._identity_url = check_cloud_url(config.identity_url, "identityUrl")
        budget = shared_budget(context, "Viessmann", config.client_id, *QUOTAS)
        self._account = CloudAccount[ViessmannClient](
            context, budget, DISTANCE_SECONDS, config.timeout
        )
        self._gateway: Gateway | None = None
        self._gateway_until = 0.0
        #: The gateway answers for its devices; else each is asked by itself.
        self._asks_gateway = True
        #: The password was refused: once is enough, the account must not be locked.
        self._password_refused = ""

    def open(self) -> None:
        client_id = self.config.client_id or ""
        tokens = token_file_of(
            self.context,
            FILE_NAME,
            self.config.token_file,
            client_id,
            # 1.x did not note whose token it is.
            lambda token: token.extra.get("client_id", client_id) == client_id,
        )
        self._account.open(
            tokens,
            lambda http: ViessmannClient(
                http,
                tokens,
                self._account.budget,
                self.context.clock,
                client_id=client_id,
                api_url=self._api_url,
                identity_url=self._identity_url,
            ),
        )

    def take_over(self, previous: Self) -> None:
        if previous.config.client_id == self.config.client_id:
            self._account.pace.take_over(previous._account.pace)

    def probe(self) -> Iterable[Sample]:
        return self._account.read(self._fetch)

    def sign_in(self, dialogue: SignIn) -> None:
        self.open()
        client, tokens = self._account.opened()
        answer = dialogue.authorize(
            client.authorize_url,
            redirect_uri=self.config.callback_url,
            parameters={"client_id": self.config.client_id or "", "scope": SCOPE},
        )
        tokens.store(client.exchange(answer))
        dialogue.show(f"The token is in {tokens.file}.")
        gateways = parse_gateways(client.fetch_gateways(), [])
        for gateway in gateways:
            dialogue.show(f"Gateway {gateway.serial} of installation {gateway.installation}:")
            for device in gateway.devices:
                model = device.get("modelId") or "of unknown model"
                dialogue.show(f"  device {device_id(device)}: {type_of(device)}, {model}")
        if not gateways:
            dialogue.show("The account has no gateway yet; add it in the ViCare app.")

    def close(self) -> None:
        self._account.close()

    def deadline_seconds(self) -> float:
        return self._account.deadline_seconds()

    def _fetch(self) -> list[Sample]:
        client, tokens = self._account.opened()
        if self.config.user is not None:
            tokens.usable(self.context.clock, renew=client.renew, obtain=self._use_password)
        gateway = self._known_gateway(client)
        try:
            return self._read(client, gateway)
        except NotFound:
            self._gateway = None  # moved, or replaced: look at the equipment again
            raise

    def _known_gateway(self, client: ViessmannClient) -> Gateway:
        now = self.context.clock.monotonic()
        if self._gateway is None or now >= self._gateway_until:
            problems: list[str] = []
            gateways = parse_gateways(client.fetch_gateways(), problems)
            self.troubles.note(_EQUIPMENT, problems)
            self._gateway = choose_gateway(gateways, self.config.installation, self.config.gateway)
            self._gateway_until = now + EQUIPMENT_SECONDS
            self._asks_gateway = True
        return self._gateway

    def _read(self, client: ViessmannClient, gateway: Gateway) -> list[Sample]:
        wanted = self._wanted_devices(gateway)
        found: dict[str, list[Feature]] = {}
        listed: Sequence[Mapping[str, Any]] = gateway.devices
        if self._asks_gateway:
            try:
                features = client.fetch_gateway_features(gateway.installation, gateway.serial)
            except NotFound:
                features = []
            strange = sum(not feature for feature in features)
            problems = [f"expected objects, got {strange} other entries"] if strange else []
            self.troubles.note(_LIST, problems)
            found = group_by_device(features)
            listed = devices_in(features) or listed
            # A gateway that leaves a device out would do so the next time as well.
            self._asks_gateway = any(found.get(device) for device in wanted)
        if not self._asks_gateway:
            found = self._read_each(client, gateway, wanted)
        # Several sources of an account, and several calls of one, come less often.
        calls = 1 if self._asks_gateway else len(wanted)
        self._account.slow_down(calls)
        samples: list[Sample] = []
        for device in wanted:
            if found.get(device):
                samples += self._samples_of(device, found[device])
        if self.config.details:
            samples += parse_online(listed)
        if not samples:
            raise NoData(
                f"device {', '.join(wanted) or 'any'} has no values; `device` names another"
            )
        return samples

    def _wanted_devices(self, gateway: Gateway) -> list[str]:
        if self.config.devices == "all":
            return [device_id(device) for device in gateway.devices]
        return [gateway.choose_device(self.config.device)]

    def _read_each(
        self, client: ViessmannClient, gateway: Gateway, wanted: Sequence[str]
    ) -> dict[str, list[Feature]]:
        """Ask for each device by itself; one that fails does not cost the others."""
        found: dict[str, list[Feature]] = {}
        failure: ProbeError | None = None
        for device in wanted:
            try:
                found[device] = client.fetch_device_features(
                    gateway.installation, gateway.serial, device
                )
            except AuthenticationFailed:
                raise
            except ProbeError as error:
                failure = error
                if len(wanted) > 1:
                    self.troubles.failed(device, error, type(error).__name__)
            else:
                self.troubles.works(device)
        self.troubles.keep({_LIST, _EQUIPMENT, *wanted, *map(_values_of, wanted)})
        if failure is not None and not found:
            raise failure
        return found

    def _samples_of(self, device: str, features: Sequence[Feature]) -> Iterator[Sample]:
        samples = list(parse_features(features))
        self.troubles.note(_values_of(device), find_problems(features))
        if self.config.details:
            samples += parse_details(features)
        seen: set[tuple[str | None, tuple[str, ...]]] = set()
        for sample in samples:
            series = (sample.metric.name, sample.label_values)
            if series not in seen:
                seen.add(series)
                yield with_device(sample, device) if self.config.devices == "all" else sample

    def _use_password(self) -> Token:
        """Sign in without a browser, once; for accounts that were set up so for 1.x."""
        client, _ = self._account.opened()
        if self._password_refused:
            raise AuthenticationFailed(self._password_refused)
        try:
            return client.exchange(self._authorize_with_password(client))
        except AuthenticationFailed as error:
            remedy = sign_in_command(self.context)
            self._password_refused = f"{error}; or run {remedy!r}"
            raise AuthenticationFailed(self._password_refused) from error

    def _authorize_with_password(self, client: ViessmannClient) -> AuthorizationCode:
        request = AuthorizationRequest(
            self.config.callback_url, {"client_id": self.config.client_id or "", "scope": SCOPE}
        )
        query = client.authorize_with_password(
            request.parameters, self.config.user or "", self.config.password or Secret("")
        )
        values = {name: found[-1] for name, found in parse_qs(query).items()}
        return request.take(values, by_browser=False)


def group_by_device(features: Iterable[Feature]) -> dict[str, list[Feature]]:
    """Return the features of a gateway's answer by device, which the `uri` of each names."""
    found: dict[str, list[Feature]] = {}
    for feature in features:
        uri = feature.get("uri")
        _, separator, rest = uri.partition("/devices/") if isinstance(uri, str) else ("", "", "")
        device = rest.partition("/")[0] if separator else feature.get("deviceId")
        if isinstance(device, str) and device:
            found.setdefault(device, []).append(feature)
    return found


def devices_in(features: Iterable[Feature]) -> list[Mapping[str, Any]]:
    """Return the list of devices that a gateway has among its own features."""
    for feature in features:
        if name_of(feature) == "gateway.devices":
            listed = properties_of(feature).get("devices", {}).get("value")
            if isinstance(listed, list):
                return [device for device in listed if isinstance(device, Mapping)]
    return []


def with_device(sample: Sample, device: str) -> Sample:
    """Return a sample with the label `device`, which is the last."""
    labelled = sample.metric.labelled("device")
    return labelled.sample(sample.value, *sample.label_values, device)


def _values_of(device: str) -> str:
    """Return what the troubles call the values of a device, as opposed to the device."""
    return f"values of {device}"
