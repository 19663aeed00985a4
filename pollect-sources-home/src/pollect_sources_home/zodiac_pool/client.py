"""Requests to the Zodiac (iAqualink) cloud: sign-in, list of devices, state of a robot.

There is no description by the maker; keys and paths are those of its app, as open clients publish
them (flz/iaqualink-py, `docs/reference/client.md`).
"""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from pollect.api import AuthenticationFailed, BadResponse, Clock, ProbeError, Secret
from pollect.support.http import Response
from pollect.support.quota import Budget, retry_after
from pollect.support.tokens import Token, moment_of_expiry, secret_of
from pollect_sources_home.cloud import (
    CloudClient,
    failure,
    identity_of,
    json_object,
    require_secret_object,
)

#: The same for everybody who uses the app.
API_KEY = "EOOEMOW4YR6QNB07"
_SIGNING_KEY = b"cj7iYKjiKxOqiLcN65PffA"

#: Of a token whose reply does not say.
USUAL_LIFE_SECONDS = 3600
UNAUTHORIZED = (401, 403)


class ZodiacFormat:
    """The token file of 1.x, less the name, address and phone number it also kept."""

    def read(self, data: Mapping[str, Any]) -> Token:
        pool = data.get("userPoolOAuth")
        pool = pool if isinstance(pool, Mapping) else {}
        access = secret_of(pool.get("IdToken"), "IdToken")
        refresh = pool.get("RefreshToken")
        expires_at = data.get("expires_at")
        known = isinstance(expires_at, int | float) and not isinstance(expires_at, bool)
        keys = ("id", "email", "authentication_token")
        return Token(
            access=access,
            refresh=secret_of(refresh, "RefreshToken") if refresh else None,
            expires_at=expires_at if known else expiry_of(access.reveal()),
            extra={key: data[key] for key in keys if data.get(key)},
        )

    def write(self, token: Token) -> Mapping[str, Any]:
        return {
            **token.extra,
            "userPoolOAuth": {
                "IdToken": token.access.reveal(),
                "RefreshToken": token.refresh.reveal() if token.refresh else "",
                "ExpiresIn": USUAL_LIFE_SECONDS,
                "TokenType": "Bearer",
            },
            "expires_at": token.expires_at,
        }


class ZodiacClient:
    """One account. `devices_url` is the host of the list, `users_url` that of all else."""

    def __init__(
        self,
        http: CloudClient,
        budget: Budget,
        clock: Clock,
        *,
        users_url: str,
        devices_url: str,
    ) -> None:
        self._http = http
        self._budget = budget
        self._clock = clock
        self._users_url = users_url
        self._devices_url = devices_url
        #: The path of the list that the service accepted last.
        self._old_list = False
        #: The version in the path of a state that it accepted last.
        self._state_version = "v2"

    def log_in(self, user: str, password: Secret) -> Token:
        """Return a token for user and password; raises `ProbeError`."""
        body = {"apiKey": API_KEY, "email": user, "password": password.reveal()}
        return self._request_token("login", body, user, "user or password are refused")

    def renew(self, old: Token) -> Token:
        """Return a new token for an old one; raises `ProbeError`."""
        user = str(old.extra.get("email", ""))
        body = {"email": user, "refresh_token": old.refresh.reveal() if old.refresh else ""}
        new = self._request_token("refresh", body, user, "the sign-in is no longer accepted")
        # A reply to this may be shorter than one to a login.
        return Token(
            access=new.access,
            refresh=new.refresh,
            expires_at=new.expires_at,
            extra={**old.extra, **new.extra},
        )

    def fetch_devices(self, usable: Callable[[Token | None], Token]) -> list[Mapping[str, Any]]:
        """Return the devices of the account; raises `ProbeError`.

        `usable` gives a token, another one than that it is given.
        """
        response = self._authorized(usable, self._get_devices)
        if response.status != 200:
            raise self._error(response)
        data = response.json()
        if not isinstance(data, list):
            raise BadResponse("ZodiacPool: expected a list of devices, got something else")
        self._budget.answered()
        # What is no object has no serial number either, and is reported for that.
        return [device if isinstance(device, Mapping) else {} for device in data]

    def fetch_state(
        self, serial: str, usable: Callable[[Token | None], Token]
    ) -> Mapping[str, Any]:
        """Return what a device reports of itself; raises `ProbeError`."""
        response = self._authorized(usable, lambda token: self._get_state(serial, token))
        if response.status != 200:
            raise self._error(response)
        state = response.json()
        state = state.get("state") if isinstance(state, Mapping) else None
        reported = state.get("reported") if isinstance(state, Mapping) else None
        if not isinstance(reported, Mapping):
            raise BadResponse(f"ZodiacPool: expected the state of {serial}, got something else")
        return reported

    def _authorized(
        self, usable: Callable[[Token | None], Token], send: Callable[[Token], Response]
    ) -> Response:
        token = usable(None)
        response = send(token)
        if response.status in UNAUTHORIZED:
            # Although its time is not over: once more, with another one.
            response = send(usable(token))
        return response

    def _get_devices(self, token: Token) -> Response:
        """Ask for the list, in the other way as well when the service refuses the first."""
        ways = [self._get_signed_list, self._get_old_list]
        if self._old_list:
            ways.reverse()
        response = ways[0](token)
        if response.status in (*UNAUTHORIZED, 404):
            other = ways[1](token)
            if other.status == 200:
                self._old_list = not self._old_list
                return other
        return response

    def _get_signed_list(self, token: Token) -> Response:
        user, now = _user_of(token), int(self._clock.time())
        return self._get(
            f"{self._devices_url}/v2/devices.json",
            {"user_id": user, "signature": sign(user, str(now)), "timestamp": now},
            {"api_key": API_KEY, "Authorization": f"Bearer {token.access.reveal()}"},
        )

    def _get_old_list(self, token: Token) -> Response:
        authentication = str(token.extra.get("authentication_token", ""))
        return self._get(
            f"{self._devices_url}/devices.json",
            {
                "api_key": API_KEY,
                "authentication_token": authentication,
                "user_id": _user_of(token),
            },
            {},
        )

    def _get_state(self, serial: str, token: Token) -> Response:
        response = self._get_shadow(self._state_version, serial, token)
        if response.status == 404:
            other = "v1" if self._state_version == "v2" else "v2"
            again = self._get_shadow(other, serial, token)
            if again.status == 200:
                self._state_version = other
                return again
        return response

    def _get_shadow(self, version: str, serial: str, token: Token) -> Response:
        return self._get(
            f"{self._users_url}/devices/{version}/{quote(serial, safe='')}/shadow",
            {"signature": sign(serial.upper(), _user_of(token))},
            {"Authorization": token.access.reveal()},
        )

    def _get(
        self, url: str, query: Mapping[str, str | int], headers: Mapping[str, str]
    ) -> Response:
        self._budget.spend()
        return self._http.request("GET", url, params=query, headers=headers)

    def _request_token(
        self, action: str, body: Mapping[str, str], user: str, refused: str
    ) -> Token:
        self._budget.spend()
        url = f"{self._users_url}/users/v1/{action}"
        response = self._http.request("POST", url, json=body)
        if response.status in (400, *UNAUTHORIZED):
            raise AuthenticationFailed(f"ZodiacPool: {refused} (status {response.status})")
        if response.status != 200:
            raise self._error(response)
        return token_of_login(require_secret_object(response), user, self._clock)

    def _error(self, response: Response) -> ProbeError:
        if response.status == 429:
            return self._budget.refused(wait_seconds=retry_after(response.headers, self._clock))
        message = json_object(response).get("message")
        message = message if isinstance(message, str) else ""
        if response.status in UNAUTHORIZED:
            said = f": {message}" if message else ""
            return AuthenticationFailed(f"ZodiacPool: a new token was refused as well{said}")
        return failure("ZodiacPool", response, message)


def token_of_login(reply: Mapping[str, Any], user: str, clock: Clock) -> Token:
    """Return the token in the reply to a login or a refresh; raises `BadResponse`."""
    pool = reply.get("userPoolOAuth")
    if not isinstance(pool, Mapping):
        raise BadResponse("ZodiacPool: expected 'userPoolOAuth' in the reply to the sign-in")
    refresh = pool.get("RefreshToken")
    extra = {"email": user}
    for key in ("id", "authentication_token"):
        if identity := identity_of(reply.get(key)):
            extra[key] = identity
    access = secret_of(pool.get("IdToken"), "IdToken")
    lifetime = pool.get("ExpiresIn", USUAL_LIFE_SECONDS)
    return Token(
        access=access,
        refresh=secret_of(refresh, "RefreshToken") if refresh else None,
        expires_at=moment_of_expiry(lifetime, clock),
        extra=extra,
    )


def sign(*parts: str) -> str:
    """Return the signature that a request carries: hex of HMAC-SHA1 over its parts."""
    return hmac.new(_SIGNING_KEY, ",".join(parts).encode(), hashlib.sha1).hexdigest()


def expiry_of(token: str) -> float:
    """Return the Unix time at which a JSON Web Token ends; 0 when it does not show.

    The parts of one are in the URL-safe alphabet, without padding (RFC 7515, section 2).
    """
    parts = token.split(".")
    if len(parts) != 3:
        return 0.0
    try:
        claims = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        expiry = claims["exp"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0.0
    usable = isinstance(expiry, int | float) and not isinstance(expiry, bool)
    return float(expiry) if usable and 0 <= expiry < 1e11 else 0.0


def _user_of(token: Token) -> str:
    return str(token.extra.get("id", ""))
