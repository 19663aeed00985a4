"""Requests to the Homematic IP cloud: look-up of the host, state of the home, registration.

There is no description by the maker; the requests are those of its app, as the library
homematicip 2.19 sends them (`connection/rest_connection.py`, `auth.py`).
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from pollect.api import (
    AuthenticationFailed,
    BadResponse,
    Clock,
    ConfigError,
    ProbeError,
    Secret,
    TargetUnavailable,
)
from pollect.support.http import Response
from pollect.support.quota import Budget, retry_after
from pollect.support.tokens import secret_of
from pollect_sources_home.cloud import (
    CloudClient,
    check_cloud_url,
    failure,
    json_object,
    require_secret_object,
)

#: Of the maker's app; the service wants it in the digest that names the client.
_SALT = "jiLpVitHvWnIGD1yo7MA"
#: The host that a look-up gave may die for good.
FAILURES_UNTIL_LOOKUP = 3

INVALID_PIN = "INVALID_PIN"
LOCKED = "ASSIGNMENT_LOCKED"


class Refused(AuthenticationFailed):
    """The service refuses, with a word that says why."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code


class HomematicIpClient:
    """One access point."""

    def __init__(
        self, http: CloudClient, budget: Budget, clock: Clock, access_point: str, lookup_url: str
    ) -> None:
        self._http = http
        self._budget = budget
        self._clock = clock
        self._access_point = access_point
        self._lookup_url = lookup_url
        self._host = ""
        self._failures = 0
        digest = hashlib.sha512(f"{access_point}{_SALT}".encode()).hexdigest()
        self._headers = {
            "VERSION": "12",
            "CLIENTAUTH": digest.upper(),
            "ACCESSPOINT-ID": access_point,
        }
        self._characteristics = {
            "clientCharacteristics": {
                "apiVersion": "10",
                "applicationIdentifier": "pollect",
                "applicationVersion": "1.0",
                "deviceManufacturer": "none",
                "deviceType": "Computer",
                "language": "en_US",
                "osType": "Linux",
                "osVersion": "6",
            },
            "id": access_point,
        }

    def fetch_state(self, token: Secret) -> Mapping[str, Any]:
        """Return the state of the whole home; raises `ProbeError`."""
        headers = {"AUTHTOKEN": token.reveal()}
        response = self._post("/hmip/home/getCurrentState", self._characteristics, headers)
        if response.status != 200:
            raise self._error(response)
        data = response.json()
        if not isinstance(data, Mapping) or not isinstance(data.get("devices"), Mapping):
            raise BadResponse("HomematicIp: expected the state of a home, got something else")
        self._budget.answered()
        return data

    def request_connection(self, client: str, pin: Secret | None) -> None:
        """Ask to be let in; raises `Refused` with `INVALID_PIN` or `ASSIGNMENT_LOCKED`."""
        body = {"deviceId": client, "deviceName": "pollect", "sgtin": self._access_point}
        headers = {"PIN": pin.reveal()} if pin is not None else {}
        self._demand(self._post("/hmip/auth/connectionRequest", body, headers))

    def is_acknowledged(self, client: str) -> bool:
        """Tell whether the button of the access point was pressed."""
        body = {"deviceId": client, "accessPointId": self._access_point}
        try:
            response = self._post("/hmip/auth/isRequestAcknowledged", body)
        except TargetUnavailable:
            return False  # it is asked again, and the operator sees the time that runs
        return response.status == 200

    def request_token(self, client: str) -> Secret:
        """Return the token for a client that was acknowledged, and confirm it."""
        response = self._post("/hmip/auth/requestAuthToken", {"deviceId": client})
        self._demand(response)
        token = secret_of(require_secret_object(response).get("authToken"), "authToken")
        body = {"deviceId": client, "authToken": token.reveal()}
        self._demand(self._post("/hmip/auth/confirmAuthToken", body))
        return token

    def _demand(self, response: Response) -> None:
        if response.status != 200:
            raise self._error(response)

    def _post(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> Response:
        self._budget.spend()
        host = self._host or self._look_up()
        try:
            response = self._http.request(
                "POST", host + path, json=body, headers={**self._headers, **(headers or {})}
            )
        except ProbeError:
            self._failed()
            raise
        if response.status >= 500:
            self._failed()
        else:
            self._failures = 0
        return response

    def _failed(self) -> None:
        self._failures += 1
        if self._failures >= FAILURES_UNTIL_LOOKUP:
            self._host, self._failures = "", 0

    def _look_up(self) -> str:
        response = self._http.request("POST", self._lookup_url, json=self._characteristics)
        if response.status != 200:
            raise self._error(response)
        host = json_object(response).get("urlREST")
        if not isinstance(host, str):
            raise BadResponse(
                "HomematicIp: the look-up names no host; is accessPoint the SGTIN on the back?"
            )
        try:
            self._host = check_cloud_url(host, "lookupUrl")
        except ConfigError as error:
            raise BadResponse(
                f"HomematicIp: the look-up gave an unusable answer: {error.problem}"
            ) from error
        return self._host

    def _error(self, response: Response) -> ProbeError:
        code = json_object(response).get("errorCode")
        code = code if isinstance(code, str) else ""
        if response.status == 429:
            return self._budget.refused(wait_seconds=retry_after(response.headers, self._clock))
        if response.status in (401, 403):
            return Refused(f"HomematicIp: refused with status {response.status} {code}", code)
        return failure("HomematicIp", response, code)
