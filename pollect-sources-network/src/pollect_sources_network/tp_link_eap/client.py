"""The web interface of a TP-Link EAP: its session and its login.

There is no document of the maker; the facts are those observed by the projects ringseu/eap_test and
AlexandrErohin/TP-Link-Archer-C6U on GitHub. `GET /` gives a cookie, `POST /` logs in with the
upper-case MD5 of the password, and every request for data needs a `Referer` of the same origin. The
access point has one session for administrators, and too many wrong logins lock it.
"""

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from pollect.api import AuthenticationFailed, BadResponse, Secret
from pollect.support.connect import SharedLimit
from pollect.support.http import SUCCESS, HttpClient, Response
from pollect.support.urls import redact_url

REJECTED, LOCKED = 1, 3
NOT_FOUND = 404


class LoggedOut(AuthenticationFailed):
    """The session is not, or no longer, one of a user who logged in."""


class NotOffered(BadResponse):
    """The model or its firmware does not have this data."""


class EapClient:
    """One access point, over one HTTP session.

    `timeout_seconds` is for one answer; `begin()` gives all requests from then on one limit.
    """

    def __init__(self, url: str, *, timeout_seconds: float, verify: bool) -> None:
        self._url = url
        self._where = redact_url(self._url)
        self._limit = SharedLimit(self._where, timeout_seconds)
        self._http = HttpClient(timeout=timeout_seconds, verify=verify)
        parts = urlsplit(self._url)
        self._headers = {"Referer": f"{parts.scheme}://{parts.netloc}/"}

    def begin(self, limit_seconds: float) -> None:
        """Let the requests from now on take so long, all together."""
        self._limit.begin(limit_seconds)

    def log_in(self, user: str, password: Secret) -> None:
        """Begin a session; raises `AuthenticationFailed` when the login is rejected."""
        self._http.cookies.clear()
        self._request("GET", "/")
        digest = hashlib.md5(password.reveal().encode(), usedforsecurity=False).hexdigest()
        self._request("POST", "/", data={"username": user, "password": digest.upper()})
        try:
            answer = self._fetch("login", {})
        except BadResponse:
            # Without this page the first request for data tells whether the login worked.
            return
        except LoggedOut:
            answer = {"error": REJECTED}
        if state := answer.get("error"):
            why = "is locked after wrong logins" if state == LOCKED else "rejects the password"
            raise AuthenticationFailed(
                f"{self._where}: the access point {why} (user {user!r}){_chances(answer)}"
            )

    def log_out(self) -> None:
        """End the session, so that somebody else may log in."""
        self._request("GET", "/logout.html", statuses=None)
        self._http.cookies.clear()

    def get(self, name: str, **query: str) -> Any:
        """Return the `data` of one answer, None if it has none.

        Raises `LoggedOut`, `NotOffered` when the access point has no such data, and `BadResponse`.
        """
        answer = self._fetch(name, query)
        if answer.get("error") or answer.get("success") is False:
            raise NotOffered(f"{self._where}: {name}: error {answer.get('error')!r}")
        return answer.get("data")

    def close(self) -> None:
        """Close the connections; the session on the access point ends by itself."""
        self._http.close()

    def _fetch(self, name: str, query: Mapping[str, str]) -> dict[str, Any]:
        # Written out, since the firmware wants the colons of an address as %3A.
        text = "&".join(f"{key}={quote(value, safe='')}" for key, value in query.items())
        path = f"/data/{name}.json" + (f"?{text}" if text else "")
        response = self._request("GET", path, statuses={*SUCCESS, NOT_FOUND})
        if response.status == NOT_FOUND:
            raise NotOffered(f"{self._where}: {name}: HTTP status {NOT_FOUND}")
        answer = response.json()
        if not isinstance(answer, dict):
            raise BadResponse(f"{self._where}: {name}: expected an object, got {answer!r:.80}")
        # Text or boolean, by firmware.
        if str(answer.get("timeout", "false")).lower() != "false":
            raise LoggedOut(f"{self._where}: the session is over")
        return answer

    def _request(self, method: str, path: str, **options: Any) -> Response:
        return self._http.request(
            method, self._url + path, headers=self._headers, timeout=self._limit.left(), **options
        )


def _chances(answer: Mapping[str, Any]) -> str:
    """Say what newer firmware tells about the next login."""
    said = [
        f"{answer[key]} {what}"
        for key, what in (("retryChances", "tries left"), ("waitTime", "s to wait"))
        if isinstance(answer.get(key), int)
    ]
    return f": {', '.join(said)}" if said else ""
