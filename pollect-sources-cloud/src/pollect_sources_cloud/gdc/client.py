"""A small client of the Cloud Storage JSON API, read-only.

Sign-in: OAuth 2 JWT bearer grant (RFC 7523) with the key of a service account, as "Using OAuth 2.0
for Server to Server Applications" describes it. Objects: "Objects: get" of the JSON API.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from pollect.api import (
    AuthenticationFailed,
    BadResponse,
    Clock,
    ConfigError,
    ProbeError,
)
from pollect.support.http import HttpClient, Response
from pollect.support.quota import Budget
from pollect.support.urls import redact_url
from pollect_sources_cloud.endpoints import check_encrypted
from pollect_sources_cloud.failures import failure
from pollect_sources_cloud.files import KeyFile
from pollect_sources_cloud.limits import Limit
from pollect_sources_cloud.signing import Signer

SCOPE = "https://www.googleapis.com/auth/devstorage.read_only"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_SECONDS = 3600
#: Before a token expires.
REFRESH_SECONDS = 60.0
DEFAULT_TOKEN_SECONDS = 3600.0
KEY_FIELDS = ("client_email", "private_key", "token_uri")


class Storage:
    """The objects of one bucket, as a service account sees them."""

    def __init__(
        self,
        endpoint: str,
        bucket: str,
        key_file: KeyFile,
        *,
        signer: Signer,
        http: HttpClient,
        limit: Limit,
        clock: Clock,
        budget: Budget,
    ) -> None:
        self._objects = f"{endpoint}/storage/v1/b/{quote(bucket, safe='')}/o/"
        self._bucket = bucket
        self._key_file = key_file
        self._signer = signer
        self._http = http
        self._limit = limit
        self._clock = clock
        self._budget = budget
        self._token = ""
        self._token_ends = 0.0

    def sign_in(self) -> None:
        """See that there is a valid token; raises `ProbeError`."""
        self._valid_token()

    def generation(self, name: str) -> str | None:
        """Return which state an object is in, None if there is no such object.

        Raises `AuthenticationFailed`, `TargetUnavailable` or `BadResponse`.
        """
        answer = self._ask(name)
        if answer is None:
            return None
        facts = answer.json()
        generation = facts.get("generation") if isinstance(facts, dict) else None
        if not isinstance(generation, str | int) or isinstance(generation, bool):
            raise BadResponse(f"{name}: the answer has no generation")
        return str(generation)

    def content(self, name: str) -> bytes | None:
        """Return what is in an object, None if there is no such object. Raises as `generation`."""
        answer = self._ask(name, alt="media")
        return None if answer is None else answer.body

    def _ask(self, name: str, **query: str) -> Response | None:
        answer = self._get(name, query)
        if answer.status == 401:
            self._token = ""
            answer = self._get(name, query)
        match answer.status:
            case 200:
                self._budget.answered()
                return answer
            case 404:
                if "bucket does not exist" in _message(answer).lower():
                    raise BadResponse(
                        f"there is no bucket {self._bucket!r}: copy bucketName from the console"
                    )
                return None
            case 401:
                self._token = ""
                raise AuthenticationFailed(
                    f"{redact_url(answer.url)}: the token is refused: is the service account of "
                    f"{self._key_file.path} disabled?"
                )
            case 403:
                raise AuthenticationFailed(
                    f"the service account of {self._key_file.path} may not read the bucket "
                    f"{self._bucket!r}: in the Play Console grant it the account permission "
                    "'View app information and download bulk reports (read-only)'; a permission "
                    "for single apps is not enough, and a new one takes up to a day"
                )
        raise failure(answer, _message(answer), self._budget, where=name)

    def _get(self, name: str, query: Mapping[str, str]) -> Response:
        token = self._valid_token()
        self._budget.spend()
        return self._http.get(
            self._objects + quote(name, safe=""),
            params=query,
            headers={"Authorization": f"Bearer {token}"},
            timeout=self._limit.left(),
            statuses=None,
            follow_redirects=False,
        )

    def _valid_token(self) -> str:
        if not self._token or self._clock.time() >= self._token_ends - REFRESH_SECONDS:
            self._token, self._token_ends = self._fetch_token()
        return self._token

    def _fetch_token(self) -> tuple[str, float]:
        """Return a token and the Unix time at which it ends."""
        key, where = self._read_key(), self._key_file.path
        now = self._clock.time()
        claims = {
            "iss": key["client_email"],
            "scope": SCOPE,
            "aud": key["token_uri"],
            "iat": int(now),
            "exp": int(now) + ASSERTION_SECONDS,
        }
        assertion = self._signer.sign(
            claims, key["private_key"], key.get("private_key_id", ""), where=where
        )
        answer = self._http.post(
            key["token_uri"],
            data={"grant_type": GRANT, "assertion": assertion},
            timeout=self._limit.left(),
            statuses=None,
            follow_redirects=False,
        )
        if answer.status in (400, 401, 403):
            # The short word, as in `invalid_grant`; the long description may quote the request.
            raise AuthenticationFailed(
                f"{redact_url(answer.url)}: the key in {where} is refused: {_reason(answer)}; "
                "make a new key for the service account, or set the clock of this host"
            )
        if answer.status != 200:
            raise failure(answer, "", self._budget)
        token = answer.json()
        if not isinstance(token, dict) or not isinstance(token.get("access_token"), str):
            raise BadResponse(f"{redact_url(answer.url)}: the answer contains no access token")
        lifetime = token.get("expires_in")
        if not isinstance(lifetime, int | float) or isinstance(lifetime, bool):
            lifetime = DEFAULT_TOKEN_SECONDS
        return token["access_token"], now + lifetime

    def _read_key(self) -> dict[str, str]:
        where = self._key_file.path
        try:
            key = json.loads(self._key_file.read())
        except (ValueError, RecursionError) as error:
            raise ProbeError(f"{where}: expected the JSON key of a service account") from error
        for name in KEY_FIELDS:
            if not isinstance(key, dict) or not isinstance(key.get(name), str) or not key[name]:
                raise ProbeError(
                    f"{where}: expected the JSON key of a service account, but {name} is missing"
                )
        try:
            check_encrypted(key["token_uri"], key="token_uri")
        except ConfigError as error:
            raise ProbeError(f"{where}: {error}") from error
        return {name: text for name, text in key.items() if isinstance(text, str)}


def _message(answer: Response) -> str:
    """Return the error message in an answer of the API, empty if there is none."""
    return _text_at(answer, lambda data: data["error"]["message"])


def _reason(answer: Response) -> str:
    return _text_at(answer, lambda data: data["error"]) or f"status {answer.status}"


def _text_at(answer: Response, place: Callable[[Any], Any]) -> str:
    try:
        text = place(answer.json())
    except (BadResponse, LookupError, TypeError):
        return ""
    return text[:200] if isinstance(text, str) else ""
