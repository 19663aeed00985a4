"""The Zodiac cloud: login, refresh, list of devices and states, with their signatures checked."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pollect.testing.http import HttpRequest, HttpResponse, HttpServer

API_KEY = "EOOEMOW4YR6QNB07"
USER = "owner@example.org"
PASSWORD = "splash"
USER_ID = "4711"
AUTHENTICATION = "authentication-of-the-test"
LOGIN = "/users/v1/login"
REFRESH = "/users/v1/refresh"
LIST = "/v2/devices.json"
OLD_LIST = "/devices.json"


def signature(*parts: str) -> str:
    content = ",".join(parts).encode()
    return hmac.new(b"cj7iYKjiKxOqiLcN65PffA", content, hashlib.sha1).hexdigest()


def json_web_token(**claims: Any) -> str:
    """Return an unsigned token whose payload is in the URL-safe alphabet."""
    header, payload = (
        base64.urlsafe_b64encode(json.dumps(part, ensure_ascii=False).encode()).decode().rstrip("=")
        for part in ({"alg": "none"}, claims)
    )
    return f"{header}.{payload}.signature"


VR: Mapping[str, Any] = {
    "state": 1,
    "prCyc": 1,
    "errorCode": 0,
    "errorState": 0,
    "stepper": 30,
    "canister": 0.25,
    "totalHours": 120,
    "cycleStartTime": 1_699_998_200,
    "durations": {"quickTim": 90, "deepTim": 150, "smartTim": 120, "waterTim": 45, "customTim": 75},
    "sensors": {"sns_1": {"val": 25}},
}


def shadow(robot: Mapping[str, Any] | None, place: str = "robot") -> dict[str, Any]:
    equipment = {} if robot is None else {place: robot}
    aws = {"status": "connected" if robot else "disconnected", "timestamp": 1}
    return {"state": {"reported": {"aws": aws, "equipment": equipment}}}


@dataclass(eq=False)
class Zodiac(HttpServer):
    """The service. Change its attributes while it runs."""

    #: Serial number -> type and state.
    devices: dict[str, tuple[str, Any]] = field(default_factory=lambda: {"JT1": ("vr", shadow(VR))})
    clock: Callable[[], float] = time.time
    #: Answers in place of a path's own.
    instead: dict[str, Any] = field(default_factory=dict)
    #: Further accounts: user and password.
    others: dict[str, str] = field(default_factory=dict)
    sends_refresh_token: bool = False
    accepts_refresh: bool = True
    #: Only the older list of devices and states are there.
    is_old: bool = False
    logins: int = 0
    refreshes: int = 0
    #: Stands in every token; this one makes text that only the URL-safe alphabet has.
    name: str = "Übergrößenträger ÿ>?"
    #: The token that counts now, and when it ends.
    token: str = ""
    ends_at: float = 0.0
    life_seconds: float = 3600.0

    def __post_init__(self) -> None:
        super().__init__(self.respond)

    @property
    def options(self) -> dict[str, Any]:
        return {"usersUrl": self.url, "devicesUrl": self.url}

    def respond(self, request: HttpRequest) -> Any:
        if request.path in self.instead:
            return self.instead[request.path]
        match request.path:
            case "/users/v1/login":
                return self._log_in(request.json())
            case "/users/v1/refresh":
                return self._refresh(request.json())
            case "/v2/devices.json" if not self.is_old:
                return self._list(request)
            case "/devices.json":
                return self._old_list(request)
        parts = request.path.split("/")
        if parts[1:2] == ["devices"] and parts[-1] == "shadow" and parts[3] in self.devices:
            return self._state(request, version=parts[2], serial=parts[3])
        return HttpResponse({"message": "Not Found"}, status=404)

    def _log_in(self, body: Mapping[str, Any]) -> Any:
        self.logins += 1
        password = {USER: PASSWORD, **self.others}.get(str(body.get("email")))
        expected = {"apiKey": API_KEY, "email": body.get("email"), "password": password}
        if password is None or body != expected:
            return HttpResponse({"message": "Unauthorized"}, status=401)
        if self.token and body["email"] in self.others:
            return self._reply(self.token, refresh=True)  # both accounts share one token here
        return self._tokens(refresh=True)

    def _refresh(self, body: Mapping[str, Any]) -> Any:
        self.refreshes += 1
        if not self.accepts_refresh or body != {"email": USER, "refresh_token": "refresh"}:
            return HttpResponse({"message": "Unauthorized"}, status=401)
        return self._tokens(refresh=self.sends_refresh_token)

    def _tokens(self, *, refresh: bool) -> dict[str, Any]:
        self.ends_at = self.clock() + self.life_seconds
        self.token = json_web_token(
            exp=self.ends_at, number=self.logins + self.refreshes, name=self.name
        )
        return self._reply(self.token, refresh=refresh)

    def _reply(self, token: str, *, refresh: bool) -> dict[str, Any]:
        pool = {"IdToken": token, "AccessToken": "access", "ExpiresIn": 3600}
        if refresh:
            pool["RefreshToken"] = "refresh"
        return {
            "id": int(USER_ID),
            "email": USER,
            "address": "Poolweg 1",
            "phone": "0123",
            "session_id": "session",
            "authentication_token": AUTHENTICATION,
            "userPoolOAuth": pool,
        }

    def _accepts(self, authorization: str | None) -> bool:
        return authorization == self.token and self.clock() < self.ends_at

    def _list(self, request: HttpRequest) -> Any:
        query = request.query
        bearer = (request.headers.get("Authorization") or "").removeprefix("Bearer ")
        signed = query.get("signature") == signature(USER_ID, query.get("timestamp", ""))
        fresh = abs(float(query.get("timestamp", 0)) - self.clock()) < 300
        if not (self._accepts(bearer) and signed and fresh):
            return HttpResponse({"message": "Unauthorized"}, status=401)
        if request.headers.get("api_key") != API_KEY or query.get("user_id") != USER_ID:
            return HttpResponse({"message": "Forbidden"}, status=403)
        return self._listed()

    def _old_list(self, request: HttpRequest) -> Any:
        expected = {
            "api_key": API_KEY,
            "authentication_token": AUTHENTICATION,
            "user_id": USER_ID,
        }
        if not self.is_old or request.query != expected:
            return HttpResponse({"message": "Unauthorized"}, status=401)
        return self._listed()

    def _listed(self) -> list[dict[str, Any]]:
        return [
            {"id": number, "serial_number": serial, "device_type": kind, "name": "Pool"}
            for number, (serial, (kind, _)) in enumerate(self.devices.items())
        ]

    def _state(self, request: HttpRequest, *, version: str, serial: str) -> Any:
        if not self._accepts(request.headers.get("Authorization")):
            return HttpResponse({"message": "Unauthorized"}, status=401)
        if request.query.get("signature") != signature(serial.upper(), USER_ID):
            return HttpResponse({"message": "Forbidden"}, status=403)
        if version != ("v1" if self.is_old else "v2"):
            return HttpResponse({"message": "Not Found"}, status=404)
        return self.devices[serial][1]
