"""The Viessmann cloud: sign-in, list of devices, features, quota, and its faults.

Shapes of the developer portal's pages and of recorded answers. The service counts calls in a
window that ends at a fixed moment, as the real one does, failed calls included.
"""

import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pollect.testing.http import HttpRequest, HttpResponse, HttpServer, Misbehaviour
from tests.simulators.sign_in import AuthorizationServer

INSTALLATION = 1000001
SERIAL = "1234567812345678"
GATEWAYS = "/iot/v2/equipment/gateways"
FEATURES = f"/iot/v2/features/installations/{INSTALLATION}/gateways/{SERIAL}"
BULK = f"{FEATURES}/features"
REDIRECT = "http://localhost:4200/"


def feature(name: str, device: str = "0", /, **properties: Any) -> dict[str, Any]:
    """Return a feature; a property is a number, a text, a boolean, or `(value, unit)`."""
    return {
        "feature": name,
        "deviceId": device,
        "gatewayId": SERIAL,
        "isEnabled": True,
        "isReady": True,
        "timestamp": "2026-01-01T00:00:00.000Z",
        "uri": f"https://api.example.org{FEATURES}/devices/{device}/features/{name}",
        "properties": {key: _property(value) for key, value in properties.items()},
        "commands": {},
    }


def _property(value: Any) -> dict[str, Any]:
    unit = None
    if isinstance(value, tuple):
        value, unit = value
    kind = {bool: "boolean", str: "string", list: "array"}.get(type(value), "number")
    return {"type": kind, "value": value, **({"unit": unit} if unit else {})}


def device(identity: str, kind: str, status: str = "Online") -> dict[str, Any]:
    return {"id": identity, "deviceType": kind, "modelId": f"model-{identity}", "status": status}


HEAT_PUMP = (
    feature("heating.sensors.temperature.outside", status="connected", value=(7.5, "celsius")),
    feature("heating.circuits.0", active=True, name="", type="heatingCircuit"),
    feature(
        "heating.circuits.1.sensors.temperature.supply",
        status="connected",
        value=(31.4, "celsius"),
    ),
    feature("heating.circuits.1.circulation.pump", status="on"),
    feature("heating.circuits.1.heating.curve", shift=(3, ""), slope=(0.6, "")),
    feature("heating.circuits.1.operating.modes.active", value="heating"),
    feature("heating.circuits.1.operating.modes.heating", active=True),
    feature("heating.circuits.1.operating.modes.standby", active=False),
    feature("heating.circuits.1.operating.programs.active", value="normal"),
    feature("heating.circuits.1.operating.programs.normal", active=True, temperature=(20, "")),
    feature("heating.circuits.1.operating.programs.eco"),
    feature("heating.compressors.0", active=True, phase="ready"),
    feature("heating.compressors.0.statistics", hours=(8118, "hour"), starts=(1502, "")),
    feature("heating.compressors.0.statistics.load", hoursLoadClassOne=(100, "hour")),
    feature("heating.compressors.2", active=False, phase="off"),
    feature("heating.burners.0", active=False),
    feature("heating.burners.0.statistics", hours=(12.5, "hour"), starts=(40, "")),
    feature("heating.dhw.pumps.circulation", status="off"),
    feature("heating.dhw.charging", active=False),
    feature("heating.dhw.temperature.main", value=(50, "celsius")),
    feature("heating.dhw.operating.modes.active", value="eco"),
    feature("heating.buffer.sensors.temperature.top", status="notConnected"),
    feature("heating.configuration.houseLocation", latitude=(48.1, "degree"), altitude=(520, "m")),
    feature(
        "heating.power.consumption.summary.dhw",
        currentDay=(0.8, "kilowattHour"),
        lastYear=(512, "kilowattHour"),
    ),
    feature("heating.power.consumption.total", day=[7.2, 5.1], dayValueReadAt="2026-01-01"),
    feature("device.condensationRisk", value=False),
    feature("heating.sensors.temperature.return"),
)
DEVICES = (device("gateway", "vitoconnect"), device("0", "heating"))


@dataclass(eq=False)
class Viessmann(HttpServer):
    """The service. Change its attributes while it runs."""

    features: Sequence[Mapping[str, Any]] = HEAT_PUMP
    devices: Sequence[Mapping[str, Any]] = DEVICES
    sign_in: AuthorizationServer = field(default_factory=lambda: AuthorizationServer(REDIRECT))
    clock: Callable[[], float] = time.time
    #: Calls in a day, the length of a day, and what is counted since its start.
    limit: int = 1450
    day_seconds: float = 86_400.0
    #: Answers in place of a path's own.
    instead: dict[str, Any] = field(default_factory=dict)
    user: str = "owner@example.org"
    password: str = "geheim"
    #: Unix time until which everything is refused, whatever was counted.
    blocked_until: float = 0.0
    #: When calls came, those for tokens excepted.
    calls: list[float] = field(default_factory=list)
    #: The access token that counts; empty for the one given out last.
    only_token: str = ""

    def __post_init__(self) -> None:
        super().__init__(self.respond)

    @property
    def options(self) -> dict[str, Any]:
        return {
            "client_id": "client-of-the-test",
            "callback_url": self.sign_in.redirect_uri,
            "apiUrl": f"{self.url}/iot",
            "identityUrl": f"{self.url}/idp/v3",
        }

    def token_text(self, *, expires_at: float, refresh: str = "refresh-of-the-test") -> str:
        """Return a token file as 1.x writes it."""
        self.sign_in.tokens_given += 1
        return json.dumps(
            {
                "access_token": self.sign_in.access_token,
                "refresh_token": refresh,
                "token_type": "Bearer",
                "expires_in": int(expires_at),
            }
        )

    def respond(self, request: HttpRequest) -> HttpResponse | Misbehaviour | Any:
        if request.path == "/idp/v3/authorize":
            return self._authorize(request)
        if request.path == "/idp/v3/token":
            return self.sign_in.token(request)
        return self._call(request)

    def _authorize(self, request: HttpRequest) -> HttpResponse:
        if request.method == "GET":
            return self.sign_in.authorize(request)
        expected = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {expected}":
            return HttpResponse({"error": "Unauthorized"}, status=401)
        return self.sign_in.authorize(request)

    def _call(self, request: HttpRequest) -> HttpResponse | Misbehaviour | Any:
        now = self.clock()
        day = now // self.day_seconds
        self.calls.append(now)
        used = sum(1 for call in self.calls if call // self.day_seconds == day)
        if used > self.limit or now < self.blocked_until:
            blocked = now < self.blocked_until
            return self.refusal(self.blocked_until if blocked else (day + 1) * self.day_seconds)
        expected = self.only_token or self.sign_in.access_token
        if request.headers.get("Authorization") != f"Bearer {expected}":
            return HttpResponse({"error": "EXPIRED TOKEN"}, status=401)
        if request.path in self.instead:
            answer = self.instead[request.path]
            return answer(request) if callable(answer) else answer
        if request.path == GATEWAYS and request.query == {"includeDevices": "true"}:
            return {"data": [self.gateway()]}
        if request.path == BULK and request.query == {"includeDevicesFeatures": "true"}:
            return {"data": [*self._of_gateway(), *self.features]}
        for known in self.devices:
            if request.path == f"{FEATURES}/devices/{known['id']}/features":
                place = f"/devices/{known['id']}/"
                return {"data": [item for item in self.features if place in item["uri"]]}
        return HttpResponse(
            {"statusCode": 404, "errorType": "DEVICE_NOT_FOUND", "message": "Device not found"},
            status=404,
        )

    def gateway(self) -> dict[str, Any]:
        return {
            "serial": SERIAL,
            "version": "1.4.0",
            "installationId": INSTALLATION,
            "aggregatedStatus": "WorksProperly",
            "devices": list(self.devices),
        }

    def _of_gateway(self) -> list[dict[str, Any]]:
        listed = [
            {"id": each["id"], "type": each["deviceType"], "status": each["status"].lower()}
            for each in self.devices
        ]
        found = feature("gateway.devices")
        found["uri"] = f"https://api.example.org{FEATURES}/features/gateway.devices"
        del found["deviceId"]
        found["properties"] = {"devices": {"type": "DeviceList", "value": listed}}
        return [found]

    def refusal(self, reset: float) -> HttpResponse:
        return HttpResponse(
            {
                "viErrorId": "XXX",
                "statusCode": 429,
                "errorType": "RATE_LIMIT_EXCEEDED",
                "message": "API calls rate limit has been exceeded. Please wait.",
                "extendedPayload": {
                    "name": "ViCare day limit",
                    "requestCountLimit": self.limit,
                    "clientId": "XXXX",
                    "userId": "XXXX",
                    "limitReset": int(reset * 1000),
                },
            },
            status=429,
        )
