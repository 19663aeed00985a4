"""A client of the group's EU Data Act portal, read-only, with the user's own sign-in.

The operator of the portal asks programs to name themselves and to leave the start page alone: the
User-Agent names pollect, and the sign-in starts at the identity server. Cookies of the portal are
the sign-in; they are kept, the password goes to the identity server and nowhere else.
"""

import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any, TypeGuard
from urllib.parse import parse_qs, quote, urlencode, urljoin, urlsplit

from pollect.api import AuthenticationFailed, BadResponse, Secret
from pollect.support.http import HttpClient, Response
from pollect.support.quota import Budget
from pollect.support.tokens import Token
from pollect.support.urls import redact_url
from pollect_sources_cloud.failures import failure
from pollect_sources_cloud.limits import Limit
from pollect_sources_cloud.vw_group.brands import Brand
from pollect_sources_cloud.vw_group.dataset import moment
from pollect_sources_cloud.vw_group.pages import asks_for_password, complaint, parse_form

SCOPE = "openid cars profile"
API = "/proxy_api"
CALLBACK = "/services/callbacklogin"
SESSION_COOKIE = "access_token"
MAX_REDIRECTS = 10
NO_CONTENT = "_no_content_found.zip"
_VIN = re.compile(r"[A-Z0-9]{17}")


class SessionOver(AuthenticationFailed):
    """The portal takes these cookies no longer."""


@dataclass(frozen=True)
class Delivery:
    """One file that the portal holds for a car."""

    name: str
    created: float


class Portal:
    """The portal, and the identity server in front of it."""

    def __init__(
        self,
        portal: str,
        identity: str,
        brand: Brand,
        *,
        country: str,
        language: str,
        http: HttpClient,
        limit: Limit,
        budget: Budget,
    ) -> None:
        self._portal = portal
        self._identity = identity
        self._brand = brand
        self._state = f"{country.lower()}__{language.lower()}__{brand.key}"
        self._http = http
        self._limit = limit
        self._budget = budget

    def sign_in(self, user: str, password: Secret) -> Token:
        """Return the cookies of a new session as a token.

        Raises `AuthenticationFailed` when the password is refused, or when the account is asked
        something that only its owner can answer.
        """
        self._http.cookies.clear()
        cookies: dict[str, str] = {}
        query = {
            "client_id": self._brand.client_id,
            "response_type": "code",
            "scope": SCOPE,
            "state": self._state,
            "redirect_uri": f"{self._portal}/login",
            "prompt": "login",
        }
        first = self._arrive(
            "GET", f"{self._identity}/oidc/v1/authorize?{urlencode(query)}", cookies
        )
        if first is None:
            return _token(cookies)
        second = self._send_form(first, cookies, email=user)
        if second is None:
            return _token(cookies)
        if not asks_for_password(second.text()):
            self._refuse(second, f"the identity server does not know the user {user!r}")
        last = self._send_form(second, cookies, email=user, password=password.reveal())
        if last is not None:
            self._refuse(last, f"the identity server refuses the password of {user!r}")
        return _token(cookies)

    def vehicles(self, token: Token) -> list[str]:
        """Return the VINs of the account."""
        url = f"{API}/consent/me/vehicles"
        return _vins_in(self._ask(token, f"{url}?viewPosition=FRONT_LEFT").json())

    def order(self, token: Token, vin: str) -> str | None:
        """Return the identifier of the continuous order for a car, None if there is none."""
        url = f"{API}/euda-apim/datarequest/vehicles/{quote(vin)}/metadata/partial"
        answer = self._ask(token, url, statuses=(200, 204, 404))
        if answer.status != 200 or not answer.body.strip():
            return None
        return _identifier_in(answer.json())

    def newest_delivery(self, token: Token, vin: str, order: str) -> Delivery | None:
        """Return the newest file with content for a car, None if there is none."""
        answer = self._ask(token, f"{self._deliveries(vin, order)}/list", {"type": "partial"})
        found = answer.json()
        files = found.get("files") if isinstance(found, dict) else found
        if not isinstance(files, list):
            raise BadResponse(f"{redact_url(answer.url)}: expected a list of files")
        usable = [
            file for file in files if isinstance(file, dict) and _is_sendable(file.get("name"))
        ]
        if files and not usable:
            raise BadResponse(f"{redact_url(answer.url)}: expected files with a name")
        deliveries = [
            Delivery(file["name"], moment(file.get("createdOn")) or 0.0)
            for file in usable
            if not file["name"].endswith(NO_CONTENT)
        ]
        return max(deliveries, key=lambda delivery: (delivery.created, delivery.name), default=None)

    def download(self, token: Token, vin: str, order: str, name: str) -> bytes:
        """Return the content of a delivery, a ZIP."""
        headers = {"filename": name, "type": "partial"}
        return self._ask(token, f"{self._deliveries(vin, order)}/download", headers).body

    def _deliveries(self, vin: str, order: str) -> str:
        return f"{API}/euda-apim/datadelivery/vehicles/{quote(vin)}/{quote(order, safe='')}"

    def _ask(
        self,
        token: Token,
        path: str,
        headers: Mapping[str, str] | None = None,
        statuses: tuple[int, ...] = (200,),
    ) -> Response:
        self._budget.spend()
        answer = self._http.get(
            self._portal + path,
            headers={**(headers or {}), "Cookie": _cookie_header(token)},
            timeout=self._limit.left(),
            statuses=None,
            follow_redirects=False,
        )
        # To the page of the sign-in instead of an answer.
        if answer.status in (401, 403) or 300 <= answer.status < 400:
            raise SessionOver(f"{redact_url(answer.url)}: the portal refuses the session")
        if answer.status not in statuses:
            raise failure(answer, "", self._budget)
        self._budget.answered()
        return answer

    def _send_form(
        self, page: Response, cookies: dict[str, str], **filled_in: str
    ) -> Response | None:
        form = parse_form(page.text(), page.url)
        self._check_place(form.target)
        return self._arrive("POST", form.target, cookies, {**form.fields, **filled_in})

    def _arrive(
        self, method: str, url: str, cookies: dict[str, str], form: Mapping[str, str] | None = None
    ) -> Response | None:
        """Send a request and follow where it leads: to a page, or None at the end of the sign-in.

        Puts the cookies that the portal sets into `cookies`.
        """
        for _ in range(MAX_REDIRECTS + 1):
            self._check_place(url)
            self._budget.spend()
            answer = self._http.request(
                method,
                url,
                data=form,
                headers=self._cookies_for(url, cookies),
                timeout=self._limit.left(),
                statuses=None,
                follow_redirects=False,
            )
            if url.startswith(f"{self._portal}/"):
                cookies.update(_cookies_of(answer))
            if urlsplit(url).path == CALLBACK and url.startswith(f"{self._portal}/"):
                if not cookies.get(SESSION_COOKIE):
                    raise AuthenticationFailed(
                        f"{redact_url(url)}: the portal opened no session (status {answer.status})"
                    )
                return None
            if answer.status not in (301, 302, 303, 307, 308):
                return self._page(answer)
            url = self._passed_by(urljoin(url, answer.headers.get("Location", "")))
            method, form = "GET", None
        raise BadResponse(
            f"{redact_url(url)}: the sign-in redirects more than {MAX_REDIRECTS} times"
        )

    def _page(self, answer: Response) -> Response:
        if answer.status == 200:
            return answer
        if answer.status in (400, 401, 403):
            self._refuse(answer, f"the identity server refuses (status {answer.status})")
        raise failure(answer, "", self._budget)

    def _passed_by(self, url: str) -> str:
        """Return where to go on: a question about marketing has a way around it."""
        parts = urlsplit(url)
        if "marketing" in parts.path:
            way = parse_qs(parts.query).get("callback", [""])[0]
            if way:
                return urljoin(url, way)
        error = parse_qs(parts.query).get("error", [""])[0]
        if "password" in error or "credential" in error:
            raise AuthenticationFailed(f"the identity server refuses the password ({error[:60]})")
        if "throttl" in error:
            raise AuthenticationFailed(
                "too many sign-ins with a wrong password: the account is locked for a while"
            )
        self._check_question(url)
        return url

    def _check_question(self, url: str) -> None:
        path = urlsplit(url).path
        if "terms-and-conditions" in path or "/consent/" in path:
            what = "terms and conditions" if "terms" in path else "a consent"
            raise AuthenticationFailed(
                f"the account is asked for {what}: sign in at {self._portal} in a browser "
                f"and answer it there"
            )

    def _refuse(self, page: Response, otherwise: str) -> None:
        """Raise the error for a page that should not have come."""
        self._check_question(page.url)
        word = complaint(page.text())
        last = urlsplit(page.url).path.rstrip("/").rpartition("/")[2]
        again = last in ("signin", "identifier", "authenticate") or "error" in last
        if word or again or asks_for_password(page.text()) or page.status != 200:
            raise AuthenticationFailed(f"{otherwise}: {word}" if word else otherwise)
        raise AuthenticationFailed(
            f"the account is asked a question at {redact_url(page.url)}: sign in at "
            f"{self._portal} in a browser and answer it there"
        )

    def _cookies_for(self, url: str, cookies: Mapping[str, str]) -> dict[str, str]:
        """Return what the portal is to see of its own cookies; the client has the others."""
        if url.startswith(f"{self._portal}/") and cookies:
            return {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
        return {}

    def _check_place(self, url: str) -> None:
        """Refuse to go anywhere but to the two hosts: the form holds a password."""
        if not url.startswith((f"{self._portal}/", f"{self._identity}/")):
            raise BadResponse(f"the sign-in leads to another host: {redact_url(url)}")


def _token(cookies: Mapping[str, str]) -> Token:
    return Token(access=Secret(cookies[SESSION_COOKIE]), extra={"cookies": dict(cookies)})


def _cookie_header(token: Token) -> str:
    kept = token.extra.get("cookies")
    cookies = {SESSION_COOKIE: token.access.reveal()}
    if isinstance(kept, Mapping):
        cookies = {str(name): str(value) for name, value in kept.items()} | cookies
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


def _cookies_of(answer: Response) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in answer.headers.get_all("Set-Cookie"):
        name, equals, value = line.partition(";")[0].partition("=")
        try:
            SimpleCookie().load(f"{name}={value}")
        except CookieError:
            continue
        if equals and name.strip():
            found[name.strip()] = value.strip()
    return found


def _vins_in(data: Any) -> list[str]:
    """Return every VIN in an answer whose shape is not documented."""
    texts = (text for node in _nodes(data) for text in _texts_of(node))
    return list(dict.fromkeys(text for text in texts if _VIN.fullmatch(text)))


def _texts_of(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        yield from node


def _is_sendable(value: object) -> TypeGuard[str]:
    """Whether a value of an answer can be part of the next request."""
    return isinstance(value, str) and value.isprintable() and value != ""


def _identifier_in(data: Any) -> str | None:
    for node in _nodes(data):
        for name, value in node.items() if isinstance(node, dict) else ():
            if name.lower() == "identifier" and _is_sendable(value):
                return value
    return None


def _nodes(data: Any) -> Iterator[Any]:
    """Yield `data` and everything in it, from the outside in."""
    waiting = deque([data])
    while waiting:
        node = waiting.popleft()
        yield node
        if isinstance(node, dict | list):
            waiting.extend(node.values() if isinstance(node, dict) else node)
