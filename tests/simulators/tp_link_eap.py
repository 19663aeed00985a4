"""A TP-Link EAP access point of either generation, with its login and session rules."""

import hashlib
import ssl
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pollect.testing import HttpRequest, HttpResponse, HttpServer

USER, PASSWORD = "admin", "eap secret"
MAC = "00:31:92:AA:BB:CC"
LOCKED_AFTER = 5

TRAFFIC = {
    f"{direction}_{name}": count * sign
    for direction, sign in (("rx", 1), ("tx", 2))
    for name, count in (("packets", 10), ("bytes", 1000), ("errors", 1), ("dropped", 3))
}


def old_data() -> dict[str, Any]:
    """Return what the older generation knows, by name and query."""
    return {
        "monitor.ap.aplist?operation=load": [{"MAC": MAC, "StaNum": 5}],
        f"monitor.ap.interface?operation=read&interface=WIFI0&apMac={MAC}": dict(TRAFFIC),
        f"monitor.ap.interface?operation=read&interface=WIFI1&apMac={MAC}": dict(TRAFFIC),
        f"monitor.ap.wsetting?operation=read&radioId=0&apMac={MAC}": {"channel": "6 / 2437MHz"},
        f"monitor.ap.devinfo?operation=read&apMac={MAC}": [
            {"deviceName": "EAP220", "upTime": "0 days 01:00:05", "CPU": "12%", "memory": "33%"}
        ],
        "monitor.client.client?operation=load": [
            {"hostName": "tv", "ssid": "home", "radio": "2.4GHz"},
            {"hostName": "phone", "ssid": "home", "radio": "5GHz"},
            {"hostName": "unknown"},
        ],
    }


def new_data() -> dict[str, Any]:
    """Return what the newer generation knows."""
    radios = {
        f"status.traffic.radio?operation=read&radioID={number}&type=radio": dict(TRAFFIC)
        for number in (0, 1)
    }
    return {
        "status.device?operation=read": {
            "deviceModel": "EAP225",
            "uptime": "1 days 05:49:13",
            "cpu": 7,
            "memory": "40%",
        },
        "status.client.user?operation=load": [
            {"hostname": "tv", "Radio": 0, "SSID": "home"},
            {"hostname": "phone", "Radio": 1, "SSID": "home"},
            {"hostname": "tablet", "Radio": "5GHz", "SSID": "guests"},
        ],
        "status.wireless.radio?operation=read&radioID=1": {
            "channel": "44  / 5220MHz",
            "power": "23",
        },
        **radios,
    }


class AccessPoint(HttpServer):
    """An access point on a port of 127.0.0.1 while the `with` block lasts."""

    def __init__(
        self, data: dict[str, Any], *, cookie: str = "COOKIE", tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(self._answer, tls=tls)
        self.data = data
        #: `timeout` is text in older firmware.
        self.timeout_values: tuple[Any, Any] = ("false", "true")
        self.logins = 0
        self.logouts = 0
        self.rejected = 0
        #: The one session of a user who logged in.
        self.session = ""
        #: What newer firmware adds to the page about the login.
        self.login_facts: dict[str, Any] = {}
        #: Names of data that are answered with an error.
        self.refused: set[str] = set()
        self._cookie = cookie
        self._given = 0

    def _answer(self, request: HttpRequest) -> HttpResponse:
        cookies = request.headers.get("Cookie", "")
        session = dict(parse_qsl(cookies, separator=";")).get(self._cookie, "")
        if request.path == "/" and request.method == "POST":
            return self._log_in(request, session)
        if request.path == "/logout.html":
            self.logouts += bool(session and session == self.session)
            self.session = ""
            return HttpResponse("<html>bye</html>")
        if not request.path.startswith("/data/"):
            self._given += 1
            cookie = f"{self._cookie}={self._given:032x}; path=/"
            return HttpResponse("<html>login</html>", headers={"Set-Cookie": cookie})
        return self._data(request, session)

    def _log_in(self, request: HttpRequest, session: str) -> HttpResponse:
        self.logins += 1
        right = hashlib.md5(PASSWORD.encode()).hexdigest().upper()
        form = request.form
        good = session and form["username"] == USER and form["password"] == right
        if good and self.rejected < LOCKED_AFTER:
            self.session, self.rejected = session, 0
            return HttpResponse("")
        self.rejected += 1
        return HttpResponse("<html>login</html>")

    def _data(self, request: HttpRequest, session: str) -> HttpResponse:
        name = request.path.removeprefix("/data/").removesuffix(".json")
        logged_in, logged_out = self.timeout_values
        referred = urlsplit(request.headers.get("Referer", "")).netloc == self.address
        if name == "login":
            state = 3 if self.rejected >= LOCKED_AFTER else 1 if self.rejected else 0
            facts = {"error": state, "success": True, "timeout": logged_in, **self.login_facts}
            return HttpResponse(facts)
        if not (referred and session and session == self.session):
            return HttpResponse(
                {"success": True, "timeout": logged_out, "mode": "accessPoint", "status": -1}
            )
        if name in self.refused:
            return HttpResponse({"error": 1001, "success": False, "timeout": logged_in})
        query = "&".join(f"{key}={value}" for key, value in request.query.items())
        data = self.data.get(f"{name}?{query}")
        if data is None:
            return HttpResponse("not found", status=404)
        return HttpResponse({"error": 0, "success": True, "timeout": logged_in, "data": data})
