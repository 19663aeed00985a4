"""Cookies of a session, RFC 6265: kept in memory, sent to whom they belong."""

import ipaddress
import threading
import time
from dataclasses import dataclass

from pollect.support._http.connection import Origin
from pollect.support.http_fields import parse_date, parse_whole

_MAX_COOKIES = 1000


@dataclass(frozen=True, slots=True)
class _Cookie:
    name: str
    value: str
    domain: str
    #: Whether hosts below the domain get it as well.
    is_for_subdomains: bool
    path: str
    is_secure: bool
    #: Unix time, None for the end of the session.
    expires: float | None

    def belongs_to(self, origin: Origin, path: str) -> bool:
        host = origin.host.lower()
        if host != self.domain and not (
            self.is_for_subdomains and host.endswith(f".{self.domain}")
        ):
            return False
        if self.is_secure and origin.scheme != "https":
            return False
        return path == self.path or path.startswith(self.path.rstrip("/") + "/")


class Cookies:
    """The cookies of one client. May be shared by threads."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str, str], _Cookie] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the value of the first cookie of that name."""
        with self._lock:
            found = [each.value for each in self._kept.values() if each.name == name]
        return found[0] if found else default

    def clear(self) -> None:
        """Forget them all."""
        if self._kept:
            with self._lock:
                self._kept.clear()

    def header(self, origin: Origin, target: str) -> str:
        """Return the content of `Cookie` for a request, empty for none."""
        if not self._kept:
            return ""
        path, now = _path_of(target), time.time()
        with self._lock:
            fitting = [
                each
                for each in self._kept.values()
                if each.belongs_to(origin, path) and (each.expires is None or each.expires > now)
            ]
        fitting.sort(key=lambda each: -len(each.path))
        return "; ".join(f"{each.name}={each.value}" for each in fitting)

    def take(self, values: list[str], origin: Origin, target: str) -> None:
        """Keep what an answer sets by `Set-Cookie`; an expired one is forgotten."""
        for text in values:
            cookie = _parse(text, origin, _path_of(target))
            if cookie is None:
                continue
            key = cookie.domain, cookie.path, cookie.name
            with self._lock:
                self._kept.pop(key, None)
                is_over = cookie.expires is not None and cookie.expires <= time.time()
                if not is_over and len(self._kept) < _MAX_COOKIES:
                    self._kept[key] = cookie


def _path_of(target: str) -> str:
    return target.partition("?")[0] or "/"


def _parse(text: str, origin: Origin, path: str) -> _Cookie | None:
    pair, *rest = text.split(";")
    name, equals, value = (part.strip() for part in pair.partition("="))
    if not equals or not name:
        return None
    attributes = {
        key.strip().lower(): content.strip()
        for key, _, content in (part.partition("=") for part in rest)
    }
    host = origin.host.lower()
    domain = attributes.get("domain", "").lstrip(".").lower()
    # No host speaks for a whole top-level domain, and an address has nothing below it.
    is_below = host.endswith(f".{domain}") and "." in domain and not _is_address(host)
    if domain and domain != host and not is_below:
        return None
    given_path = attributes.get("path", "")
    return _Cookie(
        name,
        value,
        domain or host,
        bool(domain) and not _is_address(host),
        given_path if given_path.startswith("/") else path.rpartition("/")[0] or "/",
        "secure" in attributes,
        _expires(attributes),
    )


def _expires(attributes: dict[str, str]) -> float | None:
    age = attributes.get("max-age", "")
    seconds = parse_whole(age)
    if seconds:
        return time.time() + seconds
    if seconds == 0 or parse_whole(age.removeprefix("-")) is not None:
        return 0.0
    return parse_date(attributes.get("expires", "").replace("-", " "))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
