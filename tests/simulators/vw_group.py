"""Both hosts of the Volkswagen group: the identity server and the EU Data Act portal.

Every page of the sign-in and every answer of the data interface, with the demands that the real
ones make: hidden fields and cookies come back, nothing stands in the query twice, the headers of
the data interface are there, and the code is good once.
"""

import io
import json
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode

from pollect.testing import HttpRequest, HttpResponse, HttpServer

USER, PASSWORD = "owner@example.org", "hush: the car's word"
#: For a section of a config.
ACCOUNT = {"user": USER, "password": PASSWORD}
VIN, SECOND_VIN = "WAUZZZXXZXX000001", "WVWZZZE1ZXX000001"
CLIENTS = {
    "AUDI": "cc29b87a-5e9a-4362-aecf-5adea6b01bbb@apps_vw-dilab_com",
    "VOLKSWAGEN_PASSENGER_CARS": "9b58543e-1c15-4193-91d5-8a14145bebb0@apps_vw-dilab_com",
    "SKODA": "3ea88bf9-1d4e-4a68-b3ad-4098c1f1d246@apps_vw-dilab_com",
    "SEAT": "f85e5b69-e3b2-43aa-9c0d-1b7d0e0b576f@apps_vw-dilab_com",
    "CUPRA": "f85e5b69-e3b2-43aa-9c0d-1b7d0e0b576f@apps_vw-dilab_com",
}

FORM_PAGE = """<!DOCTYPE html><html><body>
<form id="emailPasswordForm" name="emailPasswordForm" method="POST" novalidate action="{action}">
<input type="hidden" id="csrf" name="_csrf" value="{csrf}"/>
<input type="hidden" id="input_relayState" name="relayState" value="{relay}"/>
<input type="hidden" id="hmac" name="hmac" value="{hmac}"/>
<input type="email" name="email" value="" maxlength="256"/>
</form><form action="https://elsewhere.example/"><input name="hmac" value="no"></form>
{script}</body></html>"""
SCRIPT = """<script>window._IDK = {{ templateModel: {model}, currentLocale: 'de',
 csrf_parameterName: '_csrf', csrf_token: '{csrf}', userSession: {{}} }}</script>"""


#: What a car with a diesel engine delivers; 65535 stands for an engine that it lacks.
DIESEL: Mapping[str, str] = {
    "mileage": "54321",
    "outside_temperature": "2812",
    "fuel_level_current_level": "63",
    "oil_level_actual_level": "75.0",
    "scr_range": "8000",
    "cruising_range_primary_engine": "520",
    "cruising_range_secondary_engine": "65535",
    "maintenance_interval_distance_until_inspection": "-22400",
    "lock_state": "locked",
}


def delivery(vin: str = VIN, /, stamp: str | None = None, **fields: str | None) -> bytes:
    """Return a delivery: names with two underscores for a dot, and a time at each value."""
    data = []
    for name, value in fields.items():
        entry = {"key": "k", "dataFieldName": name.replace("__", "."), "value": value}
        data.append({**entry, "timestampUtc": stamp} if stamp else entry)
    return as_zip({"vin": vin, "user_id": "u", "Data": data})


def as_zip(document: Any, name: str = "data.json") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, document if isinstance(document, bytes) else json.dumps(document))
    return packed.getvalue()


class VwGroup:
    """An account, and the cars in it."""

    def __init__(self) -> None:
        self.identity = HttpServer(self._identify)
        self.portal = HttpServer(self._serve)
        self.password = PASSWORD
        #: What stands between the password and the code: marketing, terms, other.
        self.questions: list[str] = []
        #: How a wrong password is answered: by a page or by a redirect.
        self.refuses_by_redirect = False
        #: Where the first redirect leads instead.
        self.detour = ""
        #: The sessions that the portal takes.
        self.sessions: list[str] = []
        self.sign_ins = 0
        #: VIN -> [(name, content)], the newest last; a car without an order has None.
        self.cars: dict[str, list[tuple[str, bytes]] | None] = {VIN: []}
        #: Whether lists come as `{"files": [...]}`.
        self.wraps_lists = False
        #: Path of the data interface (its end) -> the answer instead.
        self.instead: dict[str, Any] = {}
        self._codes: set[str] = set()
        self._csrf = self._hmac = self._relay = ""

    def __enter__(self) -> "VwGroup":
        self.identity.__enter__()
        self.portal.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.portal.__exit__(*error)
        self.identity.__exit__(*error)

    @property
    def options(self) -> dict[str, str]:
        return {"portal": self.portal.url, "identity": self.identity.url}

    def deliver(self, content: bytes, vin: str = VIN, name: str = "") -> None:
        files = self.cars[vin]
        assert files is not None
        files.append((name or f"{vin}_{len(files):04}.zip", content))

    def data_requests(self) -> list[str]:
        """Return the last parts of the paths that the data interface was asked for."""
        return [
            request.path.rpartition("/")[2]
            for request in self.portal.requests
            if request.path.startswith("/proxy_api/")
        ]

    def _identify(self, request: HttpRequest) -> Any:
        if not _is_named(request):
            return HttpResponse("name yourself", 403)
        client = request.path.split("/")[3] if request.path.count("/") > 3 else ""
        match request.method, request.path.rpartition("/")[2]:
            case "GET", "authorize":
                return self._authorize(request)
            case "GET", "signin":
                return self._first_page(client)
            case "POST", "identifier":
                return self._take_email(request, client)
            case "GET", "authenticate":
                return self._second_page(request.query.get("error", ""))
            case "POST", "authenticate":
                return self._take_password(request, client)
            case "GET", "passed":
                return self._next_question(client)
            case "GET", "marketing" | "terms-and-conditions" | "survey":
                return HttpResponse("<html><h1>A question</h1></html>")
        return HttpResponse("<html>not found</html>", 404)

    def _authorize(self, request: HttpRequest) -> Any:
        query = request.query
        country, _, rest = query.get("state", "").partition("__")
        language, _, brand = rest.partition("__")
        wanted = {
            "client_id": CLIENTS.get(brand, ""),
            "response_type": "code",
            "scope": "openid cars profile",
            "state": query.get("state", ""),
            "redirect_uri": f"{self.portal.url}/login",
            "prompt": "login",
        }
        if query != wanted or len(country) != 2 or len(language) != 2:
            return HttpResponse(f"<html>{query}</html>", 400)
        self._state = query["state"]
        where = self.detour or f"/signin-service/v1/{wanted['client_id']}/signin?relayState=r1"
        return HttpResponse("", 302, {"Location": where})

    def _first_page(self, client: str, error: str = "") -> HttpResponse:
        self._csrf, self._hmac, self._relay = (secrets.token_hex(8) for _ in range(3))
        script = SCRIPT.format(model=json.dumps({"error": error}), csrf=self._csrf) if error else ""
        action = f"/signin-service/v1/{client}/login/identifier"
        page = FORM_PAGE.format(
            action=action, csrf=self._csrf, relay=self._relay, hmac=self._hmac, script=script
        )
        return _page(page, {"Set-Cookie": "SESSION=idk-session; Path=/; HttpOnly"})

    def _take_email(self, request: HttpRequest, client: str) -> HttpResponse:
        if not self._is_filled_in(request):
            return HttpResponse("<html>form</html>", 400)
        if request.form["email"] != USER:
            return self._first_page(client, "login.error.email_unknown")
        where = f"/signin-service/v1/{client}/login/authenticate?relayState={self._relay}&email=x"
        return HttpResponse("", 303, {"Location": where})

    def _second_page(self, error: str) -> HttpResponse:
        self._csrf, self._hmac = secrets.token_hex(8), secrets.token_hex(8)
        model = {
            "relayState": self._relay,
            "hmac": self._hmac,
            "emailPasswordForm": {"email": USER},
            "postAction": "login/authenticate",
            "error": {"errorCode": error, "text": "x"} if error else None,
        }
        script = SCRIPT.format(model=json.dumps(model), csrf=self._csrf)
        return _page(f"<html><head>{script}</head><body><div id=app></div></body></html>")

    def _take_password(self, request: HttpRequest, client: str) -> HttpResponse:
        if not self._is_filled_in(request) or request.query or request.form["email"] != USER:
            return HttpResponse("<html>form</html>", 400)
        if request.form["password"] != self.password:
            word = "login.errors.password_invalid"
            if not self.refuses_by_redirect:
                return self._second_page(word)
            where = f"/signin-service/v1/{client}/login/authenticate?error={word}"
            return HttpResponse("", 303, {"Location": where})
        self._open = list(self.questions)
        return HttpResponse("", 302, {"Location": f"/signin-service/v1/{client}/passed"})

    def _next_question(self, client: str) -> HttpResponse:
        way = f"{self.identity.url}/signin-service/v1/{client}/passed"
        if self._open:
            path = {
                "marketing": f"consent/marketing?callback={quote(way, safe='')}&x=1",
                "terms": "terms-and-conditions?updated=dataprivacy",
                "other": "survey",
            }[self._open.pop(0)]
            return HttpResponse("", 302, {"Location": f"/signin-service/v1/{client}/{path}"})
        code = secrets.token_hex(8)
        self._codes.add(code)
        query = urlencode({"code": code, "state": self._state})
        return HttpResponse("", 302, {"Location": f"{self.portal.url}/login?{query}"})

    def _is_filled_in(self, request: HttpRequest) -> bool:
        form = request.form
        same = (form.get("_csrf"), form.get("hmac"), form.get("relayState"))
        has_session = "SESSION=idk-session" in (request.headers["Cookie"] or "")
        return has_session and same == (self._csrf, self._hmac, self._relay)

    def _serve(self, request: HttpRequest) -> Any:
        if not _is_named(request) or request.path == "/":
            return HttpResponse("this page is for people", 403)
        if request.path == "/login":
            where = f"/services/callbacklogin?{request.target.partition('?')[2]}"
            return HttpResponse("", 302, {"Location": where, "Set-Cookie": "affinity=a1; Path=/"})
        if request.path == "/services/callbacklogin":
            return self._begin_session(request)
        cookies = (request.headers["Cookie"] or "").split("; ")
        if "affinity=a1" not in cookies or not any(
            f"access_token={session}" in cookies for session in self.sessions
        ):
            return HttpResponse({"error": "unauthorized"}, 401)
        for end, answer in self.instead.items():
            if request.path.endswith(end):
                return answer
        return self._data(request)

    def _begin_session(self, request: HttpRequest) -> HttpResponse:
        code = request.query.get("code", "")
        if code not in self._codes:
            return HttpResponse("", 302, {"Location": "/error"})
        self._codes.discard(code)
        self.sign_ins += 1
        self.sessions.append(f"hush-session-{self.sign_ins}")
        headers = {
            "Location": "/de/de/no-such-page.html",
            "Set-Cookie": f"access_token={self.sessions[-1]}; Path=/; HttpOnly; Secure",
        }
        return HttpResponse("", 302, headers)

    def _data(self, request: HttpRequest) -> Any:
        parts = request.path.strip("/").split("/")
        if parts == ["proxy_api", "consent", "me", "vehicles"]:
            if request.query != {"viewPosition": "FRONT_LEFT"}:
                return HttpResponse({}, 400)
            return {"vehicles": [{"relation": {"vehicle": {"vin": vin}}} for vin in self.cars]}
        vin = parts[4] if len(parts) > 4 else ""
        files = self.cars.get(vin)
        if files is None:
            return HttpResponse({"error": "no request"}, 404)
        match parts[1:4], parts[5:]:
            case ["euda-apim", "datarequest", "vehicles"], ["metadata", "partial"]:
                return {"Identifier": f"order-of-{vin}", "Status": "ACTIVE"}
            case ["euda-apim", "datadelivery", "vehicles"], [order, "list"]:
                if order != f"order-of-{vin}" or request.headers["type"] != "partial":
                    return HttpResponse("", 500)
                listed = [
                    {"name": name, "createdOn": f"2026-11-22T10:{number:02}:00Z", "size": 1}
                    for number, (name, _) in enumerate(files)
                ]
                return {"files": listed[::-1]} if self.wraps_lists else listed
            case ["euda-apim", "datadelivery", "vehicles"], [_, "download"]:
                found = dict(files).get(request.headers["filename"] or "")
                if found is None or request.headers["type"] != "partial":
                    return HttpResponse("", 500)
                return found
        return HttpResponse({}, 404)


def _is_named(request: HttpRequest) -> bool:
    """Whether a client says who it is, and in which language it wants its answers."""
    agent = request.headers["User-Agent"] or ""
    return agent.startswith("pollect/") and bool(request.headers["Accept-Language"])


def _page(html: str, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(html, headers={"Content-Type": "text/html", **(headers or {})})


@contextmanager
def car_with(*contents: bytes) -> Iterator[VwGroup]:
    """An account with one car, and deliveries of it."""
    with VwGroup() as group:
        for content in contents:
            group.deliver(content)
        yield group
