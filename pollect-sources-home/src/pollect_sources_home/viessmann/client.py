"""Requests to the Viessmann cloud: sign-in, equipment, features.

Viessmann Climate Solutions Developer Portal, "Authentication" and "IoT API v2". The service counts
every request to its interface, failed ones as well, those for tokens excepted.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from pollect.api import (
    AuthenticationFailed,
    AuthorizationCode,
    BadResponse,
    Clock,
    ProbeError,
    Secret,
    TargetUnavailable,
)
from pollect.support.http import Response
from pollect.support.quota import Budget, retry_after
from pollect.support.tokens import Token, TokenFile, token_of_reply
from pollect_sources_home.cloud import (
    CloudClient,
    failure,
    json_object,
    require_object,
    require_secret_object,
)

SCOPE = "IoT User offline_access"
EXPIRED = "EXPIRED TOKEN"
UNPAID = "PACKAGE_NOT_PAID_FOR"


class NotFound(BadResponse):
    """The service knows no such gateway or device."""


class ViessmannClient:
    """One account. `begin()` starts the time that the requests of a probe share."""

    def __init__(
        self,
        http: CloudClient,
        tokens: TokenFile,
        budget: Budget,
        clock: Clock,
        *,
        client_id: str,
        api_url: str,
        identity_url: str,
    ) -> None:
        self._http = http
        self._tokens = tokens
        self._budget = budget
        self._clock = clock
        self._client_id = client_id
        self._api_url = api_url
        self._token_url = f"{identity_url}/token"
        self.authorize_url = f"{identity_url}/authorize"

    def exchange(self, answer: AuthorizationCode) -> Token:
        """Return the token for a code; raises `ProbeError`."""
        return self._request_token(
            {
                "grant_type": "authorization_code",
                "redirect_uri": answer.redirect_uri,
                "code": answer.code.reveal(),
                "code_verifier": answer.verifier.reveal(),
            },
            "the code was refused; it is valid for 20 seconds only, so try again",
        )

    def renew(self, old: Token) -> Token:
        """Return a new token for an old one; raises `ProbeError`."""
        refresh = old.refresh.reveal() if old.refresh else ""
        return self._request_token(
            {"grant_type": "refresh_token", "refresh_token": refresh},
            "the service no longer accepts the sign-in",
        )

    def authorize_with_password(
        self, parameters: Mapping[str, str], user: str, password: Secret
    ) -> str:
        """Return the query of the redirect after a sign-in without a browser."""
        response = self._http.request(
            "POST",
            self.authorize_url,
            params=parameters,
            data={},
            headers={"Authorization": _basic(user, password)},
        )
        location = response.headers.get("Location", "")
        if response.status in (301, 302, 303) and parse_qs(urlsplit(location).query).get("code"):
            return urlsplit(location).query
        if response.status >= 500:
            raise failure("Viessmann sign-in", response, _error_of(response))
        reason = _error_of(response)
        raise AuthenticationFailed(
            f"Viessmann sign-in with user and password: status {response.status}"
            f"{': ' if reason else ''}{reason}; check both, and that 'Google reCAPTCHA' is "
            "disabled for the client in the developer portal"
        )

    def fetch_gateways(self) -> list[Mapping[str, Any]]:
        """Return the gateways of the account, with their devices; raises `ProbeError`."""
        return _objects(self._get("/v2/equipment/gateways", {"includeDevices": "true"}))

    def fetch_gateway_features(self, installation: str, gateway: str) -> list[Mapping[str, Any]]:
        """Return the features of all devices of a gateway; raises `NotFound`, `ProbeError`."""
        path = _gateway_path(installation, gateway)
        return _objects(self._get(f"{path}/features", {"includeDevicesFeatures": "true"}))

    def fetch_device_features(
        self, installation: str, gateway: str, device: str
    ) -> list[Mapping[str, Any]]:
        """Return the features of one device; raises `NotFound`, `ProbeError`."""
        path = _gateway_path(installation, gateway)
        return _objects(self._get(f"{path}/devices/{quote(device, safe='')}/features", {}))

    def _request_token(self, form: Mapping[str, str], refused: str) -> Token:
        response = self._http.request(
            "POST", self._token_url, data={"client_id": self._client_id, **form}
        )
        if response.status == 200:
            reply = require_secret_object(response)
            return token_of_reply(reply, self._clock, keep={"client_id": self._client_id})
        if response.status in (400, 401, 403):
            reason = _error_of(response)
            raise AuthenticationFailed(
                f"Viessmann sign-in: {refused}{f' ({reason})' if reason else ''}"
            )
        raise failure("Viessmann sign-in", response, _error_of(response))

    def _get(self, path: str, query: Mapping[str, str]) -> Mapping[str, Any]:
        token = self._usable(None)
        response = self._send(path, query, token)
        if _is_expired(response):
            # Although its time is not over: once more, with another one.
            token = self._usable(token)
            response = self._send(path, query, token)
            if _is_expired(response):
                raise AuthenticationFailed(
                    f"Viessmann: a new token was refused as well: {_error_of(response)}"
                )
        if response.status == 200:
            self._budget.answered()
            return require_object(response)
        raise self._error(response)

    def _usable(self, rejected: Token | None) -> Token:
        return self._tokens.usable(self._clock, renew=self.renew, rejected=rejected)

    def _send(self, path: str, query: Mapping[str, str], token: Token) -> Response:
        self._budget.spend()
        return self._http.request(
            "GET",
            self._api_url + path,
            params=query,
            headers={"Authorization": f"Bearer {token.access.reveal()}"},
        )

    def _error(self, response: Response) -> ProbeError:
        body = json_object(response)
        payload = body.get("extendedPayload")
        payload = payload if isinstance(payload, Mapping) else {}
        kind, reason = body.get("errorType"), _error_of(response)
        if response.status == 429 or kind == "RATE_LIMIT_EXCEEDED":
            return self._budget.refused(
                wait_seconds=retry_after(response.headers, self._clock),
                until=_seconds(payload.get("limitReset")),
                limit=payload.get("requestCountLimit"),
            )
        if kind == "DEVICE_COMMUNICATION_ERROR":
            return TargetUnavailable(f"Viessmann: {reason}")
        if response.status == 403 and kind != UNPAID:
            return AuthenticationFailed(f"Viessmann: status 403: {reason or 'not allowed'}")
        if response.status == 404:
            return NotFound(f"Viessmann: status 404: {reason or 'not found'}")
        return failure("Viessmann", response, reason)


def _gateway_path(installation: str, gateway: str) -> str:
    places = (quote(installation, safe=""), quote(gateway, safe=""))
    return "/v2/features/installations/{}/gateways/{}".format(*places)


def _objects(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    data = answer.get("data")
    if not isinstance(data, Sequence) or isinstance(data, str):
        raise BadResponse(f"Viessmann: expected a list under 'data', got {type(data).__name__}")
    # What is no object is an empty one: it is reported for what it lacks.
    return [item if isinstance(item, Mapping) else {} for item in data]


def _is_expired(response: Response) -> bool:
    if response.status == 401:
        return True
    return response.status != 200 and EXPIRED in str(json_object(response).get("error")).upper()


def _error_of(response: Response) -> str:
    """Return what an answer says of its failure: type, message and reason, or OAuth's words."""
    body = json_object(response)
    payload = body.get("extendedPayload")
    reason = payload.get("reason") if isinstance(payload, Mapping) else None
    words = (body.get("errorType"), body.get("message"), reason)
    oauth = (body.get("error"), body.get("error_description"))
    texts = [text for text in (*words, *oauth) if isinstance(text, str) and text]
    return ": ".join(dict.fromkeys(texts))


def _seconds(milliseconds: object) -> float | None:
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float):
        return None
    return milliseconds / 1000


def _basic(user: str, password: Secret) -> str:
    both = f"{user}:{password.reveal()}".encode()
    return f"Basic {base64.b64encode(both).decode()}"
